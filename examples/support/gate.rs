//! A gate that opens once everybody has come to it.

use pirn::thread::{self, Thread};
use std::sync::{Arc, Mutex, PoisonError};

/// Where coroutines wait for each other.
#[derive(Clone)]
pub(crate) struct Gate(Arc<Mutex<State>>);

struct State {
    missing: u64,
    waiting: Vec<Thread>,
}

impl Gate {
    /// Opens when `count` have come.
    pub(crate) fn new(count: u64) -> Gate {
        Gate(Arc::new(Mutex::new(State { missing: count, waiting: Vec::new() })))
    }

    /// Comes to the gate and waits until it is open.
    pub(crate) fn wait(&self) {
        self.with(|state| {
            state.missing = state.missing.saturating_sub(1);
            if state.missing > 0 {
                state.waiting.push(thread::current());
            } else {
                state.waiting.drain(..).for_each(|thread| thread.unpark());
            }
        });
        while self.with(|state| state.missing > 0) {
            thread::park();
        }
    }

    /// Nobody parks with the lock held, so it may be std's.
    fn with<R>(&self, f: impl FnOnce(&mut State) -> R) -> R {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
