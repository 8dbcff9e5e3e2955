//! A name server for a few names: UDP, many datagrams at a time.
//!
//! ```sh
//! cargo run --release --example dns -- 127.0.0.1:5300 \
//!     spool.test=192.0.2.1 spool.test=2001:db8::1 'spool.test=txt:carries the weft'
//! ```
//!
//! In another terminal:
//!
//! ```sh
//! dig @127.0.0.1 -p 5300 spool.test A
//! dig @127.0.0.1 -p 5300 +notcp spool.test ANY
//! dig @127.0.0.1 -p 5300 loom.test
//! ```

#[path = "support/dns.rs"]
mod dns;

use pirn::net::UdpSocket;
use std::io;
use std::process::ExitCode;
use std::sync::Arc;

/// Serves until the socket fails.
fn run(address: &str, records: &[String]) -> io::Result<()> {
    let table = Arc::new(dns::Table::parse(records)?);
    let socket = UdpSocket::bind(address)?;
    println!("name server on {}", socket.local_addr()?);
    let workers = std::thread::available_parallelism()?.get();
    let servers = (0..workers).map(|_| {
        let (socket, table) = (socket.try_clone()?, Arc::clone(&table));
        pirn::thread::Builder::new().spawn(move || dns::serve(&socket, &table))
    });
    for server in servers.collect::<io::Result<Vec<_>>>()? {
        server.join().expect("a server panicked")?;
    }
    Ok(())
}

#[pirn::main]
fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:5300".into());
    match run(&address, &arguments.collect::<Vec<_>>()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("dns: {error}");
            ExitCode::FAILURE
        }
    }
}
