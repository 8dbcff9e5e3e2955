//! What is registered, and what is not, is told apart.

mod common;

use std::io::ErrorKind;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use common::{LONG, poll};
use netpoll::{Interest, Key, Poller, Trigger};

const KEY: Key = Key::new(1, 2);

#[test]
fn adding_twice() {
    let poller = Poller::new().unwrap();
    let (a, _b) = UnixStream::pair().unwrap();
    let add = || poller.add(a.as_fd(), KEY, Interest::WRITABLE, Trigger::Level);
    add().unwrap();
    assert_eq!(add().unwrap_err().kind(), ErrorKind::AlreadyExists);
    // The first registration is none the worse for it.
    assert_eq!(poll(&poller, LONG).len(), 1);
    poller.delete(a.as_fd()).unwrap();
    assert!(poll(&poller, Duration::ZERO).is_empty());
    add().unwrap();
    assert_eq!(poll(&poller, LONG).len(), 1);
}

#[test]
fn what_is_not_registered_is_not_found() {
    let poller = Poller::new().unwrap();
    let (a, _b) = UnixStream::pair().unwrap();
    let modified = poller.modify(a.as_fd(), KEY, Interest::BOTH, Trigger::Edge);
    assert_eq!(modified.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(poller.delete(a.as_fd()).unwrap_err().kind(), ErrorKind::NotFound);
    assert!(poll(&poller, Duration::ZERO).is_empty());
}

#[test]
fn modifying_replaces_everything() {
    let poller = Poller::new().unwrap();
    let (a, _b) = UnixStream::pair().unwrap();
    poller.add(a.as_fd(), KEY, Interest::READABLE, Trigger::Level).unwrap();
    assert!(poll(&poller, Duration::ZERO).is_empty());

    let key = Key::new(3, 4);
    poller.modify(a.as_fd(), key, Interest::WRITABLE, Trigger::Edge).unwrap();
    let [event] = poll(&poller, LONG)[..] else { panic!("not one event") };
    assert_eq!(event.key(), key);
    assert!(event.is_writable() && !event.is_readable());
    assert!(poll(&poller, Duration::ZERO).is_empty());

    poller.modify(a.as_fd(), key, Interest::READABLE, Trigger::Level).unwrap();
    assert!(poll(&poller, Duration::ZERO).is_empty());
}

#[test]
fn pollers_do_not_share_registrations() {
    let (one, other) = (Poller::new().unwrap(), Poller::new().unwrap());
    let (a, _b) = UnixStream::pair().unwrap();
    one.add(a.as_fd(), Key::new(1, 0), Interest::WRITABLE, Trigger::Level).unwrap();
    other.add(a.as_fd(), Key::new(2, 0), Interest::WRITABLE, Trigger::Level).unwrap();
    assert_eq!(poll(&one, LONG)[0].key().index(), 1);
    assert_eq!(poll(&other, LONG)[0].key().index(), 2);
}

#[test]
fn the_reserved_key_is_refused() {
    let poller = Poller::new().unwrap();
    let (a, _b) = UnixStream::pair().unwrap();
    let added = poller.add(a.as_fd(), Key::RESERVED, Interest::BOTH, Trigger::Edge);
    assert_eq!(added.unwrap_err().kind(), ErrorKind::InvalidInput);
    // Its neighbours are like any other.
    for key in [Key::new(u32::MAX, 0), Key::new(0, u32::MAX), Key::new(0, 0)] {
        poller.add(a.as_fd(), key, Interest::WRITABLE, Trigger::Level).unwrap();
        assert_eq!(poll(&poller, LONG)[0].key(), key);
        let modified = poller.modify(a.as_fd(), Key::RESERVED, Interest::BOTH, Trigger::Edge);
        assert_eq!(modified.unwrap_err().kind(), ErrorKind::InvalidInput);
        poller.delete(a.as_fd()).unwrap();
    }
}
