//! What a server takes connections from.

use crate::net::socket::StreamSocket;
use crate::net::{TcpListener, TcpStream};
use crate::netpoller::{Side, Source};
use socket2::SockRef;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::sync::{Arc, Weak};

/// What a [`Server`](crate::net::Server) takes connections from: a [`TcpListener`].
///
/// It cannot be implemented outside of this crate.
pub trait Listen: sealed::Sealed + Send + Sync + 'static {
    /// A connection.
    type Stream: Send + 'static;
    /// Where a connection comes from.
    type Addr: Send + 'static;

    /// Waits for a connection. `None`: it is over, as that says.
    #[doc(hidden)]
    fn accept_unless(
        &self,
        is_over: &dyn Fn() -> bool,
    ) -> io::Result<Option<(Self::Stream, Self::Addr)>>;

    /// Makes it wait for connections, whatever was asked of it before.
    #[doc(hidden)]
    fn enlist(&self) -> Bell;

    /// What cuts a connection off.
    #[doc(hidden)]
    fn tie(stream: &Self::Stream) -> Tie;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::TcpListener {}
}

/// Calls whoever waits for connections. It keeps no listener open.
#[derive(Clone)]
pub struct Bell(Weak<Source>);

impl Bell {
    pub(super) fn ring(&self) {
        if let Some(source) = self.0.upgrade() {
            source.stir(Side::Read);
        }
    }
}

/// Cuts a connection off. It keeps none open.
#[derive(Clone)]
pub struct Tie(Weak<StreamSocket>);

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

    fn accept_unless(
        &self,
        is_over: &dyn Fn() -> bool,
    ) -> io::Result<Option<(TcpStream, SocketAddr)>> {
        self.accept_unless(is_over)
    }

    fn enlist(&self) -> Bell {
        self.source().set_user_nonblocking(false);
        Bell(Arc::downgrade(self.source()))
    }

    fn tie(stream: &TcpStream) -> Tie {
        Tie(Arc::downgrade(stream.socket()))
    }
}
