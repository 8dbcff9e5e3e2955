//! Side-by-side measurements: pirn, the bare means, threads, and with the feature `peers` may,
//! tokio, hyper, Go, gevent and nginx, alternately in one run.
//!
//! ```text
//! cargo run --release -p pirn-benches --features peers -- all
//! cargo run --release -p pirn-benches --features peers -- --save results.json channel skynet
//! cargo run --release -p pirn-benches -- report results.json
//! ```
//!
//! `all` measures every row, keeps the figures in `benches/results.json`, and makes the charts in
//! `docs/charts` of them. Rows by themselves are only printed, unless they are to be saved: then they
//! replace what the file has of these rows. `report` prints what a file has and makes the charts.
//!
//! Each figure is the median of several rounds in which the contestants take turns, with the smallest
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
mod chart;
mod contestants;
mod cpu;
mod echo;
mod epoll;
mod files;
mod floors;
mod http;
mod idle;
mod limits;
mod memory;
mod micro;
mod place;
mod race;
mod report;
mod scale;
mod server;
mod sleepers;
mod sync;
mod table;
mod tree;

use std::io;
use std::path::Path;
use std::process::ExitCode;

type Row = (&'static str, fn());

const ROWS: [Row; 22] = [
    ("floors", floors::floors),
    ("switch", micro::switch),
    ("spawn", micro::spawn),
    ("parked", micro::parked),
    ("skynet", tree::skynet),
    ("channel", channel::channel),
    ("select", tree::select),
    ("sieve", tree::sieve),
    ("mutex", sync::contended),
    ("locks", sync::uncontended),
    ("fib", tree::fork_join),
    ("place", place::place),
    ("sleepers", sleepers::sleepers),
    ("timers", tree::timers),
    ("cancel", cancel::cancel),
    ("echo", echo::echo),
    ("evenness", echo::evenness),
    ("http", http::http),
    ("idle", idle::idle),
    ("bulk", bulk::bulk),
    ("files", files::files),
    ("beside", echo::beside_files),
];

/// Only if they are named: `docs/scaling.md` has their figures, and the first fills the memory.
const SCALE: [Row; 5] = [
    ("coroutines", scale::coroutines),
    ("connections", scale::connections),
    ("workers", scale::workers),
    ("signals", scale::signals),
    ("limits", limits::limits),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["work", ..] => race::child(&arguments[1..]),
        ["proxy", ..] => bulk::child(&arguments[1..]),
        [mode @ ("serve" | "http"), _, ..] => server::child(mode, &arguments[1..]),
        ["report", file] => report::report(Path::new(file)),
        ["all"] => all(),
        ["--save", file, rows @ ..] => measure(rows, Some(Path::new(file))),
        rows => measure(rows, None),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn all() -> io::Result<()> {
    let file = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/results.json"));
    measure(&[], Some(file))?;
    report::report(file)
}

/// All rows but those of [`SCALE`], if none is named.
fn measure(rows: &[&str], file: Option<&Path>) -> io::Result<()> {
    let known = ROWS.iter().chain(&SCALE);
    if let Some(row) = rows.iter().find(|row| known.clone().all(|(name, _)| name != *row)) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("no such row: {row}")));
    }
    let all = if rows.is_empty() { ROWS.len() } else { 0 };
    let named = known.skip(all).filter(|(name, _)| rows.contains(name));
    for (name, run) in ROWS[..all].iter().chain(named) {
        run();
        report::save(name, file)?;
    }
    Ok(())
}
