//! The system calls of sockets, none of which waits.

#![expect(unsafe_code, reason = "recv, send, recvmsg, sendmsg and setsockopt")]

use socket2::{Domain, Socket, Type};
use std::io::{self, IoSlice, IoSliceMut};
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

#[cfg(not(target_vendor = "apple"))]
const SEND_FLAGS: libc::c_int = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
// Sockets have `SO_NOSIGPIPE` there.
#[cfg(target_vendor = "apple")]
const SEND_FLAGS: libc::c_int = libc::MSG_DONTWAIT;

/// Buffers in one call, as in std. `sendmsg` fails if there are more.
const MAX_BUFFERS: usize = 1024;

/// Whether bytes that are received stay where they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keep {
    /// They are read.
    No,
    /// They are peeked at.
    Yes,
}

/// A TCP socket for that kind of address, nonblocking and not inherited by `exec`.
pub(super) fn tcp_socket(addr: &SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(*addr), stream_type(), None)?;
    #[cfg(target_vendor = "apple")]
    socket.set_nonblocking(true)?;
    Ok(socket)
}

#[cfg(not(target_vendor = "apple"))]
fn stream_type() -> Type {
    Type::STREAM.nonblocking()
}

#[cfg(target_vendor = "apple")]
fn stream_type() -> Type {
    Type::STREAM
}

/// Accepts a connection, with the flags of [`tcp_socket`].
#[cfg(not(target_vendor = "apple"))]
pub(super) fn accept(listener: &Socket) -> io::Result<(OwnedFd, SocketAddr)> {
    let (socket, addr) = listener.accept4(libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK)?;
    Ok((socket.into(), internet_addr(&addr)?))
}

/// Accepts a connection, with the flags of [`tcp_socket`].
#[cfg(target_vendor = "apple")]
pub(super) fn accept(listener: &Socket) -> io::Result<(OwnedFd, SocketAddr)> {
    let (socket, addr) = listener.accept()?;
    socket.set_nonblocking(true)?;
    Ok((socket.into(), internet_addr(&addr)?))
}

/// How many connections that are being made may bring data with their first packet.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) fn set_fastopen(socket: &Socket, connections: u32) -> io::Result<()> {
    let connections = libc::c_int::try_from(connections).unwrap_or(libc::c_int::MAX);
    set_tcp_option(socket, libc::TCP_FASTOPEN, connections)
}

/// Puts connecting off until the first write, where the other end allows it.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) fn set_fastopen_connect(socket: &Socket) -> io::Result<()> {
    set_tcp_option(socket, libc::TCP_FASTOPEN_CONNECT, 1)
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn set_tcp_option(socket: &Socket, name: libc::c_int, value: libc::c_int) -> io::Result<()> {
    let len = size_of_val(&value) as libc::socklen_t;
    let fd = socket.as_raw_fd();
    // SAFETY: the descriptor is open, and the pointer and length are those of the value.
    let set =
        unsafe { libc::setsockopt(fd, libc::IPPROTO_TCP, name, (&raw const value).cast(), len) };
    if set == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Std's error is for a descriptor that was no internet socket to begin with.
pub(super) fn internet_addr(addr: &socket2::SockAddr) -> io::Result<SocketAddr> {
    addr.as_socket().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "invalid argument"))
}

fn count(result: isize) -> io::Result<usize> {
    usize::try_from(result).map_err(|_negative| io::Error::last_os_error())
}

#[inline]
pub(super) fn recv(fd: BorrowedFd<'_>, buf: &mut [u8], keep: Keep) -> io::Result<usize> {
    let peek = if keep == Keep::Yes { libc::MSG_PEEK } else { 0 };
    let flags = libc::MSG_DONTWAIT | peek;
    // SAFETY: the descriptor is open, and the pointer and length are those of a buffer of ours.
    count(unsafe { libc::recv(fd.as_raw_fd(), buf.as_mut_ptr().cast(), buf.len(), flags) })
}

#[inline]
pub(super) fn send(fd: BorrowedFd<'_>, buf: &[u8]) -> io::Result<usize> {
    // SAFETY: the descriptor is open, and the pointer and length are those of a readable buffer.
    count(unsafe { libc::send(fd.as_raw_fd(), buf.as_ptr().cast(), buf.len(), SEND_FLAGS) })
}

/// How many of `buffers` one call takes.
pub(super) fn usable(buffers: usize) -> usize {
    buffers.min(MAX_BUFFERS)
}

pub(super) fn recv_vectored(fd: BorrowedFd<'_>, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
    let mut message = message_of(bufs.as_mut_ptr().cast(), usable(bufs.len()));
    // SAFETY:
    // - The descriptor is open.
    // - The message has that many buffers, each of which may be written to: `IoSliceMut` is
    //   promised to be laid out like `iovec`.
    count(unsafe { libc::recvmsg(fd.as_raw_fd(), &raw mut message, libc::MSG_DONTWAIT) })
}

pub(super) fn send_vectored(fd: BorrowedFd<'_>, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
    let message = message_of(bufs.as_ptr().cast::<libc::iovec>().cast_mut(), usable(bufs.len()));
    // SAFETY:
    // - The descriptor is open.
    // - The message has that many buffers, which are only read: `IoSlice` is promised to be laid
    //   out like `iovec`.
    count(unsafe { libc::sendmsg(fd.as_raw_fd(), &raw const message, SEND_FLAGS) })
}

fn message_of(buffers: *mut libc::iovec, len: usize) -> libc::msghdr {
    // SAFETY: a message of zeros has no address, no buffers and no control data.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = buffers;
    message.msg_iovlen = len as _;
    message
}
