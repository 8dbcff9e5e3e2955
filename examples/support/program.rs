//! The `main` of a server that does nothing but serve one address.

use crate::{descriptors, server};
use pirn::net::{SocketAddr, TcpStream};
use std::io;
use std::process::ExitCode;

/// Listens on the address that the program is called with, or else on `address`, says so by
/// `greeting`, and serves for ever. Returns if it cannot.
pub(crate) fn run(
    name: &str,
    address: &str,
    greeting: impl Fn(SocketAddr) -> String,
    serve: impl Fn(&TcpStream) -> io::Result<()> + Clone + Send + 'static,
) -> ExitCode {
    descriptors::raise_limit();
    let address = std::env::args().nth(1).unwrap_or_else(|| address.into());
    match server::listen(&address) {
        Ok((listener, address)) => {
            println!("{}", greeting(address));
            server::accept_for_ever(&listener, serve)
        }
        Err(error) => {
            eprintln!("{name}: {error}");
            ExitCode::FAILURE
        }
    }
}
