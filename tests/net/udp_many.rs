//! Many datagrams with one call.

use crate::std_parity::like_std;
use crate::support::{Flag, Peer, everywhere, everywhere_each_ip, own_addr, wait_until};
use crate::udp::{bind, local};
use pirn::net::{Datagram, Datagrams, SocketAddr, UdpSocket};
use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

#[test]
fn traits_and_text() {
    like_std::<Datagrams>();
    like_std::<Datagram<'static>>();
    let (socket, addr) = local();
    socket.send_many(&[(b"a", addr)]).unwrap();
    let mut datagrams = Datagrams::new(2, 2);
    assert_eq!(format!("{datagrams:?}"), "[]");
    socket.recv_many(&mut datagrams).unwrap();
    let text = format!("[Datagram {{ bytes: [97], addr: {addr}, truncated: false }}]");
    assert_eq!(format!("{datagrams:?}"), text);
}

#[test]
fn a_batch_waits_for_the_first_and_takes_all_that_are_there() {
    everywhere_each_ip(|world, addr| {
        let ((socket, addr), (sender, from)) = (bind(addr), bind(addr));
        let waits = Flag::default();
        let (waiting, receiver) = (waits.clone(), socket.try_clone().unwrap());
        let first = world.spawn(move || {
            let mut datagrams = Datagrams::new(4, 8);
            waiting.set();
            assert_eq!(receiver.recv_many(&mut datagrams).unwrap(), 1);
            datagrams.get(0).unwrap().bytes().to_vec()
        });
        waits.wait_and_settle();
        sender.send_to(b"first", addr).unwrap();
        assert_eq!(first.join(), b"first");

        let long = [b'x'; 1000];
        let texts = [&b""[..], b"12345678", b"123456789", &long, b"next"];
        let datagrams = texts.map(|text| (text, addr));
        assert_eq!(sender.send_many(&datagrams).unwrap(), 5);
        let mut datagrams = Datagrams::new(4, 8);
        assert_eq!(socket.recv_many(&mut datagrams).unwrap(), 4);
        let seen = datagrams.iter().map(|it| (it.bytes(), it.is_truncated(), it.addr()));
        let cut =
            [(&b""[..], false), (b"12345678", false), (b"12345678", true), (&long[..8], true)];
        assert!(seen.eq(cut.map(|(bytes, truncated)| (bytes, truncated, from))));
        assert_eq!(socket.recv_many(&mut datagrams).unwrap(), 1);
        assert_eq!(datagrams.get(0).unwrap().bytes(), b"next");
        assert!(datagrams.get(1).is_none() && datagrams.len() == 1 && !datagrams.is_empty());

        // Nothing is kept of an earlier batch.
        socket.set_nonblocking(true).unwrap();
        assert_eq!(socket.recv_many(&mut datagrams).unwrap_err().kind(), ErrorKind::WouldBlock);
        assert!(datagrams.is_empty());
        // No capacity, no wait; no room, and still a datagram.
        assert_eq!(socket.recv_many(&mut Datagrams::new(0, 8)).unwrap(), 0);
        sender.send_to(b"gone", addr).unwrap();
        let mut roomless = Datagrams::new(3, 0);
        assert_eq!(socket.recv_many(&mut roomless).unwrap(), 1);
        assert!(roomless.get(0).unwrap().is_truncated());
    });
}

#[test]
fn more_than_one_call_takes() {
    everywhere(|world| {
        let (socket, addr) = local();
        socket2::SockRef::from(&socket).set_recv_buffer_size(1 << 20).unwrap();
        let sender = world.spawn(move || {
            let numbers: Vec<_> = (0..100u8).map(|number| ([number], addr)).collect();
            assert_eq!(local().0.send_many(&numbers).unwrap(), 100);
        });
        let mut datagrams = Datagrams::new(1000, 1);
        assert_eq!(datagrams.capacity(), 32);
        let mut received = Vec::new();
        while received.len() < 100 {
            let count = socket.recv_many(&mut datagrams).unwrap();
            assert!((1..=32).contains(&count) && count == datagrams.len());
            received.extend(datagrams.iter().map(|datagram| datagram.bytes()[0]));
        }
        assert!(received.into_iter().eq(0..100));
        sender.join();
    });
}

/// One that takes a batch wakes the next, as does one that takes a single datagram.
#[test]
fn batches_and_single_receivers_share_a_socket() {
    everywhere(|world| {
        const COUNT: usize = 200;
        let (socket, addr) = local();
        socket2::SockRef::from(&socket).set_recv_buffer_size(1 << 20).unwrap();
        let received = Arc::new(AtomicUsize::new(0));
        let receivers: Vec<_> = (0..6)
            .map(|number| {
                let (socket, received) = (socket.try_clone().unwrap(), received.clone());
                world.spawn(move || {
                    let mut datagrams = Datagrams::new(3, 8);
                    loop {
                        let (count, ended) = if number % 2 == 0 {
                            let count = socket.recv_many(&mut datagrams).unwrap();
                            let ends = datagrams.iter().filter(|it| it.bytes() == b"end").count();
                            // One for each: what was taken too much is given back.
                            for _ in 1..ends {
                                socket.send_to(b"end", addr).unwrap();
                            }
                            (count - ends, ends > 0)
                        } else {
                            let mut buf = [0; 8];
                            let len = socket.recv(&mut buf).unwrap();
                            let ended = &buf[..len] == b"end";
                            (usize::from(!ended), ended)
                        };
                        received.fetch_add(count, Ordering::AcqRel);
                        if ended {
                            break;
                        }
                    }
                })
            })
            .collect();
        let sender = local().0;
        for _ in 0..COUNT / 4 {
            assert_eq!(sender.send_many(&[(b"x", addr); 4]).unwrap(), 4);
            pirn::thread::yield_now();
        }
        wait_until(|| received.load(Ordering::Acquire) == COUNT);
        sender.send_many(&[(b"end", addr); 6]).unwrap();
        receivers.into_iter().for_each(Peer::join);
        assert_eq!(received.load(Ordering::Acquire), COUNT);
    });
}

#[test]
fn an_error_after_the_first_cuts_a_batch_short() {
    everywhere(|_world| {
        let (socket, addr) = local();
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let batch = [(b"a", addr), (b"b", addr), (b"c", nowhere), (b"d", addr)];
        assert_eq!(socket.send_many(&batch).unwrap(), 2);
        let error = socket.send_many(&batch[2..]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert_eq!(socket.send_many(&batch[3..]).unwrap(), 1);
        assert_eq!(socket.send_many::<&[u8], SocketAddr>(&[]).unwrap(), 0);
        let mut datagrams = Datagrams::new(8, 8);
        assert_eq!(socket.recv_many(&mut datagrams).unwrap(), 3);
        assert!(datagrams.iter().map(|it| it.bytes()).eq([b"a", b"b", b"d"]));

        // A peer that is not there is told of once; what was not sent is for the caller to send.
        let (gone, to_gone) = bind(own_addr());
        drop(gone);
        socket.connect(to_gone).unwrap();
        socket.send(b"").unwrap();
        wait_until(|| {
            let sent = socket.send_many(&[("a", None::<SocketAddr>), ("b", None)]);
            sent.is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
        });
    });
}

#[test]
fn a_descriptor_that_is_no_internet_socket() {
    let (one, two) = std::os::unix::net::UnixDatagram::pair().unwrap();
    let socket = UdpSocket::from(OwnedFd::from(one));
    two.send(b"hello").unwrap();
    let mut datagrams = Datagrams::new(4, 8);
    let error = socket.recv_many(&mut datagrams).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(datagrams.is_empty());
    two.send(b"hello").unwrap();
    assert_eq!(socket.recv_from(&mut [0; 8]).unwrap_err().kind(), ErrorKind::InvalidInput);
}
