//! Trees and chains of coroutines, selection, and timeouts that do not come.

use crate::race::{CPU, Entry, race};

/// Without anybody's help.
pub(crate) fn fib(n: u64) -> u64 {
    if n < 2 { n } else { fib(n - 1) + fib(n - 2) }
}

/// The same number in no time: for a check that is not to be measured with what it checks.
pub(crate) fn fib_by_sums(n: u64) -> u64 {
    (0..n).fold((0, 1), |(this, next), _| (next, this + next)).0
}

const ALL: [Entry; 8] = [
    ("tokio, 1 worker", "tokio", 1),
    ("tokio, 2 workers", "tokio", 2),
    ("Go, 1 processor", "go", 1),
    ("Go, 2 processors", "go", 2),
    ("pirn, 1 worker", "pirn", 1),
    ("pirn, 2 workers", "pirn", 2),
    ("pirn, migrating, 1 worker", "pirn, migrating", 1),
    ("pirn, migrating, 2 workers", "pirn, migrating", 2),
];

const MAY: [Entry; 2] = [("may, 1 worker", "may", 1), ("may, 2 workers", "may", 2)];

pub(crate) fn skynet() {
    // Not may: it has no more stacks at 32,739, and then panics for ever.
    race(
        "skynet: a million leaves, ten below each",
        &["ms", CPU],
        5,
        ("skynet", &[1_000_000, 10]),
        &ALL,
    );
}

pub(crate) fn select() {
    let threads = [("crossbeam-channel, threads", "threads", 2)];
    let what = "select over four channels without a buffer";
    race(what, &["ns", CPU], 5, ("select", &[200_000]), &[threads.as_slice(), &ALL].concat());
}

pub(crate) fn sieve() {
    race("prime sieve: 500 primes", &["ms", CPU], 5, ("sieve", &[500]), &ALL);
}

pub(crate) fn fork_join() {
    let alone = [("one after the other", "floor", 1)];
    let entries = [alone.as_slice(), &MAY, &ALL].concat();
    let what = "fork-join: fib(38), below fib(22) by itself";
    race(what, &["ms", CPU], 5, ("fib", &[38, 22]), &entries);
}

pub(crate) fn timers() {
    let what = "a timeout around a yield, 1,000 at once";
    race(what, &["ns", CPU], 5, ("timers", &[1_000, 300]), &ALL);
}
