//! kqueue, woken by a user event, or by a pipe where there is none.
//!
//! kqueue knows filters, not descriptors: a registration is one filter for each direction of
//! interest. It takes an `EV_ADD` of a filter it has for a change of it, which would let a second
//! `add` pass, and it does not say which filters a descriptor has. So the interests are remembered
//! here, in a map behind a mutex that is held while the kernel is told, but never while a poll
//! waits.
//!
//! A `modify` deletes the filters and adds them anew: that an `EV_ADD` turns a level into an edge
//! or makes a filter tell again what it told before is true on some systems only.
//!
//! What the selector asks of the system is [`Kernel`], a single call. On the BSDs it is the real
//! one (`native.rs`). On Linux it is a model of it (`model.rs`), which is why this logic can be
//! tested on a machine that has no kqueue.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use self::kernel::{EV_ADD, EV_CLEAR, EV_DELETE, EV_EOF, EV_ERROR, EV_RECEIPT, Kevent, NOTE_TRIGGER};
use super::{Backend, Wake, files, pipe};
use crate::event::{Event, Readiness};
use crate::{Interest, Key, Trigger};

#[cfg_attr(any(target_os = "linux", target_os = "android"), path = "model.rs")]
#[cfg_attr(not(any(target_os = "linux", target_os = "android")), path = "native.rs")]
mod kernel;
#[cfg(test)]
mod tests;

pub(crate) type Selector = Kqueue<kernel::System>;

/// What the selector needs of the system.
pub(crate) trait Kernel: Send + Sync + Sized {
    fn new() -> io::Result<Self>;

    /// `kevent(2)`: makes the changes, then waits for events if no change has a receipt. A signal
    /// ends the wait without events.
    fn kevent(
        &self,
        changes: &[Kevent],
        events: &mut [Kevent],
        timeout: Option<Duration>,
    ) -> io::Result<usize>;
}

/// What a filter looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Filter {
    Read,
    Write,
    User,
}

/// A kqueue with its waker registered.
pub(crate) struct Kqueue<K> {
    kernel: Arc<K>,
    waker: Arc<Waker<K>>,
    /// Which filters each descriptor has.
    interests: Mutex<HashMap<RawFd, Interest>>,
}

/// Where the kernel writes its events.
pub(crate) struct Buffer(Vec<Kevent>);

impl<K: Kernel> Backend for Kqueue<K> {
    const NAME: &'static str = "kqueue";

    type Waker = Waker<K>;
    type Buffer = Buffer;

    fn new() -> io::Result<Self> {
        let kernel = Arc::new(K::new()?);
        let waker = Arc::new(Waker::new(&kernel)?);
        Ok(Kqueue { kernel, waker, interests: Mutex::default() })
    }

    fn waker(&self) -> &Arc<Waker<K>> {
        &self.waker
    }

    fn add(
        &self,
        fd: BorrowedFd<'_>,
        key: Key,
        interest: Interest,
        trigger: Trigger,
    ) -> io::Result<()> {
        files::refuse_always_ready(fd)?;
        match self.interests().entry(fd.as_raw_fd()) {
            Entry::Occupied(_) => Err(io::Error::from_raw_os_error(libc::EEXIST)),
            Entry::Vacant(place) => {
                add_filters(&*self.kernel, fd, key, interest, trigger)?;
                place.insert(interest);
                Ok(())
            }
        }
    }

    fn modify(
        &self,
        fd: BorrowedFd<'_>,
        key: Key,
        interest: Interest,
        trigger: Trigger,
    ) -> io::Result<()> {
        let mut interests = self.interests();
        let old = take(&mut interests, fd)?;
        delete_filters(&*self.kernel, fd, old)?;
        add_filters(&*self.kernel, fd, key, interest, trigger)?;
        interests.insert(fd.as_raw_fd(), interest);
        Ok(())
    }

    fn delete(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        let mut interests = self.interests();
        let old = take(&mut interests, fd)?;
        delete_filters(&*self.kernel, fd, old)
    }

    #[inline]
    fn rearm(&self, _fd: BorrowedFd<'_>, _interest: Interest) -> io::Result<()> {
        Ok(())
    }

    fn buffer(capacity: usize) -> Buffer {
        Buffer(vec![Kevent::default(); capacity])
    }

    fn capacity(buffer: &Buffer) -> usize {
        buffer.0.len()
    }

    fn poll(
        &self,
        buffer: &mut Buffer,
        events: &mut Vec<Event>,
        timeout: Option<Duration>,
    ) -> io::Result<()> {
        let ready = self.kernel.kevent(&[], &mut buffer.0, timeout)?;
        for place in 0..ready {
            let event = buffer.0[place];
            match event.key() {
                Key::RESERVED => self.waker.woke(),
                key => events.push(Event::new(key, readiness(&event))),
            }
        }
        Ok(())
    }
}

impl<K: Kernel> Kqueue<K> {
    /// Nothing panics while it holds this mutex, and if it did, the map would still be one.
    fn interests(&self) -> MutexGuard<'_, HashMap<RawFd, Interest>> {
        self.interests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends a poll by a user event of the kqueue itself. NetBSD before 10 and older OpenBSDs do not
/// have that filter.
pub(crate) enum Waker<K> {
    User(Arc<K>),
    Pipe(pipe::Waker),
}

impl<K: Kernel> Waker<K> {
    fn new(kernel: &Arc<K>) -> io::Result<Waker<K>> {
        let user = Kevent::new(Filter::User, 0, EV_ADD | EV_CLEAR | EV_RECEIPT, 0, Key::RESERVED);
        if matches!(submit(&**kernel, &[user])?[..], [None]) {
            return Ok(Waker::User(kernel.clone()));
        }
        let pipe = pipe::Waker::new()?;
        add_filters(&**kernel, pipe.as_fd(), Key::RESERVED, Interest::READABLE, Trigger::Level)?;
        Ok(Waker::Pipe(pipe))
    }

    /// A poll was told of a wakeup.
    fn woke(&self) {
        match self {
            // The kernel cleared the event as it told it.
            Waker::User(_) => {}
            Waker::Pipe(pipe) => pipe.drain(),
        }
    }
}

impl<K: Kernel> Wake for Waker<K> {
    fn wake(&self) -> io::Result<()> {
        match self {
            Waker::User(kernel) => {
                let trigger = Kevent::new(Filter::User, 0, 0, NOTE_TRIGGER, Key::RESERVED);
                kernel.kevent(&[trigger], &mut [], None).map(|_| ())
            }
            Waker::Pipe(pipe) => pipe.wake(),
        }
    }
}

/// Forgets what is remembered of a descriptor, and returns it.
fn take(interests: &mut HashMap<RawFd, Interest>, fd: BorrowedFd<'_>) -> io::Result<Interest> {
    let missing = || io::Error::from_raw_os_error(libc::ENOENT);
    interests.remove(&fd.as_raw_fd()).ok_or_else(missing)
}

/// Adds a filter for each direction: all of them, or else none.
fn add_filters<K: Kernel>(
    kernel: &K,
    fd: BorrowedFd<'_>,
    key: Key,
    interest: Interest,
    trigger: Trigger,
) -> io::Result<()> {
    let mut flags = EV_ADD | EV_RECEIPT;
    if trigger == Trigger::Edge {
        flags |= EV_CLEAR;
    }
    for receipt in submit(kernel, &changes(fd, interest, flags, key))? {
        match receipt {
            // The other end of a pipe is gone. Where that is an error, operations fail at once
            // instead of with `WouldBlock`, so that nobody waits for this direction.
            None | Some(libc::EPIPE) => {}
            Some(errno) => {
                // Either filter may be the one that was refused, so the answer does not matter.
                let _ = delete_filters(kernel, fd, interest);
                return Err(io::Error::from_raw_os_error(errno));
            }
        }
    }
    Ok(())
}

/// Deletes the filter of each direction. That one of them is missing is no error: it may have been
/// refused with `EPIPE`. That all are missing is: the descriptor was closed in between.
fn delete_filters<K: Kernel>(kernel: &K, fd: BorrowedFd<'_>, interest: Interest) -> io::Result<()> {
    let changes = changes(fd, interest, EV_DELETE | EV_RECEIPT, Key::RESERVED);
    let receipts = submit(kernel, &changes)?;
    let other = receipts.iter().flatten().find(|&&errno| errno != libc::ENOENT);
    match other {
        Some(&errno) => Err(io::Error::from_raw_os_error(errno)),
        None if receipts.iter().any(Option::is_none) => Ok(()),
        None => Err(io::Error::from_raw_os_error(libc::ENOENT)),
    }
}

/// The same change for the filter of each direction.
fn changes(fd: BorrowedFd<'_>, interest: Interest, flags: u32, key: Key) -> Vec<Kevent> {
    let read = interest.is_readable().then_some(Filter::Read);
    let write = interest.is_writable().then_some(Filter::Write);
    let ident = fd.as_raw_fd() as usize;
    let change = |filter| Kevent::new(filter, ident, flags, 0, key);
    read.into_iter().chain(write).map(change).collect()
}

/// Makes changes that ask for receipts, and returns the `errno` of those that failed, in order.
fn submit<K: Kernel>(kernel: &K, changes: &[Kevent]) -> io::Result<Vec<Option<i32>>> {
    let mut receipts = vec![Kevent::default(); changes.len()];
    let received = kernel.kevent(changes, &mut receipts, Some(Duration::ZERO))?;
    debug_assert_eq!(received, changes.len(), "EV_RECEIPT makes one of every change");
    Ok(receipts.iter().map(|receipt| (receipt.data() != 0).then_some(receipt.data() as i32)).collect())
}

/// An end of file is that of one direction: what `EVFILT_READ` calls so is the end of the peer's
/// stream. `EVFILT_WRITE` can only have lost its reader, and with it the connection.
fn readiness(event: &Kevent) -> Readiness {
    let ended = event.flags() & EV_EOF != 0;
    let error = event.flags() & EV_ERROR != 0 || ended && event.fflags() != 0;
    let direction = match event.filter() {
        Filter::Read => Readiness::READABLE | Readiness::READ_CLOSED.when(ended),
        Filter::Write => Readiness::WRITABLE | Readiness::HANGUP.when(ended),
        Filter::User => Readiness::EMPTY,
    };
    direction | Readiness::ERROR.when(error)
}
