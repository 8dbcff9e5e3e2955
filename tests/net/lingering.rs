//! `SO_LINGER`: streams whose close waits for what they have to send, as it does on Linux although they
//! are nonblocking.

use crate::support::{Flag, PATIENCE, guarded, own_addr, runtime};
use pirn::net::{SocketBuilder, TcpListener, TcpStream};
use socket2::SockRef;
use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::Duration;

/// One whose peer reads little ahead, so that not all of what is written is sent before it reads more.
fn connect_reluctantly(addr: SocketAddr) -> TcpStream {
    SocketBuilder::new().recv_buffer_size(4096).connect(addr).unwrap()
}

fn lingering() -> SocketBuilder {
    SocketBuilder::new().linger(PATIENCE)
}

fn accepted_from(listener: &TcpListener) -> (TcpStream, TcpStream) {
    let peer = connect_reluctantly(listener.local_addr().unwrap());
    (listener.accept().unwrap().0, peer)
}

fn accepted() -> (TcpStream, TcpStream) {
    accepted_from(&lingering().listen(own_addr()).unwrap())
}

fn accepted_from_a_foreign_listener() -> (TcpStream, TcpStream) {
    let listener = std::net::TcpListener::bind(own_addr()).unwrap();
    SockRef::from(&listener).set_linger(Some(PATIENCE)).unwrap();
    accepted_from(&TcpListener::from_std(listener))
}

fn connected() -> (TcpStream, TcpStream) {
    let listener = SocketBuilder::new().recv_buffer_size(4096).listen(own_addr()).unwrap();
    let ours = lingering().connect(listener.local_addr().unwrap()).unwrap();
    (ours, listener.accept().unwrap().0)
}

fn taken_over() -> (TcpStream, TcpStream) {
    let (ours, peer) = accepted_from(&TcpListener::bind(own_addr()).unwrap());
    let ours = ours.into_std().unwrap();
    SockRef::from(&ours).set_linger(Some(PATIENCE)).unwrap();
    (TcpStream::from_std(ours), peer)
}

/// Writes as much as there is room for; how much that is.
fn fill(mut stream: &TcpStream) -> usize {
    stream.set_nonblocking(true).unwrap();
    let mut written = 0;
    loop {
        match stream.write(&[0; 1 << 16]) {
            Ok(count) => written += count,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                return written;
            }
        }
    }
}

/// What the close waits for is done by another coroutine of the same worker.
#[test]
fn a_close_that_lingers_stops_nobody_else() {
    let pairs =
        [accepted, accepted_from_a_foreign_listener, connected, taken_over] as [fn() -> _; 4];
    for pair in pairs {
        guarded("a close that lingers", || {
            runtime(1).run(|| {
                let (ours, mut peer) = pair();
                let written = fill(&ours);
                let (started, goes_on) = (Flag::default(), Flag::default());
                let (begins, proceeds) = (started.clone(), goes_on.clone());
                let reading = pirn::spawn(move || {
                    begins.set();
                    // From here on it belongs to this worker.
                    pirn::thread::park();
                    proceeds.set();
                    let mut all = Vec::new();
                    peer.read_to_end(&mut all).unwrap();
                    all.len()
                });
                started.wait_and_settle();
                reading.thread().unpark();
                drop(ours);
                assert!(goes_on.is_set(), "the close has stopped the worker");
                assert_eq!(reading.join().unwrap(), written);
            });
        });
    }
}

/// Whoever drops a stream finds it closed, and what was sent received by the other system.
#[test]
fn a_close_that_lingers_is_waited_for() {
    guarded("a close that is waited for", || {
        runtime(1).run(|| {
            let (ours, mut peer) = accepted();
            let written = fill(&ours);
            let closing = pirn::spawn(move || drop(ours));
            (0..50).for_each(|_| pirn::thread::yield_now());
            assert!(!closing.is_finished());
            let mut all = Vec::new();
            peer.read_to_end(&mut all).unwrap();
            closing.join().unwrap();
            assert_eq!(all.len(), written);
        });
    });
}

/// With a linger time of zero, a close resets at once, as ever.
#[test]
fn a_reset_is_not_waited_for() {
    guarded("a reset", || {
        runtime(1).run(|| {
            let listener = SocketBuilder::new().linger(Duration::ZERO).listen(own_addr()).unwrap();
            let (ours, mut peer) = accepted_from(&listener);
            fill(&ours);
            drop(ours);
            let error = peer.read_to_end(&mut Vec::new()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        });
    });
}
