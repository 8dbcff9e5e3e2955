//! The chat server, and members that read all they are told.

use crate::chat_server::{self, Room};
use crate::support::Server;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;

fn chat() -> Server {
    let room = Arc::new(Room::default());
    // With one worker, nobody takes from a queue while somebody else runs.
    Server::start(1, move |stream| chat_server::serve(stream, &room))
}

/// Comes in, and reads the line that says who else is here.
fn join(server: &Server, name: &str) -> BufReader<TcpStream> {
    let mut member = BufReader::new(server.connect());
    member.read_exact(&mut [0; "Your name? ".len()]).unwrap();
    writeln!(member.get_mut(), "{name}").unwrap();
    assert!(next_line(&mut member).starts_with("* here: "));
    member
}

fn next_line(member: &mut BufReader<TcpStream>) -> String {
    let mut line = String::new();
    member.read_line(&mut line).unwrap();
    line
}

/// What `speaker` says, among those who come and go.
fn next_line_of(member: &mut BufReader<TcpStream>, speaker: &str) -> String {
    loop {
        let line = next_line(member);
        assert_ne!(line, "", "a member that reads was dropped");
        if line.starts_with(speaker) {
            return line;
        }
    }
}

/// More lines than may wait for a member.
#[test]
fn a_page_that_is_pasted_comes_to_everybody_who_reads() {
    const LINES: usize = 50_000;
    let server = chat();
    let mut members: Vec<_> = (0..3).map(|n| join(&server, &format!("member {n}"))).collect();
    let mut pasting = join(&server, "pasting");
    std::thread::scope(|scope| {
        for member in &mut members {
            scope.spawn(|| {
                for n in 0..LINES {
                    assert_eq!(next_line_of(member, "pasting: "), format!("pasting: {n}\n"));
                }
            });
        }
        let page: String = (0..LINES).map(|n| format!("{n}\n")).collect();
        pasting.get_mut().write_all(page.as_bytes()).unwrap();
    });
    pasting.get_mut().shutdown(Shutdown::Write).unwrap();
    drop(members);
    server.wait_for_connections(0);
}

/// Each is told what all others say before it comes to its turn.
#[test]
fn many_may_speak_at_once() {
    const MEMBERS: usize = 400;
    let server = chat();
    let mut members: Vec<_> = (0..MEMBERS).map(|n| join(&server, &format!("m{n}"))).collect();
    // So that all that they say is there at once.
    let (stop, stopped) = std::sync::mpsc::channel();
    server.runtime.spawn(move || {
        stop.send(()).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(200));
    });
    stopped.recv().unwrap();
    for member in &mut members {
        member.get_mut().write_all(b"hello\n").unwrap();
    }
    for (n, member) in members.iter_mut().enumerate() {
        let mut heard = 0;
        while heard < MEMBERS - 1 {
            let line = next_line(member);
            assert_ne!(line, "", "member {n}, who reads, was dropped");
            heard += usize::from(line.ends_with(": hello\n"));
        }
    }
    drop(members);
    server.wait_for_connections(0);
}

#[test]
fn who_does_not_read_is_dropped_and_nobody_waits_for_them() {
    const LINES: usize = 40_000;
    let server = chat();
    let slow = join(&server, "slow");
    socket2::SockRef::from(slow.get_ref()).set_recv_buffer_size(4096).unwrap();
    let mut reading = join(&server, "reading");
    let mut speaking = join(&server, "speaking");
    std::thread::scope(|scope| {
        let reading = scope.spawn(|| {
            let mut dropped = false;
            for n in 0..LINES {
                let line = loop {
                    let line = next_line(&mut reading);
                    assert_ne!(line, "", "a member that reads was dropped");
                    dropped |= line == "* slow has gone\n";
                    if line.starts_with("speaking: ") {
                        break line;
                    }
                };
                assert!(line.starts_with(&format!("speaking: {n} ")), "{line:?} is not line {n}");
            }
            dropped
        });
        for n in 0..LINES {
            writeln!(speaking.get_mut(), "{n} {}", "x".repeat(900)).unwrap();
        }
        assert!(reading.join().unwrap(), "who reads nothing was not dropped");
    });
    drop(slow);
    drop((reading, speaking));
    server.wait_for_connections(0);
}
