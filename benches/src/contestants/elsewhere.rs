//! Contestants that are programs of their own, which scripts beside the sources make: goroutines,
//! gevent, and pirn built so that coroutines may move.

use std::io;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// `benches/go/main.go`. What it works is told by what follows.
pub(super) fn go(mode: &str) -> io::Result<Command> {
    static PATH: OnceLock<Option<String>> = OnceLock::new();
    let mut command = Command::new(made_by("/go.sh", &PATH)?);
    if mode != "work" {
        command.arg(mode);
    }
    Ok(command)
}

/// `benches/gevent/main.py`, which only serves.
pub(super) fn gevent(mode: &str) -> io::Result<Command> {
    static PATH: OnceLock<Option<String>> = OnceLock::new();
    let mut command = Command::new(made_by("/gevent.sh", &PATH)?);
    command.args([concat!(env!("CARGO_MANIFEST_DIR"), "/gevent/main.py"), mode]);
    Ok(command)
}

/// This program with the feature `migrating`.
pub(super) fn migrating(mode: &str) -> io::Result<Command> {
    static PATH: OnceLock<Option<String>> = OnceLock::new();
    let mut command = Command::new(made_by("/migrating.sh", &PATH)?);
    command.args([mode, super::MIGRATING]);
    Ok(command)
}

/// The path that the script prints, which runs once.
fn made_by(script: &str, path: &'static OnceLock<Option<String>>) -> io::Result<&'static str> {
    let made = || run(script).inspect_err(|error| eprintln!("{script}: {error}")).ok();
    path.get_or_init(made).as_deref().ok_or_else(|| io::ErrorKind::NotFound.into())
}

fn run(script: &str) -> io::Result<String> {
    let script = format!("{}{script}", env!("CARGO_MANIFEST_DIR"));
    let output = Command::new(script).stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err(io::Error::other(output.status.to_string()));
    }
    Ok(String::from_utf8(output.stdout).map_err(io::Error::other)?.trim().to_owned())
}
