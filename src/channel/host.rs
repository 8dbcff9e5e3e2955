//! How channels wait: by [`crate::park`], or as futures that wait to be polled.

#![expect(unsafe_code, reason = "passes on the contract of tickets")]

use crate::park::{self, Cancel, Claimed, Home, Outcome, Ticket, WaitReason};
use crate::protocol::channel::{Ended, Host, Patience, Place};
use crate::sched;
use std::cell::UnsafeCell;
use std::mem;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Waker;
use std::time::Instant;

/// What the caller waits for.
pub(crate) struct Parking(pub(super) WaitReason);

/// One that waits: a coroutine, a thread or a future.
#[derive(Clone, Copy)]
pub(crate) enum Waiting {
    Parked(Ticket),
    Polled(NonNull<WakerCell>),
}

// SAFETY: a cell is used with its channel locked, from any thread.
unsafe impl Send for Waiting {}

/// Where a future that waits leaves its waker: touched with its channel locked.
#[derive(Default)]
pub(crate) struct WakerCell(UnsafeCell<Option<Waker>>);

impl WakerCell {
    /// Puts another waker there, and takes the old one to be dropped without the lock.
    ///
    /// # Safety
    ///
    /// The lock is held of the channel in whose queue this is.
    pub(super) unsafe fn swap(&self, waker: &mut Option<Waker>) {
        // SAFETY: the caller's promise.
        mem::swap(unsafe { &mut *self.0.get() }, waker);
    }
}

/// Resumes one whose wait was claimed, when it is dropped.
pub(crate) enum Resume {
    Parked(#[expect(dead_code, reason = "dropping it resumes")] Claimed),
    /// Empty once it has woken.
    Polled(Option<Waker>),
}

impl Drop for Resume {
    fn drop(&mut self) {
        if let Resume::Polled(waker) = self {
            waker.take().into_iter().for_each(Waker::wake);
        }
    }
}

impl Host for Parking {
    type Ticket = Waiting;
    type Claimed = Resume;

    #[inline]
    unsafe fn claim(waiting: Waiting) -> Option<Resume> {
        match waiting {
            // SAFETY: the caller's promise.
            Waiting::Parked(ticket) => unsafe { ticket.claim() }.map(Resume::Parked),
            Waiting::Polled(cell) => {
                // SAFETY: it was found in a queue, whose lock is held, and leaves that queue under
                // the lock before it goes.
                let waker = unsafe { &mut *cell.as_ref().0.get() }.take();
                waker.map(|waker| Resume::Polled(Some(waker)))
            }
        }
    }

    #[inline]
    unsafe fn place(waiting: Waiting) -> Place {
        let Waiting::Parked(ticket) = waiting else { return Place::Busy };
        // SAFETY: the caller's promise.
        match unsafe { ticket.home() } {
            Home::Idle => Place::Idle,
            Home::Here => Place::Here,
            Home::Elsewhere => Place::Busy,
        }
    }

    /// A plain thread does not know, and looks.
    #[inline]
    fn somebody_idles() -> bool {
        let idle = |idle: &crate::protocol::idle::Idle| idle.sleepers() + idle.searching() > 0;
        sched::with_processor(|_, shared| idle(&shared.idle)).unwrap_or(true)
    }

    #[inline]
    fn park(
        &self,
        deadline: Option<Instant>,
        patience: Patience,
        publish: impl FnOnce(Waiting) -> bool,
    ) -> Ended {
        let cancel = match patience {
            Patience::Cancellable => Cancel::Deliver,
            Patience::Patient => Cancel::Defer,
        };
        let publish = |ticket| publish(Waiting::Parked(ticket));
        match park::park(self.0, deadline, cancel, publish) {
            Outcome::Woken => Ended::Woken,
            Outcome::TimedOut => Ended::TimedOut,
            Outcome::Cancelled => Ended::Cancelled,
            Outcome::Interrupted => Ended::Interrupted,
        }
    }

    fn random(n: usize) -> usize {
        sched::random_below(n).unwrap_or_else(|| random_of_threads(n))
    }
}

/// Random numbers for plain threads: Weyl's sequence through Stafford's mixer (variant 13, as in
/// *SplitMix64*, Steele, Lea and Flood, 2014).
fn random_of_threads(n: usize) -> usize {
    static SEQUENCE: AtomicU64 = AtomicU64::new(0);
    let mut x = SEQUENCE.fetch_add(0x9E37_79B9_7F4A_7C15, Ordering::Relaxed);
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^= x >> 31;
    (((x >> 32) * n as u64) >> 32) as usize
}

/// Waits until the clock shows `deadline`, or for ever. `false`: it was cancelled.
pub(super) fn sleep_until(deadline: Option<Instant>) -> bool {
    while deadline.is_none_or(|deadline| Instant::now() < deadline) {
        let host = Parking(WaitReason::Clock);
        if host.park(deadline, Patience::Cancellable, |_| true) == Ended::Cancelled {
            return false;
        }
    }
    true
}
