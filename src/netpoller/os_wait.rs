//! How a plain OS thread waits for one descriptor: `poll(2)`.

#![expect(unsafe_code, reason = "one call of poll(2)")]

use crate::netpoller::source::Side;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Instant;

/// Waits until the descriptor is ready. `false`: the deadline came first.
pub(super) fn wait(fd: BorrowedFd<'_>, side: Side, deadline: Option<Instant>) -> io::Result<bool> {
    let events = match side {
        Side::Read => libc::POLLIN,
        Side::Write => libc::POLLOUT,
    };
    loop {
        let timeout = match deadline {
            None => -1,
            Some(deadline) => {
                let left = deadline.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return Ok(false);
                }
                // Rounded up, so that it is not woken early; what does not fit is waited for in
                // several turns.
                let millis = left.as_nanos().div_ceil(1_000_000);
                i32::try_from(millis).unwrap_or(i32::MAX)
            }
        };
        let mut entry = libc::pollfd { fd: fd.as_raw_fd(), events, revents: 0 };
        // SAFETY: one valid entry, and the count says so.
        match unsafe { libc::poll(&raw mut entry, 1, timeout) } {
            0 => continue,
            1.. => return Ok(true),
            _ => {
                let error = io::Error::last_os_error();
                if error.kind() != io::ErrorKind::Interrupted {
                    return Err(error);
                }
            }
        }
    }
}
