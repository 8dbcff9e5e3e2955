//! A queue that is full, of which no poller tells when it has room again.

use crate::support::{Flag, Peer, World, everywhere, guarded, runtime};
use crate::unix::Place;
use pirn::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use socket2::SockRef;
use std::io::{self, ErrorKind, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// A listener whose queue is full, and who is in it.
fn full_listener(place: &Place) -> (UnixListener, Vec<UnixStream>) {
    let listener = UnixListener::bind(place).unwrap();
    SockRef::from(&listener).listen(1).unwrap();
    let waiting = vec![UnixStream::connect(place).unwrap(), UnixStream::connect(place).unwrap()];
    let probe = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
    probe.set_nonblocking(true).unwrap();
    let error = probe.connect(&socket2::SockAddr::unix(place).unwrap()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WouldBlock, "the queue is not full");
    (listener, waiting)
}

#[test]
fn a_connect_waits_for_room() {
    everywhere(|world| {
        let place = Place::new();
        let (listener, queued) = full_listener(&place);
        let (started, connected) = (Flag::default(), Arc::new(AtomicUsize::new(0)));
        let clients: Vec<_> = (0..5)
            .map(|number| {
                let path = place.0.clone();
                let (started, connected) = (started.clone(), connected.clone());
                world.spawn(move || {
                    started.set();
                    let mut stream = UnixStream::connect(path).unwrap();
                    connected.fetch_add(1, Ordering::Release);
                    stream.write_all(&[number]).unwrap();
                })
            })
            .collect();
        started.wait_and_settle();
        assert_eq!(connected.load(Ordering::Acquire), 0);
        for (mut client, number) in queued.into_iter().zip(10..) {
            client.write_all(&[number]).unwrap();
        }
        let mut numbers: Vec<_> = (0..7)
            .map(|_| {
                let mut byte = [0];
                listener.accept().unwrap().0.read_exact(&mut byte).unwrap();
                byte[0]
            })
            .collect();
        numbers.sort_unstable();
        assert_eq!(numbers, [0, 1, 2, 3, 4, 10, 11]);
        clients.into_iter().for_each(Peer::join);
    });
}

#[test]
fn a_listener_that_goes_refuses_who_waits() {
    everywhere(|world| {
        let place = Place::new();
        let (listener, _queued) = full_listener(&place);
        let waits = Flag::default();
        let (path, waiting) = (place.0.clone(), waits.clone());
        let client = world.spawn(move || {
            waiting.set();
            UnixStream::connect(path).unwrap_err().kind()
        });
        waits.wait_and_settle();
        drop(listener);
        assert_eq!(client.join(), ErrorKind::ConnectionRefused);
    });
}

#[test]
fn a_runtime_that_ends_does_not_wait_for_a_connect() {
    guarded("a runtime that ends", || {
        let place = Place::new();
        let (_listener, _queued) = full_listener(&place);
        for workers in [1, 2] {
            let ended = runtime(workers);
            let waits = Flag::default();
            let (path, waiting) = (place.0.clone(), waits.clone());
            drop(ended.spawn(move || {
                waiting.set();
                let _connected = UnixStream::connect(path);
                unreachable!("nobody accepts");
            }));
            waits.wait_and_settle();
            drop(ended);
        }
    });
}

/// Datagrams until there is no room for another.
fn fill(send: impl Fn() -> io::Result<usize>) -> usize {
    let mut count = 0;
    while send().is_ok() {
        count += 1;
    }
    count
}

/// Sends to a queue that is full until the receiver makes room: to an address, and connected, which
/// is waited for in different ways.
fn waits_for_room(
    world: &World,
    (sender, others): (UnixDatagram, UnixDatagram),
    receiver: &UnixDatagram,
    send: impl Fn(&UnixDatagram, &[u8]) -> io::Result<usize> + Clone + Send + 'static,
) {
    others.set_nonblocking(true).unwrap();
    let queued = fill(|| send(&others, b"full"));
    assert!(queued > 0);
    others.set_nonblocking(false).unwrap();

    // Limits hold here too.
    let short = Duration::from_millis(20);
    let start = Instant::now();
    sender.set_write_timeout(Some(short)).unwrap();
    assert_eq!(send(&sender, b"x").unwrap_err().raw_os_error(), Some(libc::EAGAIN));
    assert!(start.elapsed() >= short);
    sender.set_write_timeout(None).unwrap();
    let deadline = Instant::now() + short;
    sender.set_write_deadline(Some(deadline));
    assert_eq!(send(&sender, b"x").unwrap_err().kind(), ErrorKind::WouldBlock);
    assert!(Instant::now() >= deadline);
    sender.set_write_deadline(None);

    let sender = Arc::new(sender);
    let (started, sent) = (Flag::default(), Arc::new(AtomicUsize::new(0)));
    let senders: Vec<_> = (0..3)
        .map(|_| {
            let (sender, started, sent) = (sender.clone(), started.clone(), sent.clone());
            let send = send.clone();
            world.spawn(move || {
                started.set();
                for _ in 0..5 {
                    send(&sender, b"more").unwrap();
                    sent.fetch_add(1, Ordering::Release);
                }
            })
        })
        .collect();
    started.wait_and_settle();
    assert_eq!(sent.load(Ordering::Acquire), 0);
    let mut buf = [0; 8];
    for _ in 0..queued + 15 {
        assert_eq!(receiver.recv(&mut buf).unwrap(), 4);
    }
    senders.into_iter().for_each(Peer::join);
    receiver.set_nonblocking(true).unwrap();
    assert_eq!(receiver.recv(&mut buf).unwrap_err().kind(), ErrorKind::WouldBlock);
}

#[test]
fn a_datagram_to_an_address_waits_for_room() {
    everywhere(|world| {
        let place = Place::new();
        let receiver = UnixDatagram::bind(&place).unwrap();
        let unbound = || UnixDatagram::unbound().unwrap();
        let path = place.0.clone();
        waits_for_room(world, (unbound(), unbound()), &receiver, move |sender, bytes| {
            sender.send_to(bytes, &path)
        });
        // The same, of a sender that is connected elsewhere.
        let (sender, elsewhere) = UnixDatagram::pair().unwrap();
        receiver.set_nonblocking(false).unwrap();
        let to = receiver.local_addr().unwrap();
        waits_for_room(world, (sender, unbound()), &receiver, move |sender, bytes| {
            sender.send_to_addr(bytes, &to)
        });
        drop(elsewhere);
    });
}

/// Each attempt makes the sender writable: whoever waits for that tries without rest.
#[test]
fn a_datagram_that_waits_lets_its_worker_rest() {
    guarded("a datagram that waits", || {
        let place = Place::new();
        let _receiver = UnixDatagram::bind(&place).unwrap();
        let (sender, other) = (UnixDatagram::unbound().unwrap(), UnixDatagram::unbound().unwrap());
        other.set_nonblocking(true).unwrap();
        assert!(fill(|| other.send_to(b"full", &place)) > 0);
        sender.set_write_timeout(Some(Duration::from_millis(200))).unwrap();
        let runtime = runtime(1);
        let schedules =
            || runtime.metrics().workers.iter().map(|it| it.counters.schedules).sum::<u64>();
        let before = schedules();
        let sent = runtime.run(|| sender.send_to(b"x", &place));
        assert_eq!(sent.unwrap_err().kind(), ErrorKind::WouldBlock);
        // Some twenty pauses.
        assert!(schedules() - before < 100, "{} attempts", schedules() - before);
    });
}

#[test]
fn a_datagram_to_the_peer_waits_for_room() {
    everywhere(|world| {
        let place = Place::new();
        let receiver = UnixDatagram::bind(&place).unwrap();
        let connected = || {
            let sender = UnixDatagram::unbound().unwrap();
            sender.connect(&place).unwrap();
            sender
        };
        let send = |sender: &UnixDatagram, bytes: &[u8]| sender.send(bytes);
        waits_for_room(world, (connected(), connected()), &receiver, send);
        // Here it is the sender's own account that is full.
        let (sender, receiver) = UnixDatagram::pair().unwrap();
        let clone = sender.try_clone().unwrap();
        waits_for_room(world, (sender, clone), &receiver, send);
    });
}

#[test]
fn a_receiver_that_goes_refuses_who_waits() {
    everywhere(|world| {
        let place = Place::new();
        let receiver = UnixDatagram::bind(&place).unwrap();
        let waits = [Flag::default(), Flag::default()];
        let senders: Vec<_> = waits
            .iter()
            .cloned()
            .zip([false, true])
            .map(|(waiting, connected)| {
                let path = place.0.clone();
                world.spawn(move || {
                    let sender = UnixDatagram::unbound().unwrap();
                    if connected {
                        sender.connect(&path).unwrap();
                    }
                    waiting.set();
                    let send = || match connected {
                        true => sender.send(b"x"),
                        false => sender.send_to(b"x", &path),
                    };
                    loop {
                        if let Err(error) = send() {
                            return error.kind();
                        }
                    }
                })
            })
            .collect();
        waits.iter().for_each(Flag::wait_and_settle);
        drop(receiver);
        for sender in senders {
            assert_eq!(sender.join(), ErrorKind::ConnectionRefused);
        }
    });
}
