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
#[path = "support/http.rs"]
mod protocol;
#[path = "support/server.rs"]
mod server;

use std::process::ExitCode;

#[pirn::main]
fn main() -> ExitCode {
    descriptors::raise_limit();
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".into());
    match server::listen(&address) {
        Ok((listener, address)) => {
            println!("HTTP server on http://{address}/");
            server::accept_for_ever(&listener, protocol::serve)
        }
        Err(error) => {
            eprintln!("http: {error}");
            ExitCode::FAILURE
        }
    }
}
