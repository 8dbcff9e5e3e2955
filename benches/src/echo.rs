//! Echo of 64 bytes over loopback: a pirn server against a bare epoll loop per core, each in a
//! process of its own, driven by the same client.

#![expect(unsafe_code, reason = "the bare loop and the client are written against epoll itself")]

use hdrhistogram::Histogram;
use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const MESSAGE: usize = 64;
const RUN: Duration = Duration::from_secs(3);
const ROUNDS: usize = 3;

/// A server in a child process: prints its address, then serves until it is killed.
pub(crate) fn child(arguments: &[String]) {
    let kind = arguments.first().map(String::as_str);
    let served = match kind {
        Some("pirn") => serve_pirn(),
        Some("epoll") => serve_epoll(),
        _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "child pirn or child epoll")),
    };
    if let Err(error) = served {
        eprintln!("{error}");
    }
}

fn serve_pirn() -> io::Result<()> {
    let runtime = pirn::Builder::new().stack_size(64 * 1024).build()?;
    runtime.run(|| {
        let listener = pirn::net::TcpListener::bind("127.0.0.1:0")?;
        println!("{}", listener.local_addr()?);
        loop {
            let (mut stream, _) = listener.accept()?;
            pirn::spawn(move || {
                let mut buffer = [0; 4096];
                while let Ok(length @ 1..) = stream.read(&mut buffer) {
                    if stream.write_all(&buffer[..length]).is_err() {
                        break;
                    }
                }
            });
        }
    })
}

/// One edge-triggered loop per core; connections are dealt out in turn.
fn serve_epoll() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("{}", listener.local_addr()?);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let loops = (0..cores).map(|_| Epoll::new()).collect::<io::Result<Vec<_>>>()?;
    std::thread::scope(|scope| {
        for epoll in &loops {
            scope.spawn(move || {
                let mut buffer = [0; 4096];
                loop {
                    for event in epoll.wait(None) {
                        let fd = event as i32;
                        // SAFETY: the descriptor stays open until this loop closes it.
                        let length =
                            unsafe { libc::recv(fd, buffer.as_mut_ptr().cast(), buffer.len(), 0) };
                        if length > 0 {
                            // SAFETY: as above; the bytes were just received.
                            unsafe {
                                libc::send(
                                    fd,
                                    buffer.as_ptr().cast(),
                                    length as usize,
                                    libc::MSG_NOSIGNAL,
                                )
                            };
                        } else if length == 0
                            || io::Error::last_os_error().kind() != io::ErrorKind::WouldBlock
                        {
                            // SAFETY: nobody else uses it.
                            drop(unsafe { OwnedFd::from_raw_fd(fd) });
                        }
                    }
                }
            });
        }
        for (turn, stream) in listener.incoming().enumerate() {
            let stream = stream?;
            stream.set_nonblocking(true)?;
            let fd = std::os::fd::IntoRawFd::into_raw_fd(stream);
            loops[turn % cores].add(fd, fd as u64)?;
        }
        Ok(())
    })
}

struct Epoll(OwnedFd);

impl Epoll {
    fn new() -> io::Result<Epoll> {
        // SAFETY: no pointers; the descriptor is new.
        let fd = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: as above.
        Ok(Epoll(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    fn add(&self, fd: i32, key: u64) -> io::Result<()> {
        let events = (libc::EPOLLIN | libc::EPOLLRDHUP | libc::EPOLLET) as u32;
        let mut event = libc::epoll_event { events, u64: key };
        // SAFETY: the event is alive.
        match unsafe {
            libc::epoll_ctl(self.0.as_raw_fd(), libc::EPOLL_CTL_ADD, fd, &raw mut event)
        } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    fn wait(&self, timeout: Option<Duration>) -> impl Iterator<Item = u64> {
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; 256];
        let millis = timeout.map_or(-1, |timeout| timeout.as_millis() as i32);
        // SAFETY: the array is alive, and its length is what the call is told.
        let count =
            unsafe { libc::epoll_wait(self.0.as_raw_fd(), events.as_mut_ptr(), 256, millis) };
        events.into_iter().take(count.max(0) as usize).map(|event| event.u64)
    }
}

struct Server {
    process: Child,
    address: SocketAddr,
}

impl Server {
    fn start(kind: &str) -> io::Result<Server> {
        let mut process = Command::new(std::env::current_exe()?)
            .args(["child", kind])
            .stdout(Stdio::piped())
            .spawn()?;
        let stdout = process.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let address = line.trim().parse().map_err(io::Error::other)?;
        Ok(Server { process, address })
    }

    /// User and system time so far, in seconds.
    fn cpu(&self) -> io::Result<f64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.process.id()))?;
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
        let ticks: f64 = fields[11..13].iter().filter_map(|field| field.parse::<f64>().ok()).sum();
        // SAFETY: no pointers.
        Ok(ticks / unsafe { libc::sysconf(libc::_SC_CLK_TCK) } as f64)
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
    let (start, cpu) = (Instant::now(), server.cpu()?);
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
    let cpu = server.cpu()? - cpu;
    Ok(Outcome {
        per_second: count as f64 / elapsed,
        cpu_per_million: cpu * 1e6 / count as f64,
        latency,
    })
}

/// All rows of the echo table.
pub(crate) fn echo() {
    for connections in [1, 64, 1_000, 5_000] {
        println!("\necho of {MESSAGE} B, {connections} connections, {ROUNDS} rounds in turn");
        println!(
            "| server | requests/s | CPU s per million | p50 us | p99 us | p99.9 us |\n|---|---|---|---|---|---|"
        );
        let mut outcomes: HashMap<&str, Vec<Outcome>> = HashMap::new();
        for _ in 0..ROUNDS {
            for kind in ["epoll", "pirn"] {
                match Server::start(kind).and_then(|server| drive(&server, connections)) {
                    Ok(outcome) => outcomes.entry(kind).or_default().push(outcome),
                    Err(error) => println!("| {kind} | failed: {error} |"),
                }
            }
        }
        for kind in ["epoll", "pirn"] {
            let Some(outcomes) = outcomes.get_mut(kind) else { continue };
            outcomes.sort_by(|a, b| a.cpu_per_million.total_cmp(&b.cpu_per_million));
            let median = &outcomes[outcomes.len() / 2];
            let micros = |quantile| median.latency.value_at_quantile(quantile) as f64 / 1e3;
            println!(
                "| {kind} | {:.0} | {:.2} | {:.0} | {:.0} | {:.0} |",
                median.per_second,
                median.cpu_per_million,
                micros(0.5),
                micros(0.99),
                micros(0.999)
            );
        }
    }
}
