//! Counts, as callgrind makes them.
//!
//! The work is done with so many rounds and with three times as many, each in a process of its own:
//! the difference, divided by twice the rounds, is what one round takes, and what it takes to start
//! and to end cancels out. Callgrind keeps the threads apart, so what the watch of the scheduler does,
//! which depends on the time, is not in it.

use crate::work::Row;
use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::{self, Command};

/// What one round takes, of the worker's thread.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Counts {
    /// Outside of the kernel.
    pub(crate) instructions: f64,
    /// Those among them with a lock prefix, or an exchange: atomic ones, but for plain loads and
    /// stores. Fences are written with a lock prefix, too.
    pub(crate) locked: f64,
    /// Under valgrind, a look at the clock is one.
    pub(crate) system_calls: f64,
}

/// What the counts depend on, besides the code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Toolchain {
    pub(crate) rustc: String,
    /// Its memory allocator and its wrappers of system calls are in the counts.
    pub(crate) libc: String,
}

impl Toolchain {
    pub(crate) fn here() -> io::Result<Toolchain> {
        let output = Command::new("getconf").arg("GNU_LIBC_VERSION").output()?;
        let libc = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        Ok(Toolchain { rustc: env!("RUSTC_VERSION").to_owned(), libc })
    }
}

/// Counts a round of a row, of the busiest of so many workers.
pub(crate) fn count(row: &Row, workers: usize) -> io::Result<Counts> {
    let short = run(row, row.rounds, workers, Detail::Totals, totals)?;
    let long = run(row, 3 * row.rounds, workers, Detail::Totals, totals)?;
    // The rounds are the worker's, and hardly anything else is.
    let differences = long.iter().map(|(thread, long)| {
        let short = short.get(thread).copied().unwrap_or_default();
        // What a run has by chance may make nothing look like less.
        let each = |of: fn(&Totals) -> u64| {
            let more = of(long) as f64 - of(&short) as f64;
            more.max(0.0) / (2 * row.rounds) as f64
        };
        Counts {
            instructions: each(|totals| totals.instructions),
            locked: each(|totals| totals.locked),
            system_calls: each(|totals| totals.system_calls),
        }
    });
    let worker = differences.max_by(|a, b| a.instructions.total_cmp(&b.instructions));
    worker.ok_or_else(|| io::Error::other("callgrind has counted nothing"))
}

/// A thread's, of a whole run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Totals {
    instructions: u64,
    locked: u64,
    system_calls: u64,
}

/// A folder that goes with this.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        // If not, it lies among other temporary files.
        let _gone = fs::remove_dir_all(&self.0);
    }
}

/// How much callgrind tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Detail {
    Totals,
    /// Of each instruction, which takes longer.
    Instructions,
}

/// Does the work of a row, and reads what callgrind says of each thread.
pub(crate) fn run<T>(
    row: &Row,
    rounds: u64,
    workers: usize,
    detail: Detail,
    read: impl Fn(&str) -> Option<T>,
) -> io::Result<BTreeMap<u64, T>> {
    let scratch = Scratch(env::temp_dir().join(format!("pirn-counts-{}", process::id())));
    fs::create_dir_all(&scratch.0)?;
    let mut command = Command::new("valgrind");
    command
        .args(["-q", "--tool=callgrind", "--separate-threads=yes"])
        .arg("--collect-bus=yes")
        .args(match detail {
            Detail::Totals => ["--collect-systime=yes", "--dump-instr=no"],
            Detail::Instructions => ["--collect-systime=no", "--dump-instr=yes"],
        })
        .args(["--compress-pos=no", "--compress-strings=no"])
        .arg(format!("--callgrind-out-file={}", scratch.0.join("out").display()))
        .arg(env::current_exe()?)
        .args(["work", row.name, &rounds.to_string(), &workers.to_string()]);
    // Neither the settings of a runtime nor those of an allocator.
    command.env_clear().envs(env::var_os("PATH").map(|path| ("PATH", path)));
    let output = command.output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(io::Error::other(format!("{command:?}: {}\n{said}", output.status)));
    }
    let mut threads = BTreeMap::new();
    for file in fs::read_dir(&scratch.0)? {
        let path = file?.path();
        // The number of the thread.
        let name = path.to_string_lossy();
        let Some((_, thread)) = name.rsplit_once("out-") else { continue };
        let thread = thread.parse().map_err(io::Error::other)?;
        let counts = read(&fs::read_to_string(&path)?);
        let fault = || io::Error::other(format!("{name} is not as callgrind writes"));
        threads.insert(thread, counts.ok_or_else(fault)?);
    }
    Ok(threads)
}

/// The totals of a file of callgrind's. Those at the end of the line that are 0 are left out.
fn totals(text: &str) -> Option<Totals> {
    let line = |key| text.lines().find_map(|line| line.strip_prefix(key));
    let numbers: Vec<u64> =
        line("totals:")?.split_whitespace().map(str::parse).collect::<Result<_, _>>().ok()?;
    let events: Vec<&str> = line("events:")?.split_whitespace().collect();
    let of = |name| {
        let at = events.iter().position(|event| *event == name)?;
        Some(numbers.get(at).copied().unwrap_or(0))
    };
    Some(Totals { instructions: of("Ir")?, locked: of("Ge")?, system_calls: of("sysCount")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_are_read_by_their_names() {
        let text =
            "version: 1\nevents: Ir Ge sysCount sysTime\nfn=(1) x\n4 3 2\ntotals: 42 7 3 1\n";
        let all = Totals { instructions: 42, locked: 7, system_calls: 3 };
        assert_eq!(totals(text), Some(all));
        let text = text.replace("42 7 3 1", "42");
        assert_eq!(totals(&text), Some(Totals { instructions: 42, ..Totals::default() }));
        assert_eq!(totals("events: Ir\ntotals: 4\n"), None);
        assert_eq!(totals("events: Ir Ge sysCount\n"), None);
    }
}
