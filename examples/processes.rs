//! Runs shell commands, a few at a time, and prints what comes of each as it ends.
//!
//! ```sh
//! cargo run --release --example processes -- --jobs 2 'sleep 1; echo one' 'echo two' 'exit 3'
//! ```
//!
//! Ctrl-C kills what runs and leaves the rest out.

#[path = "support/jobs.rs"]
mod jobs;

use clap::Parser;
use jobs::{Done, End};
use pirn::signal::{SignalKind, Signals};
use std::io::{self, Write};
use std::process::ExitCode;

#[derive(Parser)]
#[command(about = "Runs shell commands, a few at a time.")]
struct Options {
    /// Commands at a time.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..))]
    jobs: u16,
    /// Commands for the shell.
    #[arg(required = true)]
    commands: Vec<String>,
}

fn main() -> io::Result<ExitCode> {
    let Options { jobs, commands } = Options::parse();
    // From here on Ctrl-C is ours.
    let signals = Signals::new([SignalKind::interrupt(), SignalKind::terminate()])?;
    let mut failed = 0;
    let end = jobs::run(commands, jobs.into(), signals, |done| {
        failed += usize::from(!done.output.as_ref().is_ok_and(|output| output.status.success()));
        // There is nobody to tell if that fails.
        let _told = print(&done);
    })?;
    match end {
        End::Stopped => {
            eprintln!("stopped");
            // What shells say of a program that Ctrl-C has ended.
            Ok(ExitCode::from(130))
        }
        End::All if failed > 0 => {
            eprintln!("{failed} failed");
            Ok(ExitCode::FAILURE)
        }
        End::All => Ok(ExitCode::SUCCESS),
    }
}

fn print(done: &Done) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    match &done.output {
        Ok(output) => {
            writeln!(stdout, "{:>8.0?}  {}: {}", done.took, done.command, output.status)?;
            stdout.write_all(&output.stdout)?;
            io::stderr().write_all(&output.stderr)
        }
        Err(error) => writeln!(stdout, "{:>8.0?}  {}: {error}", done.took, done.command),
    }
}
