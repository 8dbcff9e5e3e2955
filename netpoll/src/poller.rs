//! [`Poller`]: the registrations and the wait.

use std::fmt;
use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use crate::sys::{Backend, Selector};
use crate::{Events, Interest, Key, Trigger, Waker};

/// A set of registered descriptors, and the means to wait for any of them.
///
/// It can be shared: every method takes `&self`, and a change made while another thread polls
/// holds for that poll. The [crate's documentation](crate#the-contract) has the contract.
///
/// On epoll and kqueue a poller is itself a descriptor, by
/// [`AsFd`](std::os::fd::AsFd), which another poller can watch. The poll backend is not.
pub struct Poller {
    pub(crate) selector: Selector,
}

impl Poller {
    /// Makes a poller without registrations.
    ///
    /// # Errors
    ///
    /// If the system has no descriptors or memory left.
    pub fn new() -> io::Result<Poller> {
        Ok(Poller { selector: Selector::new()? })
    }

    /// Registers a descriptor.
    ///
    /// A direction of interest that is ready already is reported, with either trigger.
    ///
    /// The descriptor need not be in nonblocking mode, but with [`Trigger::Edge`] its user must
    /// be able to meet `WouldBlock`. [`delete`](Poller::delete) it before it is closed.
    ///
    /// # Errors
    ///
    /// - [`InvalidInput`](io::ErrorKind::InvalidInput) if the key is [`Key::RESERVED`].
    /// - [`AlreadyExists`](io::ErrorKind::AlreadyExists) if the descriptor is registered here.
    /// - [`PermissionDenied`](io::ErrorKind::PermissionDenied) (`EPERM`) for a regular file or a
    ///   directory, which are always ready. epoll refuses them, so the other backends do too.
    ///   What other files can be polled is the system's affair.
    /// - `EBADF` if the descriptor is closed.
    /// - What else the system has to say, such as `ENOSPC` at its limit of registrations.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::fs::File;
    /// use std::io::ErrorKind;
    /// use std::os::fd::AsFd;
    ///
    /// use netpoll::{Interest, Key, Poller, Trigger};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let poller = Poller::new()?;
    /// let file = File::open(std::env::current_exe()?)?;
    /// let refused = poller.add(file.as_fd(), Key::new(0, 0), Interest::READABLE, Trigger::Level);
    /// assert_eq!(refused.unwrap_err().kind(), ErrorKind::PermissionDenied);
    /// # Ok(())
    /// # }
    /// ```
    pub fn add(
        &self,
        fd: BorrowedFd<'_>,
        key: Key,
        interest: Interest,
        trigger: Trigger,
    ) -> io::Result<()> {
        refuse_reserved(key)?;
        self.selector.add(fd, key, interest, trigger)
    }

    /// Replaces a registration: key, interest and trigger.
    ///
    /// As after [`add`](Poller::add), a direction of interest that is ready is reported, even
    /// if it was reported before.
    ///
    /// # Errors
    ///
    /// - [`InvalidInput`](io::ErrorKind::InvalidInput) if the key is [`Key::RESERVED`].
    /// - [`NotFound`](io::ErrorKind::NotFound) if the descriptor is not registered here.
    /// - What else the system has to say. On kqueue the descriptor is then no longer registered.
    pub fn modify(
        &self,
        fd: BorrowedFd<'_>,
        key: Key,
        interest: Interest,
        trigger: Trigger,
    ) -> io::Result<()> {
        refuse_reserved(key)?;
        self.selector.modify(fd, key, interest, trigger)
    }

    /// Forgets a descriptor.
    ///
    /// No poll reports it any more, apart from one that had its event before.
    ///
    /// # Errors
    ///
    /// - [`NotFound`](io::ErrorKind::NotFound) if the descriptor is not registered here.
    pub fn delete(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        self.selector.delete(fd)
    }

    /// Asks for the next report of these directions of an edge-triggered registration.
    ///
    /// To be called after each operation that failed with `WouldBlock`, before waiting for its
    /// event. A direction that became ready in between is reported. For a direction whose report
    /// is still due, and for a level-triggered registration, this is without effect.
    ///
    /// On epoll and kqueue it does nothing; see [the contract](crate#the-contract).
    ///
    /// # Errors
    ///
    /// - [`NotFound`](io::ErrorKind::NotFound) if the descriptor is not registered here, on the
    ///   backends that look.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::io::{ErrorKind, Read, Write};
    /// use std::os::fd::AsFd;
    /// use std::os::unix::net::UnixStream;
    ///
    /// use netpoll::{Events, Interest, Key, Poller, Trigger};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let (mut here, mut there) = UnixStream::pair()?;
    /// there.set_nonblocking(true)?;
    /// let poller = Poller::new()?;
    /// poller.add(there.as_fd(), Key::new(0, 0), Interest::READABLE, Trigger::Edge)?;
    ///
    /// let mut events = Events::with_capacity(8);
    /// let mut buffer = [0; 16];
    /// for _ in 0..3 {
    ///     here.write_all(b"x")?;
    ///     poller.poll(&mut events, None)?;
    ///     let end = loop {
    ///         match there.read(&mut buffer) {
    ///             Ok(n) => assert_eq!(n, 1),
    ///             Err(e) => break e,
    ///         }
    ///     };
    ///     assert_eq!(end.kind(), ErrorKind::WouldBlock);
    ///     poller.rearm(there.as_fd(), Interest::READABLE)?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[inline]
    pub fn rearm(&self, fd: BorrowedFd<'_>, interest: Interest) -> io::Result<()> {
        self.selector.rearm(fd, interest)
    }

    /// Waits until a registered descriptor is ready, and returns how many events there are in
    /// `events`, which is cleared first.
    ///
    /// `None` waits without limit, [`Duration::ZERO`] does not wait, and any other duration is
    /// legal, [`Duration::MAX`] included. The wait is over, with what events there are, when
    ///
    /// - a descriptor is ready,
    /// - the time is over: never before it, unless it is three years or more, and as soon after it
    ///   as the system can,
    /// - a [`Waker`] woke the poller, now or since the last poll,
    /// - a signal was delivered to the thread.
    ///
    /// So 0 does not mean that the time is over. A caller with a deadline looks at the clock. That
    /// a signal ends the wait gives programs which set a flag in a signal handler the chance to
    /// look at it, and costs the others one turn of a loop that they have anyway.
    ///
    /// Never more events are reported than `events` has [capacity](Events::capacity) for; the
    /// rest comes with the next polls.
    ///
    /// # Errors
    ///
    /// What the system has to say. None is known to happen in a poller that works, except
    /// `ENOMEM`.
    pub fn poll(&self, events: &mut Events, timeout: Option<Duration>) -> io::Result<usize> {
        events.list.clear();
        self.selector.poll(&mut events.buffer, &mut events.list, timeout)?;
        Ok(events.len())
    }

    /// A handle that ends a [`poll`](Poller::poll) from elsewhere.
    #[must_use]
    pub fn waker(&self) -> Waker {
        Waker::new(self.selector.waker().clone())
    }

    /// Which backend this is: `"epoll"`, `"kqueue"` or `"poll"`.
    #[must_use]
    pub fn backend(&self) -> &'static str {
        Selector::NAME
    }
}

impl fmt::Debug for Poller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Poller").field("backend", &Selector::NAME).finish_non_exhaustive()
    }
}

fn refuse_reserved(key: Key) -> io::Result<()> {
    if key == Key::RESERVED {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "this key is reserved for the poller's waker",
        ));
    }
    Ok(())
}
