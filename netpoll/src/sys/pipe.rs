//! The waker that every Unix has: a pipe, registered level-triggered, and emptied when it woke
//! somebody.

#![expect(unsafe_code, reason = "pipe(2)")]

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use super::{Wake, syscall};

pub(crate) struct Waker {
    reader: OwnedFd,
    writer: OwnedFd,
}

impl Waker {
    pub(crate) fn new() -> io::Result<Waker> {
        let (reader, writer) = io::pipe()?;
        let waker = Waker { reader: reader.into(), writer: writer.into() };
        for end in [&waker.reader, &waker.writer] {
            // SAFETY: F_SETFL takes no pointers. Nobody else has this pipe, whose flags it changes.
            unsafe { syscall!(fcntl(end.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK)) }?;
        }
        Ok(waker)
    }

    /// Empties the pipe. What its wakeups were about must be looked at afterwards, not before.
    pub(crate) fn drain(&self) {
        let mut bytes = [0_u8; 256];
        // A read that is not full, or fails, was the last: nothing but `WouldBlock` is known to
        // make it fail.
        while self.read(&mut bytes).is_ok_and(|length| length == bytes.len()) {}
    }

    fn read(&self, bytes: &mut [u8]) -> io::Result<usize> {
        let fd = self.reader.as_raw_fd();
        // SAFETY: `bytes` is alive, writable and as long as told.
        let length = unsafe { syscall!(read(fd, bytes.as_mut_ptr().cast(), bytes.len())) }?;
        Ok(length as usize)
    }
}

impl Wake for Waker {
    /// Makes the pipe readable. A full pipe is readable enough.
    fn wake(&self) -> io::Result<()> {
        let byte = 0_u8;
        // SAFETY: `byte` is alive and one byte long.
        let written =
            unsafe { syscall!(write(self.writer.as_raw_fd(), (&raw const byte).cast(), 1)) };
        match written {
            Err(e) if e.kind() != io::ErrorKind::WouldBlock => Err(e),
            _ => Ok(()),
        }
    }
}

/// The end that becomes readable.
impl AsFd for Waker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.reader.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_pipe_is_no_error_and_can_be_drained() {
        let waker = Waker::new().unwrap();
        for _ in 0..100_000 {
            waker.wake().unwrap();
        }
        waker.drain();
        assert_eq!(waker.read(&mut [0]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }
}
