//! The ends of the range: no wait, a wait without limit, and the longest durations there are.

mod common;

use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use common::{LONG, poll};
use netpoll::{Events, Interest, Key, Poller, Trigger};

#[test]
fn zero_does_not_wait_but_looks() {
    let poller = Poller::new().unwrap();
    let start = Instant::now();
    assert!(poll(&poller, Duration::ZERO).is_empty());
    assert!(start.elapsed() < LONG);

    let (a, _b) = UnixStream::pair().unwrap();
    poller.add(a.as_fd(), Key::new(0, 0), Interest::WRITABLE, Trigger::Level).unwrap();
    assert_eq!(poll(&poller, Duration::ZERO).len(), 1);
}

#[test]
fn no_limit_and_the_longest_limits_wait_for_events() {
    let poller = Poller::new().unwrap();
    let (a, _b) = UnixStream::pair().unwrap();
    poller.add(a.as_fd(), Key::new(0, 0), Interest::WRITABLE, Trigger::Level).unwrap();
    let year = Duration::from_secs(365 * 24 * 60 * 60);
    let timeouts = [None, Some(Duration::MAX), Some(Duration::from_millis(u64::MAX)), Some(year)];
    let mut events = Events::with_capacity(1);
    for timeout in timeouts {
        assert_eq!(poller.poll(&mut events, timeout).unwrap(), 1, "{timeout:?}");
    }
}

#[test]
fn the_longest_limits_do_not_overflow_into_none() {
    let poller = Poller::new().unwrap();
    let waker = poller.waker();
    for timeout in
        [Duration::MAX, Duration::from_secs(i64::MAX as u64), Duration::from_secs(1 << 31)]
    {
        let mut events = Events::with_capacity(1);
        std::thread::scope(|scope| {
            let polling = scope.spawn(|| poller.poll(&mut events, Some(timeout)));
            // A limit that wrapped around to something short would be over by itself.
            let start = Instant::now();
            while start.elapsed() < Duration::from_millis(5) {
                assert!(!polling.is_finished(), "{timeout:?} was over at once");
                std::thread::yield_now();
            }
            waker.wake().unwrap();
            assert_eq!(polling.join().unwrap().unwrap(), 0);
        });
    }
}
