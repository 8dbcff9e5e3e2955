//! Opening a connection.

use crate::net::limits::zero_timeout;
use crate::net::sys;
use crate::netpoller::{Done, Side, Source};
use crate::park::{self, WaitReason};
use socket2::{Domain, SockAddr, SockRef};
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

/// Connects to one address.
///
/// The connection is made in the background; the socket is writable once that has ended, well or
/// not. A caller that is cancelled meanwhile drops the socket, and so closes it.
pub(super) fn connect(addr: &SocketAddr, timeout: Option<Duration>) -> io::Result<Source> {
    let source = Source::new(sys::stream_socket(Domain::for_address(*addr))?.into());
    let deadline = timeout.and_then(park::deadline_after);
    let addr = SockAddr::from(*addr);
    let mut started = false;
    let result = source.io(Side::Write, WaitReason::Connect, deadline, |fd| {
        let socket = SockRef::from(&fd);
        if started {
            return finish(&socket);
        }
        started = true;
        match socket.connect(&addr) {
            Ok(()) => Ok(CONNECTED),
            // A signal does not stop what has begun.
            Err(error) if is_under_way(&error) => match timeout {
                Some(Duration::ZERO) => Err(zero_timeout()),
                _ => finish(&socket),
            },
            Err(error) => Err(error),
        }
    });
    match result {
        Ok(()) => Ok(source),
        Err(error) if timeout.is_some() && error.kind() == io::ErrorKind::WouldBlock => {
            Err(io::Error::new(io::ErrorKind::TimedOut, "connection timed out"))
        }
        Err(error) => Err(error),
    }
}

const CONNECTED: Done<()> = Done { value: (), drained: false };

fn is_under_way(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EINPROGRESS | libc::EINTR))
}

/// How the attempt has ended; `WouldBlock` if it has not.
fn finish(socket: &SockRef<'_>) -> io::Result<Done<()>> {
    if let Some(error) = socket.take_error()? {
        return Err(error);
    }
    match socket.peer_addr() {
        Ok(_connected) => Ok(CONNECTED),
        Err(error) if error.kind() == io::ErrorKind::NotConnected => {
            Err(io::ErrorKind::WouldBlock.into())
        }
        Err(error) => Err(error),
    }
}
