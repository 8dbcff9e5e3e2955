//! Unix sockets: `std::os::unix::net`, with waits that park the coroutine.

#[doc(inline)]
pub use crate::net::unix::{Incoming, SocketAddr, UnixDatagram, UnixListener, UnixStream};
