//! Commands that are run a few at a time, in a runtime of their own.

use pirn::channel::{Receiver, bounded, select, unbounded};
use pirn::process::{Command, Output};
use pirn::signal::Signals;
use std::io;
use std::time::{Duration, Instant};

/// What came of a command.
pub(crate) struct Done {
    pub(crate) command: String,
    pub(crate) output: io::Result<Output>,
    pub(crate) took: Duration,
}

/// How it all ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Every command was run to its end.
    All,
    /// A signal came.
    Stopped,
}

/// Runs the commands by `sh`, at most `jobs` at a time, and reports each as it ends. A signal kills
/// those that run.
pub(crate) fn run(
    commands: Vec<String>,
    jobs: usize,
    signals: Signals,
    mut report: impl FnMut(Done),
) -> io::Result<End> {
    let runtime = pirn::Builder::new().build()?;
    let (stopper, stop) = bounded(1);
    drop(runtime.spawn(move || signals.recv().is_ok_and(|kind| stopper.send(kind).is_ok())));
    let results = start(&runtime, commands, jobs);
    loop {
        select! {
            recv(results) -> done => match done {
                Ok(done) => report(done),
                Err(_all_workers_are_gone) => return Ok(End::All),
            },
            recv(stop) -> _signal => {
                // Cancels the workers, and each takes its child along.
                drop(runtime);
                return Ok(End::Stopped);
            }
        }
    }
}

fn start(runtime: &pirn::Runtime, commands: Vec<String>, jobs: usize) -> Receiver<Done> {
    let (queue, next) = unbounded();
    let (done, results) = unbounded();
    for command in commands {
        queue.send(command).expect("the other end is here");
    }
    for _ in 0..jobs {
        let (next, done) = (next.clone(), done.clone());
        drop(runtime.spawn(move || {
            for command in next {
                let start = Instant::now();
                let output = Command::new("sh").args(["-c", &command]).kill_on_drop(true).output();
                let result = Done { command, output, took: start.elapsed() };
                if done.send(result).is_err() {
                    break;
                }
            }
        }));
    }
    results
}
