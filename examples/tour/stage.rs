//! Progress: a bar on a terminal, a line elsewhere.

use indicatif::{ProgressBar, ProgressStyle};
use std::io::{self, IsTerminal};

/// Shows that a part of the tour begins, of so many steps.
pub(crate) fn begin(name: &'static str, steps: u64) -> ProgressBar {
    if !io::stderr().is_terminal() {
        println!("{name} …");
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{msg:<44} {bar:30} {human_pos:>9} {per_sec}");
    let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(steps).with_style(style).with_message(name)
}
