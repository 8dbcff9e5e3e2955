//! A peer that sends no more, but still listens, is no hang-up.

mod common;

use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use common::{LONG, poll};
use netpoll::{Interest, Key, Poller, Trigger};

#[test]
fn read_closed_and_nothing_else() {
    let poller = Poller::new().unwrap();
    let (a, b) = UnixStream::pair().unwrap();
    poller.add(a.as_fd(), Key::new(0, 0), Interest::READABLE, Trigger::Edge).unwrap();
    assert!(poll(&poller, Duration::ZERO).is_empty());
    b.shutdown(Shutdown::Write).unwrap();
    let [event] = poll(&poller, LONG)[..] else { panic!("not one event") };
    assert!(event.is_readable());
    assert!(event.is_read_closed());
    assert!(!event.is_writable());
    assert!(!event.is_write_closed());
    assert!(!event.is_hangup());
    assert!(!event.is_error());
}
