//! A wakeup ends the poll that waits, or else the next one, and is never an event.

#[path = "common/blocked.rs"]
mod blocked;
mod common;

use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use blocked::while_polling;
use common::{LONG, poll};
use netpoll::{Interest, Key, Poller, Trigger};

/// That no wakeup is pending shows in a poll that takes its time.
fn assert_not_pending(poller: &Poller) {
    let timeout = Duration::from_millis(2);
    let start = Instant::now();
    assert!(poll(poller, timeout).is_empty());
    assert!(start.elapsed() >= timeout, "a wakeup came twice");
}

#[test]
fn ends_the_poll_that_waits() {
    let poller = Poller::new().unwrap();
    for _ in 0..100 {
        let start = Instant::now();
        let woken = AtomicBool::new(false);
        let events = while_polling(
            &poller,
            |_| woken.load(Ordering::SeqCst),
            || {
                woken.store(true, Ordering::SeqCst);
                poller.waker().wake().unwrap();
            },
        );
        assert!(events.is_empty());
        assert!(start.elapsed() < LONG);
    }
    assert_not_pending(&poller);
}

#[test]
fn ends_the_next_poll() {
    let poller = Poller::new().unwrap();
    let waker = poller.waker();
    for _ in 0..100 {
        waker.wake().unwrap();
        let start = Instant::now();
        assert!(poll(&poller, LONG).is_empty());
        assert!(start.elapsed() < LONG);
    }
    assert_not_pending(&poller);
}

#[test]
fn many_wakeups_are_one() {
    let poller = Poller::new().unwrap();
    let waker = poller.waker();
    // More than a pipe holds.
    for _ in 0..100_000 {
        waker.clone().wake().unwrap();
    }
    let start = Instant::now();
    assert!(poll(&poller, LONG).is_empty());
    assert!(start.elapsed() < LONG);
    assert_not_pending(&poller);
}

#[test]
fn takes_nothing_away_from_events() {
    let poller = Poller::new().unwrap();
    let (a, _b) = UnixStream::pair().unwrap();
    poller.add(a.as_fd(), Key::new(1, 0), Interest::WRITABLE, Trigger::Edge).unwrap();
    poller.waker().wake().unwrap();
    // The wakeup may come first and alone, or together with the event.
    let events: Vec<_> = (0..2).flat_map(|_| poll(&poller, Duration::ZERO)).collect();
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].key(), Key::new(1, 0));
}
