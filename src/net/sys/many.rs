//! Many datagrams in one system call, where there is one for that.

#![expect(unsafe_code, reason = "recvmmsg, sendmmsg and recvmsg")]

use crate::net::sys::{count, message_of, send, send_to};
use socket2::{SockAddr, SockAddrStorage};
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Datagrams in one call. Their headers are on the stack, at some 200 bytes each.
pub(in crate::net) const AT_ONCE: usize = 32;

/// What became of a buffer that a datagram was received into.
#[derive(Clone, Copy, Debug)]
pub(in crate::net) struct Arrival {
    /// What has found room.
    pub(in crate::net) len: usize,
    pub(in crate::net) truncated: bool,
    /// There is none if the descriptor is that of another kind of socket.
    pub(in crate::net) from: Option<SocketAddr>,
}

/// Datagrams to be sent.
pub(in crate::net) trait Departures {
    fn len(&self) -> usize;
    /// The bytes of one of them, and where it is to go; the socket's peer if that is not said.
    fn get(&self, index: usize) -> (&[u8], Option<SocketAddr>);
}

/// Takes as many datagrams as are there, one into each buffer, but no more than [`AT_ONCE`].
///
/// An error that comes after the first of them ends the call without being told.
pub(in crate::net) fn recv_many(
    fd: BorrowedFd<'_>,
    buffers: &mut [IoSliceMut<'_>],
    arrived: impl FnMut(Arrival),
) -> io::Result<()> {
    match buffers {
        [_, _, ..] if batches::EXIST => batches::recv(fd, buffers, arrived),
        _ => recv_singly(fd, buffers, arrived),
    }
}

/// Sends datagrams, but no more than [`AT_ONCE`], and says how many.
///
/// An error that comes after the first of them ends the call without being told.
pub(in crate::net) fn send_many(
    fd: BorrowedFd<'_>,
    datagrams: &impl Departures,
) -> io::Result<usize> {
    match datagrams.len() {
        2.. if batches::EXIST => batches::send(fd, datagrams),
        _ => send_singly(fd, datagrams),
    }
}

fn recv_singly(
    fd: BorrowedFd<'_>,
    buffers: &mut [IoSliceMut<'_>],
    mut arrived: impl FnMut(Arrival),
) -> io::Result<()> {
    for (index, buffer) in buffers.iter_mut().take(AT_ONCE).enumerate() {
        match recv_one(fd, buffer) {
            Ok(arrival) => arrived(arrival),
            Err(_) if index > 0 => break,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn recv_one(fd: BorrowedFd<'_>, buffer: &mut IoSliceMut<'_>) -> io::Result<Arrival> {
    let room = buffer.len();
    let mut address = no_address();
    let mut message = message_of((&raw mut *buffer).cast(), 1);
    set_address(&mut message, &raw mut address);
    // SAFETY:
    // - The descriptor is open.
    // - The message has one buffer and room for an address, which may be written to: `IoSliceMut`
    //   is promised to be laid out like `iovec`.
    let received = unsafe { libc::recvmsg(fd.as_raw_fd(), &raw mut message, libc::MSG_DONTWAIT) };
    Ok(arrival(&message, &address, count(received)?, room))
}

fn send_singly(fd: BorrowedFd<'_>, datagrams: &impl Departures) -> io::Result<usize> {
    let count = datagrams.len().min(AT_ONCE);
    for index in 0..count {
        let (bytes, to) = datagrams.get(index);
        let sent = match to {
            Some(to) => send_to(fd, bytes, &to.into()),
            None => send(fd, bytes),
        };
        match sent {
            Ok(_whole) => {}
            Err(_) if index > 0 => return Ok(index),
            Err(error) => return Err(error),
        }
    }
    Ok(count)
}

/// Where an address is put: large enough for those of the internet.
type Address = libc::sockaddr_in6;

const ADDRESS_SIZE: libc::socklen_t = size_of::<Address>() as libc::socklen_t;

fn no_address() -> Address {
    // SAFETY: an address of zeros is a valid value.
    unsafe { std::mem::zeroed() }
}

fn set_address(message: &mut libc::msghdr, address: *mut Address) {
    message.msg_name = address.cast();
    message.msg_namelen = ADDRESS_SIZE;
}

/// What the system has made of a message.
fn arrival(message: &libc::msghdr, address: &Address, len: usize, room: usize) -> Arrival {
    let mut storage = SockAddrStorage::zeroed();
    // SAFETY: the type is one of the system's addresses.
    *unsafe { storage.view_as::<Address>() } = *address;
    // SAFETY: the storage is initialised all over, and is longer than that.
    let from = unsafe { SockAddr::new(storage, message.msg_namelen.min(ADDRESS_SIZE)) };
    Arrival {
        len: len.min(room),
        truncated: message.msg_flags & libc::MSG_TRUNC != 0,
        from: from.as_socket(),
    }
}

#[cfg(any(
    target_os = "linux",
    target_os = "android",
    target_os = "freebsd",
    target_os = "netbsd"
))]
mod batches {
    use super::*;
    use crate::net::sys::SEND_FLAGS;
    use std::array::from_fn;
    use std::io::IoSlice;
    use std::ptr::null_mut;

    pub(super) const EXIST: bool = true;

    pub(super) fn recv(
        fd: BorrowedFd<'_>,
        buffers: &mut [IoSliceMut<'_>],
        mut arrived: impl FnMut(Arrival),
    ) -> io::Result<()> {
        let wanted = buffers.len().min(AT_ONCE);
        let mut addresses = [no_address(); AT_ONCE];
        let to_addresses = addresses.as_mut_ptr();
        let mut headers: [libc::mmsghdr; AT_ONCE] = from_fn(|index| {
            let Some(buffer) = buffers.get_mut(index) else { return header_of(null_mut(), 0) };
            let mut header = header_of((&raw mut *buffer).cast(), 1);
            set_address(&mut header.msg_hdr, to_addresses.wrapping_add(index));
            header
        });
        // SAFETY:
        // - The descriptor is open.
        // - There are so many headers, each with one buffer and room for one address, all of which
        //   may be written to: `IoSliceMut` is promised to be laid out like `iovec`.
        let received = unsafe {
            let headers = headers.as_mut_ptr();
            let flags = libc::MSG_DONTWAIT as _;
            libc::recvmmsg(fd.as_raw_fd(), headers, wanted as _, flags, null_mut())
        };
        let received = count(received as isize)?;
        for index in 0..received {
            let header = &headers[index];
            let room = buffers[index].len();
            arrived(arrival(&header.msg_hdr, &addresses[index], header.msg_len as usize, room));
        }
        Ok(())
    }

    pub(super) fn send(fd: BorrowedFd<'_>, datagrams: &impl Departures) -> io::Result<usize> {
        let wanted = datagrams.len().min(AT_ONCE);
        let at = |index| if index < wanted { datagrams.get(index) } else { (&[][..], None) };
        let addresses: [Option<SockAddr>; AT_ONCE] = from_fn(|index| at(index).1.map(Into::into));
        let buffers: [IoSlice<'_>; AT_ONCE] = from_fn(|index| IoSlice::new(at(index).0));
        let mut headers: [libc::mmsghdr; AT_ONCE] = from_fn(|index| {
            let buffer = (&raw const buffers[index]).cast::<libc::iovec>().cast_mut();
            let mut header = header_of(buffer, 1);
            if let Some(address) = &addresses[index] {
                header.msg_hdr.msg_name = address.as_ptr().cast_mut().cast();
                header.msg_hdr.msg_namelen = address.len();
            }
            header
        });
        // SAFETY:
        // - The descriptor is open.
        // - There are so many headers, each with one buffer and perhaps an address, which are only
        //   read: `IoSlice` is promised to be laid out like `iovec`.
        let sent = unsafe {
            let headers = headers.as_mut_ptr();
            libc::sendmmsg(fd.as_raw_fd(), headers, wanted as _, SEND_FLAGS as _)
        };
        count(sent as isize)
    }

    fn header_of(buffers: *mut libc::iovec, len: usize) -> libc::mmsghdr {
        libc::mmsghdr { msg_hdr: message_of(buffers, len), msg_len: 0 }
    }
}

#[cfg(not(any(
    target_os = "linux",
    target_os = "android",
    target_os = "freebsd",
    target_os = "netbsd"
)))]
mod batches {
    pub(super) use super::{recv_singly as recv, send_singly as send};

    pub(super) const EXIST: bool = false;
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;
    use std::os::fd::AsFd;

    struct Three([SocketAddr; 3]);

    impl Departures for Three {
        fn len(&self) -> usize {
            3
        }

        fn get(&self, index: usize) -> (&[u8], Option<SocketAddr>) {
            (&b"three"[..2 * index], Some(self.0[index]))
        }
    }

    /// Both ways, whichever this system has: they cannot be told apart.
    #[test]
    fn one_by_one_as_in_batches() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let fd = socket.as_fd();
        let mut arrivals = Vec::new();
        for round in 0..4 {
            let all = Three([address; 3]);
            let cut_short = Three([address, nowhere, address]);
            let fails = Three([nowhere; 3]);
            let send = |three: &Three| match round % 2 {
                0 => send_singly(fd, three),
                _ => batches::send(fd, three),
            };
            assert_eq!(send(&all).unwrap(), 3);
            assert_eq!(send(&cut_short).unwrap(), 1);
            assert_eq!(send(&fails).unwrap_err().kind(), io::ErrorKind::InvalidInput);

            let mut memory = [[0; 3]; AT_ONCE + 1];
            let mut buffers: Vec<_> = memory.iter_mut().map(|buf| IoSliceMut::new(buf)).collect();
            arrivals.clear();
            let received = match round / 2 {
                0 => recv_singly(fd, &mut buffers, |arrival| arrivals.push(arrival)),
                _ => batches::recv(fd, &mut buffers, |arrival| arrivals.push(arrival)),
            };
            received.unwrap();
            let seen: Vec<_> =
                arrivals.iter().map(|a| (a.len, a.truncated, a.from == Some(address))).collect();
            assert_eq!(
                seen,
                [(0, false, true), (2, false, true), (3, true, true), (0, false, true)]
            );
            assert_eq!(&memory[2], b"thr");
            let nothing = recv_many(fd, &mut [IoSliceMut::new(&mut [])], |_| unreachable!());
            assert_eq!(nothing.unwrap_err().kind(), io::ErrorKind::WouldBlock);
        }
    }
}
