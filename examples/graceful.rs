//! An HTTP server that stops when it is told to, and lets who is being served finish.
//!
//! ```sh
//! cargo run --release --example graceful -- 127.0.0.1:8080
//! ```
//!
//! In another terminal, a request that takes five seconds:
//!
//! ```sh
//! curl -i http://127.0.0.1:8080/slow/5000
//! ```
//!
//! Press ctrl-c meanwhile, or write `quit`: new connections are refused, the slow request is
//! answered, and the server ends. What is not done after ten seconds, or the time that a second
//! argument says, is cut off.

#[path = "support/graceful.rs"]
mod graceful;

use std::error::Error;
use std::time::Duration;

#[pirn::main]
fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let mut args = std::env::args().skip(1);
    let address = args.next().unwrap_or_else(|| "127.0.0.1:8080".into());
    let grace = args.next().map_or(Ok(10), |seconds| seconds.parse())?;
    Ok(graceful::serve_until_told(&address, Duration::from_secs(grace))?)
}
