//! Parking a plain OS thread.
//!
//! `std::thread::park` is not used: its token belongs to the user, and a wait that consumed it
//! would lose a wakeup that was meant for him.

use super::{Outcome, Target, Ticket};
use crate::protocol::park_word::ParkWord;
use std::cell::Cell;
use std::ptr::NonNull;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Instant;

/// Where one OS thread waits.
#[derive(Debug)]
pub(crate) struct OsParker {
    pub(super) word: ParkWord,
    /// Whether the claimant of the open wait has resumed the thread.
    resumed: Mutex<bool>,
    condvar: Condvar,
}

impl OsParker {
    fn new() -> Arc<OsParker> {
        Arc::new(OsParker {
            word: ParkWord::new(),
            resumed: Mutex::new(false),
            condvar: Condvar::new(),
        })
    }

    /// Called by whoever has claimed the wait.
    pub(super) fn resume(&self) {
        *self.resumed.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.condvar.notify_one();
    }

    /// Blocks until resumed, or until the deadline; whether it was resumed.
    fn block(&self, deadline: Option<Instant>) -> bool {
        let mut resumed = self.resumed.lock().unwrap_or_else(PoisonError::into_inner);
        while !*resumed {
            resumed = match deadline {
                None => self.condvar.wait(resumed).unwrap_or_else(PoisonError::into_inner),
                Some(deadline) => {
                    let now = Instant::now();
                    if now >= deadline {
                        return false;
                    }
                    self.condvar
                        .wait_timeout(resumed, deadline - now)
                        .unwrap_or_else(PoisonError::into_inner)
                        .0
                }
            };
        }
        *resumed = false;
        true
    }
}

thread_local! {
    /// Taken out while a wait is open, so that a wait within a publication has one of its own.
    static PARKER: Cell<Option<Arc<OsParker>>> = const { Cell::new(None) };
}

pub(super) fn park(deadline: Option<Instant>, publish: impl FnOnce(Ticket) -> bool) -> Outcome {
    // In a thread-local's destructor the slot may be gone already: a parker for this wait alone.
    let parker = PARKER.try_with(Cell::take).ok().flatten().unwrap_or_else(OsParker::new);
    let seq = parker.word.begin();
    let address = NonNull::new(Arc::as_ptr(&parker).cast_mut()).expect("an Arc is not null");
    let ticket = Ticket { target: Target::Thread(address), seq };
    let needless = !publish(ticket) && parker.word.retract(seq);
    let outcome = if needless || parker.block(deadline) {
        Outcome::Woken
    } else if parker.word.claim(seq) {
        Outcome::TimedOut
    } else {
        // Somebody was faster than the clock and is about to resume this thread.
        parker.block(None);
        Outcome::Woken
    };
    let _gone = PARKER.try_with(|slot| slot.set(Some(parker)));
    outcome
}
