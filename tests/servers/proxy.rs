//! The proxy, between clients and the echo server.

use crate::echo_server;
use crate::proxy_server;
use crate::support::{Server, bytes, fill, read_all, reset};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

fn proxy(workers: usize, to: SocketAddr) -> Server {
    let to: Arc<[SocketAddr]> = [to].into();
    Server::start(workers, move |client| proxy_server::serve(client, &to))
}

/// Behind it, an echo server in a runtime of its own.
fn each(test: impl Fn(&Server)) {
    for workers in [1, 2] {
        let echo = Server::start(workers, echo_server::serve);
        let proxy = proxy(workers, echo.address());
        test(&proxy);
        proxy.wait_for_connections(0);
        echo.wait_for_connections(0);
    }
}

#[test]
fn everything_comes_back_and_then_the_end() {
    each(|proxy| {
        for size in [0, 1, 64 * 1024, 64 * 1024 + 1, 3_000_000] {
            let stream = proxy.connect();
            let sent = bytes(size);
            std::thread::scope(|scope| {
                let reader = scope.spawn(|| read_all(&stream));
                (&stream).write_all(&sent).unwrap();
                stream.shutdown(Shutdown::Write).unwrap();
                assert!(reader.join().unwrap() == sent, "an echo of {size} bytes is wrong");
            });
        }
    });
}

#[test]
fn many_at_once() {
    each(|proxy| {
        let streams: Vec<_> = (0..200).map(|_| proxy.connect()).collect();
        for round in 0..5_u8 {
            for mut stream in &streams {
                stream.write_all(&[round; 100]).unwrap();
            }
            for mut stream in &streams {
                let mut answer = [0; 100];
                stream.read_exact(&mut answer).unwrap();
                assert_eq!(answer, [round; 100]);
            }
        }
    });
}

/// Both buffers and the pipes are full, and nobody reads.
#[test]
fn a_client_that_vanishes_takes_its_connection_along() {
    each(|proxy| {
        let stream = proxy.connect();
        assert!(fill(&stream, &bytes(10_000)) > 64 * 1024);
        reset(stream);
        let mut next = proxy.connect();
        next.write_all(b"x").unwrap();
        next.read_exact(&mut [0]).unwrap();
    });
}

#[test]
fn a_server_that_is_not_there_ends_the_connection() {
    // The port is kept, so that nobody else listens there.
    let kept = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    kept.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let proxy = proxy(1, kept.local_addr().unwrap().as_socket().unwrap());
    let mut stream = proxy.connect();
    let ended = stream.read(&mut [0]);
    assert!(matches!(ended, Ok(0)) || ended.is_err(), "{ended:?}");
    proxy.wait_for_connections(0);
}

#[test]
fn a_server_that_vanishes_ends_the_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy = proxy(2, listener.local_addr().unwrap());
    let mut stream = proxy.connect();
    let (server, _): (TcpStream, _) = listener.accept().unwrap();
    reset(server);
    let ended = stream.read(&mut [0]);
    assert!(matches!(ended, Ok(0)) || ended.is_err(), "{ended:?}");
    proxy.wait_for_connections(0);
}
