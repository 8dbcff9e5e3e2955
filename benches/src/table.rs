//! Rounds, medians, how they are printed, and how they are kept.

use crate::report;
use serde::{Deserialize, Serialize};
use std::fmt::Display;
use std::time::Instant;

/// What some contestants took for the same work.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Table {
    /// The row of the command line that it belongs to.
    pub(crate) row: String,
    pub(crate) what: String,
    /// Of the figures of each round.
    pub(crate) units: Vec<String>,
    pub(crate) lines: Vec<Line>,
    /// The system's load average when it was done.
    pub(crate) load: f64,
}

/// One contestant.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Line {
    pub(crate) name: String,
    /// A figure for each unit; none if it failed.
    pub(crate) rounds: Vec<Vec<f64>>,
    pub(crate) failed: Option<String>,
}

/// The median, and between what the figures were.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
}

impl Line {
    /// Of the figures of one unit.
    pub(crate) fn spread(&self, unit: usize) -> Option<Spread> {
        let mut figures: Vec<f64> =
            self.rounds.iter().filter_map(|round| round.get(unit).copied()).collect();
        figures.sort_by(f64::total_cmp);
        let (&least, &most) = (figures.first()?, figures.last()?);
        Some(Spread { median: figures[figures.len() / 2], least, most })
    }
}

impl Table {
    /// Without lines.
    pub(crate) fn new(what: &str, units: &[&str]) -> Table {
        let units = units.iter().map(|&unit| unit.to_owned()).collect();
        Table { row: String::new(), what: what.to_owned(), units, lines: Vec::new(), load: 0.0 }
    }

    /// Adds a contestant, who failed if there are no figures.
    pub(crate) fn line(&mut self, name: &str, rounds: Vec<Vec<f64>>) {
        let failed = rounds.is_empty().then(|| "no figures".to_owned());
        self.lines.push(Line { name: name.to_owned(), rounds, failed });
    }

    /// Adds a contestant without figures.
    pub(crate) fn failed(&mut self, name: &str, why: &dyn Display) {
        let failed = Some(why.to_string());
        self.lines.push(Line { name: name.to_owned(), rounds: Vec::new(), failed });
    }

    /// Prints it, and keeps it.
    pub(crate) fn finish(self) {
        println!("{}", self.markdown());
        report::keep(self);
    }

    /// A table in Markdown, whose columns are as wide as they need to be, so that it can be read as
    /// text as well. Each figure is a median, with the least and the most behind it.
    pub(crate) fn markdown(&self) -> String {
        let mut rows = vec![vec!["contestant".to_owned()]];
        rows[0].extend(self.units.iter().cloned());
        for line in &self.lines {
            let mut row = vec![line.name.clone()];
            match &line.failed {
                Some(why) => row.push(format!("failed: {why}")),
                None => row.extend((0..self.units.len()).map(|unit| cell(line.spread(unit)))),
            }
            row.resize(self.units.len() + 1, String::new());
            rows.push(row);
        }
        rows.insert(1, Vec::new());
        let width = |column: usize| {
            rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max()
        };
        let widths: Vec<usize> = (0..=self.units.len()).filter_map(width).collect();
        rows[1] = widths.iter().map(|&width| "-".repeat(width)).collect();
        let mut text = format!("\n{}\n\n", self.what);
        for row in rows {
            for (cell, width) in row.iter().zip(&widths) {
                text += &format!("| {cell:width$} ");
            }
            text += "|\n";
        }
        text
    }
}

fn cell(spread: Option<Spread>) -> String {
    let Some(Spread { median, least, most }) = spread else { return String::new() };
    if least == most {
        number(median)
    } else {
        format!("{} ({} to {})", number(median), number(least), number(most))
    }
}

/// With three digits that count, more or less.
pub(crate) fn number(figure: f64) -> String {
    match figure.abs() {
        0.0 => "0".to_owned(),
        size if size < 10.0 => format!("{figure:.2}"),
        size if size < 100.0 => format!("{figure:.1}"),
        size if size < 1e4 => format!("{figure:.0}"),
        _ => {
            let digits = format!("{figure:.0}");
            let mut text = String::new();
            for (index, digit) in digits.chars().enumerate() {
                if index > 0 && (digits.len() - index) % 3 == 0 {
                    text.push(',');
                }
                text.push(digit);
            }
            text
        }
    }
}

/// Runs the contestants in turn, `rounds` times, and prints median, least and most of each.
pub(crate) fn contest(
    what: &str,
    unit: &str,
    rounds: usize,
    contestants: &mut [(&str, &mut dyn FnMut() -> f64)],
) {
    let mut figures = vec![Vec::new(); contestants.len()];
    for _ in 0..rounds {
        for (index, (_, run)) in contestants.iter_mut().enumerate() {
            figures[index].push(vec![run()]);
        }
    }
    let mut table = Table::new(what, &[unit]);
    for ((name, _), figures) in contestants.iter().zip(figures) {
        table.line(name, figures);
    }
    table.finish();
}

/// What one of `count` operations takes.
pub(crate) fn nanos_each(count: u64, run: impl FnOnce()) -> f64 {
    let start = Instant::now();
    run();
    start.elapsed().as_nanos() as f64 / count as f64
}

/// As messages go.
pub(crate) fn millions_a_second(count: u64, run: impl FnOnce()) -> f64 {
    1e3 / nanos_each(count, run)
}

/// What all of it takes.
pub(crate) fn millis(run: impl FnOnce()) -> f64 {
    nanos_each(1, run) / 1e6
}
