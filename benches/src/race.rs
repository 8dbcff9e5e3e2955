//! Rows in which other runtimes do the same work.
//!
//! Each figure comes from a process of its own, started anew: runtimes disturb each other (may's
//! timer ticks for as long as its process lives), and what a process costs in memory can only be
//! asked once. It does the work once to warm up, then again, and prints what that took.
//!
//! A piece of work is a name with numbers, which are the same for all:
//!
//! | work | numbers | figures |
//! |---|---|---|
//! | `yield` | switches | ns a switch between two coroutines |
//! | `spawn` | how many | ns for one to be spawned, run and joined |
//! | `parked` | how many, stack size | us for one to be spawned, park, be released and joined; us of processor time; bytes of one that is parked. Not warmed up |
//! | `round-trip` | how many, capacity | ns there and back, through two channels |
//! | `crowd` | producers, consumers, capacity or 0 for unbounded, messages | M messages a second |
//! | `mutex` | how many want it, how often each | ns an operation |
//! | `skynet` | leaves, fan-out | ms until their numbers have come up the tree |
//! | `select` | messages | ns a message, out of one of four channels without a buffer |
//! | `sieve` | primes | ms; each is a filter between two channels without a buffer |
//! | `fib` | n, from where on nobody is spawned | ms |
//! | `timers` | crowd, timeouts of each | ns a timeout that is set, a yield, and its end |
//! | `lives` | how many at once, stack size | those of [`scale::coroutines`](crate::scale::coroutines) |
//! | `sleepers` | how many, ms at most | s of processor time; ms late by the median; ms late at p99. Not warmed up |
//!
//! The others have one more figure: the processor time of the whole process for each operation,
//! in ns.

use crate::contestants;
use crate::cpu;
use crate::table::Table;
use std::io;
use std::process::{Command, Stdio};

/// Who takes part: as what, which of [`contestants`], with how many workers.
pub(crate) type Entry = (&'static str, &'static str, usize);

/// The unit of the last figure.
pub(crate) const CPU: &str = "ns of processor time each";

/// Runs the entries in turn, `rounds` times, and prints a table. Entries that were not built
/// (feature `peers`) are left out.
pub(crate) fn race(
    what: &str,
    units: &[&str],
    rounds: usize,
    (work, numbers): (&str, &[u64]),
    entries: &[Entry],
) {
    let mut lanes: Vec<_> = entries
        .iter()
        .filter(|(_, who, _)| contestants::is_built(who))
        .map(|entry| (entry, Ok(Vec::new())))
        .collect();
    for _ in 0..rounds {
        for ((_, who, workers), results) in &mut lanes {
            if let Ok(rounds) = results {
                match figures_of_a_process(who, *workers, work, numbers) {
                    Ok(figures) if figures.len() == units.len() => rounds.push(figures),
                    Ok(figures) => *results = Err(io::Error::other(format!("{figures:?}"))),
                    Err(error) => *results = Err(error),
                }
            }
        }
    }
    let mut table = Table::new(what, units);
    for ((name, ..), results) in lanes {
        match results {
            Ok(rounds) => table.line(name, rounds),
            Err(error) => table.failed(name, &error),
        }
    }
    table.finish();
}

pub(crate) fn figures_of_a_process(
    who: &str,
    workers: usize,
    work: &str,
    numbers: &[u64],
) -> io::Result<Vec<f64>> {
    let mut command = contestants::program(who, "work")?;
    command.args([&workers.to_string(), work]).args(numbers.iter().map(u64::to_string));
    let output = command.stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err(io::Error::other(output.status.to_string()));
    }
    let line = String::from_utf8(output.stdout).map_err(io::Error::other)?;
    line.split_whitespace().map(|word| word.parse().map_err(io::Error::other)).collect()
}

/// The child: `WHO WORKERS WORK NUMBER...`.
pub(crate) fn child(arguments: &[String]) -> io::Result<()> {
    let usage = || io::Error::new(io::ErrorKind::InvalidInput, "work WHO WORKERS WORK NUMBER...");
    let [who, workers, work, numbers @ ..] = arguments else { return Err(usage()) };
    let workers = workers.parse().map_err(|_not_a_number| usage())?;
    let numbers: Vec<u64> =
        numbers.iter().map(|n| n.parse()).collect::<Result<_, _>>().map_err(io::Error::other)?;
    let contestant = contestants::built_in(who).ok_or_else(usage)?;
    let figures = (contestant.work)(workers, work, &numbers).ok_or_else(usage)?;
    println!("{}", figures.iter().map(f64::to_string).collect::<Vec<_>>().join(" "));
    Ok(())
}

/// Does the work twice, and gives the second time's figure, and the processor time for each operation.
pub(crate) fn warm(
    work: &str,
    numbers: &[u64],
    mut run: impl FnMut() -> Option<f64>,
) -> Option<Vec<f64>> {
    let operations = match (work, numbers) {
        ("crowd", &[.., messages]) => messages,
        ("mutex" | "timers", &[crowd, each]) => crowd * each,
        ("fib", _) => 1,
        (_, &[count, ..]) => count,
        _ => return None,
    };
    run()?;
    let start = cpu::nanos();
    let figure = run()?;
    Some(vec![figure, (cpu::nanos() - start) as f64 / operations as f64])
}

/// The command of a contestant that is another mode of this program.
pub(crate) fn this_program(who: &str, mode: &str) -> io::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args([mode, who]);
    Ok(command)
}
