//! What a server takes connections from.

use crate::net::listening::ListeningSocket;
use crate::net::server::control::Permit;
use crate::net::socket::Socket;
use crate::net::unix::{self, UnixListener, UnixStream};
use crate::net::{TcpListener, TcpStream};
use socket2::SockRef;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::sync::{Arc, Weak};

/// What a [`Server`](crate::net::Server) takes connections from: a [`TcpListener`] or a
/// [`UnixListener`](crate::os::unix::net::UnixListener).
///
/// It cannot be implemented outside of this crate.
pub trait Listen: sealed::Sealed + Send + Sync + 'static {
    /// A connection.
    type Stream: Send + 'static;
    /// Where a connection comes from.
    type Addr: Send + 'static;

    /// Waits for a connection, and before each attempt for a permit, which it does not hold while it
    /// waits for a connection. `None`: there will be no permit.
    #[doc(hidden)]
    fn accept_with(
        &self,
        permit: &dyn Fn() -> Option<Permit>,
    ) -> io::Result<Permitted<(Self::Stream, Self::Addr)>>;

    /// Makes it wait for connections, whatever was asked of it before.
    #[doc(hidden)]
    fn enlist(&self) -> Bell;

    /// What cuts a connection off.
    #[doc(hidden)]
    fn tie(stream: &Self::Stream) -> Tie;
}

/// A connection with its permit.
type Permitted<C> = Option<(C, Permit)>;

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::TcpListener {}
    impl Sealed for super::UnixListener {}
}

/// Calls whoever waits for connections. It keeps no listener open.
#[derive(Clone)]
pub struct Bell(Weak<ListeningSocket>);

impl Bell {
    pub(super) fn ring(&self) {
        if let Some(socket) = self.0.upgrade() {
            socket.stir();
        }
    }
}

/// Cuts a connection off. It keeps none open.
#[derive(Clone)]
pub struct Tie(Weak<Socket>);

impl Tie {
    /// Ends both directions, so that whoever reads or writes is told.
    pub(super) fn cut(&self) {
        if let Some(socket) = self.0.upgrade() {
            // One that is not connected any more needs no end.
            let _ended = SockRef::from(&*socket).shutdown(Shutdown::Both);
        }
    }
}

impl Listen for TcpListener {
    type Stream = TcpStream;
    type Addr = SocketAddr;

    fn accept_with(
        &self,
        permit: &dyn Fn() -> Option<Permit>,
    ) -> io::Result<Permitted<(TcpStream, SocketAddr)>> {
        self.socket().accept_with(permit, |fd| self.take(fd))
    }

    fn enlist(&self) -> Bell {
        self.socket().set_nonblocking(false);
        Bell(Arc::downgrade(self.socket()))
    }

    fn tie(stream: &TcpStream) -> Tie {
        Tie(Arc::downgrade(stream.socket()))
    }
}

impl Listen for UnixListener {
    type Stream = UnixStream;
    type Addr = unix::SocketAddr;

    fn accept_with(
        &self,
        permit: &dyn Fn() -> Option<Permit>,
    ) -> io::Result<Permitted<(UnixStream, unix::SocketAddr)>> {
        self.socket().accept_with(permit, UnixListener::take)
    }

    fn enlist(&self) -> Bell {
        self.socket().set_nonblocking(false);
        Bell(Arc::downgrade(self.socket()))
    }

    fn tie(stream: &UnixStream) -> Tie {
        Tie(Arc::downgrade(stream.socket()))
    }
}
