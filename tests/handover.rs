//! A listening socket that is handed to another process, while both go on to serve it.
//!
//! Not beside the other tests of sockets: between its fork and its exec a child has all that is open,
//! and what they have closed would still be there.

#[path = "net/support.rs"]
#[expect(dead_code, reason = "the other tests of sockets use the rest")]
mod support;

use crate::support::{PATIENCE, everywhere, guarded, runtime};
use pirn::net::{TcpListener, TcpStream};
use pirn::os::unix::net::UnixStream;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

/// Set in the child.
const CHILD: &str = "PIRN_NET_HANDOVER_CHILD";
const NAME: &str = "a_listener_is_served_by_two_processes";

/// Ends with the test, however that ends.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ended = self.0.kill();
        let _status = self.0.wait();
    }
}

/// This test in a process of its own, whose standard input is the other end of a socket.
fn start_child() -> (Process, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let child = Command::new(std::env::current_exe().unwrap())
        .args([NAME, "--exact", "--nocapture", "--test-threads=1"])
        .env(CHILD, "")
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(Stdio::null())
        .spawn();
    (Process(child.unwrap()), ours)
}

/// Answers `count` connections with the number of this process, each in a coroutine.
fn serve(listener: &TcpListener, count: usize) {
    let answers: Vec<_> = (0..count)
        .map(|_| {
            let (mut stream, _) = listener.accept().unwrap();
            pirn::spawn(move || stream.write_all(&std::process::id().to_be_bytes()).unwrap())
        })
        .collect();
    answers.into_iter().for_each(|answer| answer.join().unwrap());
}

/// Who answers.
fn ask(addr: SocketAddr) -> u32 {
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut process = [0; 4];
    stream.read_exact(&mut process).unwrap();
    u32::from_be_bytes(process)
}

/// Takes the listener, serves three, waits for word, and serves until the end of the stream.
fn child() {
    runtime(2).run(|| {
        let parent = std::io::stdin().as_fd().try_clone_to_owned().unwrap();
        let mut parent = UnixStream::from(parent);
        let mut word = [0; 8];
        let (len, mut fds) = parent.recv_fds(&mut word, 1).unwrap();
        assert_eq!(&word[..len], b"listener");
        let listener = TcpListener::from(fds.pop().unwrap());
        // Its flag is shared with the parent, which cannot do without; here it means nothing.
        listener.set_nonblocking(false).unwrap();
        serve(&listener, 3);
        parent.write_all(b"served").unwrap();
        parent.read_exact(&mut word[..5]).unwrap();
        assert_eq!(&word[..5], b"go on");
        pirn::spawn(move || {
            loop {
                serve(&listener, 1);
            }
        });
        assert_eq!(parent.read(&mut word).unwrap(), 0);
    });
}

#[test]
fn a_listener_is_served_by_two_processes() {
    if std::env::var_os(CHILD).is_some() {
        return child();
    }
    guarded(NAME, || runtime(2).run(parent));
}

fn parent() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let (mut process, mut child) = start_child();
    let (us, them) = (std::process::id(), process.0.id());
    assert_eq!(child.send_fds(b"listener", &[listener.as_fd()]).unwrap(), 8);

    // Nobody accepts here yet.
    assert_eq!([(); 3].map(|()| ask(addr)), [them; 3]);
    let mut word = [0; 6];
    child.read_exact(&mut word).unwrap();
    assert_eq!(&word, b"served");

    // And now there nobody does.
    let listener = Arc::new(listener);
    let server = pirn::spawn({
        let listener = listener.clone();
        move || serve(&listener, 3)
    });
    assert_eq!([(); 3].map(|()| ask(addr)), [us; 3]);
    server.join().unwrap();

    // Both, until each has had its share.
    child.write_all(b"go on").unwrap();
    drop(pirn::spawn(move || {
        loop {
            serve(&listener, 1);
        }
    }));
    let asked = AtomicUsize::new(0);
    let end = Instant::now() + PATIENCE;
    let (mut ours, mut theirs) = (0, 0);
    while ours < 3 || theirs < 3 {
        assert!(Instant::now() < end, "{ours} here, {theirs} there");
        pirn::thread::scope(|scope| {
            let clients: Vec<_> = (0..8)
                .map(|_| {
                    scope.spawn(|| {
                        asked.fetch_add(1, Ordering::Relaxed);
                        ask(addr)
                    })
                })
                .collect();
            for client in clients {
                match client.join().unwrap() {
                    process if process == us => ours += 1,
                    process if process == them => theirs += 1,
                    stranger => panic!("{stranger} answers"),
                }
            }
        });
    }
    assert_eq!(ours + theirs, asked.into_inner());
    drop(child);
    assert!(process.0.wait().unwrap().success());
}

/// A child gets descriptors of its own, which it may close as it likes.
#[test]
fn a_descriptor_comes_back_from_another_process() {
    everywhere(|_world| {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (reader, mut writer) = std::io::pipe().unwrap();
        ours.send_fds(b"x", &[reader.as_fd()]).unwrap();
        drop(reader);
        // `cat` as a child: its input is the pipe, its output the socket.
        let (_, mut fds) = theirs.recv_fds(&mut [0; 1], 1).unwrap();
        let mut child = Command::new("cat")
            .stdin(Stdio::from(fds.pop().unwrap()))
            .stdout(Stdio::from(OwnedFd::from(theirs)))
            .spawn()
            .unwrap();
        writer.write_all(b"through a pipe, a process and a socket").unwrap();
        drop(writer);
        let mut text = String::new();
        (&ours).read_to_string(&mut text).unwrap();
        assert_eq!(text, "through a pipe, a process and a socket");
        assert!(child.wait().unwrap().success());
    });
}
