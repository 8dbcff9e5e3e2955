//! Where the tests run: on threads, in coroutines, and on both at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

pub(crate) fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

pub(crate) fn runtime(workers: usize) -> pirn::Runtime {
    pirn::Builder::new().workers(workers).build().unwrap()
}

/// How something is set going beside the caller.
#[derive(Clone)]
pub(crate) enum Place {
    Threads,
    Coroutines,
    /// By turns.
    Both(Arc<AtomicUsize>),
}

pub(crate) enum Running<T> {
    /// What the thread will leave. A coroutine that joined the thread itself would block its worker,
    /// which others need in order to let the thread end.
    Thread(pirn::channel::Receiver<T>),
    Coroutine(pirn::thread::JoinHandle<T>),
}

impl<T> Running<T> {
    #[track_caller]
    pub(crate) fn join(self) -> T {
        match self {
            Running::Thread(result) => result.recv().unwrap(),
            Running::Coroutine(coroutine) => coroutine.join().unwrap(),
        }
    }
}

impl Place {
    pub(crate) fn go<T: Send + 'static>(
        &self,
        f: impl FnOnce() -> T + Send + 'static,
    ) -> Running<T> {
        let on_thread = match self {
            Place::Threads => true,
            Place::Coroutines => false,
            Place::Both(turn) => turn.fetch_add(1, Ordering::Relaxed) % 2 == 0,
        };
        match on_thread {
            true => {
                let (s, r) = pirn::channel::bounded(1);
                std::thread::spawn(move || drop(s.send(f())));
                Running::Thread(r)
            }
            false => Running::Coroutine(pirn::spawn(f)),
        }
    }
}

/// Runs `test` on a thread and in coroutines of one, two and four workers, with peers of each kind.
pub(crate) fn everywhere(test: impl Fn(&Place) + Sync) {
    let both = || Place::Both(Arc::default());
    test(&Place::Threads);
    test(&both());
    for workers in [1, 2, 4] {
        let runtime = runtime(workers);
        runtime.run(|| test(&Place::Coroutines));
        runtime.run(|| test(&both()));
    }
}

/// Counts what is alive.
pub(crate) struct Counted(pub(crate) Arc<AtomicUsize>);

impl Counted {
    pub(crate) fn new(alive: &Arc<AtomicUsize>) -> Counted {
        alive.fetch_add(1, Ordering::Relaxed);
        Counted(alive.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
