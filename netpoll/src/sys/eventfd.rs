//! The waker of Linux: an eventfd, registered edge-triggered and never read.
//!
//! Every write is an edge of its own, whatever the counter says, so the poller has nothing to do
//! when it is woken. The price is that the counter only grows. When it is full, after 2^64 - 2
//! wakeups, the waker that finds it so empties it.

#![expect(unsafe_code, reason = "eventfd(2)")]

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use super::{Wake, syscall};

pub(crate) struct Waker {
    eventfd: OwnedFd,
}

impl Waker {
    pub(crate) fn new() -> io::Result<Waker> {
        // SAFETY: eventfd takes no pointers.
        let fd = unsafe { syscall!(eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK)) }?;
        // SAFETY: the system just made this descriptor for us; nobody else owns it.
        Ok(Waker { eventfd: unsafe { OwnedFd::from_raw_fd(fd) } })
    }

    fn add(&self, value: u64) -> io::Result<()> {
        let bytes = value.to_ne_bytes();
        // SAFETY: `bytes` is alive and as long as told.
        unsafe { syscall!(write(self.eventfd.as_raw_fd(), bytes.as_ptr().cast(), bytes.len())) }?;
        Ok(())
    }

    /// Sets the counter to zero. Another waker may have been quicker.
    fn empty(&self) -> io::Result<()> {
        let mut bytes = [0; 8];
        // SAFETY: `bytes` is alive, writable and as long as told.
        let read = unsafe {
            syscall!(read(self.eventfd.as_raw_fd(), bytes.as_mut_ptr().cast(), bytes.len()))
        };
        match read {
            Err(e) if e.kind() != io::ErrorKind::WouldBlock => Err(e),
            _ => Ok(()),
        }
    }
}

impl Wake for Waker {
    fn wake(&self) -> io::Result<()> {
        loop {
            match self.add(1) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => self.empty()?,
                result => return result,
            }
        }
    }
}

impl AsFd for Waker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.eventfd.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_counter_is_emptied() {
        let waker = Waker::new().unwrap();
        waker.add(u64::MAX - 1).unwrap();
        assert_eq!(waker.add(1).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        waker.wake().unwrap();
        // The counter stands at 1 again, so that all of the rest fits.
        waker.add(u64::MAX - 2).unwrap();
        assert_eq!(waker.add(1).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }
}
