//! A socket that takes connections: what every kind of listener has in common.

use crate::net::kind::Kind;
use crate::netpoller::{self, Done, Side, Source};
use crate::park::{self, WaitReason};
use socket2::SockRef;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

/// How long an `accept` waits before it says that descriptors or memory have run out.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(5);

/// Shared by a listener's clones: descriptor, slot, and the wish not to wait.
///
/// The descriptor is nonblocking: there is no other way to try `accept`.
pub(super) struct ListeningSocket {
    source: Source,
    /// That of the connections.
    kind: Kind,
}

impl ListeningSocket {
    /// Takes over a nonblocking socket that we have made ourselves.
    pub(super) fn new(fd: OwnedFd, kind: Kind) -> ListeningSocket {
        ListeningSocket { source: Source::new(fd), kind }
    }

    /// Takes over a descriptor, which becomes nonblocking, with its user's wish not to wait.
    pub(super) fn foreign(fd: OwnedFd) -> ListeningSocket {
        let socket = SockRef::from(&fd);
        let nonblocking = socket.nonblocking().unwrap_or(false);
        // Fails for what is no open descriptor; using it will say so.
        let _set = socket.set_nonblocking(true);
        let kind = Kind::of(&socket);
        let source = Source::new(fd);
        source.set_user_nonblocking(nonblocking);
        ListeningSocket { source, kind }
    }

    /// The kind of the connections that come from here.
    pub(super) fn kind(&self) -> Kind {
        self.kind
    }

    /// The descriptor, with the flags that its user expects; a duplicate if there are clones. Then
    /// it stays nonblocking, since they depend on the flag that they share with it.
    pub(super) fn into_fd(self: Arc<Self>) -> io::Result<OwnedFd> {
        let nonblocking = self.source.is_user_nonblocking();
        match Arc::try_unwrap(self) {
            Ok(last) => {
                let fd = last.source.into_fd();
                SockRef::from(&fd).set_nonblocking(nonblocking)?;
                Ok(fd)
            }
            Err(shared) => shared.source.as_fd().try_clone_to_owned(),
        }
    }

    /// Calls `accept` until there is a connection. When the system has run out of something, it
    /// lets some time pass before it says so.
    pub(super) fn accept<T>(
        &self,
        accept: impl FnMut(BorrowedFd<'_>) -> io::Result<T>,
    ) -> io::Result<T> {
        let accepted = self.accept_with(|| Some(()), accept);
        if accepted.as_ref().is_err_and(is_exhaustion) && !self.source.is_user_nonblocking() {
            netpoller::pause(WaitReason::Accept, park::deadline_after(EXHAUSTED_PAUSE));
        }
        accepted.map(|connection| connection.expect("it is always permitted").0)
    }

    /// Calls `accept` until there is a connection, and says at once what the system says. Before each
    /// attempt it gets a permit, for which it may have to wait, and which it does not keep from others
    /// while it waits for a connection. `None`: there will be no permit.
    pub(super) fn accept_with<T, P>(
        &self,
        permit: impl Fn() -> Option<P>,
        mut accept: impl FnMut(BorrowedFd<'_>) -> io::Result<T>,
    ) -> io::Result<Option<(T, P)>> {
        self.source.io(Side::Read, WaitReason::Accept, None, |fd| {
            let value = match permit() {
                Some(permit) => Some((accept(fd)?, permit)),
                None => None,
            };
            Ok(Done { value, drained: false })
        })
    }

    /// Has all that wait for connections look again.
    pub(super) fn stir(&self) {
        self.source.stir(Side::Read);
    }

    pub(super) fn set_nonblocking(&self, on: bool) {
        self.source.set_user_nonblocking(on);
    }
}

impl AsFd for ListeningSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.source.as_fd()
    }
}

/// Descriptors of the process, of the system, or memory.
fn is_exhaustion(error: &io::Error) -> bool {
    let code = error.raw_os_error();
    matches!(code, Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM))
}
