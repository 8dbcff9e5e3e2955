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
#[path = "support/program.rs"]
mod program;
#[path = "support/server.rs"]
mod server;

use std::process::ExitCode;

#[pirn::main]
fn main() -> ExitCode {
    let greeting =
        |address| format!("HTTP server on http://{address}/, metrics at http://{address}/metrics");
    program::run("metrics", "127.0.0.1:8080", greeting, exporter::serve)
}
