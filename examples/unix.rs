//! A server on a Unix socket, which says back what it is told, and answers HTTP; and its client.
//!
//! ```sh
//! cargo run --release --example unix -- serve example.sock
//! ```
//!
//! In another terminal:
//!
//! ```sh
//! cargo run --release --example unix -- say example.sock 'hello, hello'
//! socat - UNIX-CONNECT:example.sock
//! curl -i --unix-socket example.sock http://localhost/
//! ```

#[path = "support/accept.rs"]
mod accept;
#[path = "support/unix.rs"]
mod unix;

use pirn::os::unix::net::UnixListener;
use std::convert::Infallible;
use std::io;
use std::path::Path;
use std::process::ExitCode;

/// Serves for ever.
fn serve(path: &Path) -> io::Result<Infallible> {
    let listener: UnixListener = unix::listen(path)?;
    println!("serving {}", path.display());
    accept::for_ever(|| listener.accept().map(|(stream, _peer)| stream), unix::serve)
}

fn run(arguments: &[&str]) -> io::Result<()> {
    match *arguments {
        ["serve", path] => match serve(Path::new(path))? {},
        ["say", path, text] => {
            println!("{}", unix::say(Path::new(path), text)?);
            Ok(())
        }
        _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "usage: serve PATH | say PATH TEXT")),
    }
}

#[pirn::main]
fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("unix: {error}");
            ExitCode::FAILURE
        }
    }
}
