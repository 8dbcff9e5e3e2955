//! An echo server: one coroutine for each connection, written as if each had a thread.
//!
//! ```sh
//! cargo run --release --example echo -- 127.0.0.1:7000
//! ```
//!
//! In another terminal, `nc 127.0.0.1 7000`, or ten thousand connections at once:
//!
//! ```sh
//! cargo run --release --example echo_load -- 127.0.0.1:7000 --connections 10000
//! ```

#[path = "support/descriptors.rs"]
mod descriptors;
#[path = "support/echo.rs"]
mod echo;
#[path = "support/server.rs"]
mod server;

use std::process::ExitCode;

#[pirn::main]
fn main() -> ExitCode {
    descriptors::raise_limit();
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:7000".into());
    match server::listen(&address) {
        Ok((listener, address)) => {
            println!("echo server on {address}");
            server::accept_for_ever(&listener, echo::serve)
        }
        Err(error) => {
            eprintln!("echo: {error}");
            ExitCode::FAILURE
        }
    }
}
