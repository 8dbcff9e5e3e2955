//! The HTTP server.

use crate::http_server::{GREETING, serve};
use crate::support::{Server, bytes, fill, read_all, reset};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n";
const LAST: &[u8] = b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";

fn each(test: impl Fn(&Server)) {
    for workers in [1, 2] {
        let server = Server::start(workers, serve);
        test(&server);
        server.wait_for_connections(0);
    }
}

fn post(body: &[u8]) -> Vec<u8> {
    let head =
        format!("POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

/// Reads one response: its status and its body.
#[track_caller]
fn response(mut stream: &TcpStream) -> (u16, Vec<u8>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
    let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
    stream.read_exact(&mut body).unwrap();
    (status, body)
}

#[track_caller]
fn greeting(mut stream: &TcpStream) {
    stream.write_all(GET).unwrap();
    assert_eq!(response(stream), (200, GREETING.to_vec()));
}

#[test]
fn requests_that_come_a_byte_at_a_time() {
    each(|server| {
        let mut stream = server.connect();
        let body = bytes(300);
        for request in [GET, &post(&body), GET] {
            request.iter().for_each(|byte| stream.write_all(&[*byte]).unwrap());
        }
        assert_eq!(response(&stream), (200, GREETING.to_vec()));
        assert_eq!(response(&stream), (200, body));
        assert_eq!(response(&stream), (200, GREETING.to_vec()));
        // A byte, and a wait until it has most likely been looked at.
        for byte in LAST {
            stream.write_all(&[*byte]).unwrap();
            std::thread::yield_now();
        }
        assert_eq!(response(&stream), (200, GREETING.to_vec()));
        assert_eq!(read_all(&stream), b"");
    });
}

#[test]
fn a_large_body_comes_back() {
    each(|server| {
        let mut stream = server.connect();
        for size in [0, 1, 4096, 100_000, 1024 * 1024] {
            let body = bytes(size);
            stream.write_all(&post(&body)).unwrap();
            assert!(response(&stream) == (200, body), "a body of {size} bytes is wrong");
        }
    });
}

#[test]
fn a_peer_that_half_closes_gets_its_answers() {
    each(|server| {
        let mut stream = server.connect();
        stream.write_all(&GET.repeat(100)).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        (0..100).for_each(|_| assert_eq!(response(&stream), (200, GREETING.to_vec())));
        assert_eq!(read_all(&stream), b"");
    });
}

/// Half a request is none.
#[test]
fn a_peer_that_half_closes_within_a_request_gets_the_end() {
    each(|server| {
        for request in [GET, &post(&bytes(1000))] {
            for part in [1, request.len() / 2, request.len() - 1] {
                let mut stream = server.connect();
                stream.write_all(&request[..part]).unwrap();
                stream.shutdown(Shutdown::Write).unwrap();
                assert_eq!(read_all(&stream), b"");
            }
        }
    });
}

#[test]
fn a_reset_ends_one_connection() {
    each(|server| {
        let neighbour = server.connect();
        let request = post(&bytes(10_000));
        for part in [0, 10, request.len() / 2, request.len()] {
            for _ in 0..10 {
                let mut stream = server.connect();
                stream.write_all(&request[..part]).unwrap();
                reset(stream);
                greeting(&neighbour);
            }
        }
        server.wait_for_connections(1);
        greeting(&neighbour);
    });
}

#[test]
fn a_peer_that_does_not_read_its_answers_holds_up_itself_alone() {
    each(|server| {
        let stuck = [server.connect(), server.connect()];
        let sent = stuck.each_ref().map(|stream| fill(stream, GET));
        for _ in 0..20 {
            let neighbour = server.connect();
            (0..50).for_each(|_| greeting(&neighbour));
        }
        let [reads, leaves] = stuck;
        // What is left of the last request that has been begun waits behind all those answers.
        std::thread::scope(|scope| {
            scope.spawn(|| {
                (&reads).write_all(&GET[sent[0] % GET.len()..]).unwrap();
                reads.shutdown(Shutdown::Write).unwrap();
            });
            let requests = sent[0] / GET.len() + 1;
            let answers = read_all(&reads);
            let one = answers.len() / requests;
            assert_eq!(one * requests, answers.len());
            assert!(answers[..one].ends_with(GREETING));
            assert!(answers.chunks(one).all(|answer| answer == &answers[..one]));
        });
        server.wait_for_connections(1);
        reset(leaves);
    });
}

/// The connection ends, but not by a reset that would overtake the answer.
#[test]
fn what_is_no_request_is_answered_and_ends_the_connection() {
    let refused: [(&str, u16); 9] = [
        ("this is no request\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400),
        ("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1048577\r\n\r\n", 413),
        ("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", 501),
        ("GET / HTTP/1.1\r\nHost: a\r\nLong: ", 431),
    ];
    each(|server| {
        for (request, status) in refused {
            let mut stream = server.connect();
            // More than the longest head, and most of it is never looked at.
            stream.write_all(request.as_bytes()).unwrap();
            stream.write_all(&[b'x'; 50_000]).unwrap();
            assert_eq!(response(&stream).0, status, "{request:?}");
            stream.shutdown(Shutdown::Write).unwrap();
            assert_eq!(read_all(&stream), b"", "{request:?}");
        }
    });
}

#[test]
fn other_answers() {
    let head = |method: &str, path: &str| format!("{method} {path} HTTP/1.1\r\nHost: a\r\n\r\n");
    each(|server| {
        let mut stream = server.connect();
        for (request, status) in [
            (head("GET", "/missing"), 404),
            (head("PUT", "/"), 405),
            (head("GET", "/echo"), 405),
            (head("GET", "/"), 200),
        ] {
            stream.write_all(request.as_bytes()).unwrap();
            assert_eq!(response(&stream).0, status, "{request:?}");
        }
        // The body is asked for before it is sent.
        let request = "POST /echo HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n";
        stream.write_all(format!("{request}Content-Length: 4\r\n\r\n").as_bytes()).unwrap();
        assert_eq!(response(&stream), (100, Vec::new()));
        stream.write_all(b"body").unwrap();
        assert_eq!(response(&stream), (200, b"body".to_vec()));
    });
}

#[test]
fn http_1_0_closes_unless_it_is_told_not_to() {
    each(|server| {
        let mut stream = server.connect();
        stream.write_all(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").unwrap();
        assert_eq!(response(&stream), (200, GREETING.to_vec()));
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
        assert_eq!(response(&stream), (200, GREETING.to_vec()));
        assert_eq!(read_all(&stream), b"");
    });
}
