//! Connections that end badly.

use crate::support::{Flag, bind, everywhere, own_addr, pair, reset_on_close, wait_until};
use pirn::net::TcpStream;
use std::io::{ErrorKind, Read, Write};

#[test]
fn a_reset_wakes_a_reader() {
    everywhere(|world| {
        let (client, server) = pair();
        let reading = Flag::default();
        let reads = reading.clone();
        let reader = world.spawn(move || {
            reads.set();
            let error = (&server).read(&mut [0]).unwrap_err().kind();
            // It is told once; then the stream has ended.
            (error, (&server).read(&mut [0]).unwrap())
        });
        reading.wait_and_settle();
        reset_on_close(&client);
        drop(client);
        assert_eq!(reader.join(), (ErrorKind::ConnectionReset, 0));
    });
}

#[test]
fn a_reset_wakes_a_writer() {
    everywhere(|world| {
        let (client, server) = pair();
        let writing = Flag::default();
        let writes = writing.clone();
        let writer = world.spawn(move || {
            let chunk = vec![0; 1 << 16];
            loop {
                if let Err(error) = (&server).write(&chunk) {
                    break error.kind();
                }
                writes.set();
            }
        });
        writing.wait_and_settle();
        reset_on_close(&client);
        drop(client);
        let kind = writer.join();
        assert!(matches!(kind, ErrorKind::ConnectionReset | ErrorKind::BrokenPipe), "{kind:?}");
    });
}

#[test]
fn a_reset_wakes_reader_and_writer() {
    everywhere(|world| {
        let (client, server) = pair();
        let writing = Flag::default();
        let (reads, writes, flag) = (server.try_clone().unwrap(), server, writing.clone());
        let reader = world.spawn(move || (&reads).read(&mut [0]).map_or(0, |count| count));
        let writer = world.spawn(move || {
            let chunk = vec![0; 1 << 16];
            while (&writes).write(&chunk).is_ok() {
                flag.set();
            }
        });
        writing.wait_and_settle();
        reset_on_close(&client);
        drop(client);
        assert_eq!(reader.join(), 0);
        writer.join();
    });
}

/// Bytes, then a reset: they may be lost, but nobody may get stuck.
#[test]
fn a_reset_after_bytes() {
    everywhere(|world| {
        for _ in 0..20 {
            let (mut client, server) = pair();
            let reader = world.spawn(move || {
                let mut received = Vec::new();
                let result = (&server).read_to_end(&mut received);
                (result.map_err(|error| error.kind()), received)
            });
            reset_on_close(&client);
            client.write_all(b"bytes").unwrap();
            drop(client);
            let (result, received) = reader.join();
            assert_eq!(result, Err(ErrorKind::ConnectionReset));
            assert!(received.is_empty() || received == b"bytes", "{received:?}");
        }
    });
}

/// The listener's queue holds a connection that is gone.
#[test]
fn a_connection_that_is_reset_before_it_is_accepted() {
    everywhere(|_world| {
        let (listener, addr) = bind(([127, 0, 0, 1], 0).into());
        let gone = TcpStream::connect(addr).unwrap();
        reset_on_close(&gone);
        drop(gone);
        let client = TcpStream::connect(addr).unwrap();
        // Linux still hands the first one out; other systems may skip it or say so.
        let expected = client.local_addr().unwrap();
        let mut peers = std::iter::from_fn(|| Some(listener.accept().ok()?.1)).take(2);
        assert!(peers.any(|peer| peer == expected));
    });
}

#[test]
fn a_refused_connect_does_not_wait() {
    everywhere(|_world| {
        let (listener, addr) = bind(own_addr());
        drop(listener);
        for _ in 0..20 {
            let error = TcpStream::connect(addr).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        }
    });
}

/// What is queued at a listener that goes away is reset, and its owner learns of it.
#[test]
fn a_listener_that_closes_resets_its_queue() {
    everywhere(|world| {
        let (listener, addr) = bind(own_addr());
        let mut client = TcpStream::connect(addr).unwrap();
        let reading = Flag::default();
        let reads = reading.clone();
        let reader = world.spawn(move || {
            reads.set();
            client.read(&mut [0]).unwrap_err().kind()
        });
        reading.wait_and_settle();
        drop(listener);
        assert_eq!(reader.join(), ErrorKind::ConnectionReset);
    });
}

#[test]
fn a_pending_error_can_be_taken() {
    everywhere(|_world| {
        let (client, server) = pair();
        reset_on_close(&client);
        drop(client);
        let mut error = None;
        wait_until(|| {
            error = server.take_error().unwrap();
            error.is_some()
        });
        assert_eq!(error.unwrap().kind(), ErrorKind::ConnectionReset);
        assert!(server.take_error().unwrap().is_none());
    });
}
