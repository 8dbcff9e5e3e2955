//! Migrating coroutines: any worker resumes them. (`--features migrating`)
#![cfg(feature = "migrating")]
#![expect(unsafe_code, reason = "spawns migrating coroutines, which is unsafe")]

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

fn spawn<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> pirn::thread::JoinHandle<T> {
    // SAFETY: what is spawned in this file keeps nothing across a park that is bound to a thread.
    unsafe { pirn::thread::Builder::new().migrating() }.spawn(f).unwrap()
}

/// Where the caller runs, found out anew at each call.
#[inline(never)]
fn here() -> std::thread::ThreadId {
    std::thread::current().id()
}

#[test]
fn they_yield_park_sleep_and_end() {
    for workers in [1, 2, 4, 8] {
        let runtime = pirn::Builder::new().workers(workers).build().unwrap();
        let seen = Arc::new(Mutex::new(HashSet::new()));
        let handles: Vec<_> = (0..200)
            .map(|number| {
                let seen = seen.clone();
                runtime.run(move || {
                    spawn(move || {
                        for _ in 0..50 {
                            pirn::thread::yield_now();
                            let here = here();
                            seen.lock().unwrap().insert(here);
                        }
                        pirn::thread::sleep(Duration::from_micros(number * 10));
                        pirn::thread::park();
                        number
                    })
                })
            })
            .collect();
        for handle in &handles {
            handle.thread().unpark();
        }
        let sum: u64 = handles.into_iter().map(|handle| handle.join().unwrap()).sum();
        assert_eq!(sum, 19_900);
        // One that waits for the lock of `seen` for long, since its holder was not let run, is stuck.
        let surplus = runtime.metrics().surplus_started as usize;
        assert!(seen.lock().unwrap().len() <= workers + surplus);
    }
}

/// A worker that is stuck does not hold up what has started on it.
#[test]
fn they_leave_a_stuck_worker() {
    let runtime = pirn::Builder::new().workers(2).build().unwrap();
    // Bound coroutines may live on the stuck worker, so this thread waits, not one of them.
    let (release, released) = std::sync::mpsc::channel();
    let migrants = runtime.run(|| {
        let sleepy = || {
            for _ in 0..20 {
                pirn::thread::sleep(Duration::from_millis(1));
            }
            Instant::now()
        };
        (0..16).map(|_| spawn(sleepy)).collect::<Vec<_>>()
    });
    let stuck = runtime.spawn(move || {
        released.recv().unwrap();
        Instant::now()
    });
    let ended: Vec<_> = migrants.into_iter().map(|migrant| migrant.join().unwrap()).collect();
    release.send(()).unwrap();
    let released_at = stuck.join().unwrap();
    assert!(ended.iter().all(|&at| at < released_at));
}

#[test]
fn a_runtime_that_ends_unwinds_them() {
    for workers in [1, 2, 4] {
        for _ in 0..20 {
            let runtime = pirn::Builder::new().workers(workers).build().unwrap();
            let handles: Vec<_> = (0..50)
                .map(|_| {
                    runtime.run(|| {
                        spawn(|| {
                            while pirn::current_metrics().is_some() {
                                pirn::thread::yield_now();
                                pirn::thread::park_timeout(Duration::from_secs(1000));
                            }
                        })
                    })
                })
                .collect();
            drop(runtime);
            for handle in handles {
                let payload: Box<dyn std::any::Any + Send> = handle.join().unwrap_err();
                assert!(payload.is::<pirn::Cancelled>());
            }
        }
    }
}

/// One that was called by its joiner waits, which wakes a migrating one, for which there is no room at hand.
#[test]
fn the_wait_of_what_was_called_wakes_one() {
    use pirn::channel::{Select, bounded};

    let runtime = pirn::Builder::new().workers(1).build().unwrap();
    runtime.run(|| {
        let (sender, receiver) = bounded::<u32>(0);
        let (ready, is_ready) = bounded(1);
        let watcher = spawn(move || {
            let mut select = Select::new();
            select.send(&sender);
            ready.send(()).unwrap();
            select.ready();
            drop(select);
            sender.send(5).unwrap();
        });
        is_ready.recv().unwrap();
        // It waits by now, or is about to on the only worker.
        pirn::thread::yield_now();
        let many: Vec<_> = (0..200).map(|n| pirn::spawn(move || n)).collect();
        let child = pirn::spawn(move || receiver.recv().unwrap());
        assert_eq!(child.join().unwrap(), 5);
        watcher.join().unwrap();
        let sum: u32 = many.into_iter().map(|one| one.join().unwrap()).sum();
        assert_eq!(sum, 19_900);
    });
}

/// Waits that end now by their timer and now by a wake, at the same time as that: none takes another's back.
#[test]
fn timers_that_are_taken_back_are_nobody_elses() {
    for workers in [1, 2, 4] {
        let runtime = pirn::Builder::new().workers(workers).build().unwrap();
        let sleepers: Vec<_> = runtime.run(|| {
            let timed = |number: u64| {
                for round in 0..300 {
                    pirn::thread::park_timeout(Duration::from_micros((number * 7 + round) % 60));
                    if round % 10 == 0 {
                        // Nobody ends this one but its timer.
                        pirn::thread::sleep(Duration::from_micros(number));
                    }
                }
            };
            (0..30).map(|number| spawn(move || timed(number))).collect()
        });
        runtime.run(|| {
            while sleepers.iter().any(|sleeper| !sleeper.is_finished()) {
                // Half of them.
                sleepers.iter().step_by(2).for_each(|sleeper| sleeper.thread().unpark());
                pirn::thread::yield_now();
            }
        });
        sleepers.into_iter().for_each(|sleeper| sleeper.join().unwrap());
    }
}
