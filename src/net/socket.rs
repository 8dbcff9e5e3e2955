//! A connected stream socket: what every kind of stream has in common.

use crate::net::limits::{Limits, zero_timeout};
use crate::net::sys::{self, Keep};
use crate::netpoller::{Done, Side, Source};
use crate::park::WaitReason;
use socket2::SockRef;
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Shared by a stream's clones: descriptor, slot, limits and the wish not to wait.
pub(super) struct StreamSocket {
    source: Source,
    limits: Limits,
}

impl StreamSocket {
    /// Takes over a socket that we have made ourselves.
    pub(super) fn new(source: Source) -> StreamSocket {
        StreamSocket { source, limits: Limits::default() }
    }

    /// Takes over a descriptor with the options it has: timeouts, and the wish not to wait.
    pub(super) fn foreign(fd: OwnedFd) -> StreamSocket {
        let socket = SockRef::from(&fd);
        let limits = Limits::default();
        // A descriptor of which these cannot be asked is no socket; using it will say so.
        if let Ok(timeout @ Some(_)) = socket.read_timeout() {
            limits.set_timeout(Side::Read, timeout);
        }
        if let Ok(timeout @ Some(_)) = socket.write_timeout() {
            limits.set_timeout(Side::Write, timeout);
        }
        let nonblocking = socket.nonblocking().unwrap_or(false);
        let source = Source::new(fd);
        source.set_user_nonblocking(nonblocking);
        StreamSocket { source, limits }
    }

    /// The descriptor, with the flags that its user expects. It is a duplicate if there are clones.
    pub(super) fn into_fd(self: Arc<Self>) -> io::Result<OwnedFd> {
        let nonblocking = self.source.is_user_nonblocking();
        let fd = match Arc::try_unwrap(self) {
            Ok(last) => last.source.into_fd(),
            Err(shared) => shared.source.as_fd().try_clone_to_owned()?,
        };
        SockRef::from(&fd).set_nonblocking(nonblocking)?;
        Ok(fd)
    }

    #[inline]
    pub(super) fn read(&self, buf: &mut [u8]) -> io::Result<usize> {
        let deadline = self.limits.start(Side::Read)?;
        self.source.io(Side::Read, WaitReason::Read, deadline, |fd| {
            let count = sys::recv(fd, buf, Keep::No)?;
            Ok(received(count, buf.len()))
        })
    }

    pub(super) fn peek(&self, buf: &mut [u8]) -> io::Result<usize> {
        let deadline = self.limits.start(Side::Read)?;
        self.source.io(Side::Read, WaitReason::Read, deadline, |fd| {
            let value = sys::recv(fd, buf, Keep::Yes)?;
            Ok(Done { value, drained: false })
        })
    }

    pub(super) fn read_vectored(&self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let deadline = self.limits.start(Side::Read)?;
        let room = bufs[..sys::usable(bufs.len())].iter().map(|buf| buf.len()).sum();
        self.source.io(Side::Read, WaitReason::Read, deadline, |fd| {
            let count = sys::recv_vectored(fd, bufs)?;
            Ok(received(count, room))
        })
    }

    #[inline]
    pub(super) fn write(&self, buf: &[u8]) -> io::Result<usize> {
        let deadline = self.limits.start(Side::Write)?;
        self.source.io(Side::Write, WaitReason::Write, deadline, |fd| {
            Ok(Done { value: sys::send(fd, buf)?, drained: false })
        })
    }

    pub(super) fn write_vectored(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        let deadline = self.limits.start(Side::Write)?;
        self.source.io(Side::Write, WaitReason::Write, deadline, |fd| {
            Ok(Done { value: sys::send_vectored(fd, bufs)?, drained: false })
        })
    }

    pub(super) fn timeout(&self, side: Side) -> Option<Duration> {
        self.limits.timeout(side)
    }

    /// Also sets the socket's own option, for whoever gets the descriptor.
    pub(super) fn set_timeout(&self, side: Side, timeout: Option<Duration>) -> io::Result<()> {
        if timeout.is_some_and(|timeout| timeout.is_zero()) {
            return Err(zero_timeout());
        }
        // Less than the option's unit would read as no timeout at all.
        let option = timeout.map(|timeout| timeout.max(Duration::from_micros(1)));
        let socket = SockRef::from(self);
        match side {
            Side::Read => socket.set_read_timeout(option)?,
            Side::Write => socket.set_write_timeout(option)?,
        }
        self.limits.set_timeout(side, timeout);
        Ok(())
    }

    pub(super) fn set_deadline(&self, side: Side, deadline: Option<Instant>) {
        self.limits.set_deadline(side, deadline);
    }

    pub(super) fn source(&self) -> &Source {
        &self.source
    }

    pub(super) fn set_nonblocking(&self, on: bool) {
        self.source.set_user_nonblocking(on);
    }
}

impl AsFd for StreamSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.source.as_fd()
    }
}

/// A read that left room has emptied the socket, unless it met the end.
pub(super) fn received(count: usize, room: usize) -> Done<usize> {
    Done { value: count, drained: 0 < count && count < room }
}
