//! Servers in processes of their own.

#![expect(unsafe_code, reason = "std has no signal that lets a process end its children")]

use crate::contestants;
use std::io::{self, BufRead, BufReader};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// How long one may take to listen.
const PATIENCE: Duration = Duration::from_secs(10);

/// A server in a child process, `MODE WHO WORKERS`: prints its address, then serves until it is
/// killed.
pub(crate) fn child(mode: &str, arguments: &[String]) -> io::Result<()> {
    let usage = || io::Error::new(io::ErrorKind::InvalidInput, "serve|http WHO WORKERS");
    let [who, workers] = arguments else { return Err(usage()) };
    let workers = workers.parse().map_err(|_not_a_number| usage())?;
    let contestant = contestants::built_in(who).ok_or_else(usage)?;
    let serve = if mode == "http" { contestant.http } else { contestant.serve };
    serve.ok_or_else(usage)?(workers)
}

/// Ends with its handle.
pub(crate) struct Server {
    pub(crate) process: Child,
    pub(crate) address: SocketAddr,
}

impl Server {
    /// Of the echo (`serve`), or of plain text by HTTP (`http`).
    pub(crate) fn start(who: &str, mode: &str, workers: usize) -> io::Result<Server> {
        let mut program = contestants::program(who, mode)?;
        program.arg(workers.to_string());
        let mut process = program.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let stdout = process.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let address = line.trim().parse().map_err(io::Error::other)?;
        let server = Server { process, address };
        server.wait_until_it_listens()?;
        Ok(server)
    }

    /// Some only know their port before they have it.
    fn wait_until_it_listens(&self) -> io::Result<()> {
        let end = Instant::now() + PATIENCE;
        loop {
            match TcpStream::connect(self.address) {
                Err(error)
                    if error.kind() == io::ErrorKind::ConnectionRefused && Instant::now() < end =>
                {
                    thread::sleep(Duration::from_millis(10));
                }
                result => return result.map(drop),
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // SAFETY: no pointers; the process is a child that nobody has waited for.
        let _gone = unsafe { libc::kill(self.process.id() as i32, libc::SIGTERM) };
        let _reaped = self.process.wait();
    }
}

/// A port that is free now, for servers that cannot say which one they took.
pub(crate) fn free_port() -> io::Result<SocketAddr> {
    std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()
}
