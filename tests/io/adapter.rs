//! `Async`: anything with a descriptor.

use crate::support::{everywhere, guarded, pattern, runtime, settle};
use pirn::io::{Async, ErrorKind, Read, Write};
use std::fs::File;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::time::{Duration, Instant};

const SOON: Duration = Duration::from_millis(20);

fn is_nonblocking(stream: &UnixStream) -> bool {
    socket2::SockRef::from(stream).nonblocking().unwrap()
}

#[test]
fn a_stream_of_stds_reads_and_writes() {
    everywhere(|world| {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (mut ours, mut theirs) = (Async::new(ours).unwrap(), Async::new(theirs).unwrap());
        let sent = pattern(1 << 20);
        let expected = sent.clone();
        let writing = world.spawn(move || theirs.write_all(&sent).unwrap());
        let mut received = Vec::new();
        ours.read_to_end(&mut received).unwrap();
        writing.join();
        assert!(received == expected);
    });
}

#[test]
fn any_operation_waits() {
    everywhere(|world| {
        let (ours, theirs) = UnixDatagram::pair().unwrap();
        let ours = Async::new(ours).unwrap();
        let receiving = world.spawn(move || {
            let mut buf = [0; 16];
            let count = ours.read_with(|socket| socket.recv(&mut buf)).unwrap();
            buf[..count].to_vec()
        });
        settle();
        theirs.send(b"a datagram").unwrap();
        assert_eq!(receiving.join(), b"a datagram");

        let (ours, theirs) = UnixDatagram::pair().unwrap();
        let ours = Async::new(ours).unwrap();
        let sending = world.spawn(move || {
            (0..2000).for_each(|_| {
                ours.write_with(|socket| socket.send(b"one of many")).unwrap();
            });
        });
        // It is blocked when the queue is full, and goes on as this empties it.
        let theirs = Async::new(theirs).unwrap();
        for _ in 0..2000 {
            assert_eq!(theirs.read_with(|socket| socket.recv(&mut [0; 16])).unwrap(), 11);
        }
        sending.join();
    });
}

#[test]
fn readiness_is_waited_for() {
    everywhere(|world| {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let ours = Async::new(ours).unwrap();
        ours.writable().unwrap();
        ours.writable_until(Instant::now() + SOON).unwrap();
        let begun = Instant::now();
        let error = ours.readable_until(begun + SOON).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        assert!(begun.elapsed() >= SOON);
        let writing = world.spawn(move || {
            settle();
            theirs.write_all(b"x").unwrap();
            theirs
        });
        ours.readable().unwrap();
        // Twice: what is there stays there.
        ours.readable().unwrap();
        drop(writing.join());
        assert_eq!((&ours).read(&mut [0; 9]).unwrap(), 1);
        // The end is readable, too.
        ours.readable().unwrap();
    });
}

#[test]
fn the_flag_is_put_back() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let ours = Async::new(ours).unwrap();
    assert!(is_nonblocking(ours.get_ref()));
    assert!(!is_nonblocking(&ours.into_inner().unwrap()));
    theirs.set_nonblocking(true).unwrap();
    let theirs = Async::new(theirs).unwrap();
    assert!(is_nonblocking(&theirs.into_inner().unwrap()));
    let (ours, _theirs) = UnixStream::pair().unwrap();
    assert!(!is_nonblocking(Async::new_unchanged(ours).unwrap().get_ref()));
}

#[test]
fn files_on_disks_are_refused() {
    for path in ["Cargo.toml", "src"] {
        let error = Async::new(File::open(path).unwrap()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
    }
    // It has no readiness and never blocks.
    let mut null = Async::new(File::open("/dev/null").unwrap()).unwrap();
    runtime(1).run(move || assert_eq!(null.read(&mut [0]).unwrap(), 0));
}

/// A value that is replaced leaves the wait for the first one in order.
#[test]
fn a_value_that_is_replaced_does_no_harm() {
    guarded("replaced", || {
        runtime(1).run(|| {
            let (first, mut peer) = UnixStream::pair().unwrap();
            let (second, _second_peer) = UnixStream::pair().unwrap();
            let mut ours = Async::new(first).unwrap();
            ours.readable_until(Instant::now() + SOON).unwrap_err();
            let first = std::mem::replace(ours.get_mut(), second);
            peer.write_all(b"x").unwrap();
            ours.readable().unwrap();
            drop((ours, first));
        });
    });
}

#[test]
fn waits_end_with_their_runtime() {
    guarded("cancellation", || {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let ours = std::sync::Arc::new(Async::new(ours).unwrap());
        let runtime = runtime(2);
        for _ in 0..5 {
            let ours = ours.clone();
            runtime.spawn(move || ours.readable().unwrap());
        }
        runtime.run(settle);
        drop(runtime);
        assert_eq!(std::sync::Arc::strong_count(&ours), 1);
    });
}
