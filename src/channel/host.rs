//! How channels wait: by [`crate::park`], or as futures that wait to be polled.

#![expect(unsafe_code, reason = "passes on the contract of tickets")]

use crate::park::{self, Cancel, Claimed, Home, Outcome, Ticket, WaitReason};
use crate::protocol::channel::{Ended, Host, Patience, Place};
use crate::sched;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// What the caller waits for.
pub(crate) struct Parking(pub(super) WaitReason);

impl Host for Parking {
    type Ticket = Ticket;
    type Claimed = Claimed;

    #[inline]
    unsafe fn claim(ticket: Ticket) -> Option<Claimed> {
        // SAFETY: the caller's promise.
        unsafe { ticket.claim() }
    }

    #[inline]
    unsafe fn place(ticket: Ticket) -> Place {
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

    #[inline(always)]
    fn park(
        &self,
        deadline: Option<Instant>,
        patience: Patience,
        publish: impl FnOnce(Ticket) -> bool,
    ) -> Ended {
        let cancel = match patience {
            Patience::Cancellable => Cancel::Deliver,
            Patience::Patient => Cancel::Defer,
        };
        match park::park(self.0, deadline, cancel, publish) {
            Outcome::Woken => Ended::Woken,
            Outcome::TimedOut => Ended::TimedOut,
            Outcome::Cancelled => Ended::Cancelled,
            Outcome::Interrupted => Ended::Interrupted,
        }
    }

    fn random() -> u64 {
        sched::random_bits().unwrap_or_else(random_of_threads)
    }
}

/// Random numbers for plain threads: Weyl's sequence through Stafford's mixer (variant 13, as in
/// *SplitMix64*, Steele, Lea and Flood, 2014).
fn random_of_threads() -> u64 {
    static SEQUENCE: AtomicU64 = AtomicU64::new(0);
    let mut x = SEQUENCE.fetch_add(0x9E37_79B9_7F4A_7C15, Ordering::Relaxed);
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

/// Counts an operation that has failed, out of the way of those that do not.
#[cold]
pub(super) fn count_failure() {
    sched::cooperate();
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
