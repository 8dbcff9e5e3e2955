//! The system's kqueue.
//!
//! The fields of `struct kevent` have other types on every BSD, and some have more fields. The
//! casts to `_` below are for them; no value is narrowed.

#![expect(unsafe_code, reason = "kqueue(2)")]

use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;
use std::time::Duration;

use super::super::{syscall, timeout};
use super::{Filter, Kernel};
use crate::{Key, Poller};

pub(super) const EV_ADD: u32 = libc::EV_ADD as u32;
pub(super) const EV_DELETE: u32 = libc::EV_DELETE as u32;
pub(super) const EV_CLEAR: u32 = libc::EV_CLEAR as u32;
pub(super) const EV_RECEIPT: u32 = libc::EV_RECEIPT as u32;
pub(super) const EV_EOF: u32 = libc::EV_EOF as u32;
pub(super) const EV_ERROR: u32 = libc::EV_ERROR as u32;
pub(super) const NOTE_TRIGGER: u32 = libc::NOTE_TRIGGER;

/// The system's `struct kevent`, and nothing beside it: a slice of these is a slice of those.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(crate) struct Kevent(libc::kevent);

// SAFETY: what makes `libc::kevent` neither `Send` nor `Sync` is `udata`, which is a pointer by
// type. Here it holds the bits of a `Key`, and nobody follows it.
unsafe impl Send for Kevent {}
// SAFETY: as above.
unsafe impl Sync for Kevent {}

impl Default for Kevent {
    fn default() -> Kevent {
        // SAFETY: it consists of integers and a raw pointer, for which zero is a value.
        Kevent(unsafe { mem::zeroed() })
    }
}

impl Kevent {
    pub(super) fn new(filter: Filter, ident: usize, flags: u32, fflags: u32, key: Key) -> Kevent {
        let mut event = Kevent::default();
        event.0.ident = ident as _;
        event.0.filter = match filter {
            Filter::Read => libc::EVFILT_READ,
            Filter::Write => libc::EVFILT_WRITE,
            Filter::User => libc::EVFILT_USER,
        };
        event.0.flags = flags as _;
        event.0.fflags = fflags;
        event.0.udata = ptr::without_provenance_mut(u64::from(key) as usize);
        event
    }

    pub(super) fn filter(&self) -> Filter {
        match self.0.filter {
            libc::EVFILT_READ => Filter::Read,
            libc::EVFILT_WRITE => Filter::Write,
            _ => Filter::User,
        }
    }

    pub(super) fn flags(&self) -> u32 {
        self.0.flags as u32
    }

    pub(super) fn fflags(&self) -> u32 {
        self.0.fflags
    }

    /// In a receipt, the `errno` of the change, or 0.
    pub(super) fn data(&self) -> i64 {
        self.0.data as i64
    }

    pub(super) fn key(&self) -> Key {
        Key::from(self.0.udata.addr() as u64)
    }
}

pub(crate) struct System {
    kqueue: OwnedFd,
}

impl Kernel for System {
    fn new() -> io::Result<System> {
        // SAFETY: kqueue takes no arguments.
        let fd = unsafe { syscall!(kqueue()) }?;
        // SAFETY: the system just made this descriptor for us; nobody else owns it.
        let kqueue = unsafe { OwnedFd::from_raw_fd(fd) };
        // A fork in between does no harm: a child does not inherit its parent's kqueues.
        // SAFETY: F_SETFD takes no pointers.
        unsafe { syscall!(fcntl(kqueue.as_raw_fd(), libc::F_SETFD, libc::FD_CLOEXEC)) }?;
        Ok(System { kqueue })
    }

    fn kevent(
        &self,
        changes: &[Kevent],
        events: &mut [Kevent],
        timeout: Option<Duration>,
    ) -> io::Result<usize> {
        let timeout = timeout.map(|timeout| {
            let (tv_sec, tv_nsec) = timeout::parts(timeout);
            libc::timespec { tv_sec, tv_nsec }
        });
        // SAFETY:
        // - Both slices are alive and as long as told, and a `Kevent` is a `libc::kevent`.
        // - The timeout is null, for no limit, or points to a live timespec.
        unsafe {
            syscall!(wait kevent(
                self.kqueue.as_raw_fd(),
                changes.as_ptr().cast(),
                changes.len() as _,
                events.as_mut_ptr().cast(),
                events.len().min(libc::c_int::MAX as usize) as _,
                timeout.as_ref().map_or(ptr::null(), ptr::from_ref),
            ))
        }
    }
}

impl AsFd for Poller {
    /// The kqueue. It is readable when events wait, so that it can itself be registered elsewhere.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.selector.kernel.kqueue.as_fd()
    }
}
