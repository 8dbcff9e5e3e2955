//! Echo of 64 bytes over loopback: servers, each in a process of its own, driven by the same client.
//! The floor is a bare epoll loop per core.

use crate::contestants;
use crate::cpu;
use crate::epoll::Epoll;
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
        let mut process = contestants::program(who, "serve")?.stdout(Stdio::piped()).spawn()?;
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
