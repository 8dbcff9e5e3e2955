//! Where the tests run, and what they look at.

use pirn::process::Command;
use std::collections::BTreeSet;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// Long enough for anything that is going to happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(240);

/// Runs a test on a plain thread and in coroutines.
#[track_caller]
pub(crate) fn everywhere(test: impl Fn() + Send + Sync) {
    guarded("on a thread", &test);
    for workers in [1, 2] {
        guarded(&format!("on {workers} workers"), || runtime(workers).run(&test));
    }
}

pub(crate) fn runtime(workers: usize) -> pirn::Runtime {
    pirn::Builder::new().workers(workers).build().unwrap()
}

/// Kills the process if `f` takes too long.
pub(crate) fn guarded<T>(name: &str, f: impl FnOnce() -> T) -> T {
    let (done, is_done) = channel::<()>();
    let test = std::thread::current().name().unwrap_or("test").to_owned();
    let stuck = format!("{test} {name}: stuck for {PATIENCE:?}");
    let watchdog = std::thread::spawn(move || {
        if is_done.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
            eprintln!("{stuck}");
            std::process::abort();
        }
    });
    let result = f();
    drop(done);
    watchdog.join().unwrap();
    result
}

/// A shell that runs this script.
pub(crate) fn shell(script: &str) -> Command {
    let mut command = Command::new("/bin/sh");
    command.arg("-c").arg(script);
    command
}

/// A child that runs until it is killed.
pub(crate) fn endless() -> Command {
    let mut command = Command::new("sleep");
    command.arg("100000");
    command
}

/// Waits, without keeping others from running, until something is so.
#[track_caller]
pub(crate) fn wait_until(mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < end, "waited for something that does not happen");
        pirn::thread::sleep(Duration::from_millis(1));
    }
}

/// The state of a process, as one letter, if there is such a process: `Z` for one that has ended
/// and was not waited for.
pub(crate) fn state(pid: u32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name before it may contain anything.
    stat[stat.rfind(')')? + 2..].chars().next()
}

/// What is open, but for what looks.
pub(crate) fn descriptors() -> BTreeSet<String> {
    let entries = std::fs::read_dir("/proc/self/fd").unwrap();
    entries
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let target = std::fs::read_link(&path).ok()?;
            Some(format!("{} -> {}", path.display(), target.display()))
        })
        .filter(|line| !line.contains("/fd"))
        .collect()
}
