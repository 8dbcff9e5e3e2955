//! The tour: what pirn is for, run and measured in under a minute.
//!
//! ```sh
//! cargo run --release --example tour
//! ```
//!
//! It parks a million coroutines, times a switch and a spawn, and then serves HTTP and echo on
//! loopback, in blocking style, to thousands of coroutine clients that check each byte. It ends
//! with a table, and fails if anything was wrong.
//!
//! ```sh
//! cargo run --release --example tour -- --serve 127.0.0.1:8080
//! ```
//!
//! keeps the HTTP server up, with the echo server on the next port, for `curl`, `wrk` and `nc`.

mod echo_clients;
mod load;
mod parked;
mod stage;
mod switch;
mod web_clients;

#[path = "../support/descriptors.rs"]
mod descriptors;
#[path = "../support/echo.rs"]
mod echo;
#[path = "../support/gate.rs"]
mod gate;
#[path = "../support/http.rs"]
mod http;
#[path = "../support/latency.rs"]
mod latency;
#[path = "../support/memory.rs"]
mod memory;
#[path = "../support/pattern.rs"]
mod pattern;
#[path = "../support/server.rs"]
mod server;

use clap::Parser;
use load::Load;
use pirn::net::{SocketAddr, TcpStream};
use std::io::{self, Write};
use std::process::ExitCode;

#[derive(Parser)]
#[command(about = "What pirn is for, run and measured in under a minute")]
struct Options {
    /// Serve HTTP here, and echo on the next port, until ctrl-c.
    #[arg(long, value_name = "ADDR", num_args = 0..=1, default_missing_value = "127.0.0.1:8080")]
    serve: Option<SocketAddr>,
    /// Connections of HTTP clients, and of echo clients.
    #[arg(long, default_value_t = 4_000)]
    connections: u64,
    /// Coroutines that park.
    #[arg(long, default_value_t = 1_000_000)]
    parked: u64,
}

type Rows = Vec<(&'static str, String)>;

fn main() -> ExitCode {
    let options = Options::parse();
    let result = match options.serve {
        Some(address) => serve(address).map(|()| true),
        None => tour(&options),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("tour: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(address: SocketAddr) -> io::Result<()> {
    descriptors::raise_limit();
    let mut echo_address = address;
    // Port 0 is a free one, and so is the other's then.
    if address.port() != 0 {
        let next = address.port().checked_add(1);
        let next = next.ok_or_else(|| io::Error::other("65535 leaves no port for echo"))?;
        echo_address.set_port(next);
    }
    let http_server = start(address, http::serve)?;
    let echo_server = start(echo_address, echo::serve)?;
    show(&format!(
        "HTTP on http://{http_server}/, echo on {echo_server}, until ctrl-c\n  \
         curl -i http://{http_server}/\n  \
         wrk -t1 -c512 -d10 http://{http_server}/\n  \
         nc {} {}\n",
        echo_server.ip(),
        echo_server.port()
    ))?;
    loop {
        pirn::thread::park();
    }
}

/// Starts a server that lasts as long as the process, and gives its address.
fn start(
    address: SocketAddr,
    serve: impl Fn(&TcpStream) -> io::Result<()> + Clone + Send + 'static,
) -> io::Result<SocketAddr> {
    let (listener, address) = server::listen(&address.to_string())?;
    pirn::go! { server::accept_for_ever(&listener, serve) };
    Ok(address)
}

fn tour(options: &Options) -> io::Result<bool> {
    let parked = parked::run(options.parked)?;
    let switch = switch::run()?;

    let connections = affordable(options.connections);
    let anywhere = SocketAddr::from(([127, 0, 0, 1], 0));
    let web = web_clients::run(start(anywhere, http::serve)?, connections)?;
    let echo = echo_clients::run(start(anywhere, echo::serve)?, connections)?;

    let mut rows = Rows::new();
    parked.rows(&mut rows);
    switch.rows(&mut rows);
    web_rows(&web, &mut rows);
    echo_rows(&echo, &mut rows);
    let mut table = String::from("\n");
    for (what, figure) in rows {
        table += &format!("{what:<42} {figure:>14}\n");
    }

    let loads = [("HTTP", &web), ("echo", &echo)];
    for (name, load) in loads {
        for (error, count) in &load.errors {
            table += &format!("{name}: {count} connections failed: {error}\n");
        }
    }
    let good = parked.is_good() && loads.iter().all(|(_name, load)| load.errors.is_empty());
    table += if good { "\nno request failed, no byte was wrong\n" } else { "\nFAILED\n" };
    show(&table)?;
    Ok(good)
}

/// To standard output. If nobody reads it any more, that is an error like others.
fn show(text: &str) -> io::Result<()> {
    io::stdout().write_all(text.as_bytes())
}

fn web_rows(load: &Load, rows: &mut Rows) {
    rows.push(("HTTP connections at once", load.connections.to_string()));
    rows.push(("HTTP requests", load.requests.to_string()));
    rows.push(("HTTP requests/s", format!("{:.0}", load.per_second())));
    rows.push(("HTTP latency, all at once, p50", format!("{:.2?}", load.latency.at(0.5))));
    rows.push(("HTTP latency, all at once, p99", format!("{:.2?}", load.latency.at(0.99))));
}

fn echo_rows(load: &Load, rows: &mut Rows) {
    rows.push(("echo connections at once", load.connections.to_string()));
    rows.push(("echo round trips/s", format!("{:.0}", load.per_second())));
    rows.push(("echo latency, all at once, p50", format!("{:.2?}", load.latency.at(0.5))));
    rows.push(("echo latency, all at once, p99", format!("{:.2?}", load.latency.at(0.99))));
}

/// Both ends of each connection are in this process, which may have so many descriptors.
fn affordable(connections: u64) -> u64 {
    let limit = descriptors::raise_limit();
    let most = limit.saturating_sub(64) / 2;
    if most < connections {
        stage::say(&format!("{limit} descriptors (ulimit -Hn) are enough for {most} connections"));
    }
    connections.min(most)
}
