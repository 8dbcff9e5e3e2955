//! `recv` and `send`, without what glibc does around them.
//!
//! The library's are points at which a thread may be cancelled, for which each takes two atomic
//! instructions and some sixty others in a process of several threads. `pthread_cancel` is not for
//! threads that run Rust, and neither call waits here, so the plain system call does the same: it
//! reports its errors by `errno`, too. What remains a point of cancellation is where a plain thread
//! waits, in `poll(2)`.

#![expect(unsafe_code, reason = "system calls")]

use std::ffi::{c_int, c_void};
use std::ptr;

/// `recv(2)`.
///
/// # Safety
///
/// The buffer may be written to for that length.
#[inline]
pub(super) unsafe fn recv(fd: c_int, buf: *mut c_void, len: usize, flags: c_int) -> isize {
    let sender = ptr::null_mut::<c_void>();
    // SAFETY: the caller's promise; the address of the sender is not asked for.
    let received =
        unsafe { libc::syscall(libc::SYS_recvfrom, fd, buf, len, flags, sender, sender) };
    received as isize
}

/// `send(2)`.
///
/// # Safety
///
/// The buffer may be read for that length.
#[inline]
pub(super) unsafe fn send(fd: c_int, buf: *const c_void, len: usize, flags: c_int) -> isize {
    let receiver = ptr::null::<c_void>();
    // SAFETY: the caller's promise; no address is given.
    let sent = unsafe { libc::syscall(libc::SYS_sendto, fd, buf, len, flags, receiver, 0_usize) };
    sent as isize
}
