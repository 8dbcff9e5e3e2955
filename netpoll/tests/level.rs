//! A level is reported by every poll for as long as it lasts.

mod common;

use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use common::{LONG, poll};
use netpoll::{Interest, Key, Poller, Trigger};

const KEY: Key = Key::new(1, 2);

#[test]
fn readable_until_drained() {
    let poller = Poller::new().unwrap();
    let (mut a, mut b) = UnixStream::pair().unwrap();
    poller.add(a.as_fd(), KEY, Interest::READABLE, Trigger::Level).unwrap();
    assert!(poll(&poller, Duration::ZERO).is_empty());

    b.write_all(b"xy").unwrap();
    for _ in 0..2 {
        let events = poll(&poller, LONG);
        assert_eq!(events.len(), 1);
        assert_eq!(events[0].key(), KEY);
        assert!(events[0].is_readable() && !events[0].is_writable());
        assert!(!events[0].is_read_closed() && !events[0].is_write_closed());
        assert!(!events[0].is_hangup() && !events[0].is_error());
        assert_eq!(a.read(&mut [0]).unwrap(), 1);
    }
    assert!(poll(&poller, Duration::ZERO).is_empty());
}

#[test]
fn writable_while_there_is_room() {
    let poller = Poller::new().unwrap();
    let (mut a, mut b) = UnixStream::pair().unwrap();
    a.set_nonblocking(true).unwrap();
    poller.add(a.as_fd(), KEY, Interest::WRITABLE, Trigger::Level).unwrap();
    for _ in 0..3 {
        let events = poll(&poller, LONG);
        assert_eq!(events.len(), 1);
        assert!(events[0].is_writable() && !events[0].is_readable());
    }

    let mut written = 0;
    while let Ok(n) = a.write(&[0; 1024]) {
        written += n;
    }
    assert!(poll(&poller, Duration::ZERO).is_empty());
    b.read_exact(&mut vec![0; written]).unwrap();
    assert_eq!(poll(&poller, LONG).len(), 1);
}
