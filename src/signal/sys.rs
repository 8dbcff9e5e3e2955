//! The handler, and the socket that it writes to.

#![expect(unsafe_code, reason = "installs signal handlers, and receives from a socket")]

use crate::protocol::pending::{Pending, Taken};
use signal_hook_registry::SigId;
use std::ffi::c_int;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

/// Signals whose handlers are the runtime's own, or that no handler can return from.
const REFUSED: [c_int; 4] = [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE];

/// What handlers and listeners share.
#[derive(Debug)]
pub(super) struct Bell {
    pending: Pending,
    writer: UnixStream,
}

impl Bell {
    /// A bell, and the descriptor that is readable when it rings.
    pub(super) fn new() -> io::Result<(Bell, OwnedFd)> {
        let (reader, writer) = UnixStream::pair()?;
        Ok((Bell { pending: Pending::new(), writer }, reader.into()))
    }

    /// Quietens the bell and takes a signal.
    pub(super) fn take(&self, reader: BorrowedFd<'_>) -> Option<c_int> {
        let mut buf = [0_u8; 64];
        loop {
            let (buf, len) = (buf.as_mut_ptr().cast(), buf.len());
            // SAFETY: the descriptor is open, and the pointer and length are those of a buffer.
            let count = unsafe { libc::recv(reader.as_raw_fd(), buf, len, libc::MSG_DONTWAIT) };
            // Less than there is room for: there was no more. An interruption cannot come, since
            // this never waits.
            if count < len as isize {
                break;
            }
        }
        let Taken { bit, ring } = self.pending.take()?;
        if ring {
            self.ring();
        }
        Some(bit as c_int + 1)
    }

    /// In a handler: what this calls is safe there.
    fn raise(&self, signal: c_int) {
        if self.pending.raise(signal as u32 - 1) {
            self.ring();
        }
    }

    fn ring(&self) {
        let byte: *const u8 = &1;
        // A socket that takes no more rings already.
        // SAFETY: the socket is open, and there is a byte.
        let _full =
            unsafe { libc::send(self.writer.as_raw_fd(), byte.cast(), 1, libc::MSG_DONTWAIT) };
    }
}

/// Has `bell` ring for a signal, until the registration is taken back.
///
/// # Errors
///
/// `InvalidInput` for what is no signal, or one that cannot be listened for.
pub(super) fn register(signal: c_int, bell: Arc<Bell>) -> io::Result<SigId> {
    let refused = REFUSED.contains(&signal) || signal_hook_registry::FORBIDDEN.contains(&signal);
    if refused || !(1..=u64::BITS as c_int).contains(&signal) {
        let message = format!("signal {signal} cannot be listened for");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    }
    // SAFETY: the closure does what may be done in a signal handler: atomic operations and `send`.
    unsafe { signal_hook_registry::register(signal, move || bell.raise(signal)) }
}
