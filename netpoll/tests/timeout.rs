//! The ends of the range: no wait, a wait without limit, and the longest durations there are.

mod common;

use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use common::{LONG, poll};
use netpoll::{Events, Interest, Key, Poller, Trigger};

/// More polls than signals end in a few milliseconds, and fewer than a thread makes that need not wait.
const MANY: usize = 20;

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
        let (woken, ended) = (AtomicBool::new(false), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !woken.load(Ordering::SeqCst) {
                    assert!(poll(&poller, timeout).is_empty());
                    ended.fetch_add(1, Ordering::SeqCst);
                }
            });
            // A limit that wrapped around to something short would be over by itself, again and again;
            // a signal ends a poll once.
            let start = Instant::now();
            while start.elapsed() < Duration::from_millis(5) {
                std::thread::yield_now();
            }
            let early = ended.load(Ordering::SeqCst);
            woken.store(true, Ordering::SeqCst);
            waker.wake().unwrap();
            assert!(early < MANY, "{timeout:?} was over at once");
        });
    }
}
