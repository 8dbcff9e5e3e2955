//! How a plain OS thread waits for descriptors: `poll(2)`.

#![expect(unsafe_code, reason = "one call of poll(2)")]

use crate::coroutine::unwind_cancelled;
use crate::netpoller::source::Side;
use crate::park::{self, Scoped};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::Instant;

/// Waits until one of the descriptors is ready. `false`: the deadline came first.
///
/// A scope that ends unwinds from here.
pub(super) fn wait<'a>(
    fds: impl Iterator<Item = BorrowedFd<'a>>,
    side: Side,
    deadline: Option<Instant>,
) -> io::Result<bool> {
    let events = match side {
        Side::Read => libc::POLLIN,
        Side::Write => libc::POLLOUT,
    };
    let mut entries: Vec<_> = fds.map(|fd| entry(fd, events)).collect();
    if !park::is_in_scope() {
        return poll(&mut entries, deadline);
    }
    let awaited = entries.len();
    let parker = park::parker();
    loop {
        let alarm = parker.alarm()?;
        let Scoped::Until(bound) = park::before_scoped_wait() else { unwind_cancelled() };
        let first = [deadline, bound].into_iter().flatten().min();
        entries.truncate(awaited);
        entries.push(entry(alarm.as_fd(), libc::POLLIN));
        let ready = poll(&mut entries, first)?;
        if ready && entries[..awaited].iter().any(|entry| entry.revents != 0) {
            return Ok(true);
        }
        if ready {
            parker.hush();
        } else if deadline.is_some() && first == deadline {
            return Ok(false);
        }
        if park::after_scoped_wait(bound.filter(|_| !ready)) {
            unwind_cancelled();
        }
    }
}

fn entry(fd: BorrowedFd<'_>, events: libc::c_short) -> libc::pollfd {
    libc::pollfd { fd: fd.as_raw_fd(), events, revents: 0 }
}

/// Waits until one of them is ready. `false`: the deadline came first.
fn poll(entries: &mut [libc::pollfd], deadline: Option<Instant>) -> io::Result<bool> {
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
