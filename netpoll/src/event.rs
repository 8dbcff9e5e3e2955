//! [`Event`] and [`Events`]: what a poll reports, and the buffer it reports into.

use std::fmt;
use std::iter::Copied;
use std::ops::{BitOr, BitOrAssign};
use std::slice;

use crate::Key;
use crate::sys::{self, Backend};

/// What is known about a descriptor, as a set. The backends translate into it; [`Event`] reads it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Readiness(u8);

impl Readiness {
    pub(crate) const EMPTY: Readiness = Readiness(0);
    pub(crate) const READABLE: Readiness = Readiness(1 << 0);
    pub(crate) const WRITABLE: Readiness = Readiness(1 << 1);
    /// The peer sends no more. Reading does not block.
    pub(crate) const READ_CLOSED: Readiness = Readiness(1 << 2 | Self::READABLE.0);
    /// Both directions are over. Neither blocks.
    pub(crate) const HANGUP: Readiness = Readiness(1 << 3 | Self::READ_CLOSED.0 | Self::WRITABLE.0);
    /// An error is pending. Neither direction blocks: one of them collects it.
    pub(crate) const ERROR: Readiness = Readiness(1 << 4 | Self::READABLE.0 | Self::WRITABLE.0);

    /// Urgent data is there; on its own it is not readable.
    pub(crate) const PRIORITY: Readiness = Readiness(1 << 5);

    pub(crate) const fn contains(self, other: Readiness) -> bool {
        self.0 & other.0 == other.0
    }

    /// `self` if `present`, else nothing: a table of flags reads as one expression.
    pub(crate) const fn when(self, present: bool) -> Readiness {
        if present { self } else { Readiness::EMPTY }
    }
}

impl BitOr for Readiness {
    type Output = Readiness;

    #[inline]
    fn bitor(self, other: Readiness) -> Readiness {
        Readiness(self.0 | other.0)
    }
}

impl BitOrAssign for Readiness {
    #[inline]
    fn bitor_assign(&mut self, other: Readiness) {
        *self = *self | other;
    }
}

/// A report that a registered descriptor is ready.
///
/// An event is a hint to try: the operation may still fail with `WouldBlock`, since another thread
/// may have been quicker.
///
/// | | epoll | kqueue | poll |
/// |---|---|---|---|
/// | [`is_readable`](Event::is_readable) | `EPOLLIN`, `RDHUP`, `HUP`, `ERR` | `EVFILT_READ`, hang-up, error | `POLLIN`, `RDHUP`, `HUP`, `ERR` |
/// | [`is_writable`](Event::is_writable) | `EPOLLOUT`, `HUP`, `ERR` | `EVFILT_WRITE`, hang-up, error | `POLLOUT`, `HUP`, `ERR` |
/// | [`is_read_closed`](Event::is_read_closed) | `EPOLLRDHUP`, `HUP` | `EV_EOF` | `POLLRDHUP`, `HUP` |
/// | [`is_hangup`](Event::is_hangup) | `EPOLLHUP` | `EV_EOF` on `EVFILT_WRITE` | `POLLHUP` |
/// | [`is_error`](Event::is_error) | `EPOLLERR` | `EV_EOF` with an error in `fflags`, `EV_ERROR` | `POLLERR` |
///
/// Hang-up and error imply both directions, whatever the interest was: whoever waits for
/// either must wake, and learns the rest from the operation. Two things are not told everywhere:
/// without `POLLRDHUP`, the end of the peer's stream is merely readable, and on kqueue a
/// registration for reading alone takes a hang-up for the end of the peer's stream.
///
/// kqueue keeps the directions apart and reports them by one event each; the other backends report
/// a descriptor by one event.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Event {
    key: Key,
    readiness: Readiness,
}

impl Event {
    #[inline]
    pub(crate) const fn new(key: Key, readiness: Readiness) -> Event {
        Event { key, readiness }
    }

    /// The key that the descriptor was registered with.
    #[inline]
    #[must_use]
    pub const fn key(&self) -> Key {
        self.key
    }

    /// Reading, or accepting, is worth a try.
    #[inline]
    #[must_use]
    pub const fn is_readable(&self) -> bool {
        self.readiness.contains(Readiness::READABLE)
    }

    /// Writing is worth a try, or a connection attempt is over.
    #[inline]
    #[must_use]
    pub const fn is_writable(&self) -> bool {
        self.readiness.contains(Readiness::WRITABLE)
    }

    /// The peer sends no more. What it sent before may still be there to be read.
    #[inline]
    #[must_use]
    pub const fn is_read_closed(&self) -> bool {
        self.readiness.contains(Readiness::READ_CLOSED)
    }

    /// Writing has become useless: the descriptor is hung up or has an error pending.
    ///
    /// The weakest of the hints. An error may also be one that passes, such as that of a datagram
    /// which did not arrive.
    #[inline]
    #[must_use]
    pub const fn is_write_closed(&self) -> bool {
        self.is_hangup() || self.is_error()
    }

    /// Both directions are over.
    #[inline]
    #[must_use]
    pub const fn is_hangup(&self) -> bool {
        self.readiness.contains(Readiness::HANGUP)
    }

    /// Urgent data has come, for an edge-triggered registration that asked for reading. Told by
    /// epoll alone: there a read may stop short of the urgent mark although more has come behind it.
    #[inline]
    #[must_use]
    pub const fn is_priority(&self) -> bool {
        self.readiness.contains(Readiness::PRIORITY)
    }

    /// An error is pending: the next operation, or `SO_ERROR`, tells which.
    #[inline]
    #[must_use]
    pub const fn is_error(&self) -> bool {
        self.readiness.contains(Readiness::ERROR)
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event")
            .field("key", &self.key)
            .field("readable", &self.is_readable())
            .field("writable", &self.is_writable())
            .field("read_closed", &self.is_read_closed())
            .field("hangup", &self.is_hangup())
            .field("error", &self.is_error())
            .finish()
    }
}

/// A buffer for events, made once and filled by every [`Poller::poll`](crate::Poller::poll).
///
/// # Examples
///
/// ```
/// use netpoll::Events;
///
/// let events = Events::with_capacity(256);
/// assert!(events.is_empty());
/// assert_eq!(events.capacity(), 256);
/// ```
pub struct Events {
    pub(crate) list: Vec<Event>,
    /// What the backend works in. It knows the capacity.
    pub(crate) buffer: <sys::Selector as Backend>::Buffer,
}

impl Events {
    /// Makes a buffer that takes at most `capacity` events from one poll.
    ///
    /// # Panics
    ///
    /// If `capacity` is 0, which no poll could ever put an event into.
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Events {
        assert!(capacity > 0, "a buffer for events needs a capacity of at least 1");
        Events { list: Vec::with_capacity(capacity), buffer: sys::Selector::buffer(capacity) }
    }

    /// The events of the last poll.
    #[inline]
    pub fn iter(&self) -> Copied<slice::Iter<'_, Event>> {
        self.list.iter().copied()
    }

    /// How many events the last poll reported.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether the last poll reported nothing.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The most events that one poll reports here.
    #[inline]
    #[must_use]
    pub fn capacity(&self) -> usize {
        sys::Selector::capacity(&self.buffer)
    }
}

impl<'a> IntoIterator for &'a Events {
    type Item = Event;
    type IntoIter = Copied<slice::Iter<'a, Event>>;

    #[inline]
    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self).finish()
    }
}
