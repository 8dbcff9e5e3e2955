//! Sockets from descriptors and descriptors from sockets, by std's traits.
//!
//! Clones share a descriptor, which std's do not. So giving one away while there are clones takes
//! a duplicate, and these traits cannot say that there is no descriptor left for it: they panic.

#![expect(unsafe_code, reason = "implements FromRawFd")]

use crate::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};

const NO_DUPLICATE: &str = "failed to duplicate the descriptor of a socket that has clones";

impl AsRawFd for TcpStream {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

impl AsRawFd for TcpListener {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

impl From<OwnedFd> for TcpStream {
    /// Takes the descriptor over, with its timeouts and nonblocking mode.
    fn from(fd: OwnedFd) -> TcpStream {
        TcpStream::foreign(fd)
    }
}

impl From<OwnedFd> for TcpListener {
    /// Takes the descriptor over, with its nonblocking mode. It becomes nonblocking itself.
    fn from(fd: OwnedFd) -> TcpListener {
        TcpListener::foreign(fd)
    }
}

impl FromRawFd for TcpStream {
    unsafe fn from_raw_fd(fd: RawFd) -> TcpStream {
        // SAFETY: the caller's promise, which is the same.
        TcpStream::foreign(unsafe { OwnedFd::from_raw_fd(fd) })
    }
}

impl FromRawFd for TcpListener {
    unsafe fn from_raw_fd(fd: RawFd) -> TcpListener {
        // SAFETY: the caller's promise, which is the same.
        TcpListener::foreign(unsafe { OwnedFd::from_raw_fd(fd) })
    }
}

impl From<TcpStream> for OwnedFd {
    /// Gives the descriptor away; see [`TcpStream::into_std`].
    ///
    /// # Panics
    ///
    /// If there are clones and the descriptor cannot be duplicated.
    fn from(stream: TcpStream) -> OwnedFd {
        stream.into_fd().expect(NO_DUPLICATE)
    }
}

impl From<TcpListener> for OwnedFd {
    /// Gives the descriptor away; see [`TcpListener::into_std`].
    ///
    /// # Panics
    ///
    /// If there are clones and the descriptor cannot be duplicated.
    fn from(listener: TcpListener) -> OwnedFd {
        listener.into_fd().expect(NO_DUPLICATE)
    }
}

impl IntoRawFd for TcpStream {
    fn into_raw_fd(self) -> RawFd {
        OwnedFd::from(self).into_raw_fd()
    }
}

impl IntoRawFd for TcpListener {
    fn into_raw_fd(self) -> RawFd {
        OwnedFd::from(self).into_raw_fd()
    }
}
