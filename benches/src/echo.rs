//! Echo of 64 bytes over loopback: servers, each in a process of its own, driven by the same client.
//! The floor is a bare epoll loop per core.

use crate::contestants;
use crate::cpu;
use crate::epoll::Epoll;
use crate::files;
use hdrhistogram::Histogram;
use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

const MESSAGE: usize = 64;
const RUN: Duration = Duration::from_secs(3);
const ROUNDS: usize = 3;

/// A server in a child process: prints its address, then serves until it is killed.
pub(crate) fn child(arguments: &[String]) -> io::Result<()> {
    let serve = match arguments {
        [who] => contestants::built_in(who).and_then(|contestant| contestant.serve),
        _ => None,
    };
    serve.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "serve WHO"))?()
}

struct Server {
    process: Child,
    address: SocketAddr,
}

impl Server {
    fn start(who: &str) -> io::Result<Server> {
        let mut program = contestants::program(who, "serve")?;
        let mut process = program.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let stdout = process.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let address = line.trim().parse().map_err(io::Error::other)?;
        Ok(Server { process, address })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _gone = self.process.kill();
        let _reaped = self.process.wait();
    }
}

struct Outcome {
    per_second: f64,
    cpu_per_million: f64,
    latency: Histogram<u64>,
}

/// Keeps one message in flight on each connection.
fn drive(server: &Server, connections: usize) -> io::Result<Outcome> {
    let epoll = Epoll::new()?;
    let mut streams = HashMap::new();
    let message = [b'x'; MESSAGE];
    for _ in 0..connections {
        let stream = TcpStream::connect(server.address)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let key = stream.as_raw_fd() as u64;
        epoll.add(stream.as_raw_fd(), key)?;
        streams.insert(key, (stream, Instant::now(), 0));
    }
    let mut latency = Histogram::<u64>::new(3).map_err(io::Error::other)?;
    let (start, cpu) = (Instant::now(), cpu::seconds_of(server.process.id())?);
    for (stream, sent, _) in streams.values_mut() {
        *sent = Instant::now();
        stream.write_all(&message)?;
    }
    let mut buffer = [0; MESSAGE];
    let mut count = 0_u64;
    while start.elapsed() < RUN {
        for key in epoll.wait(Some(Duration::from_millis(100))) {
            let Some((stream, sent, received)) = streams.get_mut(&key) else { continue };
            match stream.read(&mut buffer) {
                Ok(length) => *received += length,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                Err(error) => return Err(error),
            }
            if *received < MESSAGE {
                continue;
            }
            let now = Instant::now();
            latency.record((now - *sent).as_nanos() as u64).map_err(io::Error::other)?;
            count += 1;
            (*received, *sent) = (0, now);
            stream.write_all(&message)?;
        }
    }
    let elapsed = start.elapsed().as_secs_f64();
    let cpu = cpu::seconds_of(server.process.id())? - cpu;
    Ok(Outcome {
        per_second: count as f64 / elapsed,
        cpu_per_million: cpu * 1e6 / count as f64,
        latency,
    })
}

/// In this order: what the others are measured by comes first.
const SERVERS: [&str; 5] = ["floor", "may", "tokio", "go", "pirn"];

/// All rows of the echo table.
pub(crate) fn echo() {
    for connections in [1, 64, 1_000, 5_000] {
        println!("\necho of {MESSAGE} B, {connections} connections, {ROUNDS} rounds in turn");
        println!(
            "| server | requests/s | CPU s per million: median | least | most | p50 us | p99 us | p99.9 us |\n|---|---|---|---|---|---|---|---|"
        );
        let mut lanes: Vec<_> = SERVERS
            .into_iter()
            .filter(|who| contestants::is_built(who))
            .map(|who| (who, Vec::new()))
            .collect();
        for _ in 0..ROUNDS {
            for (who, outcomes) in &mut lanes {
                match Server::start(who).and_then(|server| drive(&server, connections)) {
                    Ok(outcome) => outcomes.push(outcome),
                    Err(error) => eprintln!("{who} failed: {error}"),
                }
            }
        }
        for (who, outcomes) in &mut lanes {
            outcomes.sort_by(|a, b| a.cpu_per_million.total_cmp(&b.cpu_per_million));
            let [least, .., most] = outcomes.as_slice() else {
                println!("| {who} | failed | | | | | | |");
                continue;
            };
            let median = &outcomes[outcomes.len() / 2];
            let micros = |quantile| median.latency.value_at_quantile(quantile) as f64 / 1e3;
            println!(
                "| {who} | {:.0} | {:.2} | {:.2} | {:.2} | {:.0} | {:.0} | {:.0} |",
                median.per_second,
                median.cpu_per_million,
                least.cpu_per_million,
                most.cpu_per_million,
                micros(0.5),
                micros(0.99),
                micros(0.999)
            );
        }
    }
}

/// Messages a second, over all connections: far from what the server can do, so that what they
/// take is what keeps it from them.
const RATE: f64 = 4_000.0;

/// Sends at a steady rate, whether or not answers have come; latency counts from when a message was
/// due.
fn drive_steadily(server: &mut Server, connections: usize) -> io::Result<Outcome> {
    let epoll = Epoll::new()?;
    let mut streams = Vec::new();
    for key in 0..connections {
        let stream = TcpStream::connect(server.address)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        epoll.add(stream.as_raw_fd(), key as u64)?;
        streams.push((stream, None::<Instant>, 0));
    }
    // All are connected: the file work may begin.
    server.process.stdin.as_mut().ok_or(io::ErrorKind::BrokenPipe)?.write_all(b"go\n")?;
    let mut latency = Histogram::<u64>::new(3).map_err(io::Error::other)?;
    let (start, spent) = (Instant::now(), cpu::seconds_of(server.process.id())?);
    let (mut sent, mut count, mut buffer) = (0_u64, 0_u64, [0; MESSAGE]);
    while start.elapsed() < 2 * RUN || sent > count && start.elapsed() < 3 * RUN {
        let due = (start.elapsed().min(2 * RUN).as_secs_f64() * RATE) as u64;
        while sent < due {
            let (stream, pending, _) = &mut streams[sent as usize % connections];
            if pending.is_some() {
                // Its last answer is still out; those that are due wait with it.
                break;
            }
            *pending = Some(start + Duration::from_secs_f64(sent as f64 / RATE));
            stream.write_all(&[b'x'; MESSAGE])?;
            sent += 1;
        }
        for key in epoll.wait(Some(Duration::from_millis(1))) {
            let (stream, pending, received) = &mut streams[key as usize];
            match stream.read(&mut buffer) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(length) => *received += length,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                Err(error) => return Err(error),
            }
            if *received == MESSAGE {
                *received = 0;
                let late = pending.take().map_or(Duration::ZERO, |due| due.elapsed());
                latency.record(late.as_nanos() as u64).map_err(io::Error::other)?;
                count += 1;
            }
        }
    }
    let elapsed = start.elapsed().as_secs_f64();
    // Answers that have not come are as late as this at least.
    for due in streams.iter().filter_map(|(_, pending, _)| *pending) {
        latency.record(due.elapsed().as_nanos() as u64).map_err(io::Error::other)?;
    }
    let cpu = cpu::seconds_of(server.process.id())? - spent;
    Ok(Outcome {
        per_second: count as f64 / elapsed,
        cpu_per_million: cpu * 1e6 / latency.len().max(1) as f64,
        latency,
    })
}

/// Thousands of connections, while coroutines of the same server write, sync and read files.
pub(crate) fn beside_files() {
    const CONNECTIONS: usize = 9_900;

    println!("\n{RATE} messages of {MESSAGE} B a second over {CONNECTIONS} connections");
    println!("| server | requests/s | CPU s | p50 ms | p99 ms | p99.9 ms | most ms |");
    println!("|---|---|---|---|---|---|---|");
    for _ in 0..ROUNDS {
        for who in [contestants::NO_FILES, contestants::OUR_FILES, contestants::STD_FILES] {
            let outcome = Server::start(who).and_then(|mut server| {
                let _leftovers = files::beside_scratch(server.process.id());
                let outcome = drive_steadily(&mut server, CONNECTIONS);
                drop(server);
                outcome
            });
            match outcome {
                Ok(outcome) => print_steady(who, &outcome),
                Err(error) => println!("| {who} | failed: {error} | | | | | |"),
            }
        }
    }
}

fn print_steady(who: &str, outcome: &Outcome) {
    let millis = |quantile| outcome.latency.value_at_quantile(quantile) as f64 / 1e6;
    println!(
        "| {who} | {:.0} | {:.1} | {:.2} | {:.1} | {:.1} | {:.1} |",
        outcome.per_second,
        outcome.cpu_per_million * outcome.latency.len() as f64 / 1e6,
        millis(0.5),
        millis(0.99),
        millis(0.999),
        outcome.latency.max() as f64 / 1e6
    );
}
