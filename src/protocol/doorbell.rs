//! How a plain thread sleeps until it is called.
//!
//! ```text
//!   caller                              thread
//!   state -> Rung                       looks for a while: state == Rung?
//!   was it Asleep?                      lock; state: Quiet -> Asleep
//!     lock, unlock                      while state != Rung: wait, which unlocks
//!     notify                            state -> Quiet
//! ```
//!
//! Most calls come while the thread still looks, or before it does, and then a call is one swap. A
//! caller that sees `Asleep` goes through the lock, so the thread waits by then, and is notified.

use crate::primitive::sync::atomic::{AtomicU32, Ordering};
use crate::primitive::sync::{Condvar, Mutex};
use crate::primitive::{back_off, lock};
use std::sync::PoisonError;
use std::time::Instant;

const QUIET: u32 = 0;
const RUNG: u32 = 1;
const ASLEEP: u32 = 2;

/// See the module's description.
#[derive(Debug)]
pub(crate) struct Doorbell {
    state: AtomicU32,
    calling: Mutex<()>,
    called: Condvar,
}

impl Doorbell {
    pub(crate) fn new() -> Doorbell {
        Doorbell { state: AtomicU32::new(QUIET), calling: Mutex::new(()), called: Condvar::new() }
    }

    /// Calls the thread. What was done before is seen by it.
    pub(crate) fn ring(&self) {
        if self.state.swap(RUNG, Ordering::AcqRel) == ASLEEP {
            drop(lock(&self.calling));
            self.called.notify_one();
        }
    }

    /// Blocks until the bell was rung, or until the deadline; whether it was rung.
    pub(crate) fn wait(&self, deadline: Option<Instant>) -> bool {
        // To sleep and to be called takes far longer than most calls do to come.
        if back_off(|| self.take_ring()) {
            return true;
        }
        let mut calling = lock(&self.calling);
        // Fails if it was rung meanwhile, which the loop sees.
        let _rung =
            self.state.compare_exchange(QUIET, ASLEEP, Ordering::Relaxed, Ordering::Relaxed);
        while !self.take_ring() {
            calling = match deadline {
                None => self.called.wait(calling).unwrap_or_else(PoisonError::into_inner),
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return self.give_up();
                    }
                    let waited = self.called.wait_timeout(calling, left);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
        true
    }

    fn take_ring(&self) -> bool {
        self.state.load(Ordering::Relaxed) == RUNG && self.give_up()
    }

    /// Ends the wait. Whether the bell was rung before that.
    fn give_up(&self) -> bool {
        self.state.swap(QUIET, Ordering::AcqRel) == RUNG
    }
}

#[cfg(all(test, loom))]
mod models {
    use super::*;
    use loom::sync::Arc;

    #[test]
    fn a_ring_is_heard_and_shows_what_came_before() {
        loom::model(|| {
            let shared = Arc::new((Doorbell::new(), AtomicU32::new(0)));
            let theirs = shared.clone();
            let caller = loom::thread::spawn(move || {
                theirs.1.store(1, Ordering::Relaxed);
                theirs.0.ring();
            });
            assert!(shared.0.wait(None));
            assert_eq!(shared.1.load(Ordering::Relaxed), 1);
            caller.join().unwrap();
        });
    }

    /// One call after another, of which each waits for the thread to have heard the one before.
    #[test]
    fn each_ring_is_heard_once() {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(3);
        model.check(|| {
            let bells = Arc::new((Doorbell::new(), Doorbell::new()));
            let theirs = bells.clone();
            let caller = loom::thread::spawn(move || {
                theirs.0.ring();
                theirs.1.wait(None);
                theirs.0.ring();
            });
            bells.0.wait(None);
            bells.1.ring();
            bells.0.wait(None);
            caller.join().unwrap();
        });
    }

    /// One that gives up just as the bell rings has heard it, or hears it when it waits again.
    #[test]
    fn a_ring_at_the_deadline_is_not_lost() {
        loom::model(|| {
            let bell = Arc::new(Doorbell::new());
            let theirs = bell.clone();
            let caller = loom::thread::spawn(move || theirs.ring());
            if !bell.wait(Some(Instant::now())) {
                bell.wait(None);
            }
            caller.join().unwrap();
        });
    }
}
