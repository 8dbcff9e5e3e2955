//! What a descriptor is, asked of the system when a dump is taken.

#![expect(unsafe_code, reason = "borrows the descriptor of a coroutine that waits for it")]

use crate::park::{Readiness, WaitReason};
use socket2::{Domain, SockAddr, SockRef, Type};
use std::fmt::Write as _;
use std::os::fd::BorrowedFd;

/// What a parked coroutine waits for. Called by its home: while that is here, the coroutine does not
/// run, and so does not close the descriptor.
pub(super) fn describe(reason: WaitReason) -> String {
    let mut text = reason.to_string();
    if let WaitReason::Descriptor(wait) = reason {
        // SAFETY: the frame that waits borrows the descriptor's owner, and stands still.
        let fd = unsafe { BorrowedFd::borrow_raw(wait.fd()) };
        let _infallible = write!(text, " {}", socket(fd, wait.readiness()));
    }
    text
}

fn socket(fd: BorrowedFd<'_>, readiness: Readiness) -> String {
    use std::os::fd::AsRawFd;
    let unknown = || format!("of descriptor {}", fd.as_raw_fd());
    let socket = SockRef::from(&fd);
    let (Ok(local), Ok(kind)) = (socket.local_addr(), socket.r#type()) else { return unknown() };
    let protocol = match (local.domain(), kind) {
        (Domain::UNIX, _) => "unix",
        (Domain::IPV4 | Domain::IPV6, Type::STREAM) => "tcp",
        (Domain::IPV4 | Domain::IPV6, Type::DGRAM) => "udp",
        _ => return unknown(),
    };
    let mut text = format!("{protocol} {}", address(&local));
    // A socket that connects has no peer yet, and a listener has none.
    if let Ok(peer) = socket.peer_addr() {
        let arrow = match readiness {
            Readiness::Read | Readiness::Accept => "<-",
            Readiness::Write | Readiness::Connect => "->",
        };
        let _infallible = write!(text, " {arrow} {}", address(&peer));
    }
    text
}

fn address(address: &SockAddr) -> String {
    if let Some(internet) = address.as_socket() {
        return internet.to_string();
    }
    match address.as_pathname() {
        Some(path) => path.display().to_string(),
        None => "(unnamed)".into(),
    }
}
