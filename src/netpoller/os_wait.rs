//! How a plain OS thread waits for descriptors: `poll(2)`.

#![expect(unsafe_code, reason = "one call of poll(2)")]

use crate::netpoller::source::Side;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Instant;

/// Waits until the descriptor is ready. `false`: the deadline came first.
pub(super) fn wait(fd: BorrowedFd<'_>, side: Side, deadline: Option<Instant>) -> io::Result<bool> {
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
        if poll([fd], side, timeout)? {
            return Ok(true);
        }
    }
}

/// Waits until one of two descriptors is ready.
pub(super) fn wait_for_either(fds: [BorrowedFd<'_>; 2], side: Side) -> io::Result<()> {
    while !poll(fds, side, -1)? {}
    Ok(())
}

/// Whether one of them is ready within so many milliseconds; less, if a signal comes.
fn poll<const N: usize>(
    fds: [BorrowedFd<'_>; N],
    side: Side,
    timeout: libc::c_int,
) -> io::Result<bool> {
    let events = match side {
        Side::Read => libc::POLLIN,
        Side::Write => libc::POLLOUT,
    };
    let mut entries = fds.map(|fd| libc::pollfd { fd: fd.as_raw_fd(), events, revents: 0 });
    // SAFETY: that many valid entries.
    match unsafe { libc::poll(entries.as_mut_ptr(), N as libc::nfds_t, timeout) } {
        0 => Ok(false),
        1.. => Ok(true),
        _ => {
            let error = io::Error::last_os_error();
            if error.kind() == io::ErrorKind::Interrupted { Ok(false) } else { Err(error) }
        }
    }
}
