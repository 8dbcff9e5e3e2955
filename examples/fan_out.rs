//! Asks many servers at once, each with a deadline, and collects the answers in order.
//!
//! ```sh
//! cargo run --release --example fan_out
//! cargo run --release --example fan_out -- example.com:80 example.org:80
//! ```
//!
//! Without addresses it starts servers of its own: most answer, some are late, some never answer,
//! some hang up, and one is not there at all.

use pirn::net::{TcpListener, TcpStream};
use pirn::thread;
use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

/// For one server, from name to last byte. A look-up cannot be cut short: it takes what the system's
/// resolver takes.
const PATIENCE: Duration = Duration::from_millis(500);

#[pirn::main]
fn main() -> io::Result<()> {
    let mut addresses: Vec<String> = std::env::args().skip(1).collect();
    if addresses.is_empty() {
        addresses = (0..100).map(start_server).collect::<io::Result<_>>()?;
    }

    let start = Instant::now();
    let answers: Vec<_> = thread::scope(|scope| {
        let fetches: Vec<_> =
            addresses.iter().map(|address| scope.spawn(|| fetch(address))).collect();
        fetches.into_iter().map(|fetch| fetch.join().expect("fetch does not panic")).collect()
    });
    let elapsed = start.elapsed();

    for (address, answer) in addresses.iter().zip(&answers) {
        match answer {
            Ok((line, took)) => println!("{address:<22} {took:>9.2?}  {line}"),
            Err(error) => println!("{address:<22}    failed  {error}"),
        }
    }
    let good = answers.iter().filter(|answer| answer.is_ok()).count();
    println!("{good} of {} answered; all were asked within {elapsed:.2?}", addresses.len());
    Ok(())
}

/// The first line of what the server has to say, and how long it took.
fn fetch(address: &str) -> io::Result<(String, Duration)> {
    let start = Instant::now();
    let deadline = start + PATIENCE;
    let mut stream = connect(address, deadline)?;
    // Absolute: a server that sends a byte now and then gains nothing by it.
    stream.set_read_deadline(Some(deadline));
    stream.set_write_deadline(Some(deadline));
    let host = address.rsplit_once(':').map_or(address, |(host, _port)| host);
    let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    stream.take(1 << 20).read_to_end(&mut answer).map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => late(),
        _ => error,
    })?;
    let line = answer.split(|&byte| byte == b'\r' || byte == b'\n').next().unwrap_or_default();
    if line.is_empty() {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "hung up without an answer"));
    }
    Ok((String::from_utf8_lossy(line).into_owned(), start.elapsed()))
}

/// Tries each of the name's addresses.
fn connect(address: &str, deadline: Instant) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in pirn::net::lookup_host(address)? {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(late());
        }
        match TcpStream::connect_timeout(&address, left) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn late() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "no answer in time")
}

/// Starts the `number`th server, and gives its address.
fn start_server(number: u64) -> io::Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?.to_string();
    if number == 13 {
        // The listener is dropped: connections are refused.
        return Ok(address);
    }
    pirn::go! {
        if let Err(error) = answer_one(&listener, number) {
            eprintln!("server {number}: {error}");
        }
    };
    Ok(address)
}

fn answer_one(listener: &TcpListener, number: u64) -> io::Result<()> {
    let (mut stream, _peer) = listener.accept()?;
    let _request = stream.read(&mut [0; 1024])?;
    match number % 10 {
        // Hangs up.
        7 => return Ok(()),
        // Waits for the client to give up.
        8 => return stream.read(&mut [0]).map(drop),
        // Late, but in time.
        9 => thread::sleep(PATIENCE / 2),
        _ => thread::sleep(Duration::from_millis(number)),
    }
    stream.write_all(format!("HTTP/1.1 200 From {number}\r\n\r\n").as_bytes())
}
