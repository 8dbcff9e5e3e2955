//! A pipeline: lines are read, counted by several coroutines, and summed up, with little at hand.
//!
//! ```sh
//! cargo run --release --example pipeline -- README.md ARCHITECTURE.md
//! ```
//!
//! Without arguments it reads its own text. Each stage ends when the one before it has: its
//! receiver is disconnected. If a later stage ends early, the sends of the earlier ones fail.

use pirn::channel::{Receiver, bounded};
use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader};

type Counts = BTreeMap<String, usize>;

/// The lines of all files, one after the other.
fn read(files: Vec<String>) -> Receiver<io::Result<String>> {
    let (sender, receiver) = bounded(64);
    pirn::go!(move || {
        if files.is_empty() {
            let own = include_str!("pipeline.rs").lines().map(|line| Ok(line.to_owned()));
            let _ended_early = own.into_iter().try_for_each(|line| sender.send(line));
        }
        for file in files {
            // Disk work goes to the blocking pool; a file at a time keeps this short.
            let lines = pirn::blocking(move || -> io::Result<Vec<String>> {
                BufReader::new(std::fs::File::open(file)?).lines().collect()
            });
            let sent = match lines {
                Ok(lines) => lines.into_iter().try_for_each(|line| sender.send(Ok(line))),
                Err(error) => sender.send(Err(error)),
            };
            if sent.is_err() {
                return;
            }
        }
    });
    receiver
}

/// Words of the lines, counted by `workers` coroutines, each for what it got.
fn count(lines: Receiver<io::Result<String>>, workers: usize) -> Receiver<io::Result<Counts>> {
    let (sender, receiver) = bounded(workers);
    for _ in 0..workers {
        let (lines, sender) = (lines.clone(), sender.clone());
        pirn::go!(move || {
            let mut counts = Counts::new();
            for line in lines {
                let Ok(line) = line.map_err(|error| drop(sender.send(Err(error)))) else { return };
                for word in line.split(|c: char| !c.is_alphanumeric()).filter(|w| !w.is_empty()) {
                    *counts.entry(word.to_lowercase()).or_default() += 1;
                }
            }
            drop(sender.send(Ok(counts)));
        });
    }
    receiver
}

#[pirn::main]
fn main() -> io::Result<()> {
    let files = std::env::args().skip(1).collect();
    let mut total = Counts::new();
    for counts in count(read(files), 8) {
        for (word, count) in counts? {
            *total.entry(word).or_default() += count;
        }
    }
    let mut words: Vec<_> = total.into_iter().collect();
    words.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    for (word, count) in words.iter().take(10) {
        println!("{count:>6}  {word}");
    }
    Ok(())
}
