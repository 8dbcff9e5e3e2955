//! Goroutines: a program of their own, `benches/go/main.go`.

use std::io;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// Builds it, the first time. Its modes differ in what follows.
pub(super) fn program(mode: &str) -> io::Result<Command> {
    static PATH: OnceLock<Option<String>> = OnceLock::new();
    let path = PATH.get_or_init(|| built().inspect_err(|error| eprintln!("no Go: {error}")).ok());
    let path = path.as_ref().ok_or(io::ErrorKind::NotFound)?;
    let mut command = Command::new(path);
    if mode == "serve" {
        command.arg(mode);
    }
    Ok(command)
}

fn built() -> io::Result<String> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/go.sh");
    let output = Command::new(script).stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err(io::Error::other(output.status.to_string()));
    }
    Ok(String::from_utf8(output.stdout).map_err(io::Error::other)?.trim().to_owned())
}
