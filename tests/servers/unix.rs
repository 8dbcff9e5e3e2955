//! The server on a Unix socket.

use crate::server::accept;
use crate::support::{PATIENCE, bytes, no_forks, read_to_end};
use crate::unix_server::{listen, say, serve};
use std::io::Write;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

/// Serves until it is dropped.
struct Server {
    _runtime: pirn::Runtime,
    path: PathBuf,
}

impl Server {
    fn start(name: &str, workers: usize) -> Server {
        let name = format!("pirn-servers-{}-{name}-{workers}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let runtime = pirn::Builder::new().workers(workers).build().unwrap();
        let listener = listen(&path).unwrap();
        drop(runtime.spawn(move || -> () {
            accept::for_ever(|| listener.accept().map(|(stream, _peer)| stream), serve)
        }));
        Server { _runtime: runtime, path }
    }

    fn connect(&self) -> UnixStream {
        let stream = UnixStream::connect(&self.path).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _removed = std::fs::remove_file(&self.path);
    }
}

#[test]
fn it_says_back_what_it_is_told() {
    for workers in [1, 2] {
        let server = Server::start("echo", workers);
        assert_eq!(say(&server.path, "hello, hello").unwrap(), "hello, hello");
        for size in [0, 1, 3_000_000] {
            let stream = server.connect();
            let sent = bytes(size);
            std::thread::scope(|scope| {
                let reader = scope.spawn(|| read_to_end(&stream));
                (&stream).write_all(&sent).unwrap();
                stream.shutdown(Shutdown::Write).unwrap();
                assert!(reader.join().unwrap() == sent, "an echo of {size} bytes is wrong");
            });
        }
    }
}

#[test]
fn it_answers_http() {
    for workers in [1, 2] {
        let server = Server::start("http", workers);
        let requests = [
            &["GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"][..],
            &["GET /x HTTP/1.1\r\n", "Host: localhost\r", "\n\r\n"],
        ];
        for parts in requests {
            let mut stream = server.connect();
            parts.iter().for_each(|part| stream.write_all(part.as_bytes()).unwrap());
            let response = String::from_utf8(read_to_end(&stream)).unwrap();
            let (head, body) = response.split_once("\r\n\r\n").unwrap();
            assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
            assert!(head.contains(&format!("Content-Length: {}", body.len())), "{head}");
        }
        // One that gives up, and one that never ends, hold nobody up.
        let mut stream = server.connect();
        stream.write_all(b"GET / HTTP/1.1\r\n").unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        assert_eq!(read_to_end(&stream), b"");
        let mut stream = server.connect();
        stream.write_all(&[b"GET / ", &[b'x'; 20_000][..]].concat()).unwrap();
        assert_eq!(say(&server.path, "still there?").unwrap(), "still there?");
    }
}

#[test]
fn what_a_server_left_behind_is_no_hindrance() {
    let server = Server::start("again", 1);
    let path = server.path.clone();
    // There can be only one.
    let error = listen(&path).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
    let _no_forks = no_forks();
    let left = std::os::unix::net::UnixListener::bind(path.with_extension("left")).unwrap();
    let place = left.local_addr().unwrap().as_pathname().unwrap().to_owned();
    drop(left);
    drop(listen(&place).unwrap());
    std::fs::remove_file(place).unwrap();
}
