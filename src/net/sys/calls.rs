//! `recv` and `send`, without what a C library does around them.
//!
//! glibc's are points at which a thread may be cancelled, for which each takes two atomic
//! instructions and some sixty others in a process of several threads. `pthread_cancel` is not for
//! threads that run Rust, and neither call waits here, so the plain system call does the same: it
//! reports its errors by `errno`, too. What remains a point of cancellation is where a plain thread
//! waits, in `poll(2)`.
//!
//! With the feature `sanitizer` the library's are called, which AddressSanitizer wraps to look at the
//! buffers.

#![expect(unsafe_code, reason = "system calls")]

use std::ffi::{c_int, c_void};

cfg_select! {
    all(
        target_os = "linux",
        target_env = "gnu",
        target_pointer_width = "64",
        any(target_arch = "x86_64", target_arch = "aarch64"),
        not(feature = "sanitizer"),
    ) => {
        use std::ptr;

        /// `recv(2)`.
        ///
        /// # Safety
        ///
        /// The buffer may be written to for that length.
        #[inline]
        pub(super) unsafe fn recv(fd: c_int, buf: *mut c_void, len: usize, flags: c_int) -> isize {
            let nobody = ptr::null_mut::<c_void>();
            // SAFETY: the caller's promise; the address of the sender is not asked for.
            (unsafe { libc::syscall(libc::SYS_recvfrom, fd, buf, len, flags, nobody, nobody) })
                as isize
        }

        /// `send(2)`.
        ///
        /// # Safety
        ///
        /// The buffer may be read for that length.
        #[inline]
        pub(super) unsafe fn send(
            fd: c_int,
            buf: *const c_void,
            len: usize,
            flags: c_int,
        ) -> isize {
            let peer = ptr::null::<c_void>();
            // SAFETY: the caller's promise; no address is given.
            (unsafe { libc::syscall(libc::SYS_sendto, fd, buf, len, flags, peer, 0_usize) })
                as isize
        }
    }
    _ => {
        pub(super) use libc::{recv, send};
    }
}
