//! The count of coroutines that a scope waits for, or a pool for those that have left it.

#![expect(unsafe_code, reason = "claims the scope owner's ticket")]

use crate::coroutine::execution::unwind_cancelled;
use crate::coroutine::{Cancelled, Coroutine};
use crate::park::{self, Cancel, Outcome, Ticket, WaitReason};
use crate::protocol::headcount::Headcount;
use crate::sched;
use std::mem;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, PoisonError};

/// How a coroutine ended, if not well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Failure {
    Cancelled = 1,
    Panicked = 2,
}

impl Failure {
    pub(crate) fn of<T>(result: &std::thread::Result<T>) -> Option<Failure> {
        let payload = result.as_ref().err()?;
        Some(if payload.is::<Cancelled>() { Failure::Cancelled } else { Failure::Panicked })
    }
}

/// Shared by a scope and the coroutines in it.
#[derive(Default)]
pub(crate) struct ScopeCount {
    running: Headcount<Ticket>,
    /// The worst end that no `join` has seen, as a number.
    failure: AtomicU8,
    children: Mutex<Children>,
}

/// Takes a count back when it is dropped: the spawn has failed, or what was to be run has panicked when
/// it was dropped for that.
#[must_use = "the scope waits for it"]
pub(crate) struct Counted<'a>(&'a ScopeCount);

impl Counted<'_> {
    /// The coroutine is there, and counts itself out at its end.
    pub(crate) fn hand_over(self) {
        mem::forget(self);
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.one_finished(None);
    }
}

/// How many coroutines a scope keeps at least before it looks for those that have ended.
const FEW: usize = 64;

/// The coroutines of a scope, for the day that it is cancelled.
#[derive(Default)]
struct Children {
    /// At most twice as many as there were alive at the last look, and a few.
    list: Vec<Coroutine>,
    /// How long the list may get before the next look.
    limit: usize,
    cancelled: bool,
}

impl ScopeCount {
    /// Counts one that is about to be spawned.
    pub(crate) fn one_more(&self) -> Counted<'_> {
        assert!(self.running.come(), "too many running threads in thread scope");
        Counted(self)
    }

    /// A coroutine has ended: nothing of it refers to what the scope lent out.
    pub(crate) fn one_finished(&self, unhandled: Option<Failure>) {
        if let Some(failure) = unhandled {
            self.note_failure(failure);
        }
        // SAFETY: the owner retracts its ticket before it goes, and that waits until this has been called.
        self.running.leave(|ticket| drop(unsafe { ticket.claim() }));
    }

    /// Remembers a coroutine that has just been spawned, or cancels it if the scope is cancelled.
    pub(crate) fn add(&self, coroutine: &Coroutine) {
        let mut children = self.children.lock().unwrap_or_else(PoisonError::into_inner);
        if children.cancelled {
            drop(children);
            let _asked = sched::cancel(coroutine);
            return;
        }
        if children.list.len() >= children.limit.max(FEW) {
            children.list.retain(|child| !child.header().status.is_complete());
            children.limit = 2 * children.list.len();
        }
        children.list.push(coroutine.clone());
    }

    /// Cancels all that are in the scope, and all that will be.
    pub(crate) fn cancel(&self) {
        let mut children = self.children.lock().unwrap_or_else(PoisonError::into_inner);
        children.cancelled = true;
        let list = mem::take(&mut children.list);
        drop(children);
        sched::cancel_all(&list);
    }

    /// A failure that no `join` has seen.
    pub(crate) fn note_failure(&self, failure: Failure) {
        self.failure.fetch_max(failure as u8, Ordering::Relaxed);
    }

    pub(crate) fn running(&self) -> usize {
        self.running.count()
    }

    /// The worst failure that no `join` has seen.
    pub(crate) fn failure(&self) -> Option<Failure> {
        let failure = self.failure.load(Ordering::Relaxed);
        [Failure::Cancelled, Failure::Panicked].into_iter().find(|one| *one as u8 == failure)
    }

    /// Waits for all. A cancellation does not end this wait, since the coroutines borrow: it is
    /// passed on to them.
    pub(crate) fn wait(&self) {
        let mut cancel = Cancel::Tell;
        while !self.running.is_empty() {
            if cancel == Cancel::Tell && park::is_over() {
                self.cancel();
                cancel = Cancel::Defer;
            }
            let outcome = self.pause(WaitReason::Scope, cancel);
            debug_assert!(matches!(outcome, Outcome::Woken | Outcome::Interrupted));
        }
        // The last one may still hold the lock; nothing of the scope's may go before it has left.
        self.running.retract();
        // The coroutines refer to this, too: that ring would keep all of them for ever.
        let mut children = self.children.lock().unwrap_or_else(PoisonError::into_inner);
        drop(mem::take(&mut children.list));
    }

    /// Waits until none is running at some moment, for one caller at a time. A cancellation ends this
    /// wait.
    pub(crate) fn wait_for_none(&self) {
        while !self.running.is_empty() {
            let outcome = self.pause(WaitReason::Join, Cancel::Deliver);
            self.running.retract();
            if outcome == Outcome::Cancelled {
                unwind_cancelled();
            }
        }
    }

    /// Waits until the last one ends, if one is running.
    fn pause(&self, reason: WaitReason, cancel: Cancel) -> Outcome {
        park::park(reason, None, cancel, |ticket| self.running.enter(ticket))
    }
}
