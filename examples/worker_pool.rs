//! A pool of workers on one channel: jobs go to whoever is free, answers come back on another.
//!
//! ```sh
//! cargo run --release --example worker_pool
//! cargo run --release --example worker_pool -- 64
//! ```
//!
//! The jobs are heavy: each keeps a core busy. More workers than cores are no harm, since a job in
//! the channel belongs to nobody until a worker takes it.

use pirn::channel::{bounded, unbounded};
use std::collections::HashMap;
use std::thread::ThreadId;
use std::time::Instant;

const JOBS: u64 = 200;

/// The longest chain of the Collatz problem that begins below `limit`: its start and its length.
fn longest_chain(limit: u64) -> (u64, u32) {
    let length = |start: u64| {
        let (mut n, mut steps) = (start, 0);
        while n != 1 {
            n = if n.is_multiple_of(2) { n / 2 } else { 3 * n + 1 };
            steps += 1;
        }
        (steps, start)
    };
    let (steps, start) = (1..limit).map(length).max().unwrap_or((0, 1));
    (start, steps)
}

#[pirn::main]
fn main() {
    let workers = std::env::args().nth(1).map_or(16, |text| text.parse().expect("a number"));
    let (jobs, queue) = bounded::<u64>(32);
    let (answers, results) = unbounded();
    for _ in 0..workers {
        let (queue, answers) = (queue.clone(), answers.clone());
        pirn::go!(move || {
            for limit in queue {
                let answer = longest_chain(limit);
                let _nobody_asks = answers.send((limit, answer, std::thread::current().id()));
            }
        });
    }
    drop(answers);

    let start = Instant::now();
    pirn::go!(move || (1..=JOBS).try_for_each(|n| jobs.send(n * 100)));
    let mut by_thread: HashMap<ThreadId, u64> = HashMap::new();
    let mut best = (0, (0, 0));
    for (limit, answer, thread) in results {
        *by_thread.entry(thread).or_default() += 1;
        best = best.max((limit, answer));
    }
    let (limit, (start_of_chain, steps)) = best;
    println!("below {limit}, the chain from {start_of_chain} is the longest: {steps} steps");
    let mut shares: Vec<u64> = by_thread.into_values().collect();
    shares.sort_unstable();
    println!("{JOBS} jobs by {workers} workers in {:.0?}; by thread: {shares:?}", start.elapsed());
}
