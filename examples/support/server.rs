//! What every server here does: listen, and accept for ever, one coroutine for each connection.

use pirn::net::{SocketAddr, TcpListener, TcpStream};
use pirn::thread;
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
///
/// Nothing that a connection does, and no shortage, ends this loop. When descriptors run out,
/// `accept` itself waits a little before it says so: going on is all there is to do.
pub(crate) fn accept_for_ever(
    listener: &TcpListener,
    serve: impl Fn(&TcpStream) -> io::Result<()> + Clone + Send + 'static,
) -> ! {
    let mut failures = 0u64;
    loop {
        let stream = match listener.accept() {
            Ok((stream, _peer)) => stream,
            Err(error) => {
                failures += 1;
                // The 1st, 2nd, 4th, 8th …: a long shortage does not flood the log.
                if failures.is_power_of_two() {
                    eprintln!("accept: {error} (failure {failures} in a row)");
                }
                continue;
            }
        };
        if failures > 0 {
            eprintln!("accept: works again");
            failures = 0;
        }
        let serve = serve.clone();
        let spawned = thread::Builder::new().spawn(move || match serve(&stream) {
            Err(error) if !is_peers_doing(&error) => eprintln!("connection: {error}"),
            _ => {}
        });
        if let Err(error) = spawned {
            eprintln!("connection turned away: {error}");
        }
    }
}

/// Peers reset connections, vanish and stall: that is their affair, and no news.
fn is_peers_doing(error: &io::Error) -> bool {
    use io::ErrorKind::*;
    matches!(
        error.kind(),
        ConnectionReset | ConnectionAborted | BrokenPipe | NotConnected | TimedOut | WouldBlock
    )
}
