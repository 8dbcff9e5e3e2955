//! A server that tells Prometheus what its coroutines, workers and stacks do.
//!
//! ```sh
//! cargo run --release --example metrics -- 127.0.0.1:8080
//! ```
//!
//! In another terminal:
//!
//! ```sh
//! wrk -t1 -c512 -d10 http://127.0.0.1:8080/
//! curl http://127.0.0.1:8080/metrics
//! curl -s http://127.0.0.1:8080/metrics | promtool check metrics
//! ```

#[path = "support/descriptors.rs"]
mod descriptors;
#[path = "support/exporter.rs"]
mod exporter;
#[path = "support/exposition.rs"]
mod exposition;
#[path = "support/server.rs"]
mod server;

use std::process::ExitCode;

#[pirn::main]
fn main() -> ExitCode {
    descriptors::raise_limit();
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".into());
    match server::listen(&address) {
        Ok((listener, address)) => {
            println!("HTTP server on http://{address}/, metrics at http://{address}/metrics");
            server::accept_for_ever(&listener, exporter::serve)
        }
        Err(error) => {
            eprintln!("metrics: {error}");
            ExitCode::FAILURE
        }
    }
}
