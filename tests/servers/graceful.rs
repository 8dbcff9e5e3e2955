//! The server that stops gracefully, in a process of its own, told by a signal and by its input.

use crate::graceful_server::serve_until_told;
use crate::support::{PATIENCE, no_forks};
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

/// Set in the child: for how long it lets others finish, in seconds.
const CHILD: &str = "PIRN_GRACEFUL_CHILD";

/// Milliseconds that a request takes which is complete when the server says that it has been told to
/// stop: more than it takes to begin with that.
const SLOW: u64 = 3000;

/// Whether this is the child; then it has served to its end.
fn was_child() -> bool {
    let Ok(grace) = std::env::var(CHILD) else { return false };
    let grace = Duration::from_secs(grace.parse().unwrap());
    let runtime = pirn::Builder::new().workers(2).build().unwrap();
    runtime.run(|| serve_until_told("127.0.0.1:0", grace)).unwrap();
    true
}

struct Server {
    process: Child,
    lines: BufReader<ChildStdout>,
    address: SocketAddr,
}

impl Server {
    fn start(test: &str, grace: u64) -> Server {
        let forking = no_forks();
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args([&format!("graceful::{test}"), "--exact", "--nocapture", "--test-threads=1"])
            .env(CHILD, grace.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        drop(forking);
        let lines = BufReader::new(process.stdout.take().unwrap());
        let mut server = Server { process, lines, address: ([0; 4], 0).into() };
        let line = server.line_with("listening on http://");
        let (_, address) = line.split_once("http://").unwrap();
        server.address = address.trim_end_matches('/').parse().unwrap();
        server
    }

    /// The next line of the server's with these words.
    #[track_caller]
    fn line_with(&mut self, words: &str) -> String {
        loop {
            let mut line = String::new();
            assert!(self.lines.read_line(&mut line).unwrap() > 0, "it ends without {words:?}");
            if line.contains(words) {
                return line.trim_end().to_owned();
            }
        }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// Waits for its end, which is to be a good one.
    fn wait(mut self) {
        assert!(self.process.wait().unwrap().success());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _gone = self.process.kill();
        let _reaped = self.process.wait();
    }
}

fn ask(stream: &TcpStream, path: &str) {
    begin(stream, path);
    end(stream);
}

/// A request without its last line.
fn begin(mut stream: &TcpStream, path: &str) {
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: test\r\n").as_bytes()).unwrap();
}

fn end(mut stream: &TcpStream) {
    stream.write_all(b"\r\n").unwrap();
}

/// One answer: its head, and its body.
#[track_caller]
fn answer(mut stream: &TcpStream) -> (String, String) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).unwrap();
    let mut body = vec![0; length.parse().unwrap()];
    stream.read_exact(&mut body).unwrap();
    (head, String::from_utf8(body).unwrap())
}

/// A slow request is answered and its connection closed, though it could be kept.
#[track_caller]
fn finishes(server: Server, slow: &TcpStream) {
    let (head, body) = answer(slow);
    assert!(
        head.starts_with("HTTP/1.1 200 OK\r\n") && head.contains("Connection: close"),
        "{head}"
    );
    assert_eq!(body, format!("This took {SLOW} ms.\n"));
    assert_eq!((&mut &*slow).read(&mut [0]).unwrap(), 0);
    assert!(TcpStream::connect(server.address).is_err());
    server.wait();
}

#[test]
fn a_signal_lets_who_is_being_served_finish() {
    if was_child() {
        return;
    }
    for signal in ["-INT", "-TERM"] {
        let mut server = Server::start("a_signal_lets_who_is_being_served_finish", 60);
        let client = server.connect();
        for _ in 0..3 {
            ask(&client, "/");
            let (head, body) = answer(&client);
            assert!(head.contains("Connection: keep-alive"), "{head}");
            assert_eq!(body, "Hello from a coroutine!\n");
        }
        // However long it takes to tell the server, the request is there by then, and not served.
        begin(&client, &format!("/slow/{SLOW}"));
        let process = server.process.id().to_string();
        let mut kill = Command::new("kill");
        let forking = no_forks();
        let mut kill = kill.args([signal, &process]).spawn().unwrap();
        drop(forking);
        assert!(kill.wait().unwrap().success());
        assert!(server.line_with("connections left").ends_with(": 1 connections left"));
        end(&client);
        assert_eq!(server.line_with("served"), "served 1 connections, 0 panics, 0 cut off");
        finishes(server, &client);
    }
}

#[test]
fn what_does_not_finish_is_cut_off() {
    if was_child() {
        return;
    }
    let mut server = Server::start("what_does_not_finish_is_cut_off", 0);
    let clients = [(); 3].map(|()| server.connect());
    for client in &clients {
        ask(client, "/");
        answer(client);
    }
    ask(&clients[0], "/slow/60000");
    let mut input = server.process.stdin.take().unwrap();
    input.write_all(b"what?\nquit\n").unwrap();
    server.line_with("quit: 3 connections left");
    assert_eq!(server.line_with("served"), "served 3 connections, 0 panics, 3 cut off");
    for mut client in &clients {
        let ended = client.read(&mut [0]).map_err(|error| error.kind());
        // A reset if its request was never read.
        assert!([Ok(0), Err(ErrorKind::ConnectionReset)].contains(&ended), "{ended:?}");
    }
    server.wait();
}
