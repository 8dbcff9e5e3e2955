//! An accept loop for any kind of listener.

use pirn::thread;
use std::io;

/// Accepts for ever, and runs `serve` for each connection in a coroutine of its own.
///
/// Nothing that a connection does, and no shortage, ends this loop. When descriptors run out,
/// `accept` itself waits a little before it says so: going on is all there is to do.
pub(crate) fn for_ever<S: Send + 'static>(
    accept: impl Fn() -> io::Result<S>,
    serve: impl Fn(&S) -> io::Result<()> + Clone + Send + 'static,
) -> ! {
    let mut failures = 0u64;
    loop {
        let stream = match accept() {
            Ok(stream) => stream,
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
