//! What the tests share.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// A runtime of so many workers.
pub(crate) fn runtime(workers: usize) -> pirn::Runtime {
    pirn::Builder::new().workers(workers).build().unwrap()
}

/// Runs `f` in a coroutine and in a plain thread.
pub(crate) fn both(f: fn()) {
    f();
    runtime(1).run(f);
    runtime(2).run(f);
}

/// Lets others run until `condition` holds.
#[track_caller]
pub(crate) fn until(condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(240), "it does not come to that");
        pirn::thread::yield_now();
    }
}

/// Spawns `f` as a coroutine or, if `thread`, as a thread. The function that is returned joins it.
pub(crate) fn start<T: Send + 'static>(
    thread: bool,
    f: impl FnOnce() -> T + Send + 'static,
) -> Box<dyn FnOnce() -> T + Send> {
    if thread {
        let thread = std::thread::spawn(f);
        Box::new(move || {
            // What it waits for may live on this worker.
            while !thread.is_finished() {
                pirn::thread::yield_now();
            }
            thread.join().unwrap()
        })
    } else {
        let coroutine = pirn::spawn(f);
        Box::new(move || coroutine.join().unwrap())
    }
}

/// How many have come to some point.
#[derive(Default)]
pub(crate) struct Count(AtomicUsize);

impl Count {
    pub(crate) const fn new() -> Count {
        Count(AtomicUsize::new(0))
    }

    pub(crate) fn add(&self) -> usize {
        self.0.fetch_add(1, Ordering::SeqCst)
    }

    pub(crate) fn get(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

/// Tries until somebody else on the same worker has had its turn.
#[track_caller]
pub(crate) fn lets_others_run(name: &str, attempt: impl Fn() + Sync) {
    runtime(1).run(|| {
        let others = std::sync::Arc::new(Count::new());
        let count = others.clone();
        // It lives on this worker by the time that the attempts begin: nobody else can run it.
        let other = pirn::spawn(move || {
            pirn::thread::yield_now();
            count.add();
        });
        pirn::thread::yield_now();
        let mut tries = 0;
        while others.get() == 0 {
            attempt();
            tries += 1;
            assert!(tries < 100_000, "{name} keeps others from their turn");
        }
        other.join().unwrap();
    });
}
