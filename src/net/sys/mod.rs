//! The system calls of sockets, none of which waits.

#![expect(unsafe_code, reason = "recv, send, recvmsg, sendmsg, poll, getsockopt and setsockopt")]

mod descriptors;
mod many;

cfg_select! {
    // With the feature `sanitizer` the library's are called, which AddressSanitizer wraps to look at
    // the buffers.
    all(
        target_os = "linux",
        target_env = "gnu",
        target_pointer_width = "64",
        any(target_arch = "x86_64", target_arch = "aarch64"),
        not(feature = "sanitizer"),
    ) => {
        mod calls;
    }
    _ => {
        use libc as calls;
    }
}

pub(super) use descriptors::{recv_fds, send_fds};
pub(super) use many::{AT_ONCE, Arrival, Departures, recv_many, send_many};

#[cfg(target_os = "linux")]
use socket2::Protocol;
use socket2::{Domain, SockAddr, SockAddrStorage, SockRef, Socket, Type};
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

impl Keep {
    fn flags(self) -> libc::c_int {
        libc::MSG_DONTWAIT | if self == Keep::Yes { libc::MSG_PEEK } else { 0 }
    }
}

/// A stream socket for that kind of address, nonblocking and not inherited by `exec`.
pub(super) fn stream_socket(domain: Domain) -> io::Result<Socket> {
    let socket = Socket::new(domain, stream_type(), None)?;
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

/// Accepts a connection, with the flags of [`stream_socket`].
#[cfg(not(target_vendor = "apple"))]
pub(super) fn accept(listener: &Socket) -> io::Result<(OwnedFd, SocketAddr)> {
    let (socket, addr) = listener.accept4(libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK)?;
    Ok((socket.into(), internet_addr(&addr)?))
}

/// Accepts a connection, with the flags of [`stream_socket`].
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

/// The address of an internet socket.
pub(super) fn internet_addr(addr: &SockAddr) -> io::Result<SocketAddr> {
    addr.as_socket().ok_or_else(not_internet)
}

/// Std's error for a descriptor that was no internet socket to begin with.
pub(super) fn not_internet() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "invalid argument")
}

/// Whether it is a TCP socket on which no other protocol has been put (`TCP_ULP`), as TLS can be. Asked
/// on Linux alone: elsewhere nobody wants to know.
pub(super) fn is_plain_tcp(socket: &SockRef<'_>) -> bool {
    #[cfg(target_os = "linux")]
    {
        socket.protocol().is_ok_and(|protocol| protocol == Some(Protocol::TCP))
            && has_no_upper_layer(socket)
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _nobody_asks = socket;
        false
    }
}

/// Whether it is a stream of TCP whose bytes go through no other protocol of the kernel. A system that
/// does not know the option does not say.
#[cfg(target_os = "linux")]
fn has_no_upper_layer(socket: &SockRef<'_>) -> bool {
    let mut name = [0_u8; 16];
    let mut len = name.len() as libc::socklen_t;
    let (fd, to) = (socket.as_raw_fd(), name.as_mut_ptr().cast());
    // SAFETY: the descriptor is open, and the pointer and length are those of a buffer of ours.
    let got = unsafe { libc::getsockopt(fd, libc::IPPROTO_TCP, libc::TCP_ULP, to, &raw mut len) };
    got == 0 && len == 0
}

/// Puts another protocol on a connected TCP socket.
#[cfg(all(test, target_os = "linux"))]
pub(super) fn set_upper_layer(socket: &SockRef<'_>, name: &str) -> io::Result<()> {
    let (from, len) = (name.as_ptr().cast(), name.len() as libc::socklen_t);
    // SAFETY: the descriptor is open, and the pointer and length are those of the name.
    let set = unsafe {
        libc::setsockopt(socket.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_ULP, from, len)
    };
    if set == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[inline]
fn count(result: isize) -> io::Result<usize> {
    usize::try_from(result).map_err(|_negative| io::Error::last_os_error())
}

#[inline]
pub(super) fn recv(fd: BorrowedFd<'_>, buf: &mut [u8], keep: Keep) -> io::Result<usize> {
    let flags = keep.flags();
    // SAFETY: the descriptor is open, and the pointer and length are those of a buffer of ours.
    count(unsafe { calls::recv(fd.as_raw_fd(), buf.as_mut_ptr().cast(), buf.len(), flags) })
}

/// Receives a datagram, and says where it came from.
pub(super) fn recv_from(
    fd: BorrowedFd<'_>,
    buf: &mut [u8],
    keep: Keep,
) -> io::Result<(usize, SockAddr)> {
    let flags = keep.flags();
    let (buffer, room) = (buf.as_mut_ptr().cast(), buf.len());
    // SAFETY:
    // - The descriptor is open, and the pointer and length are those of a buffer of ours.
    // - What `try_init` gives is room for an address, and its length; the system writes an address
    //   there and what it takes, or leaves both.
    unsafe {
        SockAddr::try_init(|addr, len| {
            count(libc::recvfrom(fd.as_raw_fd(), buffer, room, flags, addr.cast(), len))
        })
    }
}

/// The address of nobody.
pub(super) fn no_addr() -> SockAddr {
    // SAFETY: of an address that is zero bytes long, none need be initialised.
    unsafe { SockAddr::new(SockAddrStorage::zeroed(), 0) }
}

/// Whether a socket without anything to receive will never have anything.
///
/// Asked on Linux alone: elsewhere receiving itself says so.
pub(super) fn is_shut_down(fd: BorrowedFd<'_>) -> bool {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        let mut entry = libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLRDHUP, revents: 0 };
        // SAFETY: one valid entry, and the count says so.
        let ready = unsafe { libc::poll(&raw mut entry, 1, 0) };
        ready == 1 && entry.revents & libc::POLLRDHUP != 0
    }
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    {
        let _receiving_says_so = fd;
        false
    }
}

/// Sends a datagram there.
pub(super) fn send_to(fd: BorrowedFd<'_>, buf: &[u8], to: &SockAddr) -> io::Result<usize> {
    let (buffer, len) = (buf.as_ptr().cast(), buf.len());
    // SAFETY: the descriptor is open, and the pointers and lengths are those of a readable buffer
    // and of an address.
    count(unsafe {
        libc::sendto(fd.as_raw_fd(), buffer, len, SEND_FLAGS, to.as_ptr().cast(), to.len())
    })
}

#[inline]
pub(super) fn send(fd: BorrowedFd<'_>, buf: &[u8]) -> io::Result<usize> {
    // SAFETY: the descriptor is open, and the pointer and length are those of a readable buffer.
    count(unsafe { calls::send(fd.as_raw_fd(), buf.as_ptr().cast(), buf.len(), SEND_FLAGS) })
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
    // Std's call, `writev`, asks nobody then.
    if bufs.iter().take(MAX_BUFFERS).all(|buf| buf.is_empty()) {
        return Ok(0);
    }
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
