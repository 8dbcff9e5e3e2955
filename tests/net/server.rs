//! A server at every stage of its life.

use crate::support::{PATIENCE, bind, guarded, own_addr, runtime, wait_until};
use pirn::net::{Server, ServerStats, SocketBuilder, TcpListener, TcpStream};
use pirn::sync::Event;
use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::ThreadId;
use std::time::{Duration, Instant};

const SHORT: Duration = Duration::from_millis(20);

/// Runs a test with runtimes of several sizes.
#[track_caller]
fn each(test: impl Fn(&pirn::Runtime)) {
    let name = std::thread::current().name().unwrap_or("test").to_owned();
    for workers in [1, 2, 4] {
        guarded(&format!("{name}: {workers} workers"), || test(&runtime(workers)));
    }
}

/// At an address of its own, so that nobody else listens there afterwards.
fn listen() -> (TcpListener, SocketAddr) {
    bind(own_addr())
}

/// Sends back what it reads.
fn echo(mut stream: TcpStream, _peer: SocketAddr) {
    let mut buf = [0; 64];
    while let Ok(count @ 1..) = stream.read(&mut buf) {
        if stream.write_all(&buf[..count]).is_err() {
            break;
        }
    }
}

#[track_caller]
fn connect(addr: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

#[track_caller]
fn round_trip(mut stream: &TcpStream) {
    stream.write_all(b"x").unwrap();
    stream.read_exact(&mut [0]).unwrap();
}

/// Nobody listens there, at once: a listener is closed when its server says that it has stopped.
#[track_caller]
fn assert_refused(addr: SocketAddr) {
    if cfg!(netpoll_backend = "poll") {
        // The system keeps what somebody is polling until he is called back.
        wait_until(|| TcpStream::connect(addr).is_err());
    }
    assert!(TcpStream::connect(addr).is_err());
}

/// Whether the other end has closed it.
fn is_over(mut stream: &TcpStream) -> bool {
    match stream.read(&mut [0]) {
        Ok(count) => count == 0,
        Err(error) => error.kind() == ErrorKind::ConnectionReset,
    }
}

fn stats(accepted: u64, active: usize, panicked: u64, refused: u64) -> ServerStats {
    let mut stats = ServerStats::default();
    (stats.accepted, stats.active) = (accepted, active);
    (stats.panicked, stats.refused) = (panicked, refused);
    stats
}

#[test]
fn handles_go_anywhere() {
    fn anywhere<T: Send + Sync + Clone + std::fmt::Debug + 'static>() {}
    anywhere::<Server>();
    anywhere::<SocketBuilder>();
}

#[test]
fn it_serves_and_counts() {
    each(|runtime| {
        let (listener, addr) = listen();
        let server = Server::new();
        assert_eq!(server.stats(), ServerStats::default());
        runtime.run(|| server.start(listener, echo)).unwrap();
        let clients: Vec<_> = (0..20).map(|_| connect(addr)).collect();
        clients.iter().for_each(round_trip);
        assert_eq!(server.stats(), stats(20, 20, 0, 0));
        drop(clients);
        wait_until(|| server.stats().active == 0);
        assert!(!server.is_stopping());
        assert_eq!(server.stop(PATIENCE), 0);
        assert!(server.is_stopping());
        assert_eq!(server.stats(), stats(20, 0, 0, 0));
        server.wait().unwrap();
    });
}

/// Nobody can connect any more when `stop` returns, whatever happened before.
#[test]
fn a_stop_with_nothing_to_wait_for() {
    each(|runtime| {
        // Without listeners.
        let server = Server::new();
        assert_eq!(server.stop(PATIENCE), 0);
        assert_eq!(server.stop(Duration::ZERO), 0);
        server.wait().unwrap();
        let late = listen();
        assert!(server.start(late.0, echo).is_err());
        assert_refused(late.1);

        // Before anything has happened, and after one connection.
        for connections in [0, 1] {
            let (listener, addr) = listen();
            let server = Server::new();
            runtime.run(|| server.start(listener, echo)).unwrap();
            (0..connections).for_each(|_| round_trip(&connect(addr)));
            assert_eq!(server.stop(PATIENCE), 0);
            assert_refused(addr);
            assert_eq!(server.stats(), stats(connections, 0, 0, 0));
        }
    });
}

#[test]
fn a_stop_waits_for_connections_and_accepts_no_more() {
    each(|runtime| {
        let (listener, addr) = listen();
        let server = Server::new();
        runtime.run(|| server.start(listener, echo)).unwrap();
        let clients: Vec<_> = (0..10).map(|_| connect(addr)).collect();
        clients.iter().for_each(round_trip);
        // An acceptor that looks for a connection just then would take one more.
        let accepts = |reason: String| reason.starts_with("accept");
        wait_until(|| {
            let dump = runtime.dump();
            dump.coroutines().any(|one| one.waits_for.clone().is_some_and(accepts))
        });
        let stopper = server.clone();
        let stopped = std::thread::spawn(move || stopper.stop(PATIENCE));
        wait_until(|| server.is_stopping());
        wait_until(|| TcpStream::connect(addr).is_err());
        // They are none the worse for it.
        clients.iter().for_each(round_trip);
        assert!(!stopped.is_finished());
        drop(clients);
        assert_eq!(stopped.join().unwrap(), 0);
        assert_eq!(server.stats(), stats(10, 0, 0, 0));
    });
}

#[test]
fn when_the_time_is_up_connections_are_cut() {
    each(|runtime| {
        let (listener, addr) = listen();
        let server = Server::new();
        runtime.run(|| server.start(listener, echo)).unwrap();
        let clients: Vec<_> = (0..10).map(|_| connect(addr)).collect();
        clients.iter().for_each(round_trip);
        let start = Instant::now();
        assert_eq!(server.stop(SHORT), 10);
        assert!(start.elapsed() >= SHORT);
        server.wait().unwrap();
        assert!(clients.iter().all(is_over));
        assert_eq!(server.stats().active, 0);
        assert_eq!(server.stop(SHORT), 0);
    });
}

/// Handlers that read, that write to one who does not read, and that do neither.
#[test]
fn whatever_a_handler_does_it_is_told_of_the_cut() {
    each(|runtime| {
        let (listener, addr) = listen();
        let server = Server::new();
        let release = Arc::new(Event::new());
        let (told, outcomes) = mpsc::channel();
        let (released, told) = (release.clone(), Mutex::new(told));
        let number = AtomicUsize::new(0);
        let handler = move |mut stream: TcpStream, _| {
            let told = told.lock().unwrap().clone();
            let outcome = match number.fetch_add(1, Ordering::Relaxed) {
                0 => stream.read(&mut [0]).unwrap_or(0) == 0,
                1 => stream.write_all(&vec![0; 1 << 26]).is_err(),
                2 => {
                    released.wait();
                    stream.write_all(b"too late").is_err()
                }
                // It has given its stream away, and goes on without it.
                _ => {
                    drop(stream);
                    released.wait();
                    true
                }
            };
            told.send(outcome).unwrap();
        };
        runtime.run(|| server.start(listener, handler)).unwrap();
        let _clients: Vec<_> = (0..4).map(|_| connect(addr)).collect();
        wait_until(|| server.stats().accepted == 4);
        assert_eq!(server.stop(Duration::ZERO), 4);
        release.set();
        server.wait().unwrap();
        assert_eq!(outcomes.try_iter().collect::<Vec<_>>(), [true; 4]);
    });
}

#[test]
fn at_the_bound_it_stops_accepting_and_nobody_is_refused() {
    each(|runtime| {
        let (listener, addr) = listen();
        let most = Arc::new(AtomicUsize::new(0));
        let server = Server::builder().max_connections(3).build();
        let (seen, running) = (most.clone(), AtomicUsize::new(0));
        let handler = move |stream: TcpStream, peer| {
            seen.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            echo(stream, peer);
            running.fetch_sub(1, Ordering::SeqCst);
        };
        runtime.run(|| server.start(listener, handler)).unwrap();
        let clients: Vec<_> = (0..30).map(|_| connect(addr)).collect();
        for client in clients {
            // Connections are accepted in the order in which they were made.
            round_trip(&client);
        }
        wait_until(|| server.stats() == stats(30, 0, 0, 0));
        assert_eq!(most.load(Ordering::SeqCst), 3);

        // Stopped at the bound, with others in the backlog.
        let inside: Vec<_> = (0..3).map(|_| connect(addr)).collect();
        inside.iter().for_each(round_trip);
        let outside: Vec<_> = (0..3).map(|_| connect(addr)).collect();
        assert_eq!(server.stop(Duration::ZERO), 3);
        server.wait().unwrap();
        assert!(inside.iter().chain(&outside).all(is_over));
        assert_eq!(server.stats(), stats(33, 0, 0, 0));
    });
}

#[test]
fn a_panic_ends_its_connection_and_is_counted() {
    each(|runtime| {
        let (listener, addr) = listen();
        let server = Server::builder().max_connections(2).name("panicking").build();
        let handler = |mut stream: TcpStream, peer| {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            // Without a message.
            if byte == *b"!" {
                std::panic::resume_unwind(Box::new("as it was told"));
            }
            if byte == *b"e" {
                pirn::thread::exit();
            }
            echo(stream, peer);
        };
        runtime.run(|| server.start(listener, handler)).unwrap();
        for _ in 0..10 {
            let mut client = connect(addr);
            client.write_all(b"!").unwrap();
            assert!(is_over(&client));
        }
        let mut client = connect(addr);
        client.write_all(b"e").unwrap();
        assert!(is_over(&client));
        let mut client = connect(addr);
        client.write_all(b"ab").unwrap();
        client.read_exact(&mut [0]).unwrap();
        wait_until(|| server.stats() == stats(12, 1, 10, 0));
        drop(client);
        assert_eq!(server.stop(PATIENCE), 0);
    });
}

/// A handler may itself stop the server, and other handles may wait for it.
#[test]
fn a_handler_may_stop_the_server() {
    each(|runtime| {
        let (listener, addr) = listen();
        let server = Server::new();
        let own = server.clone();
        let handler = move |stream: TcpStream, peer| {
            own.stop_accepting();
            assert!(own.is_stopping());
            echo(stream, peer);
        };
        let forever = server.clone();
        let forever = runtime.spawn(move || forever.serve_forever(listener, handler));
        let client = connect(addr);
        round_trip(&client);
        wait_until(|| TcpStream::connect(addr).is_err());
        assert!(!forever.is_finished());
        drop(client);
        forever.join().unwrap().unwrap();
        server.wait().unwrap();
    });
}

#[test]
fn one_server_with_several_listeners() {
    each(|runtime| {
        let server = Server::builder().max_connections(4).build();
        let ((one, first), (other, second)) = (listen(), listen());
        let greet = |greeting: &'static [u8]| {
            move |mut stream: TcpStream, _| stream.write_all(greeting).unwrap()
        };
        runtime.run(|| {
            server.start(one, greet(b"one")).unwrap();
            server.start(other, greet(b"two")).unwrap();
        });
        for (addr, greeting) in [(first, "one"), (second, "two")].repeat(5) {
            let mut said = String::new();
            connect(addr).read_to_string(&mut said).unwrap();
            assert_eq!(said, greeting);
        }
        assert_eq!(server.stop(PATIENCE), 0);
        [first, second].into_iter().for_each(assert_refused);
        assert_eq!(server.stats(), stats(10, 0, 0, 0));
    });
}

/// A listener to which nobody comes keeps no room from the others.
#[test]
fn more_listeners_than_connections() {
    each(|runtime| {
        let server = Server::builder().max_connections(1).build();
        let listeners: Vec<_> = (0..3).map(|_| listen()).collect();
        let addrs: Vec<_> = listeners.iter().map(|(_, addr)| *addr).collect();
        runtime.run(|| {
            for (listener, _) in listeners {
                server.start(listener, echo).unwrap();
            }
        });
        for addr in addrs.iter().flat_map(|addr| [addr; 3]) {
            round_trip(&connect(*addr));
        }
        // At the bound, all that have come get their turns when there is room again.
        let inside = connect(addrs[0]);
        round_trip(&inside);
        let outside: Vec<_> = addrs.iter().map(|addr| connect(*addr)).collect();
        for mut client in &outside {
            client.write_all(b"x").unwrap();
            client.shutdown(Shutdown::Write).unwrap();
        }
        assert_eq!(server.stats(), stats(10, 1, 0, 0));
        drop(inside);
        for mut client in outside {
            let mut said = String::new();
            client.read_to_string(&mut said).unwrap();
            assert_eq!(said, "x");
        }
        wait_until(|| server.stats() == stats(13, 0, 0, 0));
        assert_eq!(server.stop(PATIENCE), 0);
        addrs.into_iter().for_each(assert_refused);
    });
}

/// A server without room does not keep connections from whoever else accepts from its listener.
#[test]
fn two_servers_at_one_listener() {
    each(|runtime| {
        let full = Server::builder().max_connections(1).build();
        let other = Server::new();
        let ((one, first), (shared, second)) = (listen(), listen());
        let clone = shared.try_clone().unwrap();
        runtime.run(|| full.start(shared, echo)).unwrap();
        // This one waits first.
        round_trip(&connect(second));
        wait_until(|| full.stats() == stats(1, 0, 0, 0));
        runtime.run(|| full.start(one, echo)).unwrap();
        runtime.run(|| other.start(clone, echo)).unwrap();
        let inside = connect(first);
        round_trip(&inside);
        for _ in 0..3 {
            round_trip(&connect(second));
        }
        assert_eq!((full.stats().accepted, other.stats().accepted), (2, 3));
        drop(inside);
        assert_eq!((full.stop(PATIENCE), other.stop(PATIENCE)), (0, 0));
        assert_refused(second);
    });
}

/// Each acceptor has a worker, and its connections live there.
#[test]
fn a_group_serves_where_it_accepts() {
    each(|runtime| {
        let workers = runtime.metrics().workers.len();
        let group = SocketBuilder::new().listen_group(own_addr(), workers).unwrap();
        let addr = group[0].local_addr().unwrap();
        let homes = Arc::new(Mutex::new(HashMap::<ThreadId, usize>::new()));
        let server = Server::new();
        let noted = homes.clone();
        let handler = move |stream: TcpStream, peer| {
            *noted.lock().unwrap().entry(std::thread::current().id()).or_default() += 1;
            echo(stream, peer);
        };
        runtime.run(|| server.start_group(group, handler)).unwrap();
        let clients: Vec<_> = (0..64 * workers).map(|_| connect(addr)).collect();
        clients.iter().for_each(round_trip);
        let homes = homes.lock().unwrap();
        assert_eq!(homes.values().sum::<usize>(), clients.len());
        // By chance, but for no connection at all there would have to be a lot of that.
        assert_eq!(homes.len(), workers, "{homes:?}");
        drop(clients);
        assert_eq!(server.stop(PATIENCE), 0);
        assert_refused(addr);
    });
}

/// Stopped again and again in the middle of a burst: nobody is forgotten, and nobody is stuck.
#[test]
fn a_stop_in_the_middle_of_a_burst() {
    each(|runtime| {
        for round in 0..20 {
            let (listener, addr) = listen();
            let bound = if round % 2 == 0 { 1000 } else { 2 };
            let server = Server::builder().max_connections(bound).build();
            runtime.run(|| server.start(listener, echo)).unwrap();
            let burst = std::thread::spawn(move || {
                let mut clients = Vec::new();
                while let Ok(mut client) = TcpStream::connect(addr) {
                    let _sent = client.write_all(b"x");
                    clients.push(client);
                    if clients.len() == 500 {
                        break;
                    }
                }
                clients
            });
            // At the smaller bound there are never more.
            wait_until(|| server.stats().accepted > (round % 5).min(1));
            let grace = Duration::from_micros(100 * (round % 4));
            let cut = server.stop(grace);
            server.wait().unwrap();
            let after = server.stats();
            assert_eq!(after.active, 0);
            assert!(cut as u64 <= after.accepted);
            for mut client in burst.join().unwrap() {
                // An echo or two may be on their way.
                let mut rest = Vec::new();
                let end = client.read_to_end(&mut rest);
                assert!(end.is_ok() || end.unwrap_err().kind() == ErrorKind::ConnectionReset);
            }
            assert_eq!(server.stats(), after);
        }
    });
}

#[test]
fn a_runtime_that_ends_ends_the_server() {
    guarded("a runtime that ends", || {
        for workers in [1, 2] {
            let runtime = runtime(workers);
            let (listener, addr) = listen();
            let server = Server::builder().max_connections(2).build();
            runtime.run(|| server.start(listener, echo)).unwrap();
            let clients: Vec<_> = (0..2).map(|_| connect(addr)).collect();
            clients.iter().for_each(round_trip);
            drop(runtime);
            assert!(server.wait().is_err());
            assert!(clients.iter().all(is_over));
            assert_refused(addr);
            // Cancelled, not panicked.
            assert_eq!(server.stats(), stats(2, 0, 0, 0));
        }
    });
}

/// A listener that somebody else has shut down is none.
#[test]
#[cfg(target_os = "linux")]
fn a_listener_that_is_none_any_more_ends_the_server() {
    each(|runtime| {
        let (listener, _addr) = listen();
        let (sent, errors) = mpsc::channel();
        let sent = Mutex::new(sent);
        let server = Server::builder()
            .on_error(move |error| sent.lock().unwrap().send(error.raw_os_error()).unwrap())
            .build();
        let other = listener.try_clone().unwrap();
        runtime.run(|| server.start(listener, echo)).unwrap();
        socket2::SockRef::from(&other).shutdown(Shutdown::Read).unwrap();
        let error = server.wait().unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EINVAL));
        assert_eq!(errors.try_iter().collect::<Vec<_>>(), [Some(libc::EINVAL)]);
        assert!(server.is_stopping());
        assert_eq!(server.stop(PATIENCE), 0);
    });
}

/// A listener that was told not to wait does, for a server.
#[test]
fn a_nonblocking_listener_is_waited_for() {
    each(|runtime| {
        let (listener, addr) = listen();
        listener.set_nonblocking(true).unwrap();
        let errors = Arc::new(AtomicUsize::new(0));
        let counted = errors.clone();
        let count = move |_: &std::io::Error| {
            counted.fetch_add(1, Ordering::SeqCst);
        };
        let server = Server::builder().on_error(count).build();
        runtime.run(|| server.start(listener, echo)).unwrap();
        round_trip(&connect(addr));
        assert_eq!(server.stop(PATIENCE), 0);
        assert_eq!(errors.load(Ordering::SeqCst), 0);
    });
}

/// No stack that large: each connection is refused, told of, and the hook's panic is its own.
#[test]
fn without_coroutines_connections_are_refused() {
    each(|runtime| {
        let (listener, addr) = listen();
        let (sent, errors) = mpsc::channel();
        let sent = Mutex::new(sent);
        let server = Server::builder()
            .stack_size(1 << 40)
            .on_error(move |error| {
                sent.lock().unwrap().send(error.kind()).unwrap();
                std::panic::resume_unwind(Box::new("of the hook"));
            })
            .build();
        runtime.run(|| server.start(listener, echo)).unwrap();
        let start = Instant::now();
        for _ in 0..3 {
            assert!(is_over(&connect(addr)));
        }
        assert_eq!(errors.recv().unwrap(), ErrorKind::InvalidInput);
        // 5 ms after the first, and 10 after the second.
        assert!(start.elapsed() >= Duration::from_millis(15));
        // A pause does not hold a stop up.
        assert_eq!(server.stop(PATIENCE), 0);
        assert_eq!(server.stats(), stats(3, 0, 0, 3));
    });
}

/// It takes connections of Unix sockets as well, and cuts them off in the end.
#[test]
fn a_unix_listener_is_served() {
    use pirn::os::unix::net::{UnixListener, UnixStream};

    let path = std::env::temp_dir().join(format!("pirn-{}-server", std::process::id()));
    each(|runtime| {
        let path = path.clone();
        runtime.run(move || {
            let listener = UnixListener::bind(&path).unwrap();
            let server = Server::builder().build();
            let serve = |mut stream: UnixStream, _peer| {
                let mut buf = [0; 64];
                while let Ok(count @ 1..) = stream.read(&mut buf) {
                    stream.write_all(&buf[..count]).unwrap();
                }
            };
            server.start(listener, serve).unwrap();
            let mut clients = [(); 3].map(|()| UnixStream::connect(&path).unwrap());
            for client in &mut clients {
                client.write_all(b"x").unwrap();
                client.read_exact(&mut [0]).unwrap();
            }
            assert_eq!(server.stop(SHORT), 3);
            for client in &mut clients {
                assert_eq!(client.read(&mut [0]).unwrap(), 0);
            }
            // Those that were cut off end by themselves.
            wait_until(|| server.stats() == stats(3, 0, 0, 0));
            std::fs::remove_file(path).unwrap();
        });
    });
}
