//! A socket that sends and receives: what every kind of stream, and of datagram sockets, has in
//! common.

use crate::blocking::blocking_unless;
use crate::net::kind::Kind;
use crate::net::limits::{Limits, zero_timeout};
use crate::net::sys::{self, Keep};
use crate::netpoller::{Done, Side, Source};
use crate::park::{Cancel, WaitReason};
use socket2::{SockAddr, SockRef};
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

/// Shared by a socket's clones: descriptor, slot, limits and the wish not to wait.
pub(super) struct Socket {
    source: Source,
    limits: Limits,
}

/// Held by calls that depend on the flags of their descriptor, and by whoever gives a duplicate away: some
/// sockets have one of these together, by the numbers of their descriptors.
static FLAGS: [RwLock<()>; 16] = [const { RwLock::new(()) }; 16];

impl Socket {
    /// Takes over a socket that we have made ourselves.
    pub(super) fn new(mut source: Source, kind: Kind) -> Socket {
        if kind.is_plain_tcp {
            source.set_short_reads_drain();
        }
        if kind.lingers {
            source.set_close(close_slowly);
        }
        Socket { source, limits: Limits::default() }
    }

    /// Takes over a descriptor with the options it has: timeouts, and the wish not to wait.
    pub(super) fn foreign(fd: OwnedFd) -> Socket {
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
        let kind = Kind::of(&socket);
        let socket = Socket { limits, ..Socket::new(Source::new(fd), kind) };
        socket.set_nonblocking(nonblocking);
        socket
    }

    /// The descriptor, with the flags that its user expects. It is a duplicate if there are clones.
    pub(super) fn into_fd(self: Arc<Self>) -> io::Result<OwnedFd> {
        let nonblocking = self.source.is_user_nonblocking();
        let fd = match Arc::try_unwrap(self) {
            Ok(last) => last.source.into_fd(),
            Err(shared) => {
                let duplicate = shared.source.as_fd().try_clone_to_owned()?;
                // After the last call that depends on the flag.
                let _no_calls = shared.flags().write().unwrap_or_else(PoisonError::into_inner);
                shared.source.set_shared();
                duplicate
            }
        };
        SockRef::from(&fd).set_nonblocking(nonblocking)?;
        Ok(fd)
    }

    fn flags(&self) -> &'static RwLock<()> {
        &FLAGS[self.as_fd().as_raw_fd() as usize % FLAGS.len()]
    }

    /// Calls `op`, which receives something, until it does not block.
    #[inline]
    pub(super) fn receive<T>(
        &self,
        mut op: impl FnMut(BorrowedFd<'_>) -> io::Result<T>,
    ) -> io::Result<T> {
        let deadline = self.limits.start(Side::Read)?;
        self.source.io(Side::Read, WaitReason::Read, deadline, |fd| {
            Ok(Done { value: op(fd)?, drained: false })
        })
    }

    /// The same for an `op` that receives datagrams. `nothing` is what there is once the socket has
    /// been shut down.
    ///
    /// Linux gives that to calls that wait, and `EAGAIN` to those that do not, so that it has to be
    /// asked: of a socket that is ready and yet gives nothing, which a poller may have told long
    /// ago. Who asked not to wait gets the `EAGAIN`.
    pub(super) fn receive_datagrams<T>(
        &self,
        nothing: impl Fn() -> T,
        mut op: impl FnMut(BorrowedFd<'_>) -> io::Result<T>,
    ) -> io::Result<T> {
        let mut tried = false;
        self.receive(|fd| match op(fd) {
            Err(error)
                if error.kind() == io::ErrorKind::WouldBlock
                    && !self.source.is_user_nonblocking() =>
            {
                let ready = tried || self.source.end_was_reported();
                tried = true;
                if ready && sys::is_shut_down(fd) { Ok(nothing()) } else { Err(error) }
            }
            result => result,
        })
    }

    /// Calls `op`, which sends something, until it does not block.
    #[inline]
    pub(super) fn transmit<T>(
        &self,
        mut op: impl FnMut(BorrowedFd<'_>) -> io::Result<T>,
    ) -> io::Result<T> {
        let deadline = self.limits.start(Side::Write)?;
        self.source.io(Side::Write, WaitReason::Write, deadline, |fd| {
            Ok(Done { value: op(fd)?, drained: false })
        })
    }

    /// The same for an `op` that may have to wait for something that no readiness tells of.
    pub(super) fn transmit_unannounced<T>(
        &self,
        op: impl FnMut(BorrowedFd<'_>) -> io::Result<T>,
    ) -> io::Result<T> {
        let deadline = self.limits.start(Side::Write)?;
        self.source.io_unannounced(WaitReason::Write, deadline, op)
    }

    #[inline]
    pub(super) fn read(&self, buf: &mut [u8]) -> io::Result<usize> {
        let deadline = self.limits.start(Side::Read)?;
        self.source.io(Side::Read, WaitReason::Read, deadline, |fd| {
            let count = sys::recv(fd, buf, Keep::No)?;
            Ok(self.source.received(count, buf.len()))
        })
    }

    pub(super) fn read_vectored(&self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let deadline = self.limits.start(Side::Read)?;
        let room = bufs[..sys::usable(bufs.len())].iter().map(|buf| buf.len()).sum();
        // Std's call, `readv`, asks nobody then.
        if room == 0 {
            return Ok(0);
        }
        self.source.io(Side::Read, WaitReason::Read, deadline, |fd| {
            let count = sys::recv_vectored(fd, bufs)?;
            Ok(self.source.received(count, room))
        })
    }

    /// Takes a datagram.
    pub(super) fn recv(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.receive_datagrams(|| 0, |fd| sys::recv(fd, buf, Keep::No))
    }

    /// Takes a datagram, or looks at it, and says where it came from.
    pub(super) fn recv_from(&self, buf: &mut [u8], keep: Keep) -> io::Result<(usize, SockAddr)> {
        self.receive_datagrams(|| (0, sys::no_addr()), |fd| sys::recv_from(fd, buf, keep))
    }

    /// Looks at bytes of a stream, or at a datagram.
    pub(super) fn peek(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.receive_datagrams(|| 0, |fd| sys::recv(fd, buf, Keep::Yes))
    }

    /// Sends bytes of a stream, or a datagram.
    #[inline]
    pub(super) fn write(&self, buf: &[u8]) -> io::Result<usize> {
        self.transmit(|fd| sys::send(fd, buf))
    }

    pub(super) fn write_vectored(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        self.transmit(|fd| sys::send_vectored(fd, bufs))
    }

    /// Waits for another system call than those above, which does not block as long as the descriptor
    /// is nonblocking.
    ///
    /// # Errors
    ///
    /// `EINVAL` if that may not be so any more: the call is not made.
    #[cfg(target_os = "linux")]
    pub(super) fn io_by_flag(
        &self,
        side: Side,
        mut op: impl FnMut(BorrowedFd<'_>) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let deadline = self.limits.start(side)?;
        let reason = match side {
            Side::Read => WaitReason::Read,
            Side::Write => WaitReason::Write,
        };
        self.source.io(side, reason, deadline, |fd| {
            let _during_the_call = self.flags().read().unwrap_or_else(PoisonError::into_inner);
            if self.source.is_shared() {
                return Err(io::Error::from_raw_os_error(libc::EINVAL));
            }
            Ok(Done { value: op(fd)?, drained: false })
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

/// Closes what may have to be sent first, and waits for that, but without its worker: in a coroutine by
/// the blocking pool.
fn close_slowly(fd: OwnedFd) {
    blocking_unless(Cancel::Defer, WaitReason::Write, || drop(fd));
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.source.as_fd()
    }
}
