//! Where the locked instructions and the fences of a round are.
//!
//! Callgrind keeps its counts for each instruction. `objdump` says which of them are fences, and
//! `addr2line` which calls the compiler has inlined there, of which the first in pirn's own sources is
//! the place.

use crate::callgrind::{self, Detail};
use crate::work::Row;
use std::collections::BTreeMap;
use std::env;
use std::io;
use std::path::Path;
use std::process::Command;

/// What is done at one place, in a round.
struct Place {
    times: f64,
    instruction: String,
    /// The function, and the line.
    name: String,
}

/// Prints the places of a row, those with the most first.
pub(crate) fn print(row: &Row, workers: usize) -> io::Result<()> {
    let short = instructions(row, row.rounds, workers)?;
    let long = instructions(row, 3 * row.rounds, workers)?;
    let disassembly = Disassembly::of(&env::current_exe()?)?;
    let mut places = Vec::new();
    let mut fences = 0.0;
    for (at, long) in &long {
        let short = short.get(at).copied().unwrap_or_default();
        let each = |of: fn(Executed) -> u64| {
            (of(*long) as f64 - of(short) as f64) / (2 * row.rounds) as f64
        };
        let fence = at.address.filter(|address| disassembly.fences.contains_key(address));
        let times = match fence {
            Some(_) => each(|counts| counts.times),
            None => each(|counts| counts.locked),
        };
        // Less than one in a hundred rounds.
        if times < 0.01 {
            continue;
        }
        fences += fence.map_or(0.0, |_| times);
        let instruction = at.address.map_or("?", |address| disassembly.mnemonic(address));
        let name = match at.address {
            Some(address) => source(address)?,
            None => at.function.clone(),
        };
        places.push(Place { times, instruction: instruction.to_owned(), name });
    }
    places.sort_by(|a, b| b.times.total_cmp(&a.times).then_with(|| a.name.cmp(&b.name)));
    let all: f64 = places.iter().map(|place| place.times).sum();
    println!("{}: {:.2} locked instructions a round, {fences:.2} fences", row.name, all - fences);
    for Place { times, instruction, name } in places {
        println!("{times:7.2}  {instruction:13}  {name}");
    }
    Ok(())
}

/// An instruction of this program's, or a function of some library's.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct At {
    address: Option<u64>,
    function: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Executed {
    times: u64,
    locked: u64,
}

type Executions = BTreeMap<At, Executed>;

/// Those of the thread that executed the most: the worker's.
fn instructions(row: &Row, rounds: u64, workers: usize) -> io::Result<Executions> {
    let program = env::current_exe()?;
    let threads = callgrind::run(row, rounds, workers, Detail::Instructions, |text| {
        executions(text, &program.to_string_lossy())
    })?;
    let sum = |one: &Executions| one.values().map(|executed| executed.times).sum::<u64>();
    let worker = threads.into_values().max_by_key(sum);
    worker.ok_or_else(|| io::Error::other("callgrind has counted nothing"))
}

/// What a file of callgrind's has, without what calls have cost.
fn executions(text: &str, program: &str) -> Option<Executions> {
    let mut executions = Executions::new();
    let (mut ours, mut function) = (false, "");
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(object) = line.strip_prefix("ob=") {
            ours = object == program;
        } else if let Some(name) = line.strip_prefix("fn=") {
            function = name;
        } else if line.starts_with("calls=") {
            // What the call has cost.
            lines.next()?;
        } else if line.starts_with("0x") {
            let mut words = line.split_whitespace();
            let address = u64::from_str_radix(words.next()?.strip_prefix("0x")?, 16).ok()?;
            let _line = words.next()?;
            let mut counts = words.map(str::parse::<u64>);
            let mut next = || counts.next().transpose().ok().map(Option::unwrap_or_default);
            let at = match ours {
                true => At { address: Some(address), function: String::new() },
                false => At { address: None, function: function.to_owned() },
            };
            let executed: &mut Executed = executions.entry(at).or_default();
            executed.times += next()?;
            executed.locked += next()?;
        }
    }
    Some(executions)
}

/// The instructions of this program that are locked or fences.
struct Disassembly {
    fences: BTreeMap<u64, String>,
    locked: BTreeMap<u64, String>,
}

impl Disassembly {
    fn of(program: &Path) -> io::Result<Disassembly> {
        let output = Command::new("objdump")
            .args(["-d", "--no-show-raw-insn", "--wide"])
            .arg(program)
            .output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        let mut disassembly = Disassembly { fences: BTreeMap::new(), locked: BTreeMap::new() };
        for line in text.lines() {
            let Some((address, instruction)) = line.trim_start().split_once(':') else { continue };
            let Ok(address) = u64::from_str_radix(address, 16) else { continue };
            let words: Vec<&str> = instruction.split_whitespace().collect();
            match words.as_slice() {
                [fence @ "mfence", ..] => {
                    disassembly.fences.insert(address, (*fence).to_owned());
                }
                // A locked addition of nothing to the stack is how compilers write a fence, too.
                ["lock", what, operand, ..] if operand.contains("(%rsp)") => {
                    disassembly.fences.insert(address, format!("lock {what}"));
                }
                ["lock", what, ..] => {
                    disassembly.locked.insert(address, format!("lock {what}"));
                }
                [what @ "xchg", ..] => {
                    disassembly.locked.insert(address, (*what).to_owned());
                }
                _ => {}
            }
        }
        Ok(disassembly)
    }

    fn mnemonic(&self, address: u64) -> &str {
        let found = self.fences.get(&address).or_else(|| self.locked.get(&address));
        found.map_or("?", String::as_str)
    }
}

/// The innermost inlined call in pirn's sources that an instruction belongs to, with its callers up
/// to the function that they are inlined into.
fn source(address: u64) -> io::Result<String> {
    let output = Command::new("addr2line")
        .args(["--inlines", "--functions", "--demangle", "--exe"])
        .arg(env::current_exe()?)
        .arg(format!("{address:#x}"))
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let lines: Vec<&str> = text.lines().collect();
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../");
    let root = Path::new(root).canonicalize()?;
    let calls: Vec<String> = lines
        .chunks_exact(2)
        .filter_map(|call| {
            let place = Path::new(call[1].split(' ').next()?).strip_prefix(&root).ok()?;
            Some(place.display().to_string())
        })
        .collect();
    Ok(match calls.as_slice() {
        [] => lines.first().copied().unwrap_or("?").to_owned(),
        calls => calls[..calls.len().min(3)].join(" < "),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_cost_their_caller_nothing() {
        let text = "\
ob=/x/program
fn=a
0x10 3 5 1
calls=1 0x20 0
0x12 3 100 50
0x13 3 5
ob=/lib/libc.so
fn=recv
0x10 1 7 2
0x14 1 3
";
        let found = executions(text, "/x/program").unwrap();
        let ours = |address| found[&At { address: Some(address), function: String::new() }];
        assert_eq!(ours(0x10), Executed { times: 5, locked: 1 });
        assert_eq!(ours(0x13), Executed { times: 5, locked: 0 });
        let libc = At { address: None, function: "recv".to_owned() };
        assert_eq!(found[&libc], Executed { times: 10, locked: 2 });
        assert_eq!(found.len(), 3);
    }
}
