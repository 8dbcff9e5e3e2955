//! A timeout is never cut short, and one below a millisecond is not rounded up to it.

mod common;

use std::time::{Duration, Instant};

use common::{LONG, poll};
use netpoll::Poller;

/// How long a poll of nothing takes.
fn elapsed(poller: &Poller, timeout: Duration) -> Duration {
    let start = Instant::now();
    assert!(poll(poller, timeout).is_empty());
    start.elapsed()
}

#[test]
fn never_early() {
    let poller = Poller::new().unwrap();
    for microseconds in [1, 10, 100, 999, 1_000, 1_001, 1_999, 5_500] {
        let timeout = Duration::from_micros(microseconds);
        // A signal ends a poll by its contract, and on Linux so does a stop of the process that is over:
        // one that is early proves nothing, but those that are cut short all are.
        let start = Instant::now();
        while elapsed(&poller, timeout) < timeout {
            assert!(start.elapsed() < LONG, "{timeout:?} is cut short");
        }
    }
}

#[test]
fn finer_than_a_millisecond() {
    let poller = Poller::new().unwrap();
    let timeout = Duration::from_micros(50);
    // The machine may be busy, so the best of many attempts counts.
    let shortest = (0..500).map(|_| elapsed(&poller, timeout)).min().unwrap();
    assert!(shortest < Duration::from_micros(900), "the shortest of all took {shortest:?}");
}
