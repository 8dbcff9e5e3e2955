//! What the proxy does with a connection.

use pirn::io::copy_bidirectional;
use pirn::net::{SocketAddr, TcpStream};
use std::io;
use std::time::Duration;

/// How long the connection to the other side may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Passes on what either side says, until both have ended. The server is tried at each of its
/// addresses.
pub(crate) fn serve(client: &TcpStream, server: &[SocketAddr]) -> io::Result<()> {
    let server = connect(server)?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    copy_bidirectional(client, &server).map(drop)
}

/// The error says who did not answer.
fn connect(addresses: &[SocketAddr]) -> io::Result<TcpStream> {
    let mut result = Err(io::Error::new(io::ErrorKind::InvalidInput, "the server has no address"));
    for address in addresses {
        result = TcpStream::connect_timeout(address, PATIENCE)
            .map_err(|error| io::Error::other(format!("cannot connect to {address}: {error}")));
        if result.is_ok() {
            break;
        }
    }
    result
}
