//! A server in a runtime of its own, and clients.

use crate::server;
use pirn::net::TcpStream as PirnStream;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Long enough for anything that is going to happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(240);

/// Held around a fork, and where a listener is closed that is to be dead then: between its fork and its
/// exec, a child has all that is open.
pub(crate) fn no_forks() -> MutexGuard<'static, ()> {
    static FORKING: Mutex<()> = Mutex::new(());
    FORKING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Without progress for so long, a connection's buffers are taken to be full. If they are not, a
/// test shows less, and no test fails.
const FULL: Duration = Duration::from_millis(300);

/// Serves until it is dropped.
pub(crate) struct Server {
    /// Dropped first: ends all connections.
    pub(crate) runtime: pirn::Runtime,
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
}

impl Server {
    pub(crate) fn start(
        workers: usize,
        serve: impl Fn(&PirnStream) -> io::Result<()> + Clone + Send + 'static,
    ) -> Server {
        Server::start_in(pirn::Builder::new().workers(workers).build().unwrap(), serve)
    }

    pub(crate) fn start_in(
        runtime: pirn::Runtime,
        serve: impl Fn(&PirnStream) -> io::Result<()> + Clone + Send + 'static,
    ) -> Server {
        let (listener, address) = server::listen("127.0.0.1:0").unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let counter = connections.clone();
        let counted = move |stream: &PirnStream| {
            let _counted = Counted::new(&counter);
            serve(stream)
        };
        drop(runtime.spawn(move || server::accept_for_ever(&listener, counted)));
        Server { runtime, address, connections }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// Waits until this many connections are served.
    #[track_caller]
    pub(crate) fn wait_for_connections(&self, count: usize) {
        let end = Instant::now() + PATIENCE;
        while self.connections.load(Ordering::Acquire) != count {
            assert!(Instant::now() < end, "{:?} connections, not {count}", self.connections);
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// A connection that is being served.
struct Counted<'a>(&'a AtomicUsize);

impl Counted<'_> {
    fn new(connections: &AtomicUsize) -> Counted<'_> {
        connections.fetch_add(1, Ordering::AcqRel);
        Counted(connections)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Bytes without a period that a buffer's size could hide.
pub(crate) fn bytes(count: usize) -> Vec<u8> {
    (0..count).map(|at| (at % 251) as u8).collect()
}

/// Sends pieces of `pattern`, over and over, until no more are taken, and gives their number. Reads
/// nothing.
pub(crate) fn fill(mut stream: &TcpStream, pattern: &[u8]) -> usize {
    stream.set_write_timeout(Some(FULL)).unwrap();
    let mut sent = 0;
    loop {
        match stream.write(&pattern[sent % pattern.len()..]) {
            Ok(count) => sent += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => panic!("after {sent} bytes: {error}"),
        }
    }
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    sent
}

/// Everything up to the end.
#[track_caller]
pub(crate) fn read_all(stream: &TcpStream) -> Vec<u8> {
    read_to_end(stream)
}

/// The same, of any stream.
#[track_caller]
pub(crate) fn read_to_end(mut stream: impl Read) -> Vec<u8> {
    let mut all = Vec::new();
    stream.read_to_end(&mut all).unwrap();
    all
}

/// Closes the connection with a reset.
pub(crate) fn reset(stream: TcpStream) {
    socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    drop(stream);
}
