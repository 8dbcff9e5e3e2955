//! What std's own tests expect of TCP, wherever the two ends run.

use crate::support::{
    Flag, bind, bind_by_name, everywhere, everywhere_each_ip, own_addr, pair, pair_at, wait_until,
};
use pirn::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::io::{ErrorKind, IoSlice, IoSliceMut, Read, Write};

#[test]
fn connect_by_name() {
    everywhere(|world| {
        let (listener, addr, _kept) = bind_by_name();
        let client = world.spawn(move || {
            TcpStream::connect(("localhost", addr.port())).unwrap().write_all(&[144]).unwrap();
            TcpStream::connect(format!("localhost:{}", addr.port())).unwrap()
        });
        let mut buf = [0];
        listener.accept().unwrap().0.read_exact(&mut buf).unwrap();
        assert_eq!(buf, [144]);
        assert_eq!(listener.accept().unwrap().1, client.join().local_addr().unwrap());
    });
}

#[test]
fn connect_tries_every_address() {
    everywhere(|_world| {
        let (dead, dead_addr) = bind(own_addr());
        let (listener, addr) = bind(own_addr());
        drop(dead);
        let stream = TcpStream::connect(&[dead_addr, dead_addr, addr][..]).unwrap();
        assert_eq!(stream.peer_addr().unwrap(), addr);
        let error = TcpStream::connect(&[dead_addr, dead_addr][..]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        drop(listener);
    });
}

#[test]
fn peers_know_each_other() {
    everywhere_each_ip(|world, addr| {
        let (listener, addr) = bind(addr);
        let client = world.spawn(move || {
            let mut stream = TcpStream::connect(addr).unwrap();
            stream.write_all(&[99]).unwrap();
            assert_eq!(stream.peer_addr().unwrap(), addr);
            stream.local_addr().unwrap()
        });
        let (mut stream, peer) = listener.accept().unwrap();
        let mut buf = [0; 2];
        assert_eq!(stream.read(&mut buf).unwrap(), 1);
        assert_eq!(buf[0], 99);
        assert_eq!(stream.peer_addr().unwrap(), peer);
        assert_eq!(stream.local_addr().unwrap(), addr);
        assert_eq!(client.join(), peer);
    });
}

#[test]
fn the_end_is_read_again_and_again() {
    everywhere_each_ip(|world, addr| {
        let (listener, addr) = bind(addr);
        let client = world.spawn(move || drop(TcpStream::connect(addr).unwrap()));
        let mut stream = listener.accept().unwrap().0;
        assert_eq!(stream.read(&mut [0]).unwrap(), 0);
        assert_eq!(stream.read(&mut [0]).unwrap(), 0);
        client.join();
    });
}

/// Bytes and end that arrive together make one edge. It must serve both reads.
#[test]
fn the_end_after_a_short_read() {
    everywhere(|world| {
        for _ in 0..20 {
            let (mut client, mut server) = pair();
            let reading = Flag::default();
            let reads = reading.clone();
            let reader = world.spawn(move || {
                let mut buf = [0; 64];
                // Registers the descriptor.
                server.set_read_timeout(Some(std::time::Duration::from_millis(1))).unwrap();
                assert_eq!(server.read(&mut buf).unwrap_err().kind(), ErrorKind::WouldBlock);
                server.set_read_timeout(None).unwrap();
                reads.set();
                let mut counts = Vec::new();
                while counts.last() != Some(&0) {
                    counts.push(server.read(&mut buf).unwrap());
                }
                counts
            });
            reading.wait_and_settle();
            client.write_all(b"hello").unwrap();
            drop(client);
            assert_eq!(reader.join(), [5, 0]);
        }
    });
}

#[test]
fn writing_to_a_closed_stream_fails_in_the_end() {
    everywhere_each_ip(|world, addr| {
        let (listener, addr) = bind(addr);
        world.spawn(move || drop(TcpStream::connect(addr).unwrap())).join();
        let mut stream = listener.accept().unwrap().0;
        let mut error = None;
        wait_until(|| {
            error = stream.write(&[0]).err();
            error.is_some()
        });
        let kind = error.unwrap().kind();
        assert!(matches!(kind, ErrorKind::ConnectionReset | ErrorKind::BrokenPipe), "{kind:?}");
    });
}

#[test]
fn connections_one_after_the_other() {
    everywhere_each_ip(|world, addr| {
        const COUNT: u8 = 10;
        let (listener, addr) = bind(addr);
        let client = world.spawn(move || {
            for number in 0..COUNT {
                TcpStream::connect(addr).unwrap().write_all(&[number]).unwrap();
            }
        });
        for (number, stream) in (0..COUNT).zip(listener.incoming()) {
            let mut buf = Vec::new();
            stream.unwrap().read_to_end(&mut buf).unwrap();
            assert_eq!(buf, [number]);
        }
        client.join();
    });
}

/// Each client connects the next before it writes, so the first to connect is the last to write.
fn interleaved(world: &crate::support::World, addr: SocketAddr, handlers: &crate::support::World) {
    const COUNT: u8 = 10;
    let (listener, addr) = bind(addr);
    let handling = handlers.clone();
    let server = world.spawn(move || {
        let handlers: Vec<_> = (0..COUNT)
            .zip(listener.incoming())
            .map(|(number, stream)| {
                handling.spawn(move || {
                    let mut buf = [0];
                    stream.unwrap().read_exact(&mut buf).unwrap();
                    assert_eq!(buf, [number]);
                })
            })
            .collect();
        handlers.into_iter().for_each(crate::support::Peer::join);
    });
    connect_from(0, addr);
    server.join();

    fn connect_from(number: u8, addr: SocketAddr) {
        if number < COUNT {
            let mut stream = TcpStream::connect(addr).unwrap();
            connect_from(number + 1, addr);
            stream.write_all(&[number]).unwrap();
        }
    }
}

#[test]
fn interleaved_connections() {
    everywhere_each_ip(|world, addr| interleaved(world, addr, world));
}

#[test]
fn interleaved_connections_with_threads_behind() {
    everywhere_each_ip(|world, addr| interleaved(world, addr, &crate::support::World::Threads));
}

#[test]
fn reads_are_partial() {
    everywhere_each_ip(|world, addr| {
        let (mut client, mut server) = pair_at(addr);
        let peer = world.spawn(move || {
            server.write_all(&[10]).unwrap();
            server.read_exact(&mut [0]).unwrap();
        });
        assert_eq!(client.read(&mut [0; 10]).unwrap(), 1);
        client.write_all(&[1]).unwrap();
        peer.join();
    });
}

#[test]
fn vectored_reads_and_writes() {
    everywhere_each_ip(|world, addr| {
        let (mut client, mut server) = pair_at(addr);
        let peer = world.spawn(move || {
            let bufs = [&[][..], &[10], &[11, 12]].map(IoSlice::new);
            assert_eq!(client.write_vectored(&bufs).unwrap(), 3);
            let many: Vec<_> = (0..2000).map(|_| IoSlice::new(&[7])).collect();
            // Std gives the system no more than it takes at a time.
            assert_eq!(client.write_vectored(&many).unwrap(), 1024);
        });
        let (mut a, mut b, mut c) = ([], [0], [0; 2]);
        let mut bufs = [IoSliceMut::new(&mut a), IoSliceMut::new(&mut b), IoSliceMut::new(&mut c)];
        assert_eq!(server.read_vectored(&mut bufs).unwrap(), 3);
        assert_eq!((b, c), ([10], [11, 12]));
        let mut rest = Vec::new();
        server.read_to_end(&mut rest).unwrap();
        assert_eq!(rest, [7; 1024]);
        peer.join();
    });
}

#[test]
fn large_transfers_arrive_whole() {
    everywhere_each_ip(|world, addr| {
        const SIZE: usize = 4 << 20;
        let (client, server) = pair_at(addr);
        let data: Vec<u8> = (0..SIZE).map(|i| (i * 7 + i / 253) as u8).collect();
        let sent = data.clone();
        let writer = world.spawn(move || {
            (&client).write_all(&sent).unwrap();
            client.shutdown(Shutdown::Write).unwrap();
            let mut back = Vec::new();
            (&client).read_to_end(&mut back).unwrap();
            assert!(back == sent, "what came back is not what was sent");
        });
        let mut received = Vec::new();
        (&server).read_to_end(&mut received).unwrap();
        assert!(received == data, "what was received is not what was sent");
        (&server).write_all(&received).unwrap();
        drop(server);
        writer.join();
    });
}

#[test]
fn both_directions_at_once() {
    everywhere(|world| {
        const SIZE: usize = 2 << 20;
        let (client, server) = pair();
        let peers: Vec<_> = [client, server]
            .into_iter()
            .enumerate()
            .flat_map(|(side, stream)| {
                let (mut reads, mut writes) = (stream.try_clone().unwrap(), stream);
                let writer = world.spawn(move || {
                    writes.write_all(&vec![side as u8; SIZE]).unwrap();
                    writes.shutdown(Shutdown::Write).unwrap();
                });
                let reader = world.spawn(move || {
                    let mut received = Vec::new();
                    reads.read_to_end(&mut received).unwrap();
                    assert_eq!(received.len(), SIZE);
                    assert!(received.iter().all(|byte| usize::from(*byte) != side));
                });
                [writer, reader]
            })
            .collect();
        peers.into_iter().for_each(crate::support::Peer::join);
    });
}

#[test]
fn a_byte_at_a_time() {
    everywhere(|world| {
        let (mut client, mut server) = pair();
        client.set_nodelay(true).unwrap();
        let writer = world.spawn(move || {
            for byte in 0..=255 {
                client.write_all(&[byte]).unwrap();
                pirn::thread::yield_now();
            }
        });
        let mut received = Vec::new();
        server.read_to_end(&mut received).unwrap();
        assert_eq!(received, (0..=255).collect::<Vec<u8>>());
        writer.join();
    });
}

#[test]
fn ping_pong() {
    everywhere(|world| {
        let (mut client, mut server) = pair();
        let echo = world.spawn(move || {
            let mut buf = [0; 64];
            loop {
                match server.read(&mut buf).unwrap() {
                    0 => break,
                    count => server.write_all(&buf[..count]).unwrap(),
                }
            }
        });
        for round in 0..200_u32 {
            client.write_all(&round.to_le_bytes()).unwrap();
            let mut buf = [0; 4];
            client.read_exact(&mut buf).unwrap();
            assert_eq!(u32::from_le_bytes(buf), round);
        }
        drop(client);
        echo.join();
    });
}

#[test]
fn an_address_is_bound_once() {
    everywhere_each_ip(|_world, addr| {
        let (_first, addr) = bind(addr);
        assert_eq!(TcpListener::bind(addr).unwrap_err().kind(), ErrorKind::AddrInUse);
    });
}

#[test]
fn an_address_is_bound_again_while_connections_linger() {
    everywhere(|_world| {
        let (listener, addr) = bind(own_addr());
        let mut client = TcpStream::connect(addr).unwrap();
        // Closed first, this end keeps the address in TIME_WAIT.
        drop(listener.accept().unwrap());
        assert_eq!(client.read(&mut [0]).unwrap(), 0);
        drop((client, listener));
        TcpListener::bind(addr).unwrap();
    });
}

#[test]
fn clones_read_and_write() {
    everywhere_each_ip(|world, addr| {
        let (mut client, server) = pair_at(addr);
        let mut clone = server.try_clone().unwrap();
        let mut reads = server;
        let writer = world.spawn(move || clone.write_all(&[1]).unwrap());
        let peer = world.spawn(move || {
            let mut buf = [0; 2];
            assert_eq!(client.read(&mut buf).unwrap(), 1);
            assert_eq!(buf[0], 1);
            client.write_all(&[2]).unwrap();
        });
        let mut buf = [0; 2];
        assert_eq!(reads.read(&mut buf).unwrap(), 1);
        assert_eq!(buf[0], 2);
        writer.join();
        peer.join();
    });
}

#[test]
fn two_clones_read() {
    everywhere_each_ip(|world, addr| {
        let (mut client, server) = pair_at(addr);
        let readers: Vec<_> = (0..2)
            .map(|_| {
                let mut clone = server.try_clone().unwrap();
                world.spawn(move || {
                    let mut buf = [0];
                    clone.read_exact(&mut buf).unwrap();
                    buf[0]
                })
            })
            .collect();
        client.write_all(&[1]).unwrap();
        client.write_all(&[2]).unwrap();
        let sum: u8 = readers.into_iter().map(crate::support::Peer::join).sum();
        assert_eq!(sum, 3);
    });
}

#[test]
fn two_clones_write() {
    everywhere_each_ip(|world, addr| {
        let (mut client, server) = pair_at(addr);
        let mut clone = server.try_clone().unwrap();
        let writer = world.spawn(move || clone.write_all(&[1]).unwrap());
        (&server).write_all(&[2]).unwrap();
        let mut buf = [0; 2];
        client.read_exact(&mut buf).unwrap();
        buf.sort_unstable();
        assert_eq!(buf, [1, 2]);
        writer.join();
    });
}

#[test]
fn clone_while_another_reads() {
    everywhere_each_ip(|world, addr| {
        let (mut client, server) = pair_at(addr);
        let mut clone = server.try_clone().unwrap();
        let (reading, flag) = (Flag::default(), Flag::default());
        let reads = reading.clone();
        let done = flag.clone();
        let reader = world.spawn(move || {
            reads.set();
            assert_eq!(clone.read(&mut [0]).unwrap(), 1);
            done.set();
        });
        reading.wait_and_settle();
        drop(server.try_clone().unwrap());
        drop(server);
        assert!(!flag.is_set());
        client.write_all(&[0]).unwrap();
        reader.join();
    });
}

#[test]
fn half_a_connection_goes_on() {
    everywhere_each_ip(|world, addr| {
        let (mut client, mut server) = pair_at(addr);
        let peer = world.spawn(move || {
            assert_eq!(server.read(&mut [0]).unwrap(), 0);
            server.write_all(&[1]).unwrap();
        });
        client.shutdown(Shutdown::Write).unwrap();
        assert_eq!(client.write(&[1]).unwrap_err().kind(), ErrorKind::BrokenPipe);
        let mut buf = [0; 2];
        assert_eq!(client.read(&mut buf).unwrap(), 1);
        assert_eq!(buf[0], 1);
        assert_eq!(client.read(&mut buf).unwrap(), 0);
        peer.join();
    });
}

#[test]
fn shutdown_counts_for_all_clones() {
    everywhere_each_ip(|_world, addr| {
        let (mut stream, _server) = pair_at(addr);
        let mut older = stream.try_clone().unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        assert!(stream.write(&[0]).is_err());
        stream.shutdown(Shutdown::Read).unwrap();
        assert_eq!(stream.read(&mut [0]).unwrap(), 0);
        assert!(older.write(&[0]).is_err());
        assert_eq!(older.read(&mut [0]).unwrap(), 0);
        let mut newer = stream.try_clone().unwrap();
        assert!(newer.write(&[0]).is_err());
        assert_eq!(newer.read(&mut [0]).unwrap(), 0);
        // Once more does not matter, whatever it says.
        for how in [Shutdown::Read, Shutdown::Write, Shutdown::Both] {
            let _again = newer.shutdown(how);
        }
    });
}

#[test]
fn two_clones_accept() {
    everywhere_each_ip(|world, addr| {
        let (listener, addr) = bind(addr);
        let acceptors: Vec<_> = (0..2)
            .map(|_| {
                let clone = listener.try_clone().unwrap();
                world.spawn(move || clone.accept().unwrap().1)
            })
            .collect();
        let clients = [(); 2].map(|()| TcpStream::connect(addr).unwrap());
        let mut accepted: Vec<_> = acceptors.into_iter().map(crate::support::Peer::join).collect();
        let mut connected = clients.map(|client| client.local_addr().unwrap());
        accepted.sort_unstable();
        connected.sort_unstable();
        assert_eq!(accepted, connected);
    });
}

#[test]
fn peek_leaves_what_it_sees() {
    everywhere_each_ip(|world, addr| {
        let (mut client, mut server) = pair_at(addr);
        let writer = world.spawn(move || {
            server.write_all(&[1, 3, 3, 7]).unwrap();
            server
        });
        let mut buf = [0; 10];
        for _ in 0..3 {
            assert_eq!(client.peek(&mut buf).unwrap(), 4);
            assert_eq!(buf[..4], [1, 3, 3, 7]);
        }
        assert_eq!(client.peek(&mut buf[..2]).unwrap(), 2);
        assert_eq!(client.read(&mut buf).unwrap(), 4);
        client.set_nonblocking(true).unwrap();
        assert_eq!(client.peek(&mut buf).unwrap_err().kind(), ErrorKind::WouldBlock);
        drop(writer.join());
    });
}

#[test]
fn peek_waits() {
    everywhere(|world| {
        let (client, mut server) = pair();
        let reading = Flag::default();
        let peeks = reading.clone();
        let reader = world.spawn(move || {
            peeks.set();
            let mut buf = [0; 4];
            let counts = (client.peek(&mut buf).unwrap(), (&client).read(&mut buf).unwrap());
            peeks.set();
            // Of the end, too.
            (counts, client.peek(&mut buf).unwrap())
        });
        reading.wait_and_settle();
        server.write_all(&[5]).unwrap();
        drop(server);
        assert_eq!(reader.join(), ((1, 1), 0));
    });
}

#[test]
fn nonblocking_streams_and_listeners_do_not_wait() {
    everywhere(|_world| {
        let (listener, addr) = bind(([127, 0, 0, 1], 0).into());
        listener.set_nonblocking(true).unwrap();
        assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
        listener.try_clone().unwrap().set_nonblocking(false).unwrap();

        let mut client = TcpStream::connect(addr).unwrap();
        let mut server = listener.accept().unwrap().0;
        // It does not pass on to what is accepted.
        client.try_clone().unwrap().set_nonblocking(true).unwrap();
        assert_eq!(client.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
        let chunk = vec![0; 1 << 16];
        let mut sent = 0;
        let error = loop {
            match client.write(&chunk) {
                Ok(count) => sent += count,
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        client.set_nonblocking(false).unwrap();
        drop(client);
        let mut received = Vec::new();
        server.read_to_end(&mut received).unwrap();
        assert_eq!(received.len(), sent);
    });
}

#[test]
fn options_read_back() {
    everywhere(|_world| {
        let (listener, addr) = bind(([127, 0, 0, 1], 0).into());
        let stream = TcpStream::connect(addr).unwrap();
        for on in [true, false] {
            stream.set_nodelay(on).unwrap();
            assert_eq!(stream.nodelay().unwrap(), on);
        }
        stream.set_ttl(100).unwrap();
        assert_eq!(stream.ttl().unwrap(), 100);
        listener.set_ttl(101).unwrap();
        assert_eq!(listener.ttl().unwrap(), 101);
        assert!(stream.take_error().unwrap().is_none());
        assert!(listener.take_error().unwrap().is_none());
    });
}
