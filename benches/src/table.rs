//! Rounds, medians and how they are printed.

use std::time::Instant;

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
            figures[index].push(run());
        }
    }
    head(what, unit);
    for ((name, _), figures) in contestants.iter().zip(figures) {
        row(name, figures);
    }
}

/// The title of a table, and the names of its columns.
pub(crate) fn head(what: &str, unit: &str) {
    println!("\n{what} [{unit}]");
    println!("| contestant | median | least | most |\n|---|---|---|---|");
}

/// One contestant's line. There must be a figure.
pub(crate) fn row(name: &str, mut figures: Vec<f64>) {
    figures.sort_by(f64::total_cmp);
    let (least, most) = (figures[0], figures[figures.len() - 1]);
    println!("| {name} | {:.2} | {least:.2} | {most:.2} |", figures[figures.len() / 2]);
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
