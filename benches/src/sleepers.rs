//! Many that sleep, and how late they wake.

use crate::cpu;
use crate::race::race;
use std::time::Duration;

/// How long each sleeps: all times from one millisecond on, in no order.
pub(crate) fn times(count: u64, longest: u64) -> impl Iterator<Item = Duration> {
    (0..count).map(move |n| Duration::from_millis(1 + n * 7919 % longest))
}

/// From how late each was, in ns, to the row's figures.
pub(crate) fn figures(run: impl FnOnce() -> Vec<u64>) -> Vec<f64> {
    let before = cpu::nanos();
    let mut late = run();
    let cpu = cpu::nanos() - before;
    late.sort_unstable();
    let millis = |percent| late[(late.len() - 1) * percent / 100] as f64 / 1e6;
    vec![cpu as f64 / 1e9, millis(50), millis(99)]
}

pub(crate) fn sleepers() {
    race(
        "100,000 sleep for 1 to 1,000 ms",
        &["CPU s", "p50 ms late", "p99 ms late"],
        5,
        ("sleepers", &[100_000, 1_000]),
        &[
            ("may, 30,000 of them, 1 worker", "may", 1),
            ("may, 30,000 of them, 2 workers", "may", 2),
            ("tokio, 1 worker", "tokio", 1),
            ("tokio, 2 workers", "tokio", 2),
            ("Go, 1 processor", "go", 1),
            ("Go, 2 processors", "go", 2),
            ("pirn, 1 worker", "pirn", 1),
            ("pirn, 2 workers", "pirn", 2),
            ("pirn, migrating, 2 workers", "pirn, migrating", 2),
        ],
    );
}
