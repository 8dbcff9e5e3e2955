//! Many who wait for one socket, and what wakes them.

use crate::support::{Flag, Peer, World, bind, everywhere, guarded, pair, runtime, wait_until};
use pirn::net::{Shutdown, TcpStream};
use std::io::{ErrorKind, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

#[test]
fn shutdown_wakes_a_reader() {
    everywhere(|world| {
        for how in [Shutdown::Read, Shutdown::Both] {
            let (client, _server) = pair();
            let mut clone = client.try_clone().unwrap();
            let reading = Flag::default();
            let reads = reading.clone();
            let reader = world.spawn(move || {
                reads.set();
                clone.read(&mut [0]).unwrap()
            });
            reading.wait_and_settle();
            client.shutdown(how).unwrap();
            assert_eq!(reader.join(), 0);
        }
    });
}

#[test]
fn shutdown_wakes_every_reader() {
    everywhere(|world| {
        let (client, _server) = pair();
        let client = Arc::new(client);
        let reading = Arc::new(AtomicUsize::new(0));
        let readers: Vec<_> = (0..10)
            .map(|_| {
                let (client, reading) = (client.clone(), reading.clone());
                world.spawn(move || {
                    reading.fetch_add(1, Ordering::Release);
                    (&*client).read(&mut [0]).unwrap()
                })
            })
            .collect();
        wait_until(|| reading.load(Ordering::Acquire) == 10);
        (0..50).for_each(|_| pirn::thread::yield_now());
        client.shutdown(Shutdown::Read).unwrap();
        assert!(readers.into_iter().all(|reader| reader.join() == 0));
    });
}

#[test]
fn shutdown_wakes_a_writer() {
    everywhere(|world| {
        let (client, _server) = pair();
        let mut clone = client.try_clone().unwrap();
        let sent = Arc::new(AtomicUsize::new(0));
        let count = sent.clone();
        let writer = world.spawn(move || {
            loop {
                match clone.write(&[0; 1 << 16]) {
                    Ok(written) => count.fetch_add(written, Ordering::Release),
                    Err(error) => break error.kind(),
                };
            }
        });
        // It stops when nobody reads.
        let mut last = usize::MAX;
        let mut same = 0;
        wait_until(|| {
            let now = sent.load(Ordering::Acquire);
            same = if now == last && now > 0 { same + 1 } else { 0 };
            last = now;
            same == 100
        });
        client.shutdown(Shutdown::Write).unwrap();
        assert_eq!(writer.join(), ErrorKind::BrokenPipe);
    });
}

#[test]
fn shutdown_wakes_an_acceptor() {
    everywhere(|world| {
        let (listener, _addr) = bind(([127, 0, 0, 1], 0).into());
        let clone = listener.try_clone().unwrap();
        let accepting = Flag::default();
        let accepts = accepting.clone();
        let acceptor = world.spawn(move || {
            accepts.set();
            clone.accept().unwrap_err().kind()
        });
        accepting.wait_and_settle();
        socket2::SockRef::from(&listener).shutdown(Shutdown::Both).unwrap();
        // What Linux says of a socket that does not listen any more.
        assert_eq!(acceptor.join(), ErrorKind::InvalidInput);
    });
}

#[test]
fn ten_acceptors_get_ten_connections() {
    everywhere(|world| {
        let (listener, addr) = bind(([127, 0, 0, 1], 0).into());
        let listener = Arc::new(listener);
        let accepting = Arc::new(AtomicUsize::new(0));
        let acceptors: Vec<_> = (0..10)
            .map(|_| {
                let (listener, accepting) = (listener.clone(), accepting.clone());
                world.spawn(move || {
                    accepting.fetch_add(1, Ordering::Release);
                    listener.accept().unwrap().1
                })
            })
            .collect();
        wait_until(|| accepting.load(Ordering::Acquire) == 10);
        (0..50).for_each(|_| pirn::thread::yield_now());
        let clients: Vec<_> = (0..10).map(|_| TcpStream::connect(addr).unwrap()).collect();
        let mut expected: Vec<_> =
            clients.iter().map(|client| client.local_addr().unwrap()).collect();
        let mut accepted: Vec<_> = acceptors.into_iter().map(Peer::join).collect();
        expected.sort_unstable();
        accepted.sort_unstable();
        assert_eq!(accepted, expected);
    });
}

/// One edge each: the next connection comes only after the one before has been accepted.
#[test]
fn ten_acceptors_get_a_connection_at_a_time() {
    everywhere(|world| {
        let (listener, addr) = bind(([127, 0, 0, 1], 0).into());
        let listener = Arc::new(listener);
        let accepted = Arc::new(AtomicUsize::new(0));
        let acceptors: Vec<_> = (0..10)
            .map(|_| {
                let (listener, accepted) = (listener.clone(), accepted.clone());
                world.spawn(move || {
                    let stream = listener.accept().unwrap().0;
                    accepted.fetch_add(1, Ordering::Release);
                    stream
                })
            })
            .collect();
        for number in 1..=10 {
            let client = TcpStream::connect(addr).unwrap();
            wait_until(|| accepted.load(Ordering::Acquire) == number);
            drop(client);
        }
        acceptors.into_iter().for_each(|acceptor| _ = acceptor.join());
    });
}

/// Ten connections are there before the only worker can look: one event, of which one waiter
/// learns, and who is served wakes the next.
#[test]
fn one_edge_serves_ten_acceptors() {
    guarded("one_edge_serves_ten_acceptors", || {
        let (listener, addr) = bind(([127, 0, 0, 1], 0).into());
        let listener = Arc::new(listener);
        let mut accepted = runtime(1).run(|| {
            let acceptors: Vec<_> = (0..10)
                .map(|_| {
                    let listener = listener.clone();
                    pirn::spawn(move || listener.accept().unwrap().1)
                })
                .collect();
            // On a single worker, each of them has met an empty queue and waits.
            (0..50).for_each(|_| pirn::thread::yield_now());
            assert!(acceptors.iter().all(|acceptor| !acceptor.is_finished()));
            // This blocks the worker, on purpose.
            let clients = std::thread::spawn(move || {
                (0..10).map(|_| std::net::TcpStream::connect(addr).unwrap()).collect::<Vec<_>>()
            });
            let clients = clients.join().unwrap();
            let accepted = acceptors.into_iter().map(|acceptor| acceptor.join().unwrap());
            let accepted: Vec<_> = accepted.collect();
            drop(clients);
            accepted
        });
        accepted.sort_unstable();
        accepted.dedup();
        assert_eq!(accepted.len(), 10);
    });
}

/// Ten bytes in one write make one edge: who is served wakes the next.
#[test]
fn one_edge_serves_ten_readers() {
    everywhere(|world| {
        let (mut client, server) = pair();
        let server = Arc::new(server);
        let reading = Arc::new(AtomicUsize::new(0));
        let readers: Vec<_> = (0..10)
            .map(|_| {
                let (server, reading) = (server.clone(), reading.clone());
                world.spawn(move || {
                    reading.fetch_add(1, Ordering::Release);
                    let mut buf = [0];
                    assert_eq!((&*server).read(&mut buf).unwrap(), 1);
                    usize::from(buf[0])
                })
            })
            .collect();
        wait_until(|| reading.load(Ordering::Acquire) == 10);
        (0..50).for_each(|_| pirn::thread::yield_now());
        client.write_all(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]).unwrap();
        let sum: usize = readers.into_iter().map(Peer::join).sum();
        assert_eq!(sum, 45);
    });
}

#[test]
fn a_byte_for_each_of_ten_readers() {
    everywhere(|world| {
        let (mut client, server) = pair();
        let server = Arc::new(server);
        let served = Arc::new(AtomicUsize::new(0));
        let readers: Vec<_> = (0..10)
            .map(|_| {
                let (server, served) = (server.clone(), served.clone());
                world.spawn(move || {
                    // More room than there is: each read leaves the socket known to be empty.
                    let count = (&*server).read(&mut [0; 16]).unwrap();
                    served.fetch_add(count, Ordering::Release);
                })
            })
            .collect();
        for number in 1..=10 {
            client.write_all(&[0]).unwrap();
            wait_until(|| served.load(Ordering::Acquire) == number);
        }
        readers.into_iter().for_each(Peer::join);
    });
}

/// A reader that gives up must not take an edge with it that another one needs.
#[test]
fn readers_that_time_out_do_not_lose_bytes() {
    everywhere(|world| {
        let (mut client, server) = pair();
        let server = Arc::new(server);
        server.set_read_timeout(Some(std::time::Duration::from_micros(300))).unwrap();
        let total = Arc::new(AtomicUsize::new(0));
        let readers: Vec<_> = (0..4)
            .map(|_| {
                let (server, total) = (server.clone(), total.clone());
                world.spawn(move || {
                    loop {
                        match (&*server).read(&mut [0; 8]) {
                            Ok(0) => break,
                            Ok(count) => {
                                total.fetch_add(count, Ordering::Relaxed);
                            }
                            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
                        }
                    }
                })
            })
            .collect();
        for _ in 0..100 {
            client.write_all(&[0; 5]).unwrap();
            (0..5).for_each(|_| pirn::thread::yield_now());
        }
        drop(client);
        readers.into_iter().for_each(Peer::join);
        assert_eq!(total.load(Ordering::Relaxed), 500);
    });
}

#[test]
fn a_reader_does_not_hold_up_a_writer() {
    everywhere(|world| {
        let (client, mut server) = pair();
        let client = Arc::new(client);
        let (reading, reads) = (Flag::default(), client.clone());
        let flag = reading.clone();
        let reader = world.spawn(move || {
            flag.set();
            let mut buf = [0];
            (&*reads).read_exact(&mut buf).unwrap();
            buf[0]
        });
        reading.wait_and_settle();
        (&*client).write_all(&[1]).unwrap();
        let mut buf = [0];
        server.read_exact(&mut buf).unwrap();
        server.write_all(&[buf[0] + 1]).unwrap();
        assert_eq!(reader.join(), 2);
    });
}

/// Coroutines of two runtimes and plain threads, all on one listener.
#[test]
fn everyone_waits_for_one_listener() {
    guarded("everyone_waits_for_one_listener", || {
        let worlds = [
            World::Threads,
            World::Runtime(Arc::new(runtime(1))),
            World::Runtime(Arc::new(runtime(3))),
        ];
        for _ in 0..20 {
            let (listener, addr) = bind(([127, 0, 0, 1], 0).into());
            let listener = Arc::new(listener);
            let acceptors: Vec<_> = (0..12)
                .map(|number| {
                    let listener = listener.clone();
                    worlds[number % worlds.len()].spawn(move || listener.accept().unwrap().1)
                })
                .collect();
            let clients: Vec<_> = (0..12).map(|_| TcpStream::connect(addr).unwrap()).collect();
            acceptors.into_iter().for_each(|acceptor| _ = acceptor.join());
            drop(clients);
        }
    });
}

/// A socket outlives the runtime in which it was registered, with bytes on their way.
#[test]
fn a_stream_moves_from_runtime_to_runtime() {
    guarded("a_stream_moves_from_runtime_to_runtime", || {
        let (mut client, server) = pair();
        for round in 0..50_u8 {
            let runtime = runtime(1 + usize::from(round % 2));
            let received = runtime.run(|| {
                let writer = pirn::spawn({
                    let client = client.try_clone().unwrap();
                    move || (&client).write_all(&[round, round]).unwrap()
                });
                let mut buf = [0; 2];
                (&server).read_exact(&mut buf).unwrap();
                writer.join().unwrap();
                buf
            });
            assert_eq!(received, [round; 2]);
        }
        client.write_all(&[1]).unwrap();
        assert_eq!((&server).read(&mut [0; 2]).unwrap(), 1);
    });
}

/// Those who wait in a runtime that ends leave the socket to others.
#[test]
fn a_runtime_that_ends_leaves_its_sockets_usable() {
    guarded("a_runtime_that_ends_leaves_its_sockets_usable", || {
        for workers in [1, 2, 4] {
            let (mut client, server) = pair();
            let server = Arc::new(server);
            let ending = runtime(workers);
            let reading = Flag::default();
            let (reads, flag) = (server.clone(), reading.clone());
            let cancelled = ending.spawn(move || {
                flag.set();
                (&*reads).read(&mut [0]).unwrap()
            });
            let other = runtime(workers);
            let reads = server.clone();
            let reader = other.spawn(move || (&*reads).read(&mut [0]).unwrap());
            reading.wait_and_settle();
            drop(ending);
            assert!(cancelled.join().is_err());
            client.write_all(&[1]).unwrap();
            assert_eq!(reader.join().unwrap(), 1);
        }
    });
}

/// Who polls a socket that is not to block, or tries again after an error, waits for others on the same
/// worker all the same.
#[test]
fn who_only_tries_lets_others_run() {
    type Attempt = fn(&TcpStream) -> std::io::Result<usize>;
    let attempts: [(ErrorKind, Attempt); 2] = [
        (ErrorKind::WouldBlock, |mut stream| stream.read(&mut [0])),
        (ErrorKind::BrokenPipe, |mut stream| stream.write(&[0])),
    ];
    for (kind, attempt) in attempts {
        runtime(1).run(|| {
            let (stream, _peer) = pair();
            stream.set_nonblocking(true).unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            let others = Arc::new(AtomicUsize::new(0));
            let count = others.clone();
            // It lives on this worker by the time that the attempts begin: nobody else can run it.
            let other = pirn::spawn(move || {
                pirn::thread::yield_now();
                count.fetch_add(1, Ordering::Relaxed);
            });
            pirn::thread::yield_now();
            let mut tries = 0;
            while others.load(Ordering::Relaxed) == 0 {
                assert_eq!(attempt(&stream).unwrap_err().kind(), kind);
                tries += 1;
                assert!(tries < 100_000, "{kind:?} keeps others from their turn");
            }
            other.join().unwrap();
        });
    }
}
