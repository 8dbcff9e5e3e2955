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

#[path = "support/echo.rs"]
mod echo;
#[path = "support/server.rs"]
mod server;

use pirn::net::TcpListener;
use std::io;

#[pirn::main]
fn main() -> io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:7000".into());
    let listener = TcpListener::bind(&address)?;
    println!("echo server on {}", listener.local_addr()?);
    server::accept_for_ever(&listener, echo::serve)
}
