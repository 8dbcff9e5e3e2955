//! A descriptor's number is used again: events of its former life are recognised by their
//! generation, and none come once it was deleted.

mod common;

use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use common::{LONG, poll};
use netpoll::{Interest, Key, Poller, Trigger};

// The one test of this file, since another could take the number that is to be used again.
#[test]
fn a_stale_event_shows_its_generation() {
    let poller = Poller::new().unwrap();
    for generation in 0..100 {
        let (a, b) = UnixStream::pair().unwrap();
        let number = a.as_raw_fd();
        let key = Key::new(7, 2 * generation);
        poller.add(a.as_fd(), key, Interest::BOTH, Trigger::Edge).unwrap();
        let taken = poll(&poller, LONG);
        poller.rearm(a.as_fd(), Interest::BOTH).unwrap();
        // Another event is due, and is not to come.
        drop(b);
        poller.delete(a.as_fd()).unwrap();
        drop(a);

        let (a, _b) = UnixStream::pair().unwrap();
        assert_eq!(a.as_raw_fd(), number, "the number was not used again");
        let key = Key::new(7, 2 * generation + 1);
        poller.add(a.as_fd(), key, Interest::WRITABLE, Trigger::Edge).unwrap();
        let events = poll(&poller, LONG);
        assert_eq!(events.len(), 1);
        assert!(events[0].is_writable() && !events[0].is_hangup());
        for (stale, fresh) in taken.iter().zip(&events) {
            assert_eq!(stale.key().index(), fresh.key().index());
            assert_eq!(stale.key().generation() + 1, fresh.key().generation());
        }
        poller.delete(a.as_fd()).unwrap();
        assert!(poll(&poller, Duration::ZERO).is_empty());
    }
}
