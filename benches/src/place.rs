//! Where coroutines start, and what that is worth: `docs/scheduler.md`, "Placement".

use crate::table::contest;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Instant;

fn fib(n: u32) -> u64 {
    if n < 2 {
        return n.into();
    }
    let left = pirn::spawn(move || fib(n - 1));
    let right = fib(n - 2);
    left.join().expect("it does not panic") + right
}

#[inline(never)]
fn work(rounds: u64) -> u64 {
    (0..rounds).fold(1, |x, n| std::hint::black_box(x ^ n.wrapping_mul(0x9E37_79B9)))
}

/// Consumers spawned in one burst, each of which parks, then takes CPU-heavy jobs.
fn consumers(runtime: &pirn::Runtime, consumers: usize, jobs: usize) -> f64 {
    runtime.run(move || {
        let next = Arc::new(AtomicUsize::new(0));
        let handles: Vec<_> = (0..consumers)
            .map(|_| {
                let next = next.clone();
                pirn::spawn(move || {
                    pirn::thread::park();
                    while next.fetch_add(1, Ordering::Relaxed) < jobs {
                        work(200_000);
                        pirn::thread::yield_now();
                    }
                })
            })
            .collect();
        let start = Instant::now();
        handles.iter().for_each(|handle| handle.thread().unpark());
        handles.into_iter().for_each(|handle| handle.join().expect("it does not panic"));
        start.elapsed().as_secs_f64() * 1e3
    })
}

pub(crate) fn place() {
    let build = |workers, slack| {
        pirn::Builder::new().workers(workers).residency_slack(slack).build().expect("a runtime")
    };
    let (one, push, pull) = (build(1, 2), build(2, 2), build(2, usize::MAX));
    let timed = |runtime: &pirn::Runtime| {
        let start = Instant::now();
        runtime.run(|| fib(22));
        start.elapsed().as_secs_f64() * 1e3
    };
    contest(
        "fork-join of tiny tasks: fib(22), 28,656 spawns",
        "ms",
        9,
        &mut [
            ("one worker", &mut || timed(&one)),
            ("two workers, starts stolen only", &mut || timed(&pull)),
            ("two workers, starts pushed by residency", &mut || timed(&push)),
        ],
    );
    contest(
        "400 CPU-heavy jobs for 16 consumers",
        "ms",
        7,
        &mut [
            ("one worker", &mut || consumers(&one, 16, 400)),
            ("two workers, starts stolen only", &mut || consumers(&pull, 16, 400)),
            ("two workers, starts pushed by residency", &mut || consumers(&push, 16, 400)),
            ("two threads", &mut || threads(2, 400)),
        ],
    );
}

/// The same jobs on plain threads: what two processors can give.
fn threads(count: usize, jobs: usize) -> f64 {
    let gate = (Mutex::new(false), Condvar::new());
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..count {
            scope.spawn(|| {
                let mut open = gate.0.lock().expect("nobody panics");
                while !*open {
                    open = gate.1.wait(open).expect("nobody panics");
                }
                drop(open);
                while next.fetch_add(1, Ordering::Relaxed) < jobs {
                    work(200_000);
                }
            });
        }
        *gate.0.lock().expect("nobody panics") = true;
        gate.1.notify_all();
        let start = Instant::now();
        move || start
    })()
    .elapsed()
    .as_secs_f64()
        * 1e3
}
