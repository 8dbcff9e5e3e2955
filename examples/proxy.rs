//! A TCP proxy: whatever comes to one address is passed on to another, and back.
//!
//! ```sh
//! cargo run --release --example proxy -- --listen 127.0.0.1:8080 --to example.org:80
//! ```
//!
//! In another terminal:
//!
//! ```sh
//! curl -H 'Host: example.org' http://127.0.0.1:8080/
//! ```
//!
//! Two coroutines serve each connection, one for each direction. When one side has no more to say,
//! the other is told so, and may still answer. On Linux the bytes do not come through this program:
//! the kernel moves them (`splice`).

#[path = "support/descriptors.rs"]
mod descriptors;
#[path = "support/proxy.rs"]
mod proxy;
#[path = "support/server.rs"]
mod server;

use clap::Parser;
use std::process::ExitCode;
use std::sync::Arc;

/// Passes TCP connections on.
#[derive(Parser)]
struct Options {
    /// Where to listen: an address and a port.
    #[arg(long, default_value = "127.0.0.1:8080")]
    listen: String,
    /// Where to pass connections on to: a name or an address, and a port.
    #[arg(long)]
    to: String,
}

#[pirn::main]
fn main() -> ExitCode {
    let options = Options::parse();
    descriptors::raise_limit();
    let server: Arc<[_]> = match pirn::net::lookup_host(&options.to) {
        Ok(addresses) => addresses.collect(),
        Err(error) => {
            eprintln!("proxy: cannot look up {}: {error}", options.to);
            return ExitCode::FAILURE;
        }
    };
    match server::listen(&options.listen) {
        Ok((listener, address)) => {
            println!("proxy on {address} to {}", options.to);
            server::accept_for_ever(&listener, move |client| proxy::serve(client, &server))
        }
        Err(error) => {
            eprintln!("proxy: {error}");
            ExitCode::FAILURE
        }
    }
}
