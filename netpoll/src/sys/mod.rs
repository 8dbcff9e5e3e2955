//! What the operating system does for the poller: one selector and one waker, chosen by target.
//!
//! What a backend must satisfy is the list of methods of [`Backend`] and [`Wake`], and:
//!
//! - Any method may run on any number of threads at once, `poll` included. None waits for another
//!   thread's `poll` to end, except `poll` itself, and that no longer than its timeout.
//! - Every descriptor is close-on-exec.
//! - `AsFd for Poller` is implemented by the backend if it has one descriptor that is readable while
//!   events wait.
//!
//! # Selectors and wakers
//!
//! | target | selector | waker |
//! |---|---|---|
//! | Linux, Android | [`epoll`] | an eventfd, never read |
//! | Apple, FreeBSD, NetBSD, OpenBSD, DragonFly, all of 64 bits | `kqueue` | `EVFILT_USER`, or a pipe where that is missing |
//! | any other Unix | `poll` | a pipe |
//!
//! kqueue has room for a pointer beside a registration, and a [`Key`] has 64 bits:
//! hence the 64 bits.
//!
//! `--cfg netpoll_backend="poll"` and `"kqueue"` force a selector on a system that has another. On
//! Linux the kqueue selector then stands on a model of kevent made of epolls, so that all of its
//! logic, and the whole test suite, runs there.

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::Duration;

use crate::event::Event;
use crate::{Interest, Key, Trigger};

cfg_select! {
    netpoll_backend = "poll" => {
        mod files;
        mod pipe;
        mod poll;
        use poll as backend;
    }
    netpoll_backend = "kqueue" => {
        mod files;
        mod kqueue;
        mod pipe;
        use kqueue as backend;
    }
    any(target_os = "linux", target_os = "android") => {
        mod epoll;
        mod eventfd;
        // For its own tests. The whole suite meets these when they are forced.
        #[cfg(test)]
        mod files;
        #[cfg(test)]
        mod kqueue;
        #[cfg(test)]
        mod pipe;
        use epoll as backend;
    }
    all(
        target_pointer_width = "64",
        any(
            target_vendor = "apple",
            target_os = "freebsd",
            target_os = "netbsd",
            target_os = "openbsd",
            target_os = "dragonfly",
        ),
    ) => {
        mod files;
        mod kqueue;
        mod pipe;
        use kqueue as backend;
    }
    unix => {
        mod files;
        mod pipe;
        mod poll;
        use poll as backend;
    }
    _ => { compile_error!("netpoll needs a Unix system"); }
}

mod timeout;

pub(crate) use backend::Selector;

/// A selector: what holds the registrations and waits.
pub(crate) trait Backend: Send + Sync + Sized {
    /// What [`Poller::backend`](crate::Poller::backend) returns.
    const NAME: &'static str;

    /// What ends a `poll` from elsewhere. It may outlive its selector.
    type Waker: Wake;

    /// What a `poll` works in, kept from one to the next by the caller.
    type Buffer: Send + Sync;

    /// Makes a selector whose only registration is its waker. The waker's key is
    /// [`Key::RESERVED`], which no other registration has.
    fn new() -> io::Result<Self>;

    /// The waker.
    fn waker(&self) -> &Arc<Self::Waker>;

    /// Registers a descriptor. A direction of interest that is ready is reported, with either
    /// trigger, also by a `poll` that is already waiting.
    ///
    /// `EEXIST` if it is registered, `EBADF` if it is closed, `EPERM` if it is a regular file or a
    /// directory.
    fn add(
        &self,
        fd: BorrowedFd<'_>,
        key: Key,
        interest: Interest,
        trigger: Trigger,
    ) -> io::Result<()>;

    /// Replaces a registration by another, as if `add` followed on `delete`.
    ///
    /// `ENOENT` if it is not registered.
    fn modify(
        &self,
        fd: BorrowedFd<'_>,
        key: Key,
        interest: Interest,
        trigger: Trigger,
    ) -> io::Result<()>;

    /// Forgets a descriptor. No `poll` that is waiting, or starts later, reports it. One that has
    /// its event already may still be about to return it.
    ///
    /// `ENOENT` if it is not registered.
    fn delete(&self, fd: BorrowedFd<'_>) -> io::Result<()>;

    /// An operation on an edge-triggered descriptor failed with `WouldBlock`: the next readiness is
    /// to be reported, and so is one that came in between. A system that remembers edges by itself
    /// has nothing to do.
    fn rearm(&self, fd: BorrowedFd<'_>, interest: Interest) -> io::Result<()>;

    /// Makes a buffer for `capacity` events, which is at least 1.
    fn buffer(capacity: usize) -> Self::Buffer;

    /// The capacity of a buffer.
    fn capacity(buffer: &Self::Buffer) -> usize;

    /// Waits, and adds events to an empty list: at most as many as the buffer's capacity, with
    /// their keys as registered, the waker's left out. What does not fit comes with the next
    /// polls, and no registration starves.
    ///
    /// Hang-up and error are reported whatever the interest, as far as the system tells of them.
    ///
    /// Returns without events when the timeout is over (never before it, but after three years at
    /// the latest), when it was woken, and when a signal came (see [`syscall!`]).
    fn poll(
        &self,
        buffer: &mut Self::Buffer,
        events: &mut Vec<Event>,
        timeout: Option<Duration>,
    ) -> io::Result<()>;
}

/// A waker.
pub(crate) trait Wake: Send + Sync {
    /// Ends a `poll` that is waiting, or else the next one.
    ///
    /// May be called in a signal handler: it makes system calls, and nothing else.
    fn wake(&self) -> io::Result<()>;
}

/// The door to the system: calls a function of libc and turns -1 into the `io::Error` of `errno`.
///
/// What to do about a signal that interrupts a call is decided here. A call that does something is
/// made again. A call that waits (`syscall!(wait …)`) reports nothing, as if its time were over:
/// its caller has a deadline to recompute, and perhaps a flag to look at which the signal's handler
/// set.
///
/// The macro hides no `unsafe`: the call stands in a block of its user's, beside the reasons.
macro_rules! syscall {
    (wait $name:ident ( $($arg:expr),* $(,)? )) => {
        match libc::$name($($arg),*) {
            -1 => match ::std::io::Error::last_os_error() {
                e if e.kind() == ::std::io::ErrorKind::Interrupted => Ok(0),
                e => Err(e),
            },
            ready => Ok(ready as usize),
        }
    };
    ($name:ident ( $($arg:expr),* $(,)? )) => {
        loop {
            match libc::$name($($arg),*) {
                -1 => match ::std::io::Error::last_os_error() {
                    e if e.kind() == ::std::io::ErrorKind::Interrupted => {}
                    e => break Err(e),
                },
                result => break Ok(result),
            }
        }
    };
}

use syscall;
