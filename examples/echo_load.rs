//! Loads an echo server with thousands of connections at once, and checks each byte.
//!
//! ```sh
//! cargo run --release --example echo -- 127.0.0.1:7000
//! ```
//!
//! and in another terminal, since each process has its own limit of descriptors:
//!
//! ```sh
//! cargo run --release --example echo_load -- 127.0.0.1:7000 --connections 10000
//! cargo run --release --example echo_load -- 127.0.0.1:7000 --connections 10000 --hostile
//! ```
//!
//! With `--hostile` some peers reset their connection, send a byte at a time, send everything
//! before they read anything, or do not read for as long as the others are there.

#[path = "support/descriptors.rs"]
mod descriptors;
#[path = "support/gate.rs"]
mod gate;
#[path = "support/latency.rs"]
mod latency;
#[path = "support/pattern.rs"]
mod pattern;

use clap::Parser;
use gate::Gate;
use latency::Latency;
use pirn::net::{Shutdown, SocketAddr, TcpStream};
use pirn::thread::Builder;
use socket2::SockRef;
use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

#[derive(Parser, Clone)]
#[command(about = "Loads an echo server and checks what comes back")]
struct Options {
    /// The server; several addresses of it are used in turn.
    #[arg(required = true)]
    addresses: Vec<SocketAddr>,
    /// How many connections are open at the same time.
    #[arg(long, default_value_t = 10_000)]
    connections: u64,
    /// Messages of each connection.
    #[arg(long, default_value_t = 20)]
    messages: u64,
    /// Bytes of each message.
    #[arg(long, default_value_t = 1024)]
    size: usize,
    /// Seconds without an answer after which a connection is called stalled.
    #[arg(long, default_value_t = 10)]
    patience: u64,
    /// Some peers misbehave.
    #[arg(long)]
    hostile: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Peer {
    /// Sends a message, waits for it, sends the next; in the end says that it is done.
    Steady,
    /// The same, but resets the connection in the middle.
    Resets,
    /// Sends each message byte by byte.
    ByteAtATime,
    /// Sends everything and says that it is done before it reads anything.
    HalfCloses,
    /// Sends until nothing more is taken, and reads when the others are done.
    ReadsLast,
}

impl Peer {
    fn of(number: u64, hostile: bool) -> Peer {
        match number % 16 {
            _ if !hostile => Peer::Steady,
            1 => Peer::Resets,
            2 => Peer::ByteAtATime,
            3 => Peer::HalfCloses,
            // Few, for what they send fills the buffers of both ends: megabytes for each.
            4 if number % 512 < 16 => Peer::ReadsLast,
            _ => Peer::Steady,
        }
    }
}

/// What became of one connection.
struct Outcome {
    peer: Peer,
    connect: Duration,
    round_trips: Vec<Duration>,
    bytes: u64,
    error: Option<io::Error>,
}

struct Connection<'a> {
    stream: &'a TcpStream,
    number: u64,
    sent: u64,
    received: u64,
}

#[pirn::main]
fn main() -> ExitCode {
    let mut options = Options::parse();
    let limit = descriptors::raise_limit();
    let most = limit.saturating_sub(64);
    if most < options.connections {
        println!("{limit} descriptors (ulimit -Hn) are enough for {most} connections");
        options.connections = most;
    }
    let connected = Gate::new(options.connections + 1);
    // Those that read last wait at `over` for the others.
    let over = Gate::new(options.connections + 1);
    let start = Instant::now();
    let mut peers = Vec::new();
    for number in 0..options.connections {
        let (connected, over, options) = (connected.clone(), over.clone(), options.clone());
        match Builder::new().spawn(move || run_peer(number, &options, &connected, &over)) {
            Ok(peer) => peers.push(peer),
            Err(error) => {
                eprintln!("spawn: {error}");
                return ExitCode::FAILURE;
            }
        }
    }
    connected.wait();
    println!("{} connections after {:.2?}", options.connections, start.elapsed());
    let start = Instant::now();
    over.wait();
    let elapsed = start.elapsed();

    let mut kinds: BTreeMap<Peer, [u64; 2]> = BTreeMap::new();
    let mut errors: BTreeMap<String, u64> = BTreeMap::new();
    let (mut connects, mut round_trips) = (Latency::new(), Latency::new());
    let (mut messages, mut bytes) = (0, 0);
    for peer in peers {
        let Ok(outcome) = peer.join() else {
            *errors.entry("panic".into()).or_default() += 1;
            continue;
        };
        let kind = kinds.entry(outcome.peer).or_default();
        kind[0] += 1;
        connects.record(&[outcome.connect]);
        round_trips.record(&outcome.round_trips);
        messages += outcome.round_trips.len();
        bytes += outcome.bytes;
        if let Some(error) = outcome.error {
            kind[1] += 1;
            *errors.entry(format!("{:?}: {}", outcome.peer, describe(&error))).or_default() += 1;
        }
    }
    println!("{messages} round trips in {elapsed:.2?}, {bytes} bytes checked");
    println!("round trip  {}", quantiles(&round_trips));
    println!("connect     {}", quantiles(&connects));
    for (kind, [count, failed]) in &kinds {
        println!("{:<12}{count:>7} peers, {failed} failed", format!("{kind:?}"));
    }
    for (error, count) in &errors {
        println!("{count} times: {error}");
    }
    if errors.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn quantiles(latency: &Latency) -> String {
    let [p50, p99, max] = [0.5, 0.99, 1.0].map(|quantile| latency.at(quantile));
    format!("p50 {p50:.2?}  p99 {p99:.2?}  max {max:.2?}")
}

fn describe(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::WouldBlock => "stalled".into(),
        _ => error.to_string(),
    }
}

fn run_peer(number: u64, options: &Options, connected: &Gate, over: &Gate) -> Outcome {
    let mut outcome = Outcome {
        peer: Peer::of(number, options.hostile),
        connect: Duration::ZERO,
        round_trips: Vec::new(),
        bytes: 0,
        error: None,
    };
    let start = Instant::now();
    let address = options.addresses[(number % options.addresses.len() as u64) as usize];
    let stream = TcpStream::connect(address);
    outcome.connect = start.elapsed();
    connected.wait();
    let result = stream.and_then(|stream| {
        let patience = Some(Duration::from_secs(options.patience));
        stream.set_nodelay(true)?;
        stream.set_read_timeout(patience)?;
        stream.set_write_timeout(patience)?;
        let mut connection = Connection { stream: &stream, number, sent: 0, received: 0 };
        let result = connection.run(&mut outcome, options, over);
        outcome.bytes = connection.received;
        result
    });
    if outcome.peer != Peer::ReadsLast || result.is_err() {
        over.wait();
    }
    outcome.error = result.err();
    outcome
}

impl Connection<'_> {
    fn run(&mut self, outcome: &mut Outcome, options: &Options, over: &Gate) -> io::Result<()> {
        let mut buf = vec![0; options.size];
        match outcome.peer {
            Peer::Steady => {
                for _ in 0..options.messages {
                    let start = Instant::now();
                    self.send(&mut buf)?;
                    self.receive(&mut buf)?;
                    outcome.round_trips.push(start.elapsed());
                }
                self.finish(&mut buf)
            }
            Peer::Resets => {
                for _ in 0..options.messages.div_ceil(2) {
                    self.send(&mut buf)?;
                    self.receive(&mut buf)?;
                }
                self.send(&mut buf)?;
                // The close that follows sends a reset.
                SockRef::from(self.stream).set_linger(Some(Duration::ZERO))
            }
            Peer::ByteAtATime => {
                for _ in 0..options.messages.min(4) {
                    for _ in 0..options.size {
                        self.send(&mut [0])?;
                    }
                    self.receive(&mut buf)?;
                }
                self.finish(&mut buf)
            }
            Peer::HalfCloses => {
                for _ in 0..options.messages {
                    self.send(&mut buf)?;
                }
                self.finish(&mut buf)
            }
            Peer::ReadsLast => {
                self.stream.set_write_timeout(Some(Duration::from_millis(500)))?;
                let mut buf = vec![0; 64 * 1024];
                let filled = loop {
                    if let Err(error) = self.send(&mut buf) {
                        break error;
                    }
                };
                if filled.kind() != io::ErrorKind::WouldBlock {
                    return Err(filled);
                }
                over.wait();
                self.finish(&mut buf)
            }
        }
    }

    fn send(&mut self, buf: &mut [u8]) -> io::Result<()> {
        pattern::fill(buf, self.number, self.sent);
        let mut rest = &*buf;
        while !rest.is_empty() {
            // Not `write_all`: where a write that timed out has got to must be known.
            let count = match self.stream.write(rest) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                count => count?,
            };
            self.sent += count as u64;
            rest = &rest[count..];
        }
        Ok(())
    }

    fn receive(&mut self, buf: &mut [u8]) -> io::Result<()> {
        self.stream.read_exact(buf)?;
        pattern::check(buf, self.number, self.received)?;
        self.received += buf.len() as u64;
        Ok(())
    }

    /// Says that this is all, and reads the rest up to the end, which must be all that was sent.
    fn finish(&mut self, buf: &mut [u8]) -> io::Result<()> {
        self.stream.shutdown(Shutdown::Write)?;
        loop {
            let count = match self.stream.read(buf) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                count => count?,
            };
            pattern::check(&buf[..count], self.number, self.received)?;
            self.received += count as u64;
            if count == 0 {
                break;
            }
        }
        if self.received == self.sent {
            return Ok(());
        }
        let message = format!("{} bytes came back of {}", self.received, self.sent);
        Err(io::Error::new(io::ErrorKind::UnexpectedEof, message))
    }
}
