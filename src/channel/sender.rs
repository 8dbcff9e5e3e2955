//! The sending side.

use super::error::{SendError, SendTimeoutError, TrySendError};
use super::host::{Parking, count_failure};
use crate::coroutine::unwind_cancelled;
use crate::park::{self, WaitReason};
use crate::protocol::channel::{SendStop, SenderHalf};
use crate::sched;
use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::time::{Duration, Instant};

/// The sending side of a channel.
///
/// ```
/// let (s1, r) = pirn::channel::unbounded();
/// let s2 = s1.clone();
/// pirn::spawn(move || s1.send(1).unwrap());
/// pirn::spawn(move || s2.send(2).unwrap());
/// assert_eq!(r.recv().unwrap() + r.recv().unwrap(), 3);
/// ```
pub struct Sender<T>(pub(super) SenderHalf<T, Parking>);

impl<T> UnwindSafe for Sender<T> {}
impl<T> RefUnwindSafe for Sender<T> {}

impl<T> Sender<T> {
    /// Sends a message if that is possible at once: there is room or, without a buffer, somebody
    /// is receiving.
    ///
    /// # Errors
    ///
    /// If that is not so, or if all receivers have gone. The message comes back.
    ///
    /// # Examples
    ///
    /// ```
    /// use pirn::channel::{TrySendError, bounded};
    ///
    /// let (s, r) = bounded(1);
    /// assert_eq!(s.try_send(1), Ok(()));
    /// assert_eq!(s.try_send(2), Err(TrySendError::Full(2)));
    /// drop(r);
    /// assert_eq!(s.try_send(3), Err(TrySendError::Disconnected(3)));
    /// ```
    pub fn try_send(&self, msg: T) -> Result<(), TrySendError<T>> {
        match self.0.try_send(msg) {
            Ok(()) => Ok(()),
            Err(SendStop::Timeout(msg)) => {
                sched::tried_in_vain();
                Err(TrySendError::Full(msg))
            }
            Err(SendStop::Disconnected(msg)) => {
                sched::tried_in_vain();
                Err(TrySendError::Disconnected(msg))
            }
            Err(SendStop::Cancelled(_)) => unreachable!("it does not wait"),
        }
    }

    /// Sends a message; waits for room or, without a buffer, for a receiver that takes it.
    ///
    /// # Errors
    ///
    /// If all receivers have gone, before or while it waits. The message comes back.
    ///
    /// # Examples
    ///
    /// ```
    /// use pirn::channel::{SendError, bounded};
    ///
    /// let (s, r) = bounded(1);
    /// assert_eq!(s.send(1), Ok(()));
    /// pirn::spawn(move || {
    ///     assert_eq!(r.recv(), Ok(1));
    ///     drop(r);
    /// });
    /// while s.send(2).is_ok() {}
    /// assert_eq!(s.send(3), Err(SendError(3)));
    /// ```
    #[inline(always)]
    pub fn send(&self, msg: T) -> Result<(), SendError<T>> {
        match self.0.send(&Parking(WaitReason::Send(self.0.address())), msg, None) {
            Ok(()) => {
                sched::cooperate();
                Ok(())
            }
            Err(SendStop::Disconnected(msg)) => {
                count_failure();
                Err(SendError(msg))
            }
            Err(SendStop::Cancelled(msg)) => cancelled(msg),
            Err(SendStop::Timeout(_)) => unreachable!("it has no deadline"),
        }
    }

    /// As [`Sender::send`], for no longer than `timeout`. [`Duration::MAX`] is without limit.
    ///
    /// # Errors
    ///
    /// If the time is over, or if all receivers have gone. The message comes back.
    ///
    /// # Examples
    ///
    /// ```
    /// use pirn::channel::{SendTimeoutError, bounded};
    /// use std::time::Duration;
    ///
    /// let (s, _r) = bounded(0);
    /// let error = s.send_timeout(1, Duration::from_millis(1));
    /// assert_eq!(error, Err(SendTimeoutError::Timeout(1)));
    /// ```
    pub fn send_timeout(&self, msg: T, timeout: Duration) -> Result<(), SendTimeoutError<T>> {
        self.send_by(msg, park::deadline_after(timeout))
    }

    /// As [`Sender::send`], until `deadline` and no longer.
    ///
    /// # Errors
    ///
    /// As [`Sender::send_timeout`].
    pub fn send_deadline(&self, msg: T, deadline: Instant) -> Result<(), SendTimeoutError<T>> {
        self.send_by(msg, Some(deadline))
    }

    fn send_by(&self, msg: T, deadline: Option<Instant>) -> Result<(), SendTimeoutError<T>> {
        match self.0.send(&Parking(WaitReason::Send(self.0.address())), msg, deadline) {
            Ok(()) => {
                sched::cooperate();
                Ok(())
            }
            Err(SendStop::Timeout(msg)) => Err(SendTimeoutError::Timeout(msg)),
            Err(SendStop::Disconnected(msg)) => {
                count_failure();
                Err(SendTimeoutError::Disconnected(msg))
            }
            Err(SendStop::Cancelled(msg)) => cancelled(msg),
        }
    }

    /// Whether the buffer has no message. Always, without a buffer.
    pub fn is_empty(&self) -> bool {
        self.0.channel().is_empty()
    }

    /// Whether the buffer has no room. Always, without a buffer.
    pub fn is_full(&self) -> bool {
        self.0.channel().is_full()
    }

    /// How many messages are in the buffer.
    pub fn len(&self) -> usize {
        self.0.channel().len()
    }

    /// How many messages the buffer has room for; `None` if any number.
    pub fn capacity(&self) -> Option<usize> {
        self.0.channel().capacity()
    }

    /// Whether both send on the same channel.
    ///
    /// ```
    /// let (s, _r) = pirn::channel::unbounded::<()>();
    /// let (other, _r) = pirn::channel::unbounded();
    /// assert!(s.same_channel(&s.clone()));
    /// assert!(!s.same_channel(&other));
    /// ```
    pub fn same_channel(&self, other: &Sender<T>) -> bool {
        self.0.same_channel(&other.0)
    }
}

/// Ends the coroutine; its message is dropped as it unwinds.
#[cold]
fn cancelled<T>(_message: T) -> ! {
    unwind_cancelled()
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Sender(self.0.clone())
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("Sender { .. }")
    }
}
