//! Channels between coroutines, beside crossbeam-channel between threads.

use crate::table::contest;
use std::thread;
use std::time::Instant;

fn nanos_each(count: u64, run: impl FnOnce()) -> f64 {
    let start = Instant::now();
    run();
    start.elapsed().as_nanos() as f64 / count as f64
}

fn millions_a_second(count: u64, run: impl FnOnce()) -> f64 {
    1e3 / nanos_each(count, run)
}

fn runtime(workers: usize) -> pirn::Runtime {
    pirn::Builder::new().workers(workers).build().expect("a runtime")
}

/// There and back, through two channels of that capacity.
fn round_trips(rounds: u64, capacity: usize) -> f64 {
    let (there, here) = pirn::channel::bounded(capacity);
    let (back, returned) = pirn::channel::bounded(capacity);
    let echo = pirn::spawn(move || here.iter().try_for_each(|n: u64| back.send(n)));
    let nanos = nanos_each(rounds, || {
        for n in 0..rounds {
            there.send(n).expect("it echoes");
            assert_eq!(returned.recv(), Ok(n));
        }
    });
    drop(there);
    echo.join().expect("it does not panic").expect("nobody has gone");
    nanos
}

fn thread_round_trips(rounds: u64) -> f64 {
    let (there, here) = crossbeam_channel::bounded(0);
    let (back, returned) = crossbeam_channel::bounded(0);
    let echo = thread::spawn(move || here.iter().try_for_each(|n: u64| back.send(n)));
    let nanos = nanos_each(rounds, || {
        for n in 0..rounds {
            there.send(n).expect("it echoes");
            assert_eq!(returned.recv(), Ok(n));
        }
    });
    drop(there);
    echo.join().expect("it does not panic").expect("nobody has gone");
    nanos
}

const MESSAGES: u64 = 2_000_000;

/// Producers and consumers on one channel; in millions of messages a second.
fn crowd(producers: u64, consumers: u64, capacity: Option<usize>) -> f64 {
    let (sender, receiver) =
        capacity.map_or_else(pirn::channel::unbounded, pirn::channel::bounded::<u64>);
    millions_a_second(MESSAGES, || {
        let senders: Vec<_> = (0..producers)
            .map(|_| {
                let sender = sender.clone();
                pirn::spawn(move || {
                    (0..MESSAGES / producers).for_each(|n| sender.send(n).expect("connected"));
                })
            })
            .collect();
        drop(sender);
        let receivers: Vec<_> = (0..consumers)
            .map(|_| {
                let receiver = receiver.clone();
                pirn::spawn(move || receiver.iter().fold(0, |count, _| count + 1_u64))
            })
            .collect();
        senders.into_iter().for_each(|sender| sender.join().expect("it does not panic"));
        let received: u64 =
            receivers.into_iter().map(|one| one.join().expect("it does not panic")).sum();
        assert_eq!(received, MESSAGES);
    })
}

fn thread_crowd(producers: u64, consumers: u64, capacity: Option<usize>) -> f64 {
    let (sender, receiver) =
        capacity.map_or_else(crossbeam_channel::unbounded, crossbeam_channel::bounded::<u64>);
    millions_a_second(MESSAGES, || {
        let senders: Vec<_> = (0..producers)
            .map(|_| {
                let sender = sender.clone();
                thread::spawn(move || {
                    (0..MESSAGES / producers).for_each(|n| sender.send(n).expect("connected"));
                })
            })
            .collect();
        drop(sender);
        let receivers: Vec<_> = (0..consumers)
            .map(|_| {
                let receiver = receiver.clone();
                thread::spawn(move || receiver.iter().fold(0, |count, _| count + 1_u64))
            })
            .collect();
        senders.into_iter().for_each(|sender| sender.join().expect("it does not panic"));
        let received: u64 =
            receivers.into_iter().map(|one| one.join().expect("it does not panic")).sum();
        assert_eq!(received, MESSAGES);
    })
}

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
    let (one, two) = (runtime(1), runtime(2));
    contest(
        "zero-capacity round trip",
        "ns",
        9,
        &mut [
            ("crossbeam-channel, threads", &mut || thread_round_trips(10_000)),
            ("pirn, one worker", &mut || one.run(|| round_trips(500_000, 0))),
            ("pirn, two workers", &mut || two.run(|| round_trips(500_000, 0))),
            ("pirn, capacity 1, one worker", &mut || one.run(|| round_trips(500_000, 1))),
        ],
    );
    for (name, producers, consumers, capacity) in [
        ("bounded 128, 4 x 4", 4, 4, Some(128)),
        ("bounded 128, 1 x 1", 1, 1, Some(128)),
        ("unbounded, 4 x 4", 4, 4, None),
        ("unbounded, 4 x 1", 4, 1, None),
    ] {
        contest(
            name,
            "M messages a second",
            9,
            &mut [
                ("crossbeam-channel, threads", &mut || {
                    thread_crowd(producers, consumers, capacity)
                }),
                ("pirn, one worker", &mut || one.run(|| crowd(producers, consumers, capacity))),
                ("pirn, two workers", &mut || two.run(|| crowd(producers, consumers, capacity))),
            ],
        );
    }
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
