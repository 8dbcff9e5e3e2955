//! A fast HTTP/1.1 server in blocking style: keep-alive, pipelining, one coroutine per connection.
//!
//! ```sh
//! cargo run --release --example http -- 127.0.0.1:8080
//! ```
//!
//! In another terminal:
//!
//! ```sh
//! curl -i http://127.0.0.1:8080/
//! curl -i -d 'some text' http://127.0.0.1:8080/echo
//! wrk -t1 -c512 -d10 http://127.0.0.1:8080/
//! ab -k -c 100 -n 200000 http://127.0.0.1:8080/
//! ```

#[path = "support/descriptors.rs"]
mod descriptors;
#[path = "support/program.rs"]
mod program;
#[path = "support/http.rs"]
mod protocol;
#[path = "support/server.rs"]
mod server;

use std::process::ExitCode;

#[pirn::main]
fn main() -> ExitCode {
    let greeting = |address| format!("HTTP server on http://{address}/");
    program::run("http", "127.0.0.1:8080", greeting, protocol::serve)
}
