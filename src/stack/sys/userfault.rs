//! A userfaultfd, used for one thing only: to poison pages.
//!
//! Ranges are registered for write protection, which is never switched on: of the modes there are
//! it is the one that leaves first touches of ordinary pages alone. `USER_MODE_ONLY` spares the need
//! for a privilege.

#![expect(unsafe_code, reason = "the userfaultfd system call and its ioctls")]

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use super::check;

const UFFD_USER_MODE_ONLY: libc::c_int = 1;
const UFFD_API: u64 = 0xAA;
const UFFD_FEATURE_PAGEFAULT_FLAG_WP: u64 = 1 << 0;
const UFFD_FEATURE_POISON: u64 = 1 << 14;
const UFFDIO_REGISTER_MODE_WP: u64 = 1 << 1;

const UFFDIO: u32 = 0xAA;
const UFFDIO_REGISTER: libc::Ioctl = libc::_IOWR::<Register>(UFFDIO, 0x00);
const UFFDIO_POISON: libc::Ioctl = libc::_IOWR::<Poison>(UFFDIO, 0x08);
const UFFDIO_API: libc::Ioctl = libc::_IOWR::<Api>(UFFDIO, 0x3F);

#[repr(C)]
struct Api {
    api: u64,
    features: u64,
    ioctls: u64,
}

#[repr(C)]
struct Range {
    start: u64,
    len: u64,
}

#[repr(C)]
struct Register {
    range: Range,
    mode: u64,
    ioctls: u64,
}

#[repr(C)]
struct Poison {
    range: Range,
    mode: u64,
    updated: i64,
}

/// The descriptor. Poisoned pages stay poisoned when it is closed, but no more can be made.
pub(in crate::stack) struct Userfault(OwnedFd);

impl Userfault {
    pub(in crate::stack) fn new() -> io::Result<Userfault> {
        let flags = libc::O_CLOEXEC | libc::O_NONBLOCK | UFFD_USER_MODE_ONLY;
        // SAFETY: makes a descriptor, touches nothing else.
        let fd = unsafe { libc::syscall(libc::SYS_userfaultfd, flags) };
        let fd = libc::c_int::try_from(fd).expect("descriptors are ints");
        check(fd)?;
        // SAFETY: the descriptor is new, open, and nobody else's.
        let userfault = Userfault(unsafe { OwnedFd::from_raw_fd(fd) });
        let features = UFFD_FEATURE_POISON | UFFD_FEATURE_PAGEFAULT_FLAG_WP;
        userfault.call(UFFDIO_API, &mut Api { api: UFFD_API, features, ioctls: 0 })?;
        Ok(userfault)
    }

    /// Readies `len` bytes at `start` for [`poison`](Userfault::poison).
    pub(in crate::stack) fn register(&self, start: usize, len: usize) -> io::Result<()> {
        let range = Range { start: start as u64, len: len as u64 };
        let mode = UFFDIO_REGISTER_MODE_WP;
        self.call(UFFDIO_REGISTER, &mut Register { range, mode, ioctls: 0 })
    }

    /// Makes every access to `len` bytes at `start`, never touched so far, a `SIGBUS`.
    pub(in crate::stack) fn poison(&self, start: usize, len: usize) -> io::Result<()> {
        let mut done = 0;
        while done < len {
            let range = Range { start: (start + done) as u64, len: (len - done) as u64 };
            let mut poison = Poison { range, mode: 0, updated: 0 };
            let called = self.call(UFFDIO_POISON, &mut poison);
            // A call disturbed by another change to the address space says how far it came.
            done += usize::try_from(poison.updated).unwrap_or(0);
            match called {
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    fn call<T>(&self, request: libc::Ioctl, argument: &mut T) -> io::Result<()> {
        // SAFETY:
        // - `T` is the structure that `request` was built from: each of the three callers above
        //   names the pair;
        // - registering and poisoning change nothing but how pages that nobody has touched fault.
        check(unsafe { libc::ioctl(self.0.as_raw_fd(), request, std::ptr::from_mut(argument)) })
    }
}
