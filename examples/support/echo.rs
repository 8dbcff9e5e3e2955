//! The echo protocol, RFC 862.

use pirn::net::{Shutdown, TcpStream};
use std::io;

/// Sends back whatever comes, until the peer has said that it is done; then says so too.
///
/// A peer that does not read stops its own echo, and nothing else: `write` waits for it.
pub(crate) fn serve(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    io::copy(&mut &*stream, &mut &*stream)?;
    stream.shutdown(Shutdown::Write)
}
