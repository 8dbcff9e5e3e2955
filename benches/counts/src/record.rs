//! Counts on record, and what is made of new ones.

use crate::callgrind::{Counts, Toolchain};
use std::fmt;
use std::io;

/// With the toolchain of the record, counts differ between runs by 0.4 % at most, whatever else the
/// machine does (`pirn-counts spread`). A change elsewhere in the code, after which the compiler inlines
/// other functions than before, has moved rows by up to 4 %. Locked instructions and system calls are
/// moved by neither.
const SAME: Tolerance = Tolerance { share: 0.05, instructions: 1.0, others: 0.1 };
/// Another compiler makes something else of the same code; rustc 1.96 for 1.95 moved rows by 3 %.
const OTHER: Tolerance = Tolerance { share: 0.1, instructions: 10.0, others: 0.5 };

/// What counts less on a busy machine, by up to 6 %: who is woken late finds its timer due at the first
/// look. It may differ twice as much.
const SLEEPS: &str = "sleep";

/// How far a count may be from the recorded one: a share of it, or if that is more so many.
struct Tolerance {
    share: f64,
    instructions: f64,
    /// Locked instructions, and system calls.
    others: f64,
}

/// The file.
#[derive(Debug, PartialEq)]
pub(crate) struct Record {
    toolchain: Toolchain,
    rows: Vec<(String, Counts)>,
}

impl Record {
    pub(crate) fn new(toolchain: Toolchain) -> Record {
        Record { toolchain, rows: Vec::new() }
    }

    pub(crate) fn add(&mut self, name: &str, counts: Counts) {
        self.rows.push((name.to_owned(), counts));
    }

    /// Reads a file that `Display` has written.
    pub(crate) fn parse(text: &str) -> io::Result<Record> {
        let key = |key: &str| {
            let value = text.lines().find_map(|line| line.strip_prefix(key));
            let value = value.ok_or_else(|| io::Error::other(format!("no line with {key:?}")))?;
            Ok::<_, io::Error>(value.trim().to_owned())
        };
        let toolchain = Toolchain { rustc: key("compiler:")?, libc: key("libc:")? };
        let mut record = Record::new(toolchain);
        let rows = text.lines().skip_while(|line| !line.starts_with("row ")).skip(1);
        for line in rows {
            let fault = || io::Error::other(format!("not a row: {line}"));
            let (name, numbers) = line.split_once(' ').ok_or_else(fault)?;
            let numbers: Vec<f64> = numbers
                .split_whitespace()
                .map(str::parse)
                .collect::<Result<_, _>>()
                .map_err(|_not_one| fault())?;
            let &[instructions, locked, system_calls] = numbers.as_slice() else {
                return Err(fault());
            };
            record.add(name, Counts { instructions, locked, system_calls });
        }
        Ok(record)
    }

    pub(crate) fn compare<'a>(
        &'a self,
        toolchain: &'a Toolchain,
        measured: &'a [(&'static str, Counts)],
    ) -> Verdict<'a> {
        let same = *toolchain == self.toolchain;
        let lines = measured.iter().map(|&(name, measured)| {
            let recorded = self.rows.iter().find(|(recorded, _)| recorded == name);
            let recorded = recorded.map(|(_, counts)| *counts);
            let leeway = if name == SLEEPS { 2.0 } else { 1.0 };
            Line { name, recorded, measured, finding: finding(recorded, measured, same, leeway) }
        });
        Verdict { recorded_with: &self.toolchain, toolchain, lines: lines.collect() }
    }
}

/// A fall is not looked at with another toolchain: nobody there can record it.
fn finding(recorded: Option<Counts>, measured: Counts, same: bool, leeway: f64) -> Finding {
    let Some(recorded) = recorded else { return Finding::Unknown };
    let tolerance = if same { SAME } else { OTHER };
    let columns = [
        (recorded.instructions, measured.instructions, tolerance.instructions),
        (recorded.locked, measured.locked, tolerance.others),
        (recorded.system_calls, measured.system_calls, tolerance.others),
    ];
    let beyond = |by: fn(f64, f64) -> f64| {
        columns.iter().any(|&(recorded, measured, least)| {
            by(recorded, measured) > least.max(leeway * tolerance.share * recorded)
        })
    };
    if beyond(|recorded, measured| measured - recorded) {
        Finding::More
    } else if same && beyond(|recorded, measured| recorded - measured) {
        Finding::Fewer
    } else {
        Finding::Same
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Finding {
    Same,
    More,
    Fewer,
    /// It is not on record.
    Unknown,
}

struct Line {
    name: &'static str,
    recorded: Option<Counts>,
    measured: Counts,
    finding: Finding,
}

/// A table, and what is to be done.
pub(crate) struct Verdict<'a> {
    recorded_with: &'a Toolchain,
    toolchain: &'a Toolchain,
    lines: Vec<Line>,
}

impl Verdict<'_> {
    pub(crate) fn is_good(&self) -> bool {
        self.lines.iter().all(|line| line.finding == Finding::Same)
    }

    fn has(&self, finding: Finding) -> bool {
        self.lines.iter().any(|line| line.finding == finding)
    }
}

impl fmt::Display for Verdict<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.toolchain != self.recorded_with {
            let (here, there) = (self.toolchain, self.recorded_with);
            writeln!(
                f,
                "counted with {}, {}; recorded with {}, {}:",
                here.rustc, here.libc, there.rustc, there.libc
            )?;
            writeln!(f, "only what is {:.0} % above the record counts", 100.0 * OTHER.share)?;
        }
        writeln!(
            f,
            "{:17} {:>9} {:>9} {:>8}   {:>15}   {:>15}",
            "row", "recorded", "measured", "percent", "locked", "system calls"
        )?;
        for line in &self.lines {
            let (old, new) = (line.recorded.unwrap_or_default(), line.measured);
            let percent = match old.instructions {
                0.0 => String::new(),
                old => format!("{:+.2}", 100.0 * (new.instructions / old - 1.0)),
            };
            let mark = match line.finding {
                Finding::Same => "",
                Finding::More => "MORE",
                Finding::Fewer => "FEWER",
                Finding::Unknown => "NOT RECORDED",
            };
            let text = format!(
                "{:17} {:9.1} {:9.1} {percent:>8}   {:6.2} {:>8.2}   {:6.2} {:>8.2}   {mark}",
                line.name,
                old.instructions,
                new.instructions,
                old.locked,
                new.locked,
                old.system_calls,
                new.system_calls
            );
            writeln!(f, "{}", text.trim_end())?;
        }
        if self.has(Finding::More) {
            writeln!(f, "a hot path has become longer: shorten it, or record it and say why:")?;
        } else if self.has(Finding::Fewer) {
            writeln!(f, "a hot path has become shorter: record it, so that it stays so:")?;
        }
        if !self.is_good() {
            writeln!(f, "    ci/instructions.sh --record")?;
        }
        Ok(())
    }
}

const HEAD: &str = "\
What one round of each row takes on one worker: instructions outside of the kernel, those among them
that are locked (fences too), and system calls, under callgrind, where a look at the clock is one.
The rows are in benches/counts/src/work.rs. Written by ci/instructions.sh --record.
";

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{HEAD}")?;
        writeln!(f, "compiler: {}", self.toolchain.rustc)?;
        writeln!(f, "libc: {}\n", self.toolchain.libc)?;
        writeln!(f, "{:17} {:>12} {:>8} {:>12}", "row", "instructions", "locked", "system calls")?;
        for (name, counts) in &self.rows {
            let Counts { instructions, locked, system_calls } = counts;
            writeln!(f, "{name:17} {instructions:12.1} {locked:8.2} {system_calls:12.2}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn toolchain(rustc: &str) -> Toolchain {
        Toolchain { rustc: rustc.to_owned(), libc: "glibc 2.36".to_owned() }
    }

    fn counts(instructions: f64, locked: f64, system_calls: f64) -> Counts {
        Counts { instructions, locked, system_calls }
    }

    /// One row, with what is on record for it.
    fn findings(rustc: &str, measured: Counts) -> Finding {
        let mut record = Record::new(toolchain("rustc 1"));
        record.add("yield", counts(1000.0, 4.0, 2.0));
        let record = Record::parse(&record.to_string()).unwrap();
        record.compare(&toolchain(rustc), &[("yield", measured)]).lines[0].finding
    }

    #[test]
    fn what_is_written_is_read() {
        let mut record = Record::new(toolchain("rustc 1.95.0 (59807616e 2026-04-14)"));
        record.add("spawn-join", counts(1248.9, 5.25, 0.0));
        record.add("mutex", counts(31.0, 2.0, 0.06));
        assert_eq!(Record::parse(&record.to_string()).unwrap(), record);
        assert!(Record::parse("compiler: x\nlibc: y\nrow a b\nmutex 1 2\n").is_err());
        assert!(Record::parse("row a b\n").is_err());
    }

    #[test]
    fn a_tenth_more_is_found() {
        assert_eq!(findings("rustc 1", counts(1100.0, 4.0, 2.0)), Finding::More);
        assert_eq!(findings("rustc 2", counts(1101.0, 4.0, 2.0)), Finding::More);
        assert_eq!(findings("rustc 1", counts(1051.0, 4.0, 2.0)), Finding::More);
    }

    #[test]
    fn one_lock_or_system_call_more_is_found() {
        for rustc in ["rustc 1", "rustc 2"] {
            assert_eq!(findings(rustc, counts(1000.0, 5.0, 2.0)), Finding::More);
            assert_eq!(findings(rustc, counts(1000.0, 4.0, 3.0)), Finding::More);
        }
    }

    #[test]
    fn what_differs_between_runs_is_not_found() {
        assert_eq!(findings("rustc 1", counts(1002.0, 4.01, 2.01)), Finding::Same);
        assert_eq!(findings("rustc 1", counts(998.0, 3.99, 1.99)), Finding::Same);
        assert_eq!(findings("rustc 2", counts(1099.0, 4.0, 2.0)), Finding::Same);
    }

    #[test]
    fn fewer_are_to_be_recorded_by_who_can() {
        assert_eq!(findings("rustc 1", counts(900.0, 4.0, 2.0)), Finding::Fewer);
        assert_eq!(findings("rustc 2", counts(900.0, 4.0, 2.0)), Finding::Same);
    }

    #[test]
    fn a_sleep_may_count_less_on_a_busy_machine() {
        let mut record = Record::new(toolchain("rustc 1"));
        record.add(SLEEPS, counts(1000.0, 4.0, 2.0));
        let finds = |instructions| {
            let measured = [(SLEEPS, counts(instructions, 4.0, 2.0))];
            record.compare(&toolchain("rustc 1"), &measured).lines[0].finding
        };
        assert_eq!((finds(940.0), finds(1060.0)), (Finding::Same, Finding::Same));
        assert_eq!((finds(899.0), finds(1101.0)), (Finding::Fewer, Finding::More));
        assert!(crate::work::row(SLEEPS).is_ok());
    }

    #[test]
    fn a_row_that_is_not_on_record_is_found() {
        let record = Record::new(toolchain("rustc 1"));
        let measured = [("yield", counts(1.0, 1.0, 1.0))];
        let here = toolchain("rustc 1");
        let verdict = record.compare(&here, &measured);
        assert!(!verdict.is_good());
        assert!(verdict.to_string().contains("NOT RECORDED"));
    }
}
