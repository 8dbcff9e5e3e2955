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
#[path = "support/program.rs"]
mod program;
#[path = "support/server.rs"]
mod server;

use std::process::ExitCode;

#[pirn::main]
fn main() -> ExitCode {
    let greeting = |address| format!("echo server on {address}");
    program::run("echo", "127.0.0.1:7000", greeting, echo::serve)
}
