//! What the hot paths cost in instructions, which repeat where times do not: counted by callgrind,
//! and compared with `benches/instructions.txt`.
//!
//! ```text
//! pirn-counts check [ROW...]      compares
//! pirn-counts record              writes the file anew
//! pirn-counts spread N [ROW...]   counts N times, and says how much the counts differ
//! pirn-counts atomics N ROW...    where the locked instructions and the fences are, of the busiest of
//!                                 N workers
//! pirn-counts workers ROW N...    counts with so many workers, of which the others have nothing to do
//! pirn-counts work ROW ROUNDS N   does the work of a row with N workers, for a profiler
//! ```
//!
//! `ci/instructions.sh` builds this and sees to it that valgrind is there.

mod atomics;
mod callgrind;
mod record;
mod work;

use callgrind::{Counts, Toolchain};
use record::Record;
use std::fs;
use std::io;
use std::path::Path;
use std::process::ExitCode;
use std::str::FromStr;
use work::{ROWS, Row};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../instructions.txt");

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["check", names @ ..] => rows(names).and_then(|rows| check(&rows)),
        ["record"] => record(),
        ["spread", times, names @ ..] => rows(names).and_then(|rows| spread(number(times)?, &rows)),
        ["atomics", workers, names @ ..] => number(workers)
            .and_then(|n| rows(names)?.into_iter().try_for_each(|row| atomics::print(row, n)))
            .map(|()| true),
        ["workers", name, counts @ ..] => work::row(name).and_then(|row| workers(row, counts)),
        ["work", name, rounds, workers] => work::row(name)
            .and_then(|row| row.run(number(rounds)?, number(workers)?))
            .map(|()| true),
        _ => Err(invalid(
            "check [ROW...], record, spread N [ROW...], atomics ROW... workers ROW N... or work ROW ROUNDS N",
        )),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, what)
}

fn number<T: FromStr>(word: &str) -> io::Result<T> {
    word.parse().map_err(|_not_one| invalid(&format!("{word} is no number")))
}

/// Those that are named, or all.
fn rows(names: &[&str]) -> io::Result<Vec<&'static Row>> {
    match names {
        [] => Ok(ROWS.iter().collect()),
        names => names.iter().map(|name| work::row(name)).collect(),
    }
}

/// Whether the counts are as recorded.
fn check(rows: &[&'static Row]) -> io::Result<bool> {
    let recorded = Record::parse(&fs::read_to_string(FILE)?)?;
    let toolchain = Toolchain::here()?;
    let mut measured = Vec::new();
    for row in rows {
        measured.push((row.name, callgrind::count(row, 1)?));
    }
    let verdict = recorded.compare(&toolchain, &measured);
    print!("{verdict}");
    Ok(verdict.is_good())
}

fn record() -> io::Result<bool> {
    let mut record = Record::new(Toolchain::here()?);
    for row in ROWS {
        record.add(row.name, callgrind::count(row, 1)?);
    }
    fs::write(FILE, record.to_string())?;
    print!("{record}");
    println!("written to {}", Path::new(FILE).file_name().unwrap_or_default().display());
    Ok(true)
}

/// How the count of a row grows with the workers that have nothing to do.
fn workers(row: &'static Row, counts: &[&str]) -> io::Result<bool> {
    println!("{:>7} {:>12} {:>8}", "workers", "instructions", "locked");
    for workers in counts {
        let Counts { instructions, locked, .. } = callgrind::count(row, number(workers)?)?;
        println!("{workers:>7} {instructions:12.0} {locked:8.1}");
    }
    Ok(true)
}

fn spread(times: u64, rows: &[&'static Row]) -> io::Result<bool> {
    println!("{:18} {:>12} {:>12} {:>9} {:>9}", "row", "least", "most", "percent", "locked");
    for row in rows {
        let counts =
            (0..times.max(1)).map(|_| callgrind::count(row, 1)).collect::<Result<Vec<_>, _>>()?;
        let ends = |of: fn(&Counts) -> f64| {
            let least = counts.iter().map(of).fold(f64::INFINITY, f64::min);
            (least, counts.iter().map(of).fold(0.0, f64::max))
        };
        let (least, most) = ends(|counts| counts.instructions);
        let (fewest, locked) = ends(|counts| counts.locked);
        let percent = 100.0 * (most / least - 1.0);
        let name = row.name;
        println!("{name:18} {least:12.2} {most:12.2} {percent:9.3} {:9.4}", locked - fewest);
    }
    Ok(true)
}
