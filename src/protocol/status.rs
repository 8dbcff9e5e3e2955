//! Completion, joining, cancellation and lifetime of one coroutine, in one word.
//!
//! ```text
//!   bit 0  COMPLETE       the body has ended; set once, on the coroutine's own stack
//!   bit 1  JOIN_INTEREST  a join handle exists that has not given up the result
//!   bit 2  JOIN_WAITER    the handle's owner is parked in `join`; the ticket cell is the completer's
//!   bit 3  CANCELLED      cancellation has been asked for
//!   bit 4  NOTIFIED       the completer is done with the joiner's ticket
//!   bit 5  POKED          there is something new to look at before the next wait
//!   bit 6  CALLED         the handle's owner runs the coroutine on this thread, and does nothing else
//!   rest   reference count
//! ```
//!
//! Who may touch what:
//!
//! | | not `COMPLETE` | `COMPLETE` |
//! |---|---|---|
//! | the result | the coroutine | the handle if `JOIN_INTEREST` was set when `COMPLETE` was, else already dropped |
//! | the ticket cell | the joiner while `JOIN_WAITER` is clear, nobody while it is set | the completer until `NOTIFIED` |
//!
//! So an unclaimed result is always dropped by the coroutine itself, before completion is
//! published; a handle that is dropped later owns the result and drops it as std's does.
//!
//! The cell may hold a task's waker instead of a ticket. The completer takes it out before it wakes
//! it, and the task does not wait for that.
//!
//! A joiner that was woken for another reason (a timeout, a cancellation) takes `JOIN_WAITER` back.
//! If completion was faster, the completer may be about to claim the joiner's wait, so the joiner
//! stays until `NOTIFIED`: a few instructions of the completer's.
//!
//! # A joiner that runs what it joins
//!
//! The machine lets a joiner run a coroutine that has not started as it would call a function. While
//! `CALLED` is set, the scheduler's reference and the handle's are both that thread's. If there is no
//! third, nobody else can get at the word, nor make another reference: then its changes are
//! plain stores. Every reference that was dropped before is acquired by the load that finds it gone. When the
//! coroutine leaves the thread's stack before its end, `CALLED` is taken off first.
//!
//! # Cancellation
//!
//! `CANCELLED` is set once and stays. `POKED` says that there is something new to look at: a
//! cancellation of the coroutine, or of a scope in which it runs. Whoever sets it then claims the
//! wait that is open, if one is; the coroutine's machine looks at it when it has opened a wait. Both
//! write first and read the other's word then, with a fence in between whose price the canceller
//! pays ([`crate::primitive`]), so one of them sees the other: no wait is opened unseen.
//!
//! References count memory alone: dropping the last one frees the allocation and runs no user code.

use crate::primitive::sync::atomic::{AtomicUsize, Ordering};

const COMPLETE: usize = 1;
const JOIN_INTEREST: usize = 1 << 1;
const JOIN_WAITER: usize = 1 << 2;
const CANCELLED: usize = 1 << 3;
const NOTIFIED: usize = 1 << 4;
const POKED: usize = 1 << 5;
const CALLED: usize = 1 << 6;
const REF_ONE: usize = 1 << 7;
/// Twice as many references would overflow the count; nothing but a leak loop gets here.
const REF_LIMIT: usize = usize::MAX / 2;

/// See the module's description.
#[derive(Debug)]
pub(crate) struct Status(AtomicUsize);

/// What [`Status::try_complete`] found.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Completion {
    /// Nobody will ask for the result: drop it, then try again with
    /// [`Status::complete_unclaimed`].
    Unclaimed,
    /// Published; the result is the handle's now.
    Published {
        /// A joiner is parked: claim its ticket before [`Status::release_completed`].
        joiner: bool,
    },
}

/// What became of a request to cancel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// It stands.
    First,
    /// It stood before.
    Again,
    /// The coroutine has completed.
    TooLate,
}

/// What a handle that gives up its interest has to do.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Released {
    /// The coroutine will drop its own result.
    BeforeCompletion,
    /// The result belongs to the caller, who must drop it.
    OwnsResult,
}

impl Status {
    /// A coroutine with two references: the scheduler's and the join handle's.
    pub(crate) fn new() -> Self {
        Status(AtomicUsize::new((2 * REF_ONE) | JOIN_INTEREST))
    }

    // Completion: called by the coroutine itself.

    /// Publishes completion if somebody still wants the result.
    #[inline]
    pub(crate) fn try_complete(&self) -> Completion {
        let mut word = self.0.load(Ordering::Acquire);
        if Self::is_the_callers(word) {
            debug_assert!(word & (COMPLETE | JOIN_WAITER) == 0);
            self.0.store(word | COMPLETE, Ordering::Release);
            return Completion::Published { joiner: false };
        }
        loop {
            debug_assert!(word & COMPLETE == 0, "a coroutine completes once");
            if word & JOIN_INTEREST == 0 {
                // Acquire pairs with the handle's release: it no longer touches anything.
                self.0.load(Ordering::Acquire);
                return Completion::Unclaimed;
            }
            match self.0.compare_exchange_weak(
                word,
                word | COMPLETE,
                Ordering::AcqRel,
                Ordering::Relaxed,
            ) {
                Ok(_) => return Completion::Published { joiner: word & JOIN_WAITER != 0 },
                Err(now) => word = now,
            }
        }
    }

    /// Publishes completion after the unclaimed result has been dropped.
    pub(crate) fn complete_unclaimed(&self) {
        let before = self.0.fetch_or(COMPLETE, Ordering::AcqRel);
        debug_assert!(before & (COMPLETE | JOIN_INTEREST) == 0);
    }

    /// Whether nobody can ask for the result any more. Only the coroutine itself may rely on it.
    pub(crate) fn is_unclaimed(&self) -> bool {
        // Acquire as in `try_complete`.
        self.0.load(Ordering::Acquire) & JOIN_INTEREST == 0
    }

    // Called by whoever has the scheduler's reference and the handle's, on one thread.

    /// The handle's owner is about to run the coroutine, and does nothing else until that has ended or
    /// [`Status::end_call`].
    #[inline]
    pub(crate) fn begin_call(&self) {
        let word = self.0.load(Ordering::Acquire);
        if word / REF_ONE == 2 {
            debug_assert!(word & JOIN_INTEREST != 0 && word & (COMPLETE | JOIN_WAITER) == 0);
            self.0.store(word | CALLED, Ordering::Relaxed);
        }
    }

    /// It has left that thread's stack, and may end anywhere.
    pub(crate) fn end_call(&self) {
        self.0.fetch_and(!CALLED, Ordering::Relaxed);
    }

    /// Whether nobody but the thread that runs it has a reference.
    #[inline]
    fn is_the_callers(word: usize) -> bool {
        word & CALLED != 0 && word / REF_ONE == 2
    }

    // Joining: called by the owner of the join handle.

    #[inline]
    pub(crate) fn is_complete(&self) -> bool {
        self.0.load(Ordering::Acquire) & COMPLETE != 0
    }

    /// Hands the ticket cell to the completer. `false`: the coroutine has completed.
    #[must_use = "a completed coroutine wakes nobody"]
    pub(crate) fn publish_joiner(&self) -> bool {
        let mut word = self.0.load(Ordering::Relaxed);
        loop {
            if word & COMPLETE != 0 {
                self.0.load(Ordering::Acquire);
                return false;
            }
            match self.0.compare_exchange_weak(
                word,
                word | JOIN_WAITER,
                Ordering::AcqRel,
                Ordering::Relaxed,
            ) {
                Ok(_) => return true,
                Err(now) => word = now,
            }
        }
    }

    /// Takes the ticket cell back. `false`: the coroutine has completed, and the caller must wait
    /// for [`Status::is_joiner_released`] before its wait's memory may go.
    #[must_use]
    pub(crate) fn retract_joiner(&self) -> bool {
        let mut word = self.0.load(Ordering::Relaxed);
        loop {
            if word & COMPLETE != 0 {
                return false;
            }
            match self.0.compare_exchange_weak(
                word,
                word & !JOIN_WAITER,
                Ordering::AcqRel,
                Ordering::Relaxed,
            ) {
                Ok(_) => return true,
                Err(now) => word = now,
            }
        }
    }

    /// Whether a joiner's ticket was published when the coroutine completed.
    #[inline]
    pub(crate) fn has_joiner(&self) -> bool {
        self.0.load(Ordering::Relaxed) & JOIN_WAITER != 0
    }

    /// Whether the completer is done with the joiner's ticket.
    pub(crate) fn is_joiner_released(&self) -> bool {
        self.0.load(Ordering::Acquire) & NOTIFIED != 0
    }

    /// Gives up the result.
    pub(crate) fn release_interest(&self) -> Released {
        let mut word = self.0.load(Ordering::Relaxed);
        loop {
            debug_assert!(word & JOIN_INTEREST != 0);
            if word & COMPLETE != 0 {
                self.0.load(Ordering::Acquire);
                return Released::OwnsResult;
            }
            match self.0.compare_exchange_weak(
                word,
                word & !JOIN_INTEREST,
                Ordering::AcqRel,
                Ordering::Relaxed,
            ) {
                Ok(_) => return Released::BeforeCompletion,
                Err(now) => word = now,
            }
        }
    }

    // Cancellation.

    /// Asks for cancellation, and pokes.
    pub(crate) fn cancel(&self) -> Asked {
        let before = self.0.fetch_or(CANCELLED | POKED, Ordering::AcqRel);
        match (before & COMPLETE != 0, before & CANCELLED != 0) {
            (true, _) => Asked::TooLate,
            (false, true) => Asked::Again,
            (false, false) => Asked::First,
        }
    }

    #[inline]
    pub(crate) fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Acquire) & CANCELLED != 0
    }

    /// Says that there is something to look at before the next wait. The caller then claims the
    /// wait that is open, if one is, behind a heavy fence.
    pub(crate) fn poke(&self) {
        self.0.fetch_or(POKED, Ordering::AcqRel);
    }

    /// Whether it was poked since it last looked. Asked by the coroutine's machine when it has
    /// opened a wait, behind a light fence.
    #[inline]
    pub(crate) fn is_poked(&self) -> bool {
        self.0.load(Ordering::Acquire) & POKED != 0
    }

    /// Said by the coroutine before it looks at what it may have been poked for.
    pub(crate) fn note_poke(&self) {
        if self.is_poked() {
            self.0.fetch_and(!POKED, Ordering::AcqRel);
        }
    }

    // References.

    pub(crate) fn acquire_ref(&self) {
        let before = self.0.fetch_add(REF_ONE, Ordering::Relaxed);
        if before > REF_LIMIT {
            std::process::abort();
        }
    }

    /// Drops the scheduler's reference to a coroutine that has completed, and says in the same
    /// step that the completer will not touch the joiner's ticket again. `true`: it was the last.
    #[inline]
    #[must_use = "the last reference frees the allocation"]
    pub(crate) fn release_completed(&self) -> bool {
        let word = self.0.load(Ordering::Acquire);
        if word / REF_ONE == 1 {
            return true;
        }
        if Self::is_the_callers(word) {
            self.0.store(word - REF_ONE, Ordering::Relaxed);
            return false;
        }
        let notified = if word & JOIN_WAITER != 0 { NOTIFIED } else { 0 };
        self.0.fetch_sub(REF_ONE - notified, Ordering::AcqRel) / REF_ONE == 1
    }

    /// Drops a reference. `true`: it was the last, and the caller must free the allocation.
    #[inline]
    #[must_use = "the last reference frees the allocation"]
    pub(crate) fn release_ref(&self) -> bool {
        // The only holder needs no read-modify-write: nobody else can make a new reference.
        if self.0.load(Ordering::Acquire) / REF_ONE == 1 {
            return true;
        }
        self.0.fetch_sub(REF_ONE, Ordering::AcqRel) / REF_ONE == 1
    }
}

#[cfg(all(test, loom))]
mod models;
