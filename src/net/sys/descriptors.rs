//! Descriptors that travel along with bytes, `SCM_RIGHTS`.

#![expect(unsafe_code, reason = "writes and reads control messages")]

use crate::net::sys::{SEND_FLAGS, count, message_of};
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// More than any system takes in one message. Linux takes 253.
const MAX_DESCRIPTORS: usize = 1024;

/// Room for other control messages that a user may have asked for: credentials, time stamps.
const OTHER_MESSAGES: usize = 128;

/// Whether descriptors are close-on-exec from the first moment.
#[cfg(not(target_vendor = "apple"))]
const RECEIVE_FLAGS: libc::c_int = libc::MSG_DONTWAIT | libc::MSG_CMSG_CLOEXEC;
#[cfg(target_vendor = "apple")]
const RECEIVE_FLAGS: libc::c_int = libc::MSG_DONTWAIT;

/// Memory for control messages, aligned for their headers.
struct Control(Vec<u64>);

impl Control {
    /// For one message with so many descriptors, and `more` bytes.
    fn for_descriptors(count: usize, more: usize) -> Control {
        // SAFETY: only arithmetic.
        let space = unsafe { libc::CMSG_SPACE(length_of(count)) } as usize;
        Control(vec![0; (space + more).div_ceil(size_of::<u64>())])
    }

    fn attach(&mut self, message: &mut libc::msghdr) {
        message.msg_control = self.0.as_mut_ptr().cast();
        message.msg_controllen = size_of_val(&self.0[..]) as _;
    }
}

/// Of so many descriptors in a message. There are never so many that it does not fit.
fn length_of(descriptors: usize) -> libc::c_uint {
    (descriptors * size_of::<RawFd>()) as libc::c_uint
}

/// Sends bytes and descriptors.
pub(in crate::net) fn send_fds(
    fd: BorrowedFd<'_>,
    bytes: &[u8],
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<usize> {
    if descriptors.len() > MAX_DESCRIPTORS {
        let error = "more descriptors than fit into one message";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, error));
    }
    let buffer = [IoSlice::new(bytes)];
    let mut message = message_of(buffer.as_ptr().cast::<libc::iovec>().cast_mut(), 1);
    let mut control = Control::for_descriptors(descriptors.len(), 0);
    if !descriptors.is_empty() {
        control.attach(&mut message);
        let length = length_of(descriptors.len());
        // SAFETY:
        // - The message has room for the one control message that is written: `for_descriptors`.
        // - What follows its header may be unaligned for descriptors.
        unsafe {
            message.msg_controllen = libc::CMSG_SPACE(length) as _;
            let header = libc::CMSG_FIRSTHDR(&raw const message);
            (*header).cmsg_level = libc::SOL_SOCKET;
            (*header).cmsg_type = libc::SCM_RIGHTS;
            (*header).cmsg_len = libc::CMSG_LEN(length) as _;
            let data = libc::CMSG_DATA(header).cast::<RawFd>();
            for (index, descriptor) in descriptors.iter().enumerate() {
                data.add(index).write_unaligned(descriptor.as_raw_fd());
            }
        }
    }
    // SAFETY: the descriptor is open, and the message has one readable buffer and the control
    // messages that were written above; both outlive the call.
    count(unsafe { libc::sendmsg(fd.as_raw_fd(), &raw const message, SEND_FLAGS) })
}

/// Receives bytes, and descriptors that came with them.
///
/// An error closes all that have come.
pub(in crate::net) fn recv_fds(
    fd: BorrowedFd<'_>,
    buf: &mut [u8],
    max: usize,
) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut buffer = [IoSliceMut::new(buf)];
    let mut message = message_of(buffer.as_mut_ptr().cast(), 1);
    // Some of those that are too many may find room. They count as lost, as the others do.
    let mut control = Control::for_descriptors(max.min(MAX_DESCRIPTORS), OTHER_MESSAGES);
    control.attach(&mut message);
    // SAFETY: the descriptor is open, and the message has one buffer and room for control messages,
    // which may be written to and outlive the call.
    let count = count(unsafe { libc::recvmsg(fd.as_raw_fd(), &raw mut message, RECEIVE_FLAGS) })?;
    // SAFETY: the system has filled the message in.
    let descriptors = unsafe { take_descriptors(&message) };
    #[cfg(target_vendor = "apple")]
    for descriptor in &descriptors {
        socket2::SockRef::from(descriptor).set_cloexec(true)?;
    }
    if message.msg_flags & libc::MSG_CTRUNC != 0 || descriptors.len() > max {
        let error = "some of the descriptors that were sent are lost";
        return Err(io::Error::new(io::ErrorKind::InvalidData, error));
    }
    Ok((count, descriptors))
}

/// # Safety
///
/// `recvmsg` has filled the message in, whose control messages are still there, and nobody has
/// taken the descriptors out.
unsafe fn take_descriptors(message: &libc::msghdr) -> Vec<OwnedFd> {
    let mut descriptors = Vec::new();
    // SAFETY: the caller's promise: these are walked as the system has left them. Each descriptor
    // is new, and belongs to nobody but this.
    unsafe {
        let mut header = libc::CMSG_FIRSTHDR(message);
        while !header.is_null() {
            if (*header).cmsg_level == libc::SOL_SOCKET && (*header).cmsg_type == libc::SCM_RIGHTS {
                let length = (*header).cmsg_len as usize - libc::CMSG_LEN(0) as usize;
                let data = libc::CMSG_DATA(header).cast::<RawFd>();
                for index in 0..length / size_of::<RawFd>() {
                    descriptors.push(OwnedFd::from_raw_fd(data.add(index).read_unaligned()));
                }
            }
            header = libc::CMSG_NXTHDR(message, header);
        }
    }
    descriptors
}
