//! The receiving side.

use super::clock::{Clock, Never};
use super::error::{RecvError, RecvTimeoutError, TryRecvError};
use super::host::{Parking, count_failure, sleep_until};
use super::iter::{Iter, TryIter};
use crate::coroutine::unwind_cancelled;
use crate::park::{self, WaitReason};
use crate::protocol::channel::{Case, ReceiveStop, ReceiverHalf, Token};
use crate::sched;
use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The receiving side of a channel.
///
/// Each message goes to one receiver.
///
/// ```
/// let (s, r) = pirn::channel::unbounded();
/// pirn::spawn(move || {
///     s.send(1).unwrap();
///     pirn::thread::sleep(std::time::Duration::from_millis(1));
///     s.send(2).unwrap();
/// });
/// assert_eq!(r.recv(), Ok(1)); // waits for the coroutine
/// assert_eq!(r.recv(), Ok(2)); // and again
/// assert!(r.recv().is_err()); // the sender is gone
/// ```
pub struct Receiver<T>(pub(super) Flavour<T>);

pub(super) enum Flavour<T> {
    Channel(ReceiverHalf<T, Parking>),
    /// With what makes a message of an instant: nothing but instants are delivered, so `T` is
    /// `Instant`, which only its maker knows.
    Clock(Arc<Clock>, fn(Instant) -> T),
    Never,
}

impl<T> UnwindSafe for Receiver<T> {}
impl<T> RefUnwindSafe for Receiver<T> {}

#[inline]
pub(super) fn host(address: usize) -> Parking {
    Parking(WaitReason::Receive(address))
}

#[inline(never)]
fn receive_instant(clock: &Clock, deadline: Option<Instant>) -> Result<Instant, ReceiveStop> {
    clock.receive(deadline)
}

#[inline(never)]
fn receive_nothing<T>(deadline: Option<Instant>) -> Result<T, ReceiveStop> {
    Err(match sleep_until(deadline) {
        true => ReceiveStop::Timeout,
        false => ReceiveStop::Cancelled,
    })
}

impl Receiver<Instant> {
    pub(super) fn of_clock(clock: Clock) -> Self {
        Receiver(Flavour::Clock(Arc::new(clock), |instant| instant))
    }
}

impl<T> Receiver<T> {
    pub(super) fn of_channel(half: ReceiverHalf<T, Parking>) -> Self {
        Receiver(Flavour::Channel(half))
    }

    pub(super) const fn never() -> Self {
        Receiver(Flavour::Never)
    }

    /// Receives a message if that is possible at once: there is one or, without a buffer, somebody
    /// is sending.
    ///
    /// # Errors
    ///
    /// If that is not so, or if there is no message and all senders have gone.
    ///
    /// # Examples
    ///
    /// ```
    /// use pirn::channel::{TryRecvError, unbounded};
    ///
    /// let (s, r) = unbounded();
    /// assert_eq!(r.try_recv(), Err(TryRecvError::Empty));
    /// s.send(5).unwrap();
    /// drop(s);
    /// assert_eq!(r.try_recv(), Ok(5));
    /// assert_eq!(r.try_recv(), Err(TryRecvError::Disconnected));
    /// ```
    pub fn try_recv(&self) -> Result<T, TryRecvError> {
        let received = match &self.0 {
            Flavour::Channel(half) => half.try_receive(&host(half.address())),
            Flavour::Clock(clock, make) => {
                clock.try_receive().map(make).ok_or(ReceiveStop::Timeout)
            }
            Flavour::Never => Err(ReceiveStop::Timeout),
        };
        match received {
            Ok(message) => Ok(message),
            Err(ReceiveStop::Timeout) => {
                sched::tried_in_vain();
                Err(TryRecvError::Empty)
            }
            Err(ReceiveStop::Disconnected) => {
                sched::tried_in_vain();
                Err(TryRecvError::Disconnected)
            }
            Err(ReceiveStop::Cancelled) => unwind_cancelled(),
        }
    }

    #[inline(always)]
    fn receive(&self, deadline: Option<Instant>) -> Result<T, ReceiveStop> {
        let received = match &self.0 {
            Flavour::Channel(half) => half.receive(&host(half.address()), deadline),
            Flavour::Clock(clock, make) => receive_instant(clock, deadline).map(make),
            Flavour::Never => receive_nothing(deadline),
        };
        match received {
            Ok(message) => {
                sched::cooperate();
                Ok(message)
            }
            Err(ReceiveStop::Cancelled) => unwind_cancelled(),
            Err(stop) => {
                count_failure();
                Err(stop)
            }
        }
    }

    /// Receives a message; waits for one.
    ///
    /// # Errors
    ///
    /// If there is none and all senders have gone, before or while it waits.
    ///
    /// # Examples
    ///
    /// ```
    /// use pirn::channel::{RecvError, unbounded};
    ///
    /// let (s, r) = unbounded();
    /// pirn::spawn(move || s.send(5).unwrap());
    /// assert_eq!(r.recv(), Ok(5));
    /// assert_eq!(r.recv(), Err(RecvError));
    /// ```
    #[inline(always)]
    pub fn recv(&self) -> Result<T, RecvError> {
        self.receive(None).map_err(|_| RecvError)
    }

    /// As [`Receiver::recv`], for no longer than `timeout`. [`Duration::MAX`] is without limit.
    ///
    /// # Errors
    ///
    /// If the time is over, or if there is no message and all senders have gone.
    ///
    /// # Examples
    ///
    /// ```
    /// use pirn::channel::{RecvTimeoutError, unbounded};
    /// use std::time::Duration;
    ///
    /// let (_s, r) = unbounded::<i32>();
    /// assert_eq!(r.recv_timeout(Duration::from_millis(1)), Err(RecvTimeoutError::Timeout));
    /// ```
    pub fn recv_timeout(&self, timeout: Duration) -> Result<T, RecvTimeoutError> {
        self.receive_by(park::deadline_after(timeout))
    }

    /// As [`Receiver::recv`], until `deadline` and no longer.
    ///
    /// # Errors
    ///
    /// As [`Receiver::recv_timeout`].
    pub fn recv_deadline(&self, deadline: Instant) -> Result<T, RecvTimeoutError> {
        self.receive_by(Some(deadline))
    }

    fn receive_by(&self, deadline: Option<Instant>) -> Result<T, RecvTimeoutError> {
        self.receive(deadline).map_err(|stop| match stop {
            ReceiveStop::Timeout => RecvTimeoutError::Timeout,
            ReceiveStop::Disconnected | ReceiveStop::Cancelled => RecvTimeoutError::Disconnected,
        })
    }

    /// Whether there is no message. Always so without a buffer.
    pub fn is_empty(&self) -> bool {
        match &self.0 {
            Flavour::Channel(half) => half.channel().is_empty(),
            Flavour::Clock(clock, _) => clock.is_empty(),
            Flavour::Never => true,
        }
    }

    /// Whether there is no room for another message. Always so without a buffer.
    pub fn is_full(&self) -> bool {
        match &self.0 {
            Flavour::Channel(half) => half.channel().is_full(),
            Flavour::Clock(clock, _) => !clock.is_empty(),
            Flavour::Never => true,
        }
    }

    /// How many messages there are.
    pub fn len(&self) -> usize {
        match &self.0 {
            Flavour::Channel(half) => half.channel().len(),
            Flavour::Clock(clock, _) => usize::from(!clock.is_empty()),
            Flavour::Never => 0,
        }
    }

    /// How many messages there is room for; `None` if any number.
    pub fn capacity(&self) -> Option<usize> {
        match &self.0 {
            Flavour::Channel(half) => half.channel().capacity(),
            Flavour::Clock(..) => Some(1),
            Flavour::Never => Some(0),
        }
    }

    /// An iterator that waits for each message, and ends when all senders have gone.
    ///
    /// ```
    /// let (s, r) = pirn::channel::unbounded();
    /// pirn::spawn(move || (1..=3).for_each(|i| s.send(i).unwrap()));
    /// assert_eq!(r.iter().collect::<Vec<_>>(), [1, 2, 3]);
    /// ```
    pub fn iter(&self) -> Iter<'_, T> {
        Iter { receiver: self }
    }

    /// An iterator that ends when the next message is not there.
    ///
    /// ```
    /// let (s, r) = pirn::channel::unbounded();
    /// s.send(1).unwrap();
    /// s.send(2).unwrap();
    /// assert_eq!(r.try_iter().collect::<Vec<_>>(), [1, 2]);
    /// ```
    pub fn try_iter(&self) -> TryIter<'_, T> {
        TryIter { receiver: self }
    }

    /// Whether both receive from the same channel.
    ///
    /// ```
    /// let (_s, r) = pirn::channel::unbounded::<()>();
    /// assert!(r.same_channel(&r.clone()));
    /// ```
    pub fn same_channel(&self, other: &Receiver<T>) -> bool {
        match (&self.0, &other.0) {
            (Flavour::Channel(half), Flavour::Channel(other)) => half.same_channel(other),
            (Flavour::Clock(clock, _), Flavour::Clock(other, _)) => Arc::ptr_eq(clock, other),
            (Flavour::Never, Flavour::Never) => true,
            _ => false,
        }
    }

    /// What a select tries and waits for.
    #[inline]
    pub(super) fn case<'a>(&'a self) -> &'a (dyn Case<Parking> + 'a) {
        match &self.0 {
            Flavour::Channel(half) => half,
            Flavour::Clock(clock, _) => &**clock,
            Flavour::Never => &Never,
        }
    }

    /// Completes what a select has chosen.
    #[inline]
    pub(super) fn complete(&self, token: Token<Parking>) -> Result<T, RecvError> {
        let received = match (&self.0, token) {
            (Flavour::Channel(half), token) => half.complete(&host(half.address()), token),
            (Flavour::Clock(_, make), Token::Instant(instant)) => Ok(make(instant)),
            _ => Err(ReceiveStop::Disconnected),
        };
        match received {
            Ok(message) => Ok(message),
            Err(ReceiveStop::Cancelled) => unwind_cancelled(),
            Err(_) => Err(RecvError),
        }
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Self {
        Receiver(match &self.0 {
            Flavour::Channel(half) => Flavour::Channel(half.clone()),
            Flavour::Clock(clock, make) => Flavour::Clock(clock.clone(), *make),
            Flavour::Never => Flavour::Never,
        })
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("Receiver { .. }")
    }
}
