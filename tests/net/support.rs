//! Every behaviour of a socket is to be the same wherever its users run: as coroutines, as plain
//! threads, and as some of each.

use pirn::net::{TcpListener, TcpStream};
use socket2::{Domain, Socket, Type};
use std::io::ErrorKind;
use std::net::{Ipv6Addr, SocketAddr};
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// Long enough for anything that is going to happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(240);

/// Where the peers of a test run.
#[derive(Clone)]
pub(crate) enum World {
    Threads,
    /// They share the caller's runtime.
    Coroutines,
    Runtime(Arc<pirn::Runtime>),
}

pub(crate) enum Peer<T> {
    Thread(std::thread::JoinHandle<T>),
    Coroutine(pirn::thread::JoinHandle<T>),
}

impl World {
    pub(crate) fn spawn<T: Send + 'static>(
        &self,
        f: impl FnOnce() -> T + Send + 'static,
    ) -> Peer<T> {
        match self {
            World::Threads => Peer::Thread(std::thread::spawn(f)),
            World::Coroutines => Peer::Coroutine(pirn::spawn(f)),
            World::Runtime(runtime) => Peer::Coroutine(runtime.spawn(f)),
        }
    }
}

impl<T: Send + 'static> Peer<T> {
    /// The result; a panic of the peer goes on here.
    pub(crate) fn join(self) -> T {
        let result = match self {
            // Not to hold up the coroutines of this one's home.
            Peer::Thread(thread) => pirn::blocking(move || thread.join()),
            Peer::Coroutine(coroutine) => coroutine.join(),
        };
        result.unwrap_or_else(|payload| resume_unwind(payload))
    }
}

/// Runs a test in every world. The process dies, with the name of the world, if one gets stuck.
#[track_caller]
pub(crate) fn everywhere(test: impl Fn(&World) + Send + Sync) {
    let name = std::thread::current().name().unwrap_or("test").to_owned();
    guarded(&format!("{name}: threads"), || test(&World::Threads));
    for workers in [1, 2, 4] {
        guarded(&format!("{name}: coroutines on {workers} workers"), || {
            runtime(workers).run(|| test(&World::Coroutines));
        });
        guarded(&format!("{name}: a coroutine on {workers} workers, and threads"), || {
            runtime(workers).run(|| test(&World::Threads));
        });
        guarded(&format!("{name}: a thread, and coroutines on {workers} workers"), || {
            test(&World::Runtime(Arc::new(runtime(workers))));
        });
    }
    guarded(&format!("{name}: two runtimes"), || {
        let other = World::Runtime(Arc::new(runtime(2)));
        runtime(2).run(|| test(&other));
        // Not dropped by one of its own.
        drop(other);
    });
}

/// The same, with both families of addresses.
#[track_caller]
pub(crate) fn everywhere_each_ip(test: impl Fn(&World, SocketAddr) + Send + Sync) {
    everywhere(|world| {
        test(world, ([127, 0, 0, 1], 0).into());
        test(world, (std::net::Ipv6Addr::LOCALHOST, 0).into());
    });
}

pub(crate) fn runtime(workers: usize) -> pirn::Runtime {
    pirn::Builder::new().workers(workers).build().unwrap()
}

/// Kills the process if `f` takes too long.
pub(crate) fn guarded<T>(name: &str, f: impl FnOnce() -> T) -> T {
    let (done, is_done) = channel::<()>();
    let stuck = format!("{name}: stuck for {PATIENCE:?}");
    let watchdog = std::thread::spawn(move || {
        if is_done.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
            eprintln!("{stuck}");
            if std::env::var_os("PIRN_TEST_KEEP_STUCK").is_some() {
                std::thread::park();
            }
            std::process::abort();
        }
    });
    let result = f();
    drop(done);
    watchdog.join().unwrap();
    result
}

/// A flag that others set.
#[derive(Clone, Default)]
pub(crate) struct Flag(Arc<AtomicBool>);

impl Flag {
    pub(crate) fn set(&self) {
        self.0.store(true, Ordering::Release);
    }

    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    pub(crate) fn wait(&self) {
        wait_until(|| self.is_set());
    }

    /// Waits until it is set, and then until whoever has set it is most likely blocked. It surely
    /// is on a single worker.
    pub(crate) fn wait_and_settle(&self) {
        self.wait();
        (0..50).for_each(|_| pirn::thread::yield_now());
    }
}

/// Lets others run until something is so.
#[track_caller]
pub(crate) fn wait_until(mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < end, "waited for something that does not happen");
        pirn::thread::yield_now();
    }
}

/// An address of this call's own: nobody else gets a port there once it is free again.
pub(crate) fn own_addr() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(1);
    let [high, low] = NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes();
    let process = 1 + (std::process::id() % 250) as u8;
    ([127, process, high, low], 0).into()
}

/// A listener that is met by the name `localhost`, too. The name stands for both families, so its port
/// of the other one is kept, where nobody listens then.
pub(crate) fn bind_by_name() -> (TcpListener, SocketAddr, Socket) {
    loop {
        let (listener, addr) = bind(([127, 0, 0, 1], 0).into());
        let kept = Socket::new(Domain::IPV6, Type::STREAM, None).unwrap();
        match kept.bind(&SocketAddr::from((Ipv6Addr::LOCALHOST, addr.port())).into()) {
            Ok(()) => return (listener, addr, kept),
            Err(error) => assert_eq!(error.kind(), ErrorKind::AddrInUse),
        }
    }
}

/// Both ends of a connection.
pub(crate) fn pair() -> (TcpStream, TcpStream) {
    pair_at(([127, 0, 0, 1], 0).into())
}

pub(crate) fn pair_at(addr: SocketAddr) -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind(addr).unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (server, peer) = listener.accept().unwrap();
    assert_eq!(peer, client.local_addr().unwrap());
    (client, server)
}

pub(crate) fn bind(addr: SocketAddr) -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind(addr).unwrap();
    let addr = listener.local_addr().unwrap();
    (listener, addr)
}

/// Makes the close of a stream a reset.
pub(crate) fn reset_on_close(stream: &TcpStream) {
    socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO)).unwrap();
}
