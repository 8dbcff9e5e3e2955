//! [`Waker`]: the way to end a wait from elsewhere.

use std::fmt;
use std::io;
use std::sync::Arc;

use crate::sys::{self, Backend, Wake};

/// Ends a [`Poller::poll`](crate::Poller::poll) from another thread, or from a signal handler.
///
/// Clones are cheap and share one waker. It may outlive its poller; waking is then without effect.
///
/// # Examples
///
/// ```
/// use std::thread;
///
/// use netpoll::{Events, Poller};
///
/// # fn main() -> std::io::Result<()> {
/// let poller = Poller::new()?;
/// let waker = poller.waker();
/// let thread = thread::spawn(move || waker.wake());
///
/// let mut events = Events::with_capacity(1);
/// assert_eq!(poller.poll(&mut events, None)?, 0);
/// thread.join().unwrap()
/// # }
/// ```
#[derive(Clone)]
pub struct Waker {
    inner: Arc<<sys::Selector as Backend>::Waker>,
}

impl Waker {
    pub(crate) fn new(inner: Arc<<sys::Selector as Backend>::Waker>) -> Waker {
        Waker { inner }
    }

    /// Makes one [`poll`](crate::Poller::poll) that is waiting return, or else the next one.
    ///
    /// Everything that happened before the call is visible to the thread whose poll it ended.
    /// Several wakeups may end one poll between them. They are never reported as events.
    ///
    /// This is one system call, even when a wakeup is already pending: a flag to spare it would
    /// make the wakeup of the second waker wait until the first one, who may have lost its
    /// processor between setting the flag and making the call, runs again.
    ///
    /// It is async-signal-safe. As with any call in a signal handler, the handler should restore
    /// `errno`. Dropping a waker is not async-signal-safe.
    ///
    /// # Errors
    ///
    /// Those of writing to the poller's own descriptor. None is known to happen.
    #[inline]
    pub fn wake(&self) -> io::Result<()> {
        self.inner.wake()
    }
}

impl fmt::Debug for Waker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waker").finish_non_exhaustive()
    }
}
