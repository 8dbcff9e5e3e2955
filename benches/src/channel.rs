//! Channels.

use crate::race::{CPU, Entry, race};
use crate::table::{contest, nanos_each};

const ALL: [Entry; 9] = [
    ("crossbeam-channel, threads", "threads", 2),
    ("may, 1 worker", "may", 1),
    ("may, 2 workers", "may", 2),
    ("tokio, 1 worker", "tokio", 1),
    ("tokio, 2 workers", "tokio", 2),
    ("Go, 1 processor", "go", 1),
    ("Go, 2 processors", "go", 2),
    ("pirn, 1 worker", "pirn", 1),
    ("pirn, 2 workers", "pirn", 2),
];

/// Something for a core to do.
fn job(seed: u64) -> u64 {
    (0..100_000).fold(seed | 1, |x, _| {
        let x = x ^ (x << 13);
        let x = x ^ (x >> 7);
        x ^ (x << 17)
    })
}

/// CPU-heavy jobs through one channel: how many times as fast as one after the other.
fn speed_up(runtime: &pirn::Runtime, consumers: usize) -> f64 {
    const JOBS: u64 = 400;
    // Not in a coroutine: one that runs for so long counts as stuck.
    let alone = nanos_each(JOBS, || {
        (0..JOBS).for_each(|n| assert_ne!(std::hint::black_box(job(n)), 0));
    });
    let together = runtime.run(|| {
        nanos_each(JOBS, || {
            let (sender, receiver) = pirn::channel::bounded(16);
            let receivers: Vec<_> = (0..consumers)
                .map(|_| {
                    let receiver = receiver.clone();
                    pirn::spawn(move || receiver.iter().fold(0, |sum, n| sum ^ job(n)))
                })
                .collect();
            (0..JOBS).for_each(|n| sender.send(n).expect("connected"));
            drop(sender);
            for receiver in receivers {
                std::hint::black_box(receiver.join().expect("it does not panic"));
            }
        })
    });
    alone / together
}

pub(crate) fn channel() {
    const ROUNDS: u64 = 300_000;
    const MESSAGES: u64 = 2_000_000;
    race("round trip, capacity 0", &["ns", CPU], 5, ("round-trip", &[ROUNDS, 0]), &ALL);
    race("round trip, capacity 1", &["ns", CPU], 5, ("round-trip", &[ROUNDS, 1]), &ALL);
    for (name, crowd) in [
        ("bounded 128, 4 x 4", [4, 4, 128, MESSAGES]),
        ("bounded 128, 1 x 1", [1, 1, 128, MESSAGES]),
        ("unbounded, 4 x 4", [4, 4, 0, MESSAGES]),
        ("unbounded, 4 x 1", [4, 1, 0, MESSAGES]),
    ] {
        let entries: Vec<Entry> =
            ALL.into_iter().filter(|(_, who, _)| crowd[2] > 0 || *who != "go").collect();
        race(name, &["M messages a second", CPU], 5, ("crowd", &crowd), &entries);
    }
    let two = pirn::Builder::new().workers(2).build().expect("a runtime");
    contest(
        "CPU-heavy jobs through one channel, two workers",
        "times as fast",
        5,
        &mut [
            ("pirn, 2 consumers", &mut || speed_up(&two, 2)),
            ("pirn, 8 consumers", &mut || speed_up(&two, 8)),
            ("pirn, 64 consumers", &mut || speed_up(&two, 64)),
        ],
    );
}
