//! Rounds, medians and how they are printed.

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
    println!("\n{what} [{unit}]");
    println!("| contestant | median | least | most |\n|---|---|---|---|");
    for ((name, _), figures) in contestants.iter().zip(&mut figures) {
        figures.sort_by(f64::total_cmp);
        let (least, most) = (figures[0], figures[figures.len() - 1]);
        println!("| {name} | {:.2} | {least:.2} | {most:.2} |", figures[figures.len() / 2]);
    }
}
