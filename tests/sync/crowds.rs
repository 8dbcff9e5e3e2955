//! Tens of thousands of waiters: each costs what one costs.

use crate::support::{Count, runtime, until};
use pirn::sync::{Arc, Barrier, Condvar, Mutex, Once, RwLock};
use std::time::{Duration, Instant};

const CROWD: usize = 40_000;

/// Runs `f` with a crowd of coroutines in `wait`, of which each counts itself before it waits.
fn crowd(wait: impl Fn() + Clone + Send + Sync + 'static, go: impl FnOnce() + Send + 'static) {
    let small = pirn::Builder::new().workers(2).stack_size(64 << 10).build().unwrap();
    small.run(move || {
        let waiting = Arc::new(Count::default());
        let crowd: Vec<_> = (0..CROWD)
            .map(|_| {
                let (wait, waiting) = (wait.clone(), waiting.clone());
                pirn::spawn(move || {
                    waiting.add();
                    wait();
                })
            })
            .collect();
        until(|| waiting.get() == CROWD);
        let start = Instant::now();
        go();
        crowd.into_iter().for_each(|one| one.join().unwrap());
        // A quadratic queue would take minutes.
        assert!(start.elapsed() < Duration::from_secs(240), "{:?}", start.elapsed());
    });
}

#[test]
fn one_mutex() {
    static MUTEX: Mutex<usize> = Mutex::new(0);
    let guard = MUTEX.lock().unwrap();
    let start = Instant::now();
    let waiting = Arc::new(Count::default());
    let runtime = runtime(2);
    let crowd: Vec<_> = (0..CROWD)
        .map(|_| {
            let waiting = waiting.clone();
            runtime.spawn(move || {
                waiting.add();
                *MUTEX.lock().unwrap() += 1;
            })
        })
        .collect();
    until(|| waiting.get() == CROWD);
    drop(guard);
    crowd.into_iter().for_each(|one| one.join().unwrap());
    assert_eq!(*MUTEX.lock().unwrap(), CROWD);
    assert!(start.elapsed() < Duration::from_secs(240), "{:?}", start.elapsed());
}

#[test]
fn one_condition() {
    static OPEN: Mutex<bool> = Mutex::new(false);
    static OPENED: Condvar = Condvar::new();
    crowd(
        || drop(OPENED.wait_while(OPEN.lock().unwrap(), |open| !*open).unwrap()),
        || {
            *OPEN.lock().unwrap() = true;
            OPENED.notify_all();
        },
    );
}

/// All of them time out, and each removes itself.
#[test]
fn one_condition_with_timeouts() {
    static NEVER: Mutex<()> = Mutex::new(());
    static CHANGED: Condvar = Condvar::new();
    crowd(
        || {
            let waited = CHANGED.wait_timeout_while(
                NEVER.lock().unwrap(),
                Duration::from_millis(100),
                |()| true,
            );
            assert!(waited.unwrap().1.timed_out());
        },
        || (),
    );
    CHANGED.notify_all();
}

#[test]
fn one_rwlock() {
    static LOCK: RwLock<usize> = RwLock::new(0);
    static NEXT: Count = Count::new();
    let writer = LOCK.write().unwrap();
    let waiting = Arc::new(Count::default());
    let runtime = runtime(2);
    let crowd: Vec<_> = (0..CROWD)
        .map(|_| {
            let waiting = waiting.clone();
            runtime.spawn(move || {
                waiting.add();
                if NEXT.add().is_multiple_of(10) {
                    *LOCK.write().unwrap() += 1;
                } else {
                    drop(LOCK.read().unwrap());
                }
            })
        })
        .collect();
    until(|| waiting.get() == CROWD);
    let start = Instant::now();
    drop(writer);
    crowd.into_iter().for_each(|one| one.join().unwrap());
    assert_eq!(*LOCK.read().unwrap(), CROWD / 10);
    assert!(start.elapsed() < Duration::from_secs(240), "{:?}", start.elapsed());
}

#[test]
fn one_initialisation() {
    static ONCE: Once = Once::new();
    crowd(|| ONCE.wait(), || ONCE.call_once(|| ()));
}

#[test]
fn one_barrier() {
    static BARRIER: Barrier = Barrier::new(CROWD + 1);
    crowd(
        || {
            BARRIER.wait();
        },
        || {
            BARRIER.wait();
        },
    );
}
