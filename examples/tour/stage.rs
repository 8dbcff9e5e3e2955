//! Progress: a bar on a terminal, a line elsewhere. It goes to standard error; the figures do not.

use indicatif::{ProgressBar, ProgressStyle};
use std::io::{self, IsTerminal, Write};

/// Shows that a part of the tour begins, of so many steps.
pub(crate) fn begin(name: &'static str, steps: u64) -> ProgressBar {
    if !io::stderr().is_terminal() {
        say(&format!("{name} …"));
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{msg:<44} {bar:30} {human_pos:>9} {per_sec}");
    let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(steps).with_style(style).with_message(name)
}

/// A line about how things go.
pub(crate) fn say(line: &str) {
    // Nobody may be there to read it, and that is no reason to stop.
    let _unread = writeln!(io::stderr(), "{line}");
}
