//! The refusal of files that are always ready, for the systems that would take them.

#![expect(unsafe_code, reason = "fstat(2)")]

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd};

use super::syscall;

/// Fails as `epoll_ctl` does: with `EPERM` for a regular file or a directory, and with `EBADF` for
/// a descriptor that is closed.
pub(super) fn refuse_always_ready(fd: BorrowedFd<'_>) -> io::Result<()> {
    let mut stat = MaybeUninit::<libc::stat>::uninit();
    // SAFETY: `stat` is alive and has room for what the call writes.
    unsafe { syscall!(fstat(fd.as_raw_fd(), stat.as_mut_ptr())) }?;
    // SAFETY: the call succeeded, so it filled `stat`.
    let stat = unsafe { stat.assume_init() };
    match stat.st_mode & libc::S_IFMT {
        libc::S_IFREG | libc::S_IFDIR => Err(io::Error::from_raw_os_error(libc::EPERM)),
        _ => Ok(()),
    }
}
