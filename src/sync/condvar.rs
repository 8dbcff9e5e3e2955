//! [`Condvar`].

#![expect(unsafe_code, reason = "queues nodes that live in the waiting frame")]

use crate::coroutine::unwind_cancelled;
use crate::park::{Cancel, Outcome, Ticket, WaitReason, deadline_after, park};
use crate::protocol::raw_condvar::RawCondvar;
use crate::protocol::raw_mutex::RawMutex;
use crate::protocol::wait_word::Node;
use crate::sched;
use crate::sync::MutexGuard;
use crate::sync::poison;
use crate::sync::wait::{claim, lock_contended, wake_next};
use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::ptr::{self, NonNull};
use std::sync::LockResult;
use std::time::{Duration, Instant};

/// Whether a wait ended because of its timeout; see [`std::sync::WaitTimeoutResult`].
#[derive(Debug, PartialEq, Eq, Copy, Clone)]
pub struct WaitTimeoutResult(bool);

impl WaitTimeoutResult {
    /// Whether the time was up.
    #[must_use]
    pub fn timed_out(&self) -> bool {
        self.0
    }
}

/// [`std::sync::Condvar`], for coroutines and threads: whoever waits is parked.
///
/// It takes eight bytes. A wait may end without a notification, as std's may. A condition variable
/// may be used with several mutexes.
///
/// # Examples
///
/// ```
/// use pirn::sync::{Arc, Condvar, Mutex};
///
/// let pair = Arc::new((Mutex::new(false), Condvar::new()));
/// let theirs = pair.clone();
/// pirn::spawn(move || {
///     *theirs.0.lock().unwrap() = true;
///     theirs.1.notify_one();
/// });
/// let started = pair.1.wait_while(pair.0.lock().unwrap(), |started| !*started).unwrap();
/// assert!(*started);
/// ```
pub struct Condvar {
    raw: RawCondvar<Ticket>,
}

impl UnwindSafe for Condvar {}
impl RefUnwindSafe for Condvar {}

impl Condvar {
    /// A condition variable for which nobody waits.
    #[must_use]
    #[inline]
    pub const fn new() -> Condvar {
        Condvar { raw: RawCondvar::new() }
    }

    /// Unlocks the mutex, waits for a notification, and locks the mutex again.
    ///
    /// # Errors
    ///
    /// If the mutex is poisoned when it is locked again; the error has the guard.
    pub fn wait<'a, T>(&self, guard: MutexGuard<'a, T>) -> LockResult<MutexGuard<'a, T>> {
        self.wait_until(&guard, None);
        poison::result(guard.raw().is_poisoned(), guard)
    }

    /// [Waits](Condvar::wait) as long as `condition` is true.
    ///
    /// # Errors
    ///
    /// As for [`Condvar::wait`].
    pub fn wait_while<'a, T, F>(
        &self,
        mut guard: MutexGuard<'a, T>,
        mut condition: F,
    ) -> LockResult<MutexGuard<'a, T>>
    where
        F: FnMut(&mut T) -> bool,
    {
        while condition(&mut *guard) {
            guard = self.wait(guard)?;
        }
        Ok(guard)
    }

    /// [Waits](Condvar::wait_timeout) for so many milliseconds; `false` if the time was up.
    ///
    /// # Errors
    ///
    /// As for [`Condvar::wait`].
    #[deprecated(note = "replaced by `Condvar::wait_timeout`")]
    pub fn wait_timeout_ms<'a, T>(
        &self,
        guard: MutexGuard<'a, T>,
        ms: u32,
    ) -> LockResult<(MutexGuard<'a, T>, bool)> {
        let waited = self.wait_timeout(guard, Duration::from_millis(ms.into()));
        poison::map(waited, |(guard, result)| (guard, !result.timed_out()))
    }

    /// [Waits](Condvar::wait), but for no longer than `dur`. Any duration is legal;
    /// [`Duration::MAX`] is without limit.
    ///
    /// # Errors
    ///
    /// As for [`Condvar::wait`].
    pub fn wait_timeout<'a, T>(
        &self,
        guard: MutexGuard<'a, T>,
        dur: Duration,
    ) -> LockResult<(MutexGuard<'a, T>, WaitTimeoutResult)> {
        let timed_out = self.wait_until(&guard, deadline_after(dur));
        poison::result(guard.raw().is_poisoned(), (guard, WaitTimeoutResult(timed_out)))
    }

    /// [Waits](Condvar::wait) as long as `condition` is true, but for no longer than `dur`.
    ///
    /// # Errors
    ///
    /// As for [`Condvar::wait`].
    pub fn wait_timeout_while<'a, T, F>(
        &self,
        mut guard: MutexGuard<'a, T>,
        dur: Duration,
        mut condition: F,
    ) -> LockResult<(MutexGuard<'a, T>, WaitTimeoutResult)>
    where
        F: FnMut(&mut T) -> bool,
    {
        let start = Instant::now();
        loop {
            if !condition(&mut *guard) {
                return Ok((guard, WaitTimeoutResult(false)));
            }
            let Some(timeout) = dur.checked_sub(start.elapsed()) else {
                // With no time at all it has not waited.
                sched::tried_in_vain();
                return Ok((guard, WaitTimeoutResult(true)));
            };
            guard = self.wait_timeout(guard, timeout)?.0;
        }
    }

    /// Ends the wait that has lasted longest, if there is one. It need not hold the mutex.
    #[inline]
    pub fn notify_one(&self) {
        drop(self.raw.notify_one(claim));
    }

    /// Ends the waits of all who wait now.
    #[inline]
    pub fn notify_all(&self) {
        self.raw.notify_all(claim, drop);
    }

    /// Waits with the mutex unlocked; `true` if the deadline came first.
    ///
    /// The mutex is locked whenever this is left, by a cancellation too: there is a guard for it.
    fn wait_until<T: ?Sized>(&self, guard: &MutexGuard<'_, T>, deadline: Option<Instant>) -> bool {
        let outcome = guard.hold().suspended(|| self.wait_unlocked(guard.raw(), deadline));
        if outcome == Outcome::Cancelled {
            unwind_cancelled();
        }
        outcome == Outcome::TimedOut
    }

    /// The mutex is locked again when this returns.
    fn wait_unlocked(&self, mutex: &RawMutex<Ticket>, deadline: Option<Instant>) -> Outcome {
        let reason = WaitReason::Condvar(ptr::from_ref(self).addr());
        let mut node = None;
        let outcome = park(reason, deadline, Cancel::Deliver, |ticket| {
            let node = NonNull::from(node.insert(Node::new(ticket)));
            // SAFETY: the node is in the frame of this wait, and leaves the queue below unless a
            // notifier has taken it off.
            unsafe { self.raw.enter(node) };
            if mutex.unlock() {
                wake_next(mutex);
            }
            true
        });
        if let Some(node) = &node {
            if outcome != Outcome::Woken {
                // SAFETY: the node is alive, and in this queue if in any.
                unsafe { self.raw.leave(NonNull::from(node)) };
            }
            if !mutex.try_lock() {
                lock_contended(mutex, Cancel::Defer);
            }
        }
        outcome
    }
}

impl fmt::Debug for Condvar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Condvar").finish_non_exhaustive()
    }
}

impl Default for Condvar {
    fn default() -> Condvar {
        Condvar::new()
    }
}
