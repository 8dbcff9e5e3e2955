//! Side-by-side measurements: pirn, the bare means, threads, and with the feature `peers` may,
//! tokio and Go, alternately in one run.
//!
//! ```text
//! cargo run --release -p pirn-benches -- switch spawn parked place channel echo bulk locks mutex files beside cancel
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

mod bulk;
mod cancel;
mod channel;
mod contestants;
mod cpu;
mod echo;
mod epoll;
mod files;
mod memory;
mod micro;
mod place;
mod race;
mod sync;
mod table;

use std::io;
use std::process::ExitCode;

const ROWS: [&str; 12] = [
    "switch", "spawn", "parked", "place", "channel", "echo", "bulk", "locks", "mutex", "files",
    "beside", "cancel",
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let done = match arguments.first().map(String::as_str) {
        None => print_tables(&ROWS),
        Some("work") => race::child(&arguments[1..]),
        Some("proxy") => bulk::child(&arguments[1..]),
        Some("serve") => echo::child(&arguments[1..]),
        Some(_) => print_tables(&arguments.iter().map(String::as_str).collect::<Vec<_>>()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn print_tables(rows: &[&str]) -> io::Result<()> {
    if let Some(row) = rows.iter().find(|row| !ROWS.contains(row)) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("no such row: {row}")));
    }
    for row in rows {
        match *row {
            "switch" => micro::switch(),
            "spawn" => micro::spawn(),
            "parked" => micro::parked(),
            "place" => place::place(),
            "channel" => channel::channel(),
            "echo" => echo::echo(),
            "bulk" => bulk::bulk(),
            "locks" => sync::uncontended(),
            "mutex" => sync::contended(),
            "files" => files::files(),
            "beside" => echo::beside_files(),
            "cancel" => cancel::cancel(),
            other => unreachable!("{other} is not in ROWS"),
        }
    }
    Ok(())
}
