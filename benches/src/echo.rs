//! Echo of 64 bytes over loopback: servers, each in a process of its own, driven by the same client.
//! The floor is a bare epoll loop per core.

use crate::contestants;
use crate::cpu;
use crate::epoll::Epoll;
use crate::files;
use crate::race::Entry;
use crate::server::Server;
use crate::table::Table;
use hdrhistogram::Histogram;
use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

const MESSAGE: usize = 64;
const RUN: Duration = Duration::from_secs(3);
const ROUNDS: usize = 3;

pub(crate) struct Outcome {
    pub(crate) per_second: f64,
    pub(crate) cpu_per_million: f64,
    latency: Histogram<u64>,
}

impl Outcome {
    /// As the table has them.
    fn figures(&self) -> Vec<f64> {
        let micros = |quantile| self.latency.value_at_quantile(quantile) as f64 / 1e3;
        vec![self.cpu_per_million, self.per_second, micros(0.5), micros(0.99), micros(0.999)]
    }

    fn steady_figures(&self) -> Vec<f64> {
        let millis = |quantile| self.latency.value_at_quantile(quantile) as f64 / 1e6;
        let cpu = self.cpu_per_million * self.latency.len() as f64 / 1e6;
        let most = self.latency.max() as f64 / 1e6;
        vec![millis(0.99), cpu, self.per_second, millis(0.5), millis(0.999), most]
    }
}

/// Keeps one message in flight on each connection. What the first on each takes is not counted: there is
/// a stack for it to be had, and a registration.
pub(crate) fn drive(server: &Server, connections: usize) -> io::Result<Outcome> {
    drive_noting(server, connections, |_, _| ())
}

/// Tells of each answer when it came, counted from when answers count, and how long it took.
fn drive_noting(
    server: &Server,
    connections: usize,
    mut note: impl FnMut(Duration, Duration),
) -> io::Result<Outcome> {
    let epoll = Epoll::new()?;
    let mut streams = HashMap::new();
    let message = [b'x'; MESSAGE];
    for _ in 0..connections {
        let stream = TcpStream::connect(server.address)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let key = stream.as_raw_fd() as u64;
        epoll.add(stream.as_raw_fd(), key)?;
        streams.insert(key, (stream, Instant::now(), 0, false));
    }
    let mut latency = Histogram::<u64>::new(3).map_err(io::Error::other)?;
    let (mut start, mut cpu) = (Instant::now(), 0.0);
    for (stream, sent, ..) in streams.values_mut() {
        *sent = Instant::now();
        stream.write_all(&message)?;
    }
    let mut buffer = [0; MESSAGE];
    let mut answered = 0;
    let mut count = 0_u64;
    // With many connections on a busy machine, some of each at least.
    while answered < connections || start.elapsed() < RUN || count < 3 * connections as u64 {
        for key in epoll.wait(Some(Duration::from_millis(100))) {
            let Some((stream, sent, received, known)) = streams.get_mut(&key) else { continue };
            match stream.read(&mut buffer) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(length) => *received += length,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                Err(error) => return Err(error),
            }
            if *received < MESSAGE {
                continue;
            }
            let now = Instant::now();
            if answered == connections {
                latency.record((now - *sent).as_nanos() as u64).map_err(io::Error::other)?;
                note(now - start, now - *sent);
                count += 1;
            } else if !std::mem::replace(known, true) {
                answered += 1;
                if answered == connections {
                    (start, cpu) = (now, cpu::seconds_of(server.process.id())?);
                }
            }
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
const SERVERS: [Entry; 7] = [
    ("floor", "floor", 2),
    ("may", "may", 2),
    ("tokio", "tokio", 2),
    ("Go", "go", 2),
    ("gevent", "gevent", 1),
    ("pirn", "pirn", 2),
    ("pirn, migrating", "pirn, migrating", 2),
];

/// Beside the others where that is cheap.
const ON_ONE: [Entry; 4] = [
    ("floor, 1 core", "floor", 1),
    ("tokio, 1 worker", "tokio", 1),
    ("Go, 1 processor", "go", 1),
    ("pirn, 1 worker", "pirn", 1),
];

/// All rows of the echo table.
pub(crate) fn echo() {
    for connections in [1, 64, 1_000, 5_000, 10_000] {
        let on_one = if connections == 64 { ON_ONE.as_slice() } else { &[] };
        let mut lanes: Vec<_> = SERVERS
            .iter()
            .chain(on_one)
            .filter(|(_, who, _)| contestants::is_built(who))
            .map(|entry| (entry, Vec::new()))
            .collect();
        for _ in 0..ROUNDS {
            for ((_, who, workers), rounds) in &mut lanes {
                let server = Server::start(who, "serve", *workers);
                match server.and_then(|server| drive(&server, connections)) {
                    Ok(outcome) => rounds.push(outcome.figures()),
                    Err(error) => eprintln!("{who} failed: {error}"),
                }
            }
        }
        let mut table = Table::new(
            &format!("echo of {MESSAGE} B, {connections} connections"),
            &["CPU s per million", "requests a second", "p50 us", "p99 us", "p99.9 us"],
        );
        for ((name, ..), rounds) in lanes {
            table.line(name, rounds);
        }
        table.finish();
    }
}

/// What is so much together is a window.
const WINDOW: Duration = Duration::from_millis(50);

/// How unevenly requests fare: of those that are answered in the same window, and windows among
/// themselves.
#[derive(Default)]
struct Windows {
    done: Vec<(f64, u64)>,
    open: Vec<Duration>,
    number: u128,
}

impl Windows {
    fn note(&mut self, at: Duration, took: Duration) {
        let number = at.as_nanos() / WINDOW.as_nanos();
        if number != self.number {
            self.close();
            self.number = number;
        }
        self.open.push(took);
    }

    fn close(&mut self) {
        self.open.sort_unstable();
        if let Some(most) = self.open.get(self.open.len() * 99 / 100) {
            let mean = self.open.iter().sum::<Duration>().as_secs_f64() / self.open.len() as f64;
            self.done.push((most.as_secs_f64() / mean, self.open.len() as u64));
        }
        self.open.clear();
    }

    /// A window's p99 by its mean, the median of them; and requests a second in slow, middling and fast
    /// ones.
    fn figures(mut self) -> Vec<f64> {
        // What the last one has is not all of it.
        let number = |share: f64| ((self.done.len().max(1) - 1) as f64 * share) as usize;
        let places = [number(0.05), number(0.5), number(0.95)];
        self.done.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
        let within = self.done.get(places[1]).map_or(f64::NAN, |window| window.0);
        self.done.sort_unstable_by_key(|window| window.1);
        let rate = |place: usize| self.done.get(place).map_or(f64::NAN, |window| window.1 as f64);
        let rates = places.map(|place| rate(place) / WINDOW.as_secs_f64());
        [within].into_iter().chain(rates).collect()
    }
}

/// Why some of ten thousand requests take longer than others: because others are served before them, or because
/// all take longer at times.
pub(crate) fn evenness() {
    const CONNECTIONS: usize = 10_000;

    let entries = ["floor", "go", "pirn"].into_iter().filter(|who| contestants::is_built(who));
    let mut lanes: Vec<_> = entries.map(|who| (who, Vec::new())).collect();
    for _ in 0..2 * ROUNDS + 1 {
        for (who, rounds) in &mut lanes {
            let mut windows = Windows::default();
            let outcome = Server::start(who, "serve", 2).and_then(|server| {
                drive_noting(&server, CONNECTIONS, |at, took| windows.note(at, took))
            });
            match outcome {
                Ok(outcome) => {
                    let (mean, p99) =
                        (outcome.latency.mean(), outcome.latency.value_at_quantile(0.99));
                    let all = [mean / 1e6, p99 as f64 / 1e6, p99 as f64 / mean];
                    rounds.push(all.into_iter().chain(windows.figures()).collect());
                }
                Err(error) => eprintln!("{who} failed: {error}"),
            }
        }
    }
    let columns = [
        "mean ms",
        "p99 ms",
        "p99 by mean",
        "the same in a window of 50 ms",
        "requests a second, slow windows (p5)",
        "middling",
        "fast (p95)",
    ];
    let mut table = Table::new(&format!("evenness, {CONNECTIONS} connections"), &columns);
    for (who, rounds) in lanes {
        table.line(who, rounds);
    }
    table.finish();
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

    let servers = [contestants::NO_FILES, contestants::OUR_FILES, contestants::STD_FILES];
    let mut lanes = servers.map(|who| (who, Vec::new()));
    for _ in 0..ROUNDS {
        for (who, rounds) in &mut lanes {
            let outcome = Server::start(who, "serve", 2).and_then(|mut server| {
                let _leftovers = files::beside_scratch(server.process.id());
                let outcome = drive_steadily(&mut server, CONNECTIONS);
                drop(server);
                outcome
            });
            match outcome {
                Ok(outcome) => rounds.push(outcome.steady_figures()),
                Err(error) => eprintln!("{who} failed: {error}"),
            }
        }
    }
    let mut table = Table::new(
        &format!("{RATE} messages of {MESSAGE} B a second over {CONNECTIONS} connections"),
        &["p99 ms", "CPU s", "requests a second", "p50 ms", "p99.9 ms", "most ms"],
    );
    for (who, rounds) in lanes {
        table.line(who, rounds);
    }
    table.finish();
}
