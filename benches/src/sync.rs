//! What locks cost: alone, and when many want them.

use crate::race::{CPU, race};
use crate::table::{contest, nanos_each};
use std::hint::black_box;

/// Nobody else wants it.
pub(crate) fn uncontended() {
    const TIMES: u64 = 5_000_000;
    let (ours, stds) = (pirn::sync::Mutex::new(0_u64), std::sync::Mutex::new(0_u64));
    let theirs = parking_lot::Mutex::new(0_u64);
    let each = |f: &dyn Fn()| {
        nanos_each(TIMES, || {
            for _ in 0..TIMES {
                f();
            }
        })
    };
    contest(
        "mutex, lock and unlock, uncontended",
        "ns",
        9,
        &mut [
            ("std", &mut || each(&|| *black_box(&stds).lock().expect("not poisoned") += 1)),
            ("parking_lot", &mut || each(&|| *black_box(&theirs).lock() += 1)),
            ("pirn", &mut || each(&|| *black_box(&ours).lock().expect("not poisoned") += 1)),
        ],
    );
    let (ours, stds) = (pirn::sync::RwLock::new(0_u64), std::sync::RwLock::new(0_u64));
    let theirs = parking_lot::RwLock::new(0_u64);
    contest(
        "rwlock, read, uncontended",
        "ns",
        9,
        &mut [
            ("std", &mut || {
                each(&|| {
                    black_box(*black_box(&stds).read().expect("not poisoned"));
                })
            }),
            ("parking_lot", &mut || {
                each(&|| {
                    black_box(*black_box(&theirs).read());
                })
            }),
            ("pirn", &mut || {
                each(&|| {
                    black_box(*black_box(&ours).read().expect("not poisoned"));
                })
            }),
        ],
    );
    contest(
        "rwlock, write, uncontended",
        "ns",
        9,
        &mut [
            ("std", &mut || each(&|| *black_box(&stds).write().expect("not poisoned") += 1)),
            ("parking_lot", &mut || each(&|| *black_box(&theirs).write() += 1)),
            ("pirn", &mut || each(&|| *black_box(&ours).write().expect("not poisoned") += 1)),
        ],
    );
}

/// How many, and how often each of them locks.
type Crowd = (u64, u64);

const MANY: Crowd = (1_000, 1_000);
const FEW: Crowd = (4, 2_000_000);

/// Coroutines that lock one mutex, and yield with it in hand now and then.
fn coroutines(runtime: &pirn::Runtime, (crowd, each): Crowd, yield_every: u64) -> f64 {
    runtime.run(move || {
        let mutex = pirn::sync::Mutex::new(0_u64);
        let nanos = nanos_each(crowd * each, || {
            pirn::thread::scope(|scope| {
                for _ in 0..crowd {
                    scope.spawn(|| {
                        for turn in 1..=each {
                            let mut count = mutex.lock().expect("not poisoned");
                            *count += 1;
                            if turn % yield_every == 0 {
                                pirn::thread::yield_now();
                            }
                        }
                    });
                }
            });
        });
        assert_eq!(mutex.into_inner().expect("not poisoned"), crowd * each);
        nanos
    })
}

/// Threads that lock any mutex.
fn threads((crowd, each): Crowd, locked_add: impl Fn() + Sync) -> f64 {
    nanos_each(crowd * each, || {
        std::thread::scope(|scope| {
            for _ in 0..crowd {
                scope.spawn(|| {
                    for _ in 0..each {
                        locked_add();
                    }
                });
            }
        });
    })
}

/// Many want one lock.
pub(crate) fn contended() {
    race(
        "one mutex, 1,000 who want it",
        &["ns an operation", CPU],
        5,
        ("mutex", &[MANY.0, MANY.1]),
        &[
            ("std, threads", "threads", 2),
            ("may, 1 worker", "may", 1),
            ("may, 2 workers", "may", 2),
            ("tokio, 1 worker", "tokio", 1),
            ("tokio, 2 workers", "tokio", 2),
            ("Go, 1 processor", "go", 1),
            ("Go, 2 processors", "go", 2),
            ("pirn, 1 worker", "pirn", 1),
            ("pirn, 2 workers", "pirn", 2),
        ],
    );
    let one = pirn::Builder::new().workers(1).build().expect("a runtime");
    let two = pirn::Builder::new().workers(2).build().expect("a runtime");
    let (ours, stds) = (pirn::sync::Mutex::new(0_u64), std::sync::Mutex::new(0_u64));
    let theirs = parking_lot::Mutex::new(0_u64);
    contest(
        "one mutex, 1,000 who want it, other locks and holders that yield",
        "ns an operation",
        7,
        &mut [
            ("std, threads", &mut || threads(MANY, || *stds.lock().expect("not poisoned") += 1)),
            ("parking_lot, threads", &mut || threads(MANY, || *theirs.lock() += 1)),
            ("pirn, threads", &mut || threads(MANY, || *ours.lock().expect("not poisoned") += 1)),
            ("pirn, coroutines, one worker", &mut || coroutines(&one, MANY, u64::MAX)),
            ("pirn, coroutines, two workers", &mut || coroutines(&two, MANY, u64::MAX)),
            ("the same, yields in 1 of 100, one worker", &mut || coroutines(&one, MANY, 100)),
            ("the same, yields in 1 of 100, two workers", &mut || coroutines(&two, MANY, 100)),
            ("the same, yields each time, one worker", &mut || coroutines(&one, MANY, 1)),
            ("the same, yields each time, two workers", &mut || coroutines(&two, MANY, 1)),
        ],
    );
    contest(
        "one mutex, 4 who want it",
        "ns an operation",
        7,
        &mut [
            ("std, threads", &mut || threads(FEW, || *stds.lock().expect("not poisoned") += 1)),
            ("parking_lot, threads", &mut || threads(FEW, || *theirs.lock() += 1)),
            ("pirn, threads", &mut || threads(FEW, || *ours.lock().expect("not poisoned") += 1)),
            ("pirn, coroutines, one worker", &mut || coroutines(&one, FEW, u64::MAX)),
            ("pirn, coroutines, two workers", &mut || coroutines(&two, FEW, u64::MAX)),
            ("the same, yields each time, two workers", &mut || coroutines(&two, FEW, 1)),
        ],
    );
}
