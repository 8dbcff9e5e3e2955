//! A model of kqueue for a system that has none, close enough to put the selector through its
//! tests with real descriptors.
//!
//! A kqueue is a set of filters. Two epolls can play them, one for all filters that look at
//! reading and one for those that look at writing, since each then holds a descriptor at most once:
//! `EV_CLEAR` is `EPOLLET`, end of file is hang-up. An eventfd plays the user event. Somebody who
//! waits polls the three of them.
//!
//! The model is strict where systems differ, in the way that is harder on the selector: an `EV_ADD`
//! of a filter that exists does not change its `EV_CLEAR`, as on FreeBSD, and what the selector has
//! no business asking for is `EINVAL`.

#![expect(unsafe_code, reason = "epoll(7), which the model is made of")]

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::super::{syscall, timeout};
use super::{Filter, Kernel};
use crate::Key;

pub(super) const EV_ADD: u32 = 0x0001;
pub(super) const EV_DELETE: u32 = 0x0002;
pub(super) const EV_CLEAR: u32 = 0x0020;
pub(super) const EV_RECEIPT: u32 = 0x0040;
pub(super) const EV_ERROR: u32 = 0x4000;
pub(super) const EV_EOF: u32 = 0x8000;
pub(super) const NOTE_TRIGGER: u32 = 0x0100_0000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kevent {
    filter: Filter,
    ident: usize,
    flags: u32,
    fflags: u32,
    data: i64,
    key: Key,
}

impl Default for Kevent {
    fn default() -> Kevent {
        Kevent::new(Filter::User, 0, 0, 0, Key::RESERVED)
    }
}

impl Kevent {
    pub(super) fn new(filter: Filter, ident: usize, flags: u32, fflags: u32, key: Key) -> Kevent {
        Kevent { filter, ident, flags, fflags, data: 0, key }
    }

    /// What the kernel makes of a change that asks for a receipt.
    pub(super) fn receipt(self, errno: i32) -> Kevent {
        Kevent { flags: self.flags | EV_ERROR, data: errno.into(), ..self }
    }

    pub(super) fn filter(&self) -> Filter {
        self.filter
    }

    pub(super) fn flags(&self) -> u32 {
        self.flags
    }

    pub(super) fn fflags(&self) -> u32 {
        self.fflags
    }

    pub(super) fn data(&self) -> i64 {
        self.data
    }

    pub(super) fn key(&self) -> Key {
        self.key
    }
}

pub(crate) struct System {
    read: Filters,
    write: Filters,
    /// Not zero while the user event is triggered.
    user: OwnedFd,
}

/// All filters that look in one direction.
struct Filters {
    filter: Filter,
    epoll: OwnedFd,
    /// The `EPOLLET` that each filter was born with.
    clear: Mutex<HashMap<usize, u32>>,
}

impl System {
    fn change(&self, change: &Kevent) -> io::Result<()> {
        match change.filter {
            Filter::Read => self.read.change(change),
            Filter::Write => self.write.change(change),
            Filter::User => self.change_user(change),
        }
    }

    /// There is one user event, and it always exists. Triggering it takes no lock, as in a kernel:
    /// a signal handler may do it.
    fn change_user(&self, change: &Kevent) -> io::Result<()> {
        match (change.flags, change.fflags) {
            (flags, 0) if flags == EV_ADD | EV_CLEAR | EV_RECEIPT => Ok(()),
            (0, NOTE_TRIGGER) => {
                let one = 1_u64;
                let bytes = (&raw const one).cast();
                // SAFETY: `one` is alive and eight bytes long.
                unsafe { syscall!(write(self.user.as_raw_fd(), bytes, 8)) }.map(|_| ())
            }
            _ => Err(io::Error::from_raw_os_error(libc::EINVAL)),
        }
    }

    /// Takes the user event if it is triggered, and thereby clears it.
    fn take_user(&self) -> Option<Kevent> {
        let mut count = 0_u64;
        let bytes = (&raw mut count).cast();
        // SAFETY: `count` is alive, writable and eight bytes long.
        let read = unsafe { syscall!(read(self.user.as_raw_fd(), bytes, 8)) };
        read.is_ok().then(|| {
            Kevent::new(Filter::User, 0, EV_CLEAR, NOTE_TRIGGER, Key::RESERVED)
        })
    }

    /// Takes the events that are there, and returns how many.
    fn take(&self, events: &mut [Kevent]) -> io::Result<usize> {
        let mut taken = 0;
        if let Some(event) = self.take_user() {
            events[0] = event;
            taken = 1;
        }
        for filters in [&self.read, &self.write] {
            taken += filters.take(&mut events[taken..])?;
        }
        Ok(taken)
    }

    /// Waits until there may be events. False if a signal came or the time is over.
    fn wait(&self, timeout: Option<Duration>) -> io::Result<bool> {
        let timeout = timeout.map(|timeout| {
            let (tv_sec, tv_nsec) = timeout::parts(timeout);
            libc::timespec { tv_sec, tv_nsec }
        });
        let timeout = timeout.as_ref().map_or(ptr::null(), ptr::from_ref);
        let mut set = [&self.user, &self.read.epoll, &self.write.epoll]
            .map(|fd| libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 });
        // SAFETY:
        // - The set is alive and has three members.
        // - The timeout is null, for no limit, or points to a live timespec.
        // - A null signal mask leaves the thread's mask alone.
        let ready = unsafe { syscall!(wait ppoll(set.as_mut_ptr(), 3, timeout, ptr::null())) }?;
        Ok(ready > 0)
    }
}

impl Kernel for System {
    fn new() -> io::Result<System> {
        // SAFETY: eventfd takes no pointers.
        let user = unsafe { syscall!(eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK)) }?;
        Ok(System {
            read: Filters::new(Filter::Read)?,
            write: Filters::new(Filter::Write)?,
            // SAFETY: the system just made this descriptor for us; nobody else owns it.
            user: unsafe { OwnedFd::from_raw_fd(user) },
        })
    }

    fn kevent(
        &self,
        changes: &[Kevent],
        events: &mut [Kevent],
        timeout: Option<Duration>,
    ) -> io::Result<usize> {
        let mut receipts = 0;
        for change in changes {
            let result = self.change(change);
            let errno = result.as_ref().map_or_else(|e| e.raw_os_error().unwrap_or(0), |()| 0);
            if errno == 0 && change.flags & EV_RECEIPT == 0 {
                continue;
            }
            match events.get_mut(receipts) {
                Some(place) => *place = change.receipt(errno),
                None => return result.map(|()| receipts),
            }
            receipts += 1;
        }
        if receipts > 0 || events.is_empty() {
            return Ok(receipts);
        }

        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        loop {
            let taken = self.take(events)?;
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            // Whatever ended the wait may have been taken by another thread.
            if taken > 0 || !self.wait(left)? {
                return Ok(taken);
            }
        }
    }
}

impl Filters {
    fn new(filter: Filter) -> io::Result<Filters> {
        // SAFETY: epoll_create1 takes no pointers.
        let fd = unsafe { syscall!(epoll_create1(libc::EPOLL_CLOEXEC)) }?;
        // SAFETY: the system just made this descriptor for us; nobody else owns it.
        let epoll = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Filters { filter, epoll, clear: Mutex::default() })
    }

    fn change(&self, change: &Kevent) -> io::Result<()> {
        let mut clear = self.clear.lock().unwrap();
        let looks_at = match self.filter {
            Filter::Read => libc::EPOLLIN | libc::EPOLLRDHUP,
            _ => libc::EPOLLOUT,
        } as u32;
        match change.flags & !(EV_RECEIPT | EV_CLEAR) {
            EV_ADD => {
                let edge = if change.flags & EV_CLEAR != 0 { libc::EPOLLET as u32 } else { 0 };
                match self.control(libc::EPOLL_CTL_ADD, change, looks_at | edge) {
                    Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                        let edge = clear[&change.ident];
                        self.control(libc::EPOLL_CTL_MOD, change, looks_at | edge)
                    }
                    result => {
                        clear.insert(change.ident, edge);
                        result
                    }
                }
            }
            EV_DELETE => self.control(libc::EPOLL_CTL_DEL, change, 0),
            _ => Err(io::Error::from_raw_os_error(libc::EINVAL)),
        }
    }

    fn control(&self, operation: libc::c_int, change: &Kevent, flags: u32) -> io::Result<()> {
        let mut event = libc::epoll_event { events: flags, u64: change.key.into() };
        let fd = change.ident as RawFd;
        // SAFETY: `event` is alive.
        unsafe { syscall!(epoll_ctl(self.epoll.as_raw_fd(), operation, fd, &raw mut event)) }?;
        Ok(())
    }

    fn take(&self, events: &mut [Kevent]) -> io::Result<usize> {
        if events.is_empty() {
            return Ok(0);
        }
        let mut reports = vec![libc::epoll_event { events: 0, u64: 0 }; events.len()];
        let most = reports.len() as libc::c_int;
        // SAFETY: `reports` is alive and has room for as many events as told.
        let taken = unsafe {
            syscall!(wait epoll_wait(self.epoll.as_raw_fd(), reports.as_mut_ptr(), most, 0))
        }?;
        for (event, report) in events.iter_mut().zip(&reports[..taken]) {
            *event = self.event(*report);
        }
        Ok(taken)
    }

    fn event(&self, report: libc::epoll_event) -> Kevent {
        let has = |flags: libc::c_int| report.events & flags as u32 != 0;
        let ended = match self.filter {
            Filter::Read => has(libc::EPOLLRDHUP | libc::EPOLLHUP | libc::EPOLLERR),
            _ => has(libc::EPOLLHUP | libc::EPOLLERR),
        };
        let flags = if ended { EV_EOF } else { 0 };
        // A kqueue would say which error. That it is one is all that the selector asks.
        let fflags = if has(libc::EPOLLERR) { libc::ECONNRESET as u32 } else { 0 };
        Kevent::new(self.filter, 0, flags, fflags, Key::from(report.u64))
    }
}
