//! What every server here does: listen, and accept for ever, one coroutine for each connection.

#[path = "accept.rs"]
pub(crate) mod accept;

use pirn::net::{SocketAddr, TcpListener, TcpStream};
use std::io;

/// Connections that the system keeps until they are accepted. `bind` asks for 128, as std's does:
/// whoever comes in a burst of thousands would be told to try again, a second later.
const BACKLOG: i32 = 4096;

/// Listens on `address`, and gives it as it has become: port 0 stands for a free one. The error says
/// which address it was.
pub(crate) fn listen(address: &str) -> io::Result<(TcpListener, SocketAddr)> {
    let bind = || {
        let listener = TcpListener::bind(address)?;
        socket2::SockRef::from(&listener).listen(BACKLOG)?;
        let address = listener.local_addr()?;
        Ok((listener, address))
    };
    bind().map_err(|error: io::Error| {
        io::Error::new(error.kind(), format!("cannot listen on {address}: {error}"))
    })
}

/// Accepts for ever, and runs `serve` for each connection in a coroutine of its own.
pub(crate) fn accept_for_ever(
    listener: &TcpListener,
    serve: impl Fn(&TcpStream) -> io::Result<()> + Clone + Send + 'static,
) -> ! {
    accept::for_ever(|| listener.accept().map(|(stream, _peer)| stream), serve)
}
