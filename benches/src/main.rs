//! Side-by-side measurements: pirn, the bare means, threads, and with the feature `peers` may,
//! tokio and Go, alternately in one run.
//!
//! ```text
//! cargo run --release -p pirn-benches -- switch spawn parked place channel echo locks mutex
//! cargo run --release -p pirn-benches --features peers -- channel
//! ```
//!
//! Each row is the median of several rounds in which the contestants take turns, with the smallest
//! and the largest beside it. Machines differ and are shared: read the ratios.
//!
//! One contestant by itself, for a profiler ([`race`] has the names and the numbers):
//!
//! ```text
//! pirn-benches work pirn 1 round-trip 1000 0
//! ```

mod channel;
mod contestants;
mod cpu;
mod echo;
mod epoll;
mod memory;
mod micro;
mod place;
mod race;
mod sync;
mod table;

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut rows: Vec<String> = std::env::args().skip(1).collect();
    let done = match rows.first().map(String::as_str) {
        Some("work") => race::child(&rows[1..]),
        Some("serve") => echo::child(&rows[1..]),
        _ => {
            print_tables(&mut rows);
            Ok(())
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn print_tables(rows: &mut Vec<String>) {
    if rows.is_empty() {
        *rows = ["switch", "spawn", "parked", "place", "channel", "echo", "locks", "mutex"]
            .map(String::from)
            .to_vec();
    }
    for row in rows {
        match row.as_str() {
            "switch" => micro::switch(),
            "spawn" => micro::spawn(),
            "parked" => micro::parked(),
            "place" => place::place(),
            "channel" => channel::channel(),
            "echo" => echo::echo(),
            "locks" => sync::uncontended(),
            "mutex" => sync::contended(),
            other => eprintln!("no such row: {other}"),
        }
    }
}
