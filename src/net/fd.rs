//! Sockets from raw descriptors, and descriptors seen as sockets of std's.

#![expect(unsafe_code, reason = "implements FromRawFd, and borrows descriptors for std's sockets")]

use crate::net::unix::{UnixDatagram, UnixListener, UnixStream};
use crate::net::{TcpListener, TcpStream, UdpSocket};
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ops::Deref;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// A borrowed descriptor as a socket of std's, for all that does not wait: so it has std's rules
/// and errors because it is std's.
pub(super) struct Std<'a, T> {
    socket: ManuallyDrop<T>,
    borrowed: PhantomData<BorrowedFd<'a>>,
}

impl<'a, T: FromRawFd> Std<'a, T> {
    pub(super) fn of(fd: BorrowedFd<'a>) -> Std<'a, T> {
        // SAFETY: the descriptor is open while it is borrowed, which is as long as this lives, and
        // std's sockets ask for no more. The socket, which takes itself for the owner, is never
        // dropped, and nobody gets more than a shared reference to it, which cannot close the
        // descriptor or give it away.
        let socket = unsafe { T::from_raw_fd(fd.as_raw_fd()) };
        Std { socket: ManuallyDrop::new(socket), borrowed: PhantomData }
    }
}

impl<T> Deref for Std<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.socket
    }
}

impl FromRawFd for TcpStream {
    unsafe fn from_raw_fd(fd: RawFd) -> TcpStream {
        // SAFETY: the caller's promise, which is the same.
        TcpStream::from(unsafe { OwnedFd::from_raw_fd(fd) })
    }
}

impl FromRawFd for TcpListener {
    unsafe fn from_raw_fd(fd: RawFd) -> TcpListener {
        // SAFETY: the caller's promise, which is the same.
        TcpListener::from(unsafe { OwnedFd::from_raw_fd(fd) })
    }
}

impl FromRawFd for UdpSocket {
    unsafe fn from_raw_fd(fd: RawFd) -> UdpSocket {
        // SAFETY: the caller's promise, which is the same.
        UdpSocket::from(unsafe { OwnedFd::from_raw_fd(fd) })
    }
}

impl FromRawFd for UnixStream {
    unsafe fn from_raw_fd(fd: RawFd) -> UnixStream {
        // SAFETY: the caller's promise, which is the same.
        UnixStream::from(unsafe { OwnedFd::from_raw_fd(fd) })
    }
}

impl FromRawFd for UnixListener {
    unsafe fn from_raw_fd(fd: RawFd) -> UnixListener {
        // SAFETY: the caller's promise, which is the same.
        UnixListener::from(unsafe { OwnedFd::from_raw_fd(fd) })
    }
}

impl FromRawFd for UnixDatagram {
    unsafe fn from_raw_fd(fd: RawFd) -> UnixDatagram {
        // SAFETY: the caller's promise, which is the same.
        UnixDatagram::from(unsafe { OwnedFd::from_raw_fd(fd) })
    }
}
