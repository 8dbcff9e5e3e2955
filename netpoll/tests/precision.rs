//! A timeout is never cut short, and one below a millisecond is not rounded up to it.

use std::time::{Duration, Instant};

use netpoll::{Events, Poller};

/// How long a poll of nothing takes.
fn elapsed(poller: &Poller, timeout: Duration) -> Duration {
    let mut events = Events::with_capacity(1);
    let start = Instant::now();
    assert_eq!(poller.poll(&mut events, Some(timeout)).unwrap(), 0);
    start.elapsed()
}

#[test]
fn never_early() {
    let poller = Poller::new().unwrap();
    for microseconds in [1, 10, 100, 999, 1_000, 1_001, 1_999, 5_500] {
        let timeout = Duration::from_micros(microseconds);
        let elapsed = elapsed(&poller, timeout);
        assert!(elapsed >= timeout, "{timeout:?} became {elapsed:?}");
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
