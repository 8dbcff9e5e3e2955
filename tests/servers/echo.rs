//! The echo server.

use crate::echo_server::serve;
use crate::support::{Server, bytes, fill, read_all, reset};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

/// On one worker everybody is everybody's neighbour.
fn each(test: impl Fn(&Server)) {
    for workers in [1, 2] {
        let server = Server::start(workers, serve);
        test(&server);
        server.wait_for_connections(0);
    }
}

#[track_caller]
fn round_trip(mut stream: &TcpStream, message: &[u8]) {
    stream.write_all(message).unwrap();
    let mut answer = vec![0; message.len()];
    stream.read_exact(&mut answer).unwrap();
    assert!(answer == message, "an echo of {} bytes is wrong", message.len());
}

#[test]
fn a_peer_that_half_closes_gets_everything_and_then_the_end() {
    each(|server| {
        for size in [0, 1, 8 * 1024, 64 * 1024 + 1, 3_000_000] {
            let stream = server.connect();
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
fn a_peer_that_sends_a_byte_at_a_time() {
    each(|server| {
        let mut stream = server.connect();
        let sent = bytes(2000);
        // First with an answer awaited for each, then without.
        sent.iter().for_each(|byte| round_trip(&stream, &[*byte]));
        sent.iter().for_each(|byte| stream.write_all(&[*byte]).unwrap());
        stream.shutdown(Shutdown::Write).unwrap();
        assert_eq!(read_all(&stream), sent);
    });
}

#[test]
fn a_reset_ends_one_connection() {
    each(|server| {
        let neighbour = server.connect();
        round_trip(&neighbour, b"before");
        for size in [0, 1, 100_000] {
            for _ in 0..10 {
                let mut stream = server.connect();
                stream.write_all(&bytes(size)).unwrap();
                reset(stream);
                round_trip(&neighbour, b"meanwhile");
            }
        }
        server.wait_for_connections(1);
        round_trip(&neighbour, b"after");
    });
}

#[test]
fn a_peer_that_does_not_read_holds_up_itself_alone() {
    each(|server| {
        let pattern = bytes(251 * 100);
        let stuck = [server.connect(), server.connect()];
        let sent = stuck.each_ref().map(|stream| fill(stream, &pattern));
        for _ in 0..20 {
            let neighbour = server.connect();
            (0..50).for_each(|_| round_trip(&neighbour, &pattern));
        }
        // One comes to its senses, and finds everything there.
        let [reads, leaves] = stuck;
        reads.shutdown(Shutdown::Write).unwrap();
        assert!(read_all(&reads) == bytes(sent[0]), "an echo of {} bytes is wrong", sent[0]);
        // The other leaves without a word, while its echo waits in `write`.
        server.wait_for_connections(1);
        reset(leaves);
    });
}

#[test]
fn many_that_come_and_leave_at_once() {
    each(|server| {
        std::thread::scope(|scope| {
            for kind in 0..4 {
                scope.spawn(move || {
                    for turn in 0..50 {
                        let mut stream = server.connect();
                        match kind {
                            0 => round_trip(&stream, &bytes(1000 + turn)),
                            1 => stream.shutdown(Shutdown::Both).unwrap(),
                            2 => stream.write_all(&bytes(turn)).unwrap(),
                            _ => reset(stream),
                        }
                    }
                });
            }
        });
        let stream = server.connect();
        round_trip(&stream, b"still here");
    });
}
