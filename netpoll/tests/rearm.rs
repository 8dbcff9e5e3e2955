//! Rearming what needs none is without effect.

mod common;

use std::io::{ErrorKind, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use common::{LONG, poll};
use netpoll::{Interest, Key, Poller, Trigger};

#[test]
fn a_level_stays_a_level() {
    let poller = Poller::new().unwrap();
    let (a, _b) = UnixStream::pair().unwrap();
    poller.add(a.as_fd(), Key::new(0, 0), Interest::READABLE, Trigger::Level).unwrap();
    // Nor does it ask for directions that are none of the registration's.
    poller.rearm(a.as_fd(), Interest::WRITABLE).unwrap();
    assert!(poll(&poller, Duration::ZERO).is_empty());
}

#[test]
fn the_interest_stays_as_it_is() {
    let poller = Poller::new().unwrap();
    let (a, _b) = UnixStream::pair().unwrap();
    poller.add(a.as_fd(), Key::new(0, 0), Interest::READABLE, Trigger::Edge).unwrap();
    poller.rearm(a.as_fd(), Interest::BOTH).unwrap();
    assert!(poll(&poller, Duration::ZERO).is_empty());
}

#[test]
fn what_is_still_due_is_reported_once() {
    let poller = Poller::new().unwrap();
    let (a, mut b) = UnixStream::pair().unwrap();
    poller.add(a.as_fd(), Key::new(0, 0), Interest::READABLE, Trigger::Edge).unwrap();
    poller.rearm(a.as_fd(), Interest::READABLE).unwrap();
    b.write_all(b"x").unwrap();
    assert_eq!(poll(&poller, LONG).len(), 1);
    assert!(poll(&poller, Duration::ZERO).is_empty());
}

#[test]
fn what_is_not_registered_is_not_found_where_rearming_looks() {
    let poller = Poller::new().unwrap();
    let (a, _b) = UnixStream::pair().unwrap();
    let result = poller.rearm(a.as_fd(), Interest::READABLE).map_err(|e| e.kind());
    match poller.backend() {
        "poll" => assert_eq!(result, Err(ErrorKind::NotFound)),
        _ => assert_eq!(result, Ok(())),
    }
}
