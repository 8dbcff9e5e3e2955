//! The count of coroutines that a scope waits for.

#![expect(unsafe_code, reason = "claims the scope owner's ticket")]

use crate::coroutine::Cancelled;
use crate::park::{self, Cancel, Outcome, Ticket, WaitReason};
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
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
#[derive(Debug, Default)]
pub(crate) struct ScopeCount {
    running: AtomicUsize,
    /// The worst end that no `join` has seen, as a number.
    failure: AtomicU8,
    owner: Mutex<Option<Ticket>>,
}

impl ScopeCount {
    pub(crate) fn one_more(&self) {
        if self.running.fetch_add(1, Ordering::Relaxed) > usize::MAX / 2 {
            self.running.fetch_sub(1, Ordering::Relaxed);
            panic!("too many running threads in thread scope");
        }
    }

    /// A coroutine has ended: nothing of it refers to what the scope lent out.
    pub(crate) fn one_finished(&self, unhandled: Option<Failure>) {
        if let Some(failure) = unhandled {
            self.note_failure(failure);
        }
        if self.running.fetch_sub(1, Ordering::AcqRel) == 1 {
            let mut owner = self.owner.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(ticket) = owner.take() {
                // SAFETY: the owner leaves its wait only when this lock has been released.
                drop(unsafe { ticket.claim() });
            }
        }
    }

    /// A failure that no `join` has seen.
    pub(crate) fn note_failure(&self, failure: Failure) {
        self.failure.fetch_max(failure as u8, Ordering::Relaxed);
    }

    pub(crate) fn running(&self) -> usize {
        self.running.load(Ordering::Relaxed)
    }

    /// The worst failure that no `join` has seen.
    pub(crate) fn failure(&self) -> Option<Failure> {
        let failure = self.failure.load(Ordering::Relaxed);
        [Failure::Cancelled, Failure::Panicked].into_iter().find(|one| *one as u8 == failure)
    }

    /// Waits for all. A cancellation does not end this wait: the coroutines borrow.
    pub(crate) fn wait(&self) {
        while self.running.load(Ordering::Acquire) != 0 {
            let outcome = park::park(WaitReason::Scope, None, Cancel::Defer, |ticket| {
                let mut owner = self.owner.lock().unwrap_or_else(PoisonError::into_inner);
                if self.running.load(Ordering::Acquire) == 0 {
                    return false;
                }
                *owner = Some(ticket);
                true
            });
            debug_assert!(matches!(outcome, Outcome::Woken | Outcome::Interrupted));
        }
        // The last one may still hold the lock; nothing of the scope's may go before it has left.
        self.owner.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}
