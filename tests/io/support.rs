//! Runs a test as coroutines, as plain threads, and as some of each.

use std::panic::resume_unwind;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

/// Long enough for anything that is going to happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(240);

/// Where the peers of a test run.
#[derive(Clone, Copy, Debug)]
pub(crate) enum World {
    Threads,
    /// They share the caller's runtime.
    Coroutines,
}

pub(crate) enum Peer<T> {
    Thread(std::thread::JoinHandle<T>),
    Coroutine(pirn::thread::JoinHandle<T>),
}

impl World {
    pub(crate) fn spawn<T: Send + 'static>(
        self,
        f: impl FnOnce() -> T + Send + 'static,
    ) -> Peer<T> {
        match self {
            World::Threads => Peer::Thread(std::thread::spawn(f)),
            World::Coroutines => Peer::Coroutine(pirn::spawn(f)),
        }
    }
}

impl<T: Send + 'static> Peer<T> {
    /// The result; a panic of the peer goes on here.
    pub(crate) fn join(self) -> T {
        let result = match self {
            // Not to hold up the coroutines of this one's home.
            Peer::Thread(thread) => pirn::blocking(move || thread.join()),
            Peer::Coroutine(coroutine) => coroutine.join(),
        };
        result.unwrap_or_else(|payload| resume_unwind(payload))
    }
}

/// Runs a test in every world. The process dies, with the name of the world, if one gets stuck.
#[track_caller]
pub(crate) fn everywhere(test: impl Fn(World) + Send + Sync) {
    let name = std::thread::current().name().unwrap_or("test").to_owned();
    guarded(&format!("{name}: threads"), || test(World::Threads));
    for workers in [1, 2] {
        for world in [World::Coroutines, World::Threads] {
            guarded(&format!("{name}: a coroutine on {workers} workers, {world:?}"), || {
                runtime(workers).run(|| test(world));
            });
        }
    }
}

pub(crate) fn runtime(workers: usize) -> pirn::Runtime {
    pirn::Builder::new().workers(workers).build().unwrap()
}

/// Kills the process if `f` takes too long.
pub(crate) fn guarded<T>(name: &str, f: impl FnOnce() -> T) -> T {
    let (done, is_done) = channel::<()>();
    let stuck = format!("{name}: stuck for {PATIENCE:?}");
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

/// Lets others run until they are most likely blocked. They surely are on a single worker.
pub(crate) fn settle() {
    (0..50).for_each(|_| pirn::thread::yield_now());
}

/// Bytes that are not all the same.
pub(crate) fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|index| (index * 31 + index / 251) as u8).collect()
}
