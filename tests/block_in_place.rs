//! `block_in_place`, and what becomes of a worker's other work while it is stuck.

use pirn::{WorkerMetrics, WorkerState};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

/// Long enough for any machine: a test that gets there has failed.
const PATIENCE: Duration = Duration::from_secs(120);

fn runtime(workers: usize) -> pirn::Runtime {
    pirn::Builder::new().workers(workers).build().unwrap()
}

#[test]
fn what_has_not_started_goes_on_elsewhere() {
    for workers in [1, 2, 4, 8] {
        let runtime = runtime(workers);
        for _ in 0..5 {
            let sum: u32 = runtime.run(|| {
                let (sent, received) = mpsc::channel();
                for number in 0..100 {
                    let sent = sent.clone();
                    drop(pirn::spawn(move || {
                        pirn::thread::yield_now();
                        sent.send(number).unwrap();
                    }));
                }
                drop(sent);
                pirn::block_in_place(|| received.iter().sum())
            });
            assert_eq!(sum, 4950);
        }
    }
}

/// Every worker is blocked for what only a surplus machine can run.
#[test]
fn all_workers_blocked_at_once() {
    for workers in [1, 2, 4] {
        let runtime = runtime(workers);
        let blocked: Vec<_> = (0..2 * workers)
            .map(|_| {
                runtime.spawn(|| {
                    let (sent, received) = mpsc::channel();
                    drop(pirn::spawn(move || sent.send(5).unwrap()));
                    pirn::block_in_place(|| received.recv().unwrap())
                })
            })
            .collect();
        for blocked in blocked {
            assert_eq!(blocked.join().unwrap(), 5);
        }
    }
}

#[test]
fn a_chain_of_blocked_coroutines_makes_progress() {
    fn chain(depth: usize) -> usize {
        if depth == 0 {
            return 0;
        }
        let (sent, received) = mpsc::channel();
        drop(pirn::spawn(move || sent.send(chain(depth - 1)).unwrap()));
        1 + pirn::block_in_place(|| received.recv().unwrap())
    }
    for workers in [1, 2] {
        assert_eq!(runtime(workers).run(|| chain(10)), 10);
    }
}

#[test]
fn nested() {
    for workers in [1, 2, 4, 8] {
        let runtime = runtime(workers);
        let outcome = runtime.run(|| {
            pirn::block_in_place(|| {
                let inner = pirn::block_in_place(|| 1);
                let (sent, received) = mpsc::channel();
                drop(pirn::spawn(move || sent.send(2).unwrap()));
                // Still blocking, although the inner one has ended.
                inner + received.recv().unwrap()
            })
        });
        assert_eq!(outcome, 3);
    }
}

/// A runtime with one worker, and what its stall watch reports.
fn watched() -> (pirn::Runtime, mpsc::Receiver<pirn::Stall>) {
    let (sent, reports) = mpsc::channel();
    let builder = pirn::Builder::new().workers(1).stall_after(Duration::from_millis(50));
    let runtime = builder.on_stall(move |stall| drop(sent.send(stall.clone()))).build().unwrap();
    (runtime, reports)
}

#[test]
fn the_end_of_an_inner_one_does_not_end_the_outer_one() {
    let (runtime, reports) = watched();
    runtime.run(move || {
        pirn::block_in_place(|| {
            pirn::block_in_place(|| ());
            // Some may be of the time before, if the system has taken the processor away then. Each
            // comes when the stall has doubled, so these are of six seconds.
            assert!(reports.iter().take(8).any(|stall| stall.block_in_place));
        });
    });
}

#[test]
fn the_mode_is_not_the_next_coroutines() {
    let (runtime, reports) = watched();
    runtime.run(move || {
        let hog = move || {
            // Blocks without saying so. The one who has said so may have been reported before.
            let own = |stall: &pirn::Stall| stall.name.as_deref() == Some("hog");
            assert!(!reports.iter().find(own).unwrap().block_in_place);
        };
        let hog = pirn::thread::Builder::new().name("hog".into()).spawn_local(hog).unwrap();
        pirn::block_in_place(pirn::thread::yield_now);
        pirn::block_in_place(|| {
            pirn::thread::yield_now();
            hog.join().unwrap();
        });
    });
}

/// The watch finds somebody to run what a blocked worker waits for, even though the report that it
/// has just made has panicked.
#[test]
fn the_watch_survives_its_reports() {
    let (sent, reports) = mpsc::channel();
    let builder = pirn::Builder::new().workers(1).stall_after(Duration::from_millis(50));
    let panics = move |_: &pirn::Stall| {
        sent.send(()).unwrap();
        std::panic::resume_unwind(Box::new(()));
    };
    let runtime = builder.on_stall(panics).build().unwrap();
    runtime.run(move || {
        pirn::block_in_place(|| {
            reports.recv().unwrap();
            let (sent, received) = mpsc::channel();
            drop(pirn::spawn(move || sent.send(5).unwrap()));
            let answer = received.recv_timeout(PATIENCE);
            assert_eq!(answer.expect("nobody watches"), 5);
        });
    });
}

#[test]
fn parks_inside_are_parks() {
    for workers in [1, 2, 4, 8] {
        let runtime = runtime(workers);
        runtime.run(|| {
            let me = pirn::thread::current();
            let home = std::thread::current().id();
            pirn::block_in_place(|| {
                pirn::thread::yield_now();
                pirn::thread::sleep(Duration::from_millis(1));
                // Runs here, while this one is parked within.
                let waker = pirn::thread::spawn_local(move || me.unpark());
                pirn::thread::park();
                waker.join().unwrap();
                assert_eq!(pirn::blocking(|| 1), 1);
            });
            assert_eq!(std::thread::current().id(), home);
        });
    }
}

#[test]
fn a_panic_inside_ends_the_mode() {
    for workers in [1, 2, 4, 8] {
        let runtime = runtime(workers);
        for _ in 0..20 {
            runtime.run(|| {
                let blocked = || pirn::block_in_place(|| std::panic::resume_unwind(Box::new(3)));
                let panic = catch_unwind(AssertUnwindSafe(blocked)).unwrap_err();
                assert_eq!(*panic.downcast_ref::<i32>().unwrap(), 3);
                pirn::spawn(pirn::thread::yield_now).join().unwrap();
            });
        }
    }
}

#[test]
fn residents_wait_for_their_home() {
    let runtime = runtime(1);
    runtime.run(|| {
        let ran = Arc::new(AtomicBool::new(false));
        let theirs = ran.clone();
        let home = std::thread::current().id();
        let resident = pirn::thread::spawn_local(move || {
            pirn::thread::yield_now();
            assert_eq!(std::thread::current().id(), home);
            theirs.store(true, Ordering::Relaxed);
        });
        pirn::thread::yield_now();
        resident.thread().unpark();
        let (sent, received) = mpsc::channel();
        pirn::block_in_place(|| {
            // Others have had ample time by then: a whole coroutine has run elsewhere.
            drop(pirn::spawn(move || {
                (0..100).for_each(|_| pirn::thread::yield_now());
                sent.send(()).unwrap();
            }));
            received.recv().unwrap();
            assert!(!ran.load(Ordering::Relaxed), "ran while its home was blocked");
        });
        resident.join().unwrap();
        assert!(ran.load(Ordering::Relaxed));
    });
}

#[test]
fn on_a_plain_thread_it_is_a_call() {
    let text = String::from("borrowed");
    assert_eq!(pirn::block_in_place(|| text.len()), 8);
}

#[test]
fn a_hog_does_not_stop_the_others() {
    let runtime = runtime(2);
    let stop = Arc::new(AtomicBool::new(false));
    let (sent, received) = mpsc::channel();
    let theirs = stop.clone();
    let hog = runtime.spawn(move || {
        sent.send(()).unwrap();
        while !theirs.load(Ordering::Relaxed) {
            std::hint::spin_loop();
        }
    });
    received.recv().unwrap();
    let done = Arc::new(AtomicUsize::new(0));
    let others: Vec<_> = (0..200)
        .map(|_| {
            let done = done.clone();
            runtime.spawn(move || {
                for _ in 0..10 {
                    pirn::thread::sleep(Duration::from_micros(100));
                    assert!(pirn::spawn(|| true).join().unwrap());
                }
                done.fetch_add(1, Ordering::Relaxed);
            })
        })
        .collect();
    for other in others {
        other.join().unwrap();
    }
    assert!(!hog.is_finished());
    assert_eq!(done.load(Ordering::Relaxed), 200);
    stop.store(true, Ordering::Relaxed);
    hog.join().unwrap();
}

#[test]
fn surplus_machines_go_away_again() {
    for workers in [1, 2] {
        let runtime = runtime(workers);
        let (held, holding) = mpsc::channel();
        let gates: Vec<_> = (0..workers)
            .map(|_| {
                let (open, gate) = mpsc::channel::<()>();
                let held = held.clone();
                let blocked = runtime.spawn(move || {
                    held.send(()).unwrap();
                    pirn::block_in_place(|| gate.recv()).unwrap_err();
                });
                (open, blocked)
            })
            .collect();
        (0..workers).for_each(|_| holding.recv().unwrap());
        // Only a surplus machine can run this.
        let elsewhere = runtime.spawn(|| std::thread::current().id());
        elsewhere.join().unwrap();
        // What lives there keeps it alive.
        let resident = runtime.spawn(pirn::thread::park);
        runtime.spawn(|| ()).join().unwrap();
        let metrics = runtime.metrics();
        assert!(metrics.workers.len() > workers, "{metrics:?}");
        assert!(metrics.workers.iter().any(|worker| worker.surplus));
        for (open, blocked) in gates {
            drop(open);
            blocked.join().unwrap();
        }
        resident.thread().unpark();
        resident.join().unwrap();
        let patience = Instant::now() + PATIENCE;
        while runtime.metrics().workers.len() > workers {
            assert!(Instant::now() < patience, "{:?}", runtime.metrics());
            std::thread::sleep(Duration::from_millis(1));
        }
        // And the runtime works as before.
        assert_eq!(runtime.run(|| pirn::spawn(|| 4).join().unwrap()), 4);
    }
}

/// One that sleeps is told that its time is over, also while the workers have no rest.
#[test]
fn surplus_machines_go_away_from_a_busy_runtime() {
    let runtime = runtime(1);
    let (open, gate) = mpsc::channel::<()>();
    let (held, holding) = mpsc::channel();
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = stop.clone();
    let busy = runtime.spawn(move || {
        held.send(()).unwrap();
        pirn::block_in_place(|| gate.recv()).unwrap_err();
        while !stopped.load(Ordering::Relaxed) {
            pirn::thread::yield_now();
        }
    });
    holding.recv().unwrap();
    // Only a surplus machine can run this.
    runtime.spawn(|| ()).join().unwrap();
    let wait_for = |happened: &dyn Fn(&[WorkerMetrics]) -> bool| {
        let patience = Instant::now() + PATIENCE;
        while !happened(&runtime.metrics().workers) {
            assert!(Instant::now() < patience, "{:?}", runtime.metrics());
            std::thread::sleep(Duration::from_millis(1));
        }
    };
    wait_for(&|workers| workers.iter().any(|w| w.surplus && w.state == WorkerState::Asleep));
    drop(open);
    wait_for(&|workers| workers.len() == 1);
    stop.store(true, Ordering::Relaxed);
    busy.join().unwrap();
}

/// Started, blocked and ended over and over: no surplus machine is left, none is missing.
#[test]
fn many_times_over() {
    let runtime = runtime(1);
    for _ in 0..200 {
        let outcome = runtime.run(|| {
            let (sent, received) = mpsc::channel();
            drop(pirn::spawn(move || sent.send(()).unwrap()));
            pirn::block_in_place(|| received.recv_timeout(PATIENCE))
        });
        outcome.expect("nobody ran what had not started");
    }
    let patience = Instant::now() + PATIENCE;
    while runtime.metrics().workers.len() > 1 {
        assert!(Instant::now() < patience, "{:?}", runtime.metrics());
        std::thread::sleep(Duration::from_millis(1));
    }
}
