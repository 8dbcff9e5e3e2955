//! [`Barrier`].

#![expect(unsafe_code, reason = "queues nodes that live in the waiting frame")]

use crate::coroutine::unwind_cancelled;
use crate::park::{Cancel, Outcome, Ticket, WaitReason, park};
use crate::protocol::raw_barrier::{Arrival, RawBarrier};
use crate::protocol::wait_word::Node;
use crate::sync::wait::claim;
use std::cell::Cell;
use std::fmt;
use std::panic::RefUnwindSafe;
use std::ptr::{self, NonNull};

/// [`std::sync::Barrier`], for coroutines and threads: those who come are parked until all have
/// come.
///
/// One that is cancelled while it waits was not there: the others wait for somebody else.
///
/// # Examples
///
/// ```
/// use pirn::sync::{Arc, Barrier};
///
/// let barrier = Arc::new(Barrier::new(3));
/// let waiting: Vec<_> = (0..3)
///     .map(|_| {
///         let barrier = barrier.clone();
///         pirn::spawn(move || barrier.wait().is_leader())
///     })
///     .collect();
/// let leaders = waiting.into_iter().filter_map(|one| one.join().ok().filter(|leads| *leads));
/// assert_eq!(leaders.count(), 1);
/// ```
pub struct Barrier {
    raw: RawBarrier<Ticket>,
    number: usize,
}

impl RefUnwindSafe for Barrier {}

/// Whether the caller was the last to come; see [`std::sync::BarrierWaitResult`].
pub struct BarrierWaitResult(bool);

impl Barrier {
    /// A barrier for `n`; one for 0 is like one for 1.
    #[must_use]
    #[inline]
    pub const fn new(n: usize) -> Barrier {
        Barrier { raw: RawBarrier::new(), number: n }
    }

    /// Waits until all have come. Then the barrier can be used again.
    ///
    /// One of them is the leader.
    pub fn wait(&self) -> BarrierWaitResult {
        loop {
            if self.raw.arrive_last(self.number, claim, drop) {
                return BarrierWaitResult(true);
            }
            let (mut node, came_in, mut last) = (None, Cell::new(0), false);
            let reason = WaitReason::Barrier(ptr::from_ref(self).addr());
            let outcome = park(reason, None, Cancel::Deliver, |ticket| {
                let node = NonNull::from(node.insert(Node::new(ticket)));
                // SAFETY: the node is in the frame of this wait, and leaves the queue below unless
                // it has been taken off.
                let arrival = unsafe { self.raw.arrive(self.number, node, &came_in, claim, drop) };
                if arrival == Arrival::Last {
                    // Whoever waits may run already, elsewhere: then this frame is not ours.
                    last = true;
                }
                arrival == Arrival::Waits
            });
            if last || outcome == Outcome::Woken {
                return BarrierWaitResult(last);
            }
            let passed = node.as_ref().is_some_and(|node| {
                // SAFETY: the node is alive, and in this queue if in any.
                !unsafe { self.raw.leave(NonNull::from(node), came_in.get()) }
            });
            if outcome == Outcome::Cancelled {
                unwind_cancelled();
            }
            if passed {
                return BarrierWaitResult(false);
            }
        }
    }
}

impl fmt::Debug for Barrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Barrier").finish_non_exhaustive()
    }
}

impl BarrierWaitResult {
    /// Whether the caller is the leader: exactly one of those who pass together is.
    #[must_use]
    pub fn is_leader(&self) -> bool {
        self.0
    }
}

impl fmt::Debug for BarrierWaitResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BarrierWaitResult").field("is_leader", &self.is_leader()).finish()
    }
}
