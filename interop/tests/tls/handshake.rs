//! Shaking hands, and what may go wrong.

use crate::support::*;
use pirn::time::timeout;
use rustls::StreamOwned;
use std::io::{ErrorKind, Read, Write};
use std::sync::mpsc;
use std::time::Duration;

const SHORT: Duration = Duration::from_millis(20);

#[test]
fn coroutines_and_threads_shake_hands_with_each_other() {
    fn run<T: Send + 'static>(
        in_coroutine: bool,
        f: impl FnOnce() -> T + Send + 'static,
    ) -> mpsc::Receiver<T> {
        let (done, result) = mpsc::channel();
        let f = move || drop(done.send(f()));
        if in_coroutine {
            pirn::spawn(f);
        } else {
            std::thread::spawn(f);
        }
        result
    }
    for (server_in, client_in) in [(true, true), (true, false), (false, true), (false, false)] {
        let (server, mut client) = pair();
        let server = run(server_in, || echo(server).unwrap());
        let client = run(client_in, move || {
            ask(&mut client, b"hello");
            end(&mut client).unwrap();
            assert_eq!(client.read(&mut [0]).unwrap(), 0);
        });
        client.recv().unwrap();
        assert_eq!(server.recv().unwrap(), 5);
    }
}

#[test]
fn a_client_over_a_stream_of_std_s_is_served() {
    let (listener, address) = listener();
    let server = pirn::spawn(move || echo(server(listener.accept().unwrap().0)).unwrap());
    let stream = std::net::TcpStream::connect(address).unwrap();
    let mut client = StreamOwned::new(client_session(&PARTIES.client), stream);
    let said = pattern(1, 100_000);
    ask(&mut client, &said[..20_000]);
    said.chunks(10_000).for_each(|part| ask(&mut client, part));
    end(&mut client).unwrap();
    assert_eq!(client.read(&mut [0]).unwrap(), 0);
    assert_eq!(server.join().unwrap(), 120_000);
}

#[test]
fn both_are_told_of_a_certificate_that_is_not_trusted() {
    on_workers(|| {
        let (server_end, client_end) = sockets();
        let stranger = client_session(&parties().client);
        let mut client = StreamOwned::new(stranger, client_end);
        let client = pirn::spawn(move || client.write_all(b"x").and_then(|()| client.flush()));
        let mut server = server(server_end);
        let heard = server.read(&mut [0]).unwrap_err();
        assert_eq!(heard.kind(), ErrorKind::InvalidData, "{heard}");
        let told = client.join().unwrap().unwrap_err();
        assert_eq!(told.kind(), ErrorKind::InvalidData, "{told}");
    });
}

#[test]
fn what_is_not_tls_is_refused() {
    on_workers(|| {
        let (server_end, mut client) = sockets();
        client.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        let error = server(server_end).read(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidData, "{error}");
    });
}

#[test]
fn a_handshake_that_has_timed_out_can_go_on() {
    on_workers(|| {
        let (mut server, mut client) = pair();
        for _ in 0..3 {
            let shaken = timeout(SHORT, || server.conn.complete_io(&mut server.sock));
            assert!(shaken.is_err());
        }
        // The server has half of the client's first words, and times out once more.
        let mut hello = Vec::new();
        client.conn.write_tls(&mut hello).unwrap();
        let (first, second) = hello.split_at(hello.len() / 2);
        client.sock.write_all(first).unwrap();
        assert!(timeout(SHORT, || server.conn.complete_io(&mut server.sock)).is_err());
        client.sock.write_all(second).unwrap();
        let server = pirn::spawn(move || echo(server).unwrap());
        ask(&mut client, b"at last");
        end(&mut client).unwrap();
        assert_eq!(server.join().unwrap(), 7);
    });
}

#[test]
fn the_timeout_of_the_socket_ends_a_handshake() {
    on_workers(|| {
        let (mut server, _silent) = pair();
        server.sock.set_read_timeout(Some(SHORT)).unwrap();
        let error = server.read(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}");
    });
}

#[test]
fn cancelling_amid_a_handshake_closes_the_connection() {
    on_workers(|| {
        let (server, mut client) = pair();
        let (begun, has_begun) = pirn::sync::mpsc::channel();
        let server = pirn::spawn(move || {
            let mut server = server;
            begun.send(()).unwrap();
            server.conn.complete_io(&mut server.sock).map(drop)
        });
        has_begun.recv().unwrap();
        server.cancel();
        assert!(server.join().is_err());
        // What the client hears is the end of the connection, or a reset if it was told too late.
        let error = client.conn.complete_io(&mut client.sock).unwrap_err();
        assert!(
            matches!(
                error.kind(),
                ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe
            ),
            "{error}"
        );
    });
}
