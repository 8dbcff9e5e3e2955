//! An edge is reported once, and again for every readiness that follows a `WouldBlock`.

#[path = "common/blocked.rs"]
mod blocked;
mod common;

use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use blocked::while_polling;
use common::{LONG, poll};
use netpoll::{Event, Interest, Key, Poller, Trigger};

const KEY: Key = Key::new(1, 2);

fn pair() -> (UnixStream, UnixStream) {
    let (a, b) = UnixStream::pair().unwrap();
    a.set_nonblocking(true).unwrap();
    b.set_nonblocking(true).unwrap();
    (a, b)
}

/// Reads until `WouldBlock`, and does what must follow it.
fn drain(poller: &Poller, stream: &mut UnixStream) {
    let mut buffer = [0; 4096];
    let end = loop {
        if let Err(e) = stream.read(&mut buffer) {
            break e;
        }
    };
    assert_eq!(end.kind(), ErrorKind::WouldBlock);
    poller.rearm(stream.as_fd(), Interest::READABLE).unwrap();
}

/// Writes until `WouldBlock`, and does what must follow it.
fn fill(poller: &Poller, stream: &mut UnixStream) {
    let end = loop {
        if let Err(e) = stream.write(&[0; 4096]) {
            break e;
        }
    };
    assert_eq!(end.kind(), ErrorKind::WouldBlock);
    poller.rearm(stream.as_fd(), Interest::WRITABLE).unwrap();
}

fn readable(events: &[Event]) -> usize {
    events.iter().filter(|event| event.key() == KEY && event.is_readable()).count()
}

fn writable(events: &[Event]) -> usize {
    events.iter().filter(|event| event.key() == KEY && event.is_writable()).count()
}

#[test]
fn reported_once_while_nothing_happens() {
    let poller = Poller::new().unwrap();
    let (a, mut b) = pair();
    poller.add(a.as_fd(), KEY, Interest::READABLE, Trigger::Edge).unwrap();
    assert!(poll(&poller, Duration::ZERO).is_empty());
    b.write_all(b"x").unwrap();
    assert_eq!(readable(&poll(&poller, LONG)), 1);
    assert!(poll(&poller, Duration::ZERO).is_empty());
}

#[test]
fn what_is_ready_when_added_is_reported() {
    let poller = Poller::new().unwrap();
    let (a, mut b) = pair();
    b.write_all(b"x").unwrap();
    poller.add(a.as_fd(), KEY, Interest::BOTH, Trigger::Edge).unwrap();
    let events = poll(&poller, LONG);
    assert_eq!((readable(&events), writable(&events)), (1, 1));
}

#[test]
fn what_is_ready_when_modified_is_reported_again() {
    let poller = Poller::new().unwrap();
    let (a, mut b) = pair();
    b.write_all(b"x").unwrap();
    poller.add(a.as_fd(), KEY, Interest::READABLE, Trigger::Edge).unwrap();
    for _ in 0..3 {
        assert_eq!(readable(&poll(&poller, LONG)), 1);
        assert!(poll(&poller, Duration::ZERO).is_empty());
        poller.modify(a.as_fd(), KEY, Interest::READABLE, Trigger::Edge).unwrap();
    }
}

#[test]
fn reported_again_after_every_drain() {
    let poller = Poller::new().unwrap();
    let (mut a, mut b) = pair();
    poller.add(a.as_fd(), KEY, Interest::READABLE, Trigger::Edge).unwrap();
    for _ in 0..100 {
        let events =
            while_polling(&poller, |events| !events.is_empty(), || b.write_all(b"x").unwrap());
        assert_eq!(readable(&events), 1);
        drain(&poller, &mut a);
        assert!(poll(&poller, Duration::ZERO).is_empty());
    }
}

/// The readiness of two polls looks alike here, though an edge lies between them.
#[test]
fn drained_and_filled_between_two_polls() {
    let poller = Poller::new().unwrap();
    let (mut a, mut b) = pair();
    poller.add(a.as_fd(), KEY, Interest::READABLE, Trigger::Edge).unwrap();
    b.write_all(b"x").unwrap();
    for _ in 0..100 {
        assert_eq!(readable(&poll(&poller, LONG)), 1);
        drain(&poller, &mut a);
        b.write_all(b"x").unwrap();
    }
}

/// What comes between the `WouldBlock` and the rearming must not be lost.
#[test]
fn filled_before_it_is_rearmed() {
    let poller = Poller::new().unwrap();
    let (mut a, mut b) = pair();
    poller.add(a.as_fd(), KEY, Interest::READABLE, Trigger::Edge).unwrap();
    b.write_all(b"x").unwrap();
    for _ in 0..100 {
        assert_eq!(readable(&poll(&poller, LONG)), 1);
        assert_eq!(a.read(&mut [0; 8]).unwrap(), 1);
        assert_eq!(a.read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::WouldBlock);
        b.write_all(b"x").unwrap();
        poller.rearm(a.as_fd(), Interest::READABLE).unwrap();
    }
}

#[test]
fn rearmed_while_another_thread_polls() {
    let poller = Poller::new().unwrap();
    let (mut a, mut b) = pair();
    poller.add(a.as_fd(), KEY, Interest::READABLE, Trigger::Edge).unwrap();
    b.write_all(b"x").unwrap();
    assert_eq!(readable(&poll(&poller, LONG)), 1);
    for _ in 0..100 {
        let events = while_polling(
            &poller,
            |events| !events.is_empty(),
            || {
                drain(&poller, &mut a);
                b.write_all(b"x").unwrap();
            },
        );
        assert_eq!(readable(&events), 1);
    }
}

#[test]
fn directions_are_independent() {
    let poller = Poller::new().unwrap();
    let (mut a, mut b) = pair();
    poller.add(a.as_fd(), KEY, Interest::BOTH, Trigger::Edge).unwrap();
    let events = poll(&poller, LONG);
    assert_eq!((readable(&events), writable(&events)), (0, 1));

    // Reading is still due though writing has been reported.
    b.write_all(b"x").unwrap();
    assert_eq!(readable(&poll(&poller, LONG)), 1);
    assert!(poll(&poller, Duration::ZERO).is_empty());

    // And the other way round.
    fill(&poller, &mut a);
    assert!(poll(&poller, Duration::ZERO).is_empty());
    while b.read(&mut [0; 4096]).is_ok() {}
    assert_eq!(writable(&poll(&poller, LONG)), 1);
}
