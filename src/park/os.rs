//! Parking a plain OS thread.
//!
//! `std::thread::park` is not used: its token belongs to the user, and a wait that consumed it
//! would lose a wakeup that was meant for him.

use super::{Outcome, Target, Ticket};
use crate::protocol::doorbell::Doorbell;
use crate::protocol::park_word::ParkWord;
use std::cell::Cell;
use std::ptr::NonNull;
use std::sync::Arc;
use std::time::Instant;

/// Where one OS thread waits.
#[derive(Debug)]
pub(crate) struct OsParker {
    pub(super) word: ParkWord,
    /// Rung by the claimant of the open wait.
    bell: Doorbell,
}

impl OsParker {
    fn new() -> Arc<OsParker> {
        Arc::new(OsParker { word: ParkWord::new(), bell: Doorbell::new() })
    }

    /// Called by whoever has claimed the wait.
    pub(super) fn resume(&self) {
        self.bell.ring();
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
    let outcome = if needless || parker.bell.wait(deadline) {
        Outcome::Woken
    } else if parker.word.claim(seq) {
        Outcome::TimedOut
    } else {
        // Somebody was faster than the clock and is about to resume this thread.
        parker.bell.wait(None);
        Outcome::Woken
    };
    let _gone = PARKER.try_with(|slot| slot.set(Some(parker)));
    outcome
}
