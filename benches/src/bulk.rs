//! Bulk data through a proxy: proxies, each in a process of its own, between the same sender and
//! receiver. The floor is two threads for each connection, each in a bare loop of splices.
//!
//! The sender sends the same buffer again and again, and the receiver has the kernel throw away what
//! has come, so that most of the processor time is the proxy's and the kernel's.

#![expect(unsafe_code, reason = "splice and recv with MSG_TRUNC")]

use crate::cpu;
use crate::table::Table;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::process::{Child, Command, Stdio};
use std::ptr;
use std::thread;
use std::time::{Duration, Instant};

const RUN: Duration = Duration::from_secs(2);
const ROUNDS: usize = 5;
const PIPE: usize = 1 << 16;

/// In this order: what the others are measured by comes first.
const PROXIES: [&str; 4] = ["splice, 2 threads", "std::io::copy, 2 threads", "socat", "pirn"];

/// A proxy in a child process: prints its address, then serves until it is killed.
pub(crate) fn child(arguments: &[String]) -> io::Result<()> {
    let usage = || io::Error::new(io::ErrorKind::InvalidInput, "proxy WHO ADDRESS");
    let [who, server] = arguments else { return Err(usage()) };
    let server: SocketAddr = server.parse().map_err(|_not_an_address| usage())?;
    match who.as_str() {
        "splice, 2 threads" => by_threads(server, splice_all),
        "std::io::copy, 2 threads" => by_threads(server, |mut from, mut to| {
            io::copy(&mut from, &mut to)?;
            to.shutdown(Shutdown::Write)
        }),
        "pirn" => by_pirn(server),
        _ => Err(usage()),
    }
}

fn say(address: SocketAddr) -> io::Result<()> {
    println!("{address}");
    io::stdout().flush()
}

fn by_threads(
    server: SocketAddr,
    one_way: fn(&TcpStream, &TcpStream) -> io::Result<()>,
) -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    say(listener.local_addr()?)?;
    for client in listener.incoming() {
        let client = client?;
        thread::spawn(move || {
            let server = TcpStream::connect(server)?;
            thread::scope(|scope| {
                let back = scope.spawn(|| one_way(&server, &client));
                one_way(&client, &server)?;
                back.join().expect("it does not panic")
            })
        });
    }
    Ok(())
}

fn splice(from: BorrowedFd<'_>, to: BorrowedFd<'_>, len: usize) -> io::Result<usize> {
    let (from, to) = (from.as_raw_fd(), to.as_raw_fd());
    // SAFETY: the descriptors are open, and there are no offsets.
    let moved = unsafe {
        libc::splice(from, ptr::null_mut(), to, ptr::null_mut(), len, libc::SPLICE_F_MOVE)
    };
    usize::try_from(moved).map_err(|_negative| io::Error::last_os_error())
}

fn splice_all(from: &TcpStream, to: &TcpStream) -> io::Result<()> {
    let (reader, writer) = io::pipe()?;
    loop {
        let mut left = splice(from.as_fd(), writer.as_fd(), PIPE)?;
        if left == 0 {
            return to.shutdown(Shutdown::Write);
        }
        while left > 0 {
            left -= splice(reader.as_fd(), to.as_fd(), left)?;
        }
    }
}

fn by_pirn(server: SocketAddr) -> io::Result<()> {
    let runtime = pirn::Builder::new().build()?;
    runtime.run(|| {
        let listener = pirn::net::TcpListener::bind("127.0.0.1:0")?;
        say(listener.local_addr()?)?;
        loop {
            let (client, _) = listener.accept()?;
            pirn::spawn(move || {
                let server = pirn::net::TcpStream::connect(server)?;
                pirn::io::copy_bidirectional(&client, &server)
            });
        }
    })
}

struct Proxy {
    process: Child,
    address: SocketAddr,
}

impl Proxy {
    /// `None`: it is not installed.
    fn start(who: &str, server: SocketAddr) -> io::Result<Option<Proxy>> {
        if who == "socat" {
            return Proxy::socat(server);
        }
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["proxy", who, &server.to_string()]).stdout(Stdio::piped());
        let mut process = command.spawn()?;
        let stdout = process.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let address = line.trim().parse().map_err(io::Error::other)?;
        Ok(Some(Proxy { process, address }))
    }

    /// It serves one connection, and cannot say on which port it listens.
    fn socat(server: SocketAddr) -> io::Result<Option<Proxy>> {
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let listen = format!("TCP-LISTEN:{},bind=127.0.0.1,reuseaddr", address.port());
        // As much at a time as the others.
        let size = PIPE.to_string();
        let mut command = Command::new("socat");
        command.args(["-b", &size, &listen, &format!("TCP:{server}")]);
        match command.spawn() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            spawned => Ok(Some(Proxy { process: spawned?, address })),
        }
    }

    fn connect(&self) -> io::Result<TcpStream> {
        let end = Instant::now() + Duration::from_secs(5);
        loop {
            match TcpStream::connect(self.address) {
                Err(error)
                    if error.kind() == io::ErrorKind::ConnectionRefused && Instant::now() < end =>
                {
                    thread::sleep(Duration::from_millis(10));
                }
                result => return result,
            }
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _gone = self.process.kill();
        let _reaped = self.process.wait();
    }
}

struct Outcome {
    gigabytes_per_second: f64,
    cpu_per_gigabyte: f64,
}

/// Takes what has come without looking at it.
fn discard(stream: &TcpStream) -> io::Result<usize> {
    // SAFETY: with `MSG_TRUNC` a TCP socket drops the bytes, and writes nothing.
    let count =
        unsafe { libc::recv(stream.as_raw_fd(), ptr::null_mut(), 1 << 20, libc::MSG_TRUNC) };
    usize::try_from(count).map_err(|_negative| io::Error::last_os_error())
}

fn drive(who: &str) -> io::Result<Option<Outcome>> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let Some(proxy) = Proxy::start(who, listener.local_addr()?)? else { return Ok(None) };
    let mut client = proxy.connect()?;
    let (server, _) = listener.accept()?;
    let (start, cpu) = (Instant::now(), cpu::seconds_of(proxy.process.id())?);
    let sending = thread::spawn(move || {
        let buffer = vec![b'x'; 1 << 18];
        while start.elapsed() < RUN {
            client.write_all(&buffer)?;
        }
        client.shutdown(Shutdown::Write)?;
        io::Result::Ok(client)
    });
    let mut received = 0;
    loop {
        match discard(&server)? {
            0 => break,
            count => received += count,
        }
    }
    let elapsed = start.elapsed().as_secs_f64();
    let cpu = cpu::seconds_of(proxy.process.id())? - cpu;
    drop(sending.join().expect("it does not panic")?);
    let gigabytes = received as f64 / 1e9;
    Ok(Some(Outcome {
        gigabytes_per_second: gigabytes / elapsed,
        cpu_per_gigabyte: cpu / gigabytes,
    }))
}

/// The table of the proxies.
pub(crate) fn bulk() {
    let mut lanes: Vec<_> = PROXIES.into_iter().map(|who| (who, Vec::new())).collect();
    for _ in 0..ROUNDS {
        for (who, outcomes) in &mut lanes {
            match drive(who) {
                Ok(outcome) => outcomes.extend(outcome),
                Err(error) => eprintln!("{who} failed: {error}"),
            }
        }
    }
    let what = "bulk data through a TCP proxy, one connection";
    let mut table = Table::new(what, &["GB/s", "CPU s per GB"]);
    for (who, outcomes) in lanes {
        let figures = |one: &Outcome| vec![one.gigabytes_per_second, one.cpu_per_gigabyte];
        table.line(who, outcomes.iter().map(figures).collect());
    }
    table.finish();
}
