//! [`Notify`].

use crate::park::{Ticket, WaitReason, deadline_after};
use crate::protocol::raw_gate::RawGate;
use crate::sync::{gate, wait::claim};
use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::ptr;
use std::time::Duration;

/// Wakes one waiter, or all: tokio's `Notify` in blocking style.
///
/// A notification for which nobody waits is kept for the next one to come. Only one is kept: it
/// says that there is something to do, not how much.
///
/// # Examples
///
/// ```
/// use pirn::sync::{Arc, Notify};
///
/// let work = Arc::new(Notify::new());
/// let theirs = work.clone();
/// let worker = pirn::spawn(move || theirs.notified());
/// work.notify_one();
/// worker.join().unwrap();
/// ```
pub struct Notify {
    gate: RawGate<Ticket>,
}

impl UnwindSafe for Notify {}
impl RefUnwindSafe for Notify {}

impl Notify {
    /// Without a notification.
    #[must_use]
    pub const fn new() -> Notify {
        Notify { gate: RawGate::new(false) }
    }

    /// Wakes the one that has waited longest. If nobody waits, the next one need not.
    ///
    /// What was done before is seen by whoever is woken.
    pub fn notify_one(&self) {
        drop(self.gate.open_for_one(claim));
    }

    /// Wakes all who wait now. Nothing is kept for those who come later, not even for one that has
    /// just looked at a condition and is about to wait: use an [`Event`](crate::sync::Event) or a
    /// [`Condvar`](crate::sync::Condvar) for that.
    pub fn notify_waiters(&self) {
        self.gate.let_pass(claim, drop);
    }

    /// Waits for a notification, or takes the one that was kept.
    #[inline]
    pub fn notified(&self) {
        if !self.gate.pass_and_close() {
            gate::wait(&self.gate, true, self.reason(), None);
        }
    }

    /// As [`notified`](Notify::notified), but for no longer than `timeout`. Whether there was a
    /// notification. Any duration is legal; [`Duration::MAX`] is without limit.
    pub fn notified_timeout(&self, timeout: Duration) -> bool {
        self.gate.pass_and_close()
            || gate::wait(&self.gate, true, self.reason(), deadline_after(timeout))
    }

    pub(super) fn notified_deadline(&self, deadline: std::time::Instant) -> bool {
        self.gate.pass_and_close() || gate::wait(&self.gate, true, self.reason(), Some(deadline))
    }

    fn reason(&self) -> WaitReason {
        WaitReason::Notify(ptr::from_ref(self).addr())
    }
}

impl Default for Notify {
    fn default() -> Notify {
        Notify::new()
    }
}

impl fmt::Debug for Notify {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Notify").finish_non_exhaustive()
    }
}
