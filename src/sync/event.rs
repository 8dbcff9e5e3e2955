//! [`Event`].

use crate::park::{Ticket, WaitReason, deadline_after};
use crate::protocol::raw_gate::RawGate;
use crate::sync::{gate, wait::claim};
use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::ptr;
use std::time::{Duration, Instant};

/// Something that has happened or not: gevent's `Event`.
///
/// Once it is set, every [`wait`](Event::wait) returns at once, until it is cleared. Whoever sees
/// it set sees what was done before it was set.
///
/// # Examples
///
/// ```
/// use pirn::sync::{Arc, Event};
///
/// let ready = Arc::new(Event::new());
/// let waiters: Vec<_> = (0..3)
///     .map(|_| {
///         let ready = ready.clone();
///         pirn::spawn(move || ready.wait())
///     })
///     .collect();
/// ready.set();
/// waiters.into_iter().for_each(|waiter| waiter.join().unwrap());
/// ```
pub struct Event {
    gate: RawGate<Ticket>,
}

impl UnwindSafe for Event {}
impl RefUnwindSafe for Event {}

impl Event {
    /// An event that is not set.
    #[must_use]
    pub const fn new() -> Event {
        Event { gate: RawGate::new(false) }
    }

    /// Sets it, and wakes all who wait.
    pub fn set(&self) {
        self.gate.open(claim, drop);
    }

    /// Makes it not set. Those who were woken by [`set`](Event::set) are on their way all the same.
    pub fn clear(&self) {
        self.gate.close();
    }

    /// Whether it is set.
    #[must_use]
    #[inline]
    pub fn is_set(&self) -> bool {
        self.gate.is_open()
    }

    /// Waits until it is set.
    #[inline]
    pub fn wait(&self) {
        if !self.is_set() {
            gate::wait(&self.gate, false, self.reason(), None);
        }
    }

    /// Waits until it is set, but for no longer than `timeout`. Whether it was set. Any duration
    /// is legal; [`Duration::MAX`] is without limit.
    pub fn wait_timeout(&self, timeout: Duration) -> bool {
        self.is_set() || gate::wait(&self.gate, false, self.reason(), deadline_after(timeout))
    }

    /// As [`wait_timeout`](Event::wait_timeout), for something that has a name of its own.
    pub(crate) fn wait_until(&self, reason: WaitReason, deadline: Option<Instant>) -> bool {
        self.is_set() || gate::wait(&self.gate, false, reason, deadline)
    }

    fn reason(&self) -> WaitReason {
        WaitReason::Event(ptr::from_ref(self).addr())
    }
}

impl Default for Event {
    fn default() -> Event {
        Event::new()
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event").field("set", &self.is_set()).finish()
    }
}
