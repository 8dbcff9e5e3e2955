//! How a plain OS thread waits for descriptors: `poll(2)`.

#![expect(unsafe_code, reason = "one call of poll(2)")]

use crate::netpoller::source::Side;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Instant;

/// Waits until one of the descriptors is ready. `false`: the deadline came first.
pub(super) fn wait<'a>(
    fds: impl Iterator<Item = BorrowedFd<'a>>,
    side: Side,
    deadline: Option<Instant>,
) -> io::Result<bool> {
    let events = match side {
        Side::Read => libc::POLLIN,
        Side::Write => libc::POLLOUT,
    };
    let entry = |fd: BorrowedFd<'_>| libc::pollfd { fd: fd.as_raw_fd(), events, revents: 0 };
    let mut entries: Vec<_> = fds.map(entry).collect();
    let count = libc::nfds_t::try_from(entries.len()).expect("fewer than there are descriptors");
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
        // SAFETY: the entries are valid, and as many as the count says.
        match unsafe { libc::poll(entries.as_mut_ptr(), count, timeout) } {
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
