//! How a plain OS thread waits for one descriptor: `poll(2)`.

#![expect(unsafe_code, reason = "one call of poll(2)")]

use crate::coroutine::unwind_cancelled;
use crate::netpoller::source::Side;
use crate::park::{self, Scoped};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::Instant;

/// Waits until the descriptor is ready. `false`: the deadline came first.
///
/// A scope that ends unwinds from here.
pub(super) fn wait(fd: BorrowedFd<'_>, side: Side, deadline: Option<Instant>) -> io::Result<bool> {
    let events = match side {
        Side::Read => libc::POLLIN,
        Side::Write => libc::POLLOUT,
    };
    let entry =
        |fd: BorrowedFd<'_>, events| libc::pollfd { fd: fd.as_raw_fd(), events, revents: 0 };
    if !park::is_in_scope() {
        return Ok(poll(&mut [entry(fd, events)], deadline)?.is_some());
    }
    let parker = park::parker();
    loop {
        let alarm = parker.alarm()?;
        let Scoped::Until(bound) = park::before_scoped_wait() else { unwind_cancelled() };
        let first = [deadline, bound].into_iter().flatten().min();
        let mut entries = [entry(fd, events), entry(alarm.as_fd(), libc::POLLIN)];
        let ready = poll(&mut entries, first)?;
        if ready.is_some() && entries[0].revents != 0 {
            return Ok(true);
        }
        if ready.is_some() {
            parker.hush();
        } else if deadline.is_some() && first == deadline {
            return Ok(false);
        }
        if park::after_scoped_wait(bound.filter(|_| ready.is_none())) {
            unwind_cancelled();
        }
    }
}

/// Waits until one of them is ready. `None`: the deadline came first.
fn poll(entries: &mut [libc::pollfd], deadline: Option<Instant>) -> io::Result<Option<()>> {
    loop {
        let timeout = match deadline {
            None => -1,
            Some(deadline) => {
                let left = deadline.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return Ok(None);
                }
                // Rounded up, so that it is not woken early; what does not fit is waited for in
                // several turns.
                let millis = left.as_nanos().div_ceil(1_000_000);
                i32::try_from(millis).unwrap_or(i32::MAX)
            }
        };
        let count = entries.len() as libc::nfds_t;
        // SAFETY: valid entries, and as many as the count says.
        match unsafe { libc::poll(entries.as_mut_ptr(), count, timeout) } {
            0 => continue,
            1.. => return Ok(Some(())),
            _ => {
                let error = io::Error::last_os_error();
                if error.kind() != io::ErrorKind::Interrupted {
                    return Err(error);
                }
            }
        }
    }
}
