//! A change made while another thread polls holds for that poll.

#[path = "common/blocked.rs"]
mod blocked;
mod common;

use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use blocked::while_polling;
use netpoll::{Interest, Key, Poller, Trigger};

const KEY: Key = Key::new(1, 0);
const OTHER: Key = Key::new(2, 0);

#[test]
fn what_is_added_is_reported() {
    let poller = Poller::new().unwrap();
    let (a, _b) = UnixStream::pair().unwrap();
    for trigger in [Trigger::Level, Trigger::Edge].repeat(50) {
        let events = while_polling(
            &poller,
            |events| !events.is_empty(),
            || {
                poller.add(a.as_fd(), KEY, Interest::WRITABLE, trigger).unwrap();
            },
        );
        assert_eq!(events.len(), 1);
        assert_eq!(events[0].key(), KEY);
        poller.delete(a.as_fd()).unwrap();
    }
}

#[test]
fn what_is_modified_is_reported() {
    let poller = Poller::new().unwrap();
    let (a, _b) = UnixStream::pair().unwrap();
    poller.add(a.as_fd(), KEY, Interest::READABLE, Trigger::Edge).unwrap();
    for trigger in [Trigger::Level, Trigger::Edge].repeat(50) {
        let events = while_polling(
            &poller,
            |events| !events.is_empty(),
            || {
                poller.modify(a.as_fd(), OTHER, Interest::WRITABLE, trigger).unwrap();
            },
        );
        assert_eq!(events.len(), 1);
        assert_eq!(events[0].key(), OTHER);
        assert!(events[0].is_writable());
        poller.modify(a.as_fd(), KEY, Interest::READABLE, Trigger::Edge).unwrap();
    }
}

#[test]
fn what_is_deleted_is_not_reported() {
    let poller = Poller::new().unwrap();
    let (a, mut a_peer) = UnixStream::pair().unwrap();
    let (b, mut b_peer) = UnixStream::pair().unwrap();
    for _ in 0..100 {
        poller.add(a.as_fd(), KEY, Interest::READABLE, Trigger::Level).unwrap();
        poller.add(b.as_fd(), OTHER, Interest::READABLE, Trigger::Edge).unwrap();
        let events = while_polling(
            &poller,
            |events| !events.is_empty(),
            || {
                poller.delete(a.as_fd()).unwrap();
                a_peer.write_all(b"x").unwrap();
                b_peer.write_all(b"x").unwrap();
            },
        );
        assert_eq!(events.len(), 1);
        assert_eq!(events[0].key(), OTHER);
        poller.delete(b.as_fd()).unwrap();
        let (mut a, mut b) = (&a, &b);
        std::io::Read::read_exact(&mut a, &mut [0]).unwrap();
        std::io::Read::read_exact(&mut b, &mut [0]).unwrap();
    }
}

/// Changes that are nothing to a poll do not end it, however many there are.
#[test]
fn changes_alone_do_not_end_a_poll() {
    let poller = Poller::new().unwrap();
    let (a, mut b) = UnixStream::pair().unwrap();
    let (c, _d) = UnixStream::pair().unwrap();
    poller.add(a.as_fd(), KEY, Interest::READABLE, Trigger::Edge).unwrap();
    let events = while_polling(
        &poller,
        |events| !events.is_empty(),
        || {
            for _ in 0..1_000 {
                poller.add(c.as_fd(), OTHER, Interest::READABLE, Trigger::Level).unwrap();
                poller.delete(c.as_fd()).unwrap();
            }
            b.write_all(b"x").unwrap();
        },
    );
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].key(), KEY);
}
