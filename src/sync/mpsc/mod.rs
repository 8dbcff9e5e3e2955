//! `std::sync::mpsc` for coroutines: many senders, one receiver.
//!
//! The types mean what their namesakes in std mean; the errors are std's own. They stand on
//! [`crate::channel`], which has more: several receivers, selection, deadlines for sending.

use crate::channel;
use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;
use std::panic::RefUnwindSafe;
use std::time::Duration;

pub use std::sync::mpsc::{RecvError, RecvTimeoutError, SendError, TryRecvError, TrySendError};

/// The sending side of a [`channel`](channel()).
pub struct Sender<T>(channel::Sender<T>);

/// The sending side of a [`sync_channel`].
pub struct SyncSender<T>(channel::Sender<T>);

/// The receiving side of a [`channel`](channel()) or a [`sync_channel`]. There is one.
///
/// ```compile_fail
/// fn shared<T: Sync>(_: T) {}
/// shared(pirn::sync::mpsc::channel::<()>().1);
/// ```
pub struct Receiver<T> {
    inner: channel::Receiver<T>,
    /// As std's: it may be sent, but not shared.
    _not_sync: PhantomData<Cell<()>>,
}

impl<T> RefUnwindSafe for Receiver<T> {}

/// Waits for each message: [`Receiver::iter`].
#[derive(Debug)]
pub struct Iter<'a, T: 'a> {
    rx: &'a Receiver<T>,
}

/// Does not wait: [`Receiver::try_iter`].
#[derive(Debug)]
pub struct TryIter<'a, T: 'a> {
    rx: &'a Receiver<T>,
}

/// Waits for each message, and owns its receiver.
#[derive(Debug)]
pub struct IntoIter<T> {
    rx: Receiver<T>,
}

fn receiver<T>(inner: channel::Receiver<T>) -> Receiver<T> {
    Receiver { inner, _not_sync: PhantomData }
}

/// A channel with room for any number of messages: sending never waits.
///
/// # Examples
///
/// ```
/// let (tx, rx) = pirn::sync::mpsc::channel();
/// pirn::spawn(move || tx.send(10).unwrap());
/// assert_eq!(rx.recv(), Ok(10));
/// ```
#[must_use]
pub fn channel<T>() -> (Sender<T>, Receiver<T>) {
    let (tx, rx) = channel::unbounded();
    (Sender(tx), receiver(rx))
}

/// A channel with room for `bound` messages. With room for none, a send returns when its message
/// has been received.
///
/// # Examples
///
/// ```
/// let (tx, rx) = pirn::sync::mpsc::sync_channel(1);
/// tx.send(1).unwrap();
/// pirn::spawn(move || tx.send(2).unwrap()); // waits for the first to be received
/// assert_eq!(rx.recv(), Ok(1));
/// assert_eq!(rx.recv(), Ok(2));
/// ```
#[must_use]
pub fn sync_channel<T>(bound: usize) -> (SyncSender<T>, Receiver<T>) {
    let (tx, rx) = channel::bounded(bound);
    (SyncSender(tx), receiver(rx))
}

impl<T> Sender<T> {
    /// Sends a message, at once.
    ///
    /// # Errors
    ///
    /// If the receiver has gone. The message comes back.
    #[inline]
    pub fn send(&self, t: T) -> Result<(), SendError<T>> {
        self.0.send(t).map_err(|channel::SendError(t)| SendError(t))
    }
}

impl<T> SyncSender<T> {
    /// Sends a message; waits for room.
    ///
    /// # Errors
    ///
    /// If the receiver has gone, before or while it waits. The message comes back.
    #[inline]
    pub fn send(&self, t: T) -> Result<(), SendError<T>> {
        self.0.send(t).map_err(|channel::SendError(t)| SendError(t))
    }

    /// Sends a message if that is possible at once.
    ///
    /// # Errors
    ///
    /// If there is no room or, without a buffer, nobody is receiving; or if the receiver has gone.
    /// The message comes back.
    pub fn try_send(&self, t: T) -> Result<(), TrySendError<T>> {
        self.0.try_send(t).map_err(|error| match error {
            channel::TrySendError::Full(t) => TrySendError::Full(t),
            channel::TrySendError::Disconnected(t) => TrySendError::Disconnected(t),
        })
    }
}

impl<T> Receiver<T> {
    /// Receives a message if that is possible at once.
    ///
    /// # Errors
    ///
    /// If there is none; and if there is none and all senders have gone.
    pub fn try_recv(&self) -> Result<T, TryRecvError> {
        self.inner.try_recv().map_err(|error| match error {
            channel::TryRecvError::Empty => TryRecvError::Empty,
            channel::TryRecvError::Disconnected => TryRecvError::Disconnected,
        })
    }

    /// Receives a message; waits for one.
    ///
    /// # Errors
    ///
    /// If there is none and all senders have gone, before or while it waits.
    #[inline]
    pub fn recv(&self) -> Result<T, RecvError> {
        self.inner.recv().map_err(|channel::RecvError| RecvError)
    }

    /// As [`Receiver::recv`], for no longer than `timeout`. Any duration is legal;
    /// [`Duration::MAX`] is without limit.
    ///
    /// # Errors
    ///
    /// If the time is over; and if there is no message and all senders have gone.
    pub fn recv_timeout(&self, timeout: Duration) -> Result<T, RecvTimeoutError> {
        self.inner.recv_timeout(timeout).map_err(|error| match error {
            channel::RecvTimeoutError::Timeout => RecvTimeoutError::Timeout,
            channel::RecvTimeoutError::Disconnected => RecvTimeoutError::Disconnected,
        })
    }

    /// An iterator that waits for each message, and ends when all senders have gone.
    pub fn iter(&self) -> Iter<'_, T> {
        Iter { rx: self }
    }

    /// An iterator that ends when the next message is not there.
    pub fn try_iter(&self) -> TryIter<'_, T> {
        TryIter { rx: self }
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Sender(self.0.clone())
    }
}

impl<T> Clone for SyncSender<T> {
    fn clone(&self) -> Self {
        SyncSender(self.0.clone())
    }
}

impl<T> Iterator for Iter<'_, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.rx.recv().ok()
    }
}

impl<T> Iterator for TryIter<'_, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.rx.try_recv().ok()
    }
}

impl<T> Iterator for IntoIter<T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.rx.recv().ok()
    }
}

impl<'a, T> IntoIterator for &'a Receiver<T> {
    type Item = T;
    type IntoIter = Iter<'a, T>;

    fn into_iter(self) -> Iter<'a, T> {
        self.iter()
    }
}

impl<T> IntoIterator for Receiver<T> {
    type Item = T;
    type IntoIter = IntoIter<T>;

    fn into_iter(self) -> IntoIter<T> {
        IntoIter { rx: self }
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for SyncSender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SyncSender").finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").finish_non_exhaustive()
    }
}
