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

#[path = "support/http.rs"]
mod protocol;
#[path = "support/server.rs"]
mod server;

use pirn::net::TcpListener;
use std::io;

#[pirn::main]
fn main() -> io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".into());
    let listener = TcpListener::bind(&address)?;
    println!("HTTP server on http://{}/", listener.local_addr()?);
    server::accept_for_ever(&listener, protocol::serve)
}
