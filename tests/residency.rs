//! Where coroutines end up living: bursts, one at a time, and what never parks.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

fn runtime(workers: usize) -> pirn::Runtime {
    pirn::Builder::new().workers(workers).build().unwrap()
}

/// Residents per regular worker.
fn residents(runtime: &pirn::Runtime) -> Vec<usize> {
    let metrics = runtime.metrics();
    metrics.workers.iter().filter(|worker| !worker.surplus).map(|worker| worker.residents).collect()
}

/// Waits until all of `many` have begun and nothing else lives there.
fn settle(runtime: &pirn::Runtime, begun: &AtomicUsize, many: usize) -> Vec<usize> {
    let patience = Instant::now() + Duration::from_secs(120);
    loop {
        let residents = residents(runtime);
        if begun.load(Ordering::Acquire) == many && residents.iter().sum::<usize>() == many {
            return residents;
        }
        assert!(Instant::now() < patience, "{residents:?} of {many}");
        std::thread::yield_now();
    }
}

/// Held by each test: these are about who runs where, so they do not compete for processors.
static ALONE: std::sync::Mutex<()> = std::sync::Mutex::new(());

fn alone() -> std::sync::MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// No worker has more than a quarter above its share.
fn assert_fair(what: &str, residents: &[usize]) {
    let fair = residents.iter().sum::<usize>() as f64 / residents.len() as f64;
    let most = *residents.iter().max().unwrap();
    println!("{what}: {residents:?}, the most {:.2} of the fair share", most as f64 / fair);
    assert!(most as f64 <= 1.25 * fair, "{what}: {residents:?}");
}

fn let_go(parked: Vec<pirn::thread::JoinHandle<()>>) {
    parked.iter().for_each(|parked| parked.thread().unpark());
    parked.into_iter().for_each(|parked| parked.join().unwrap());
}

#[test]
fn a_burst_from_a_coroutine_is_spread() {
    let _alone = alone();
    for workers in [2, 4, 8] {
        for times in [8, 16, 100] {
            for _ in 0..10 {
                let runtime = runtime(workers);
                let begun = Arc::new(AtomicUsize::new(0));
                let many = times * workers;
                let counted = begun.clone();
                let parked: Vec<_> = runtime.run(move || {
                    let spawn = |_| {
                        let begun = counted.clone();
                        pirn::spawn(move || {
                            begun.fetch_add(1, Ordering::Release);
                            pirn::thread::park();
                        })
                    };
                    (0..many).map(spawn).collect()
                });
                let residents = settle(&runtime, &begun, many);
                assert_fair(&format!("burst of {many}, {workers} workers"), &residents);
                let_go(parked);
            }
        }
    }
}

#[test]
fn a_burst_from_a_plain_thread_is_spread() {
    let _alone = alone();
    for workers in [2, 4, 8] {
        for _ in 0..10 {
            let runtime = runtime(workers);
            let begun = Arc::new(AtomicUsize::new(0));
            let many = 8 * workers;
            let parked: Vec<_> = (0..many)
                .map(|_| {
                    let begun = begun.clone();
                    runtime.spawn(move || {
                        begun.fetch_add(1, Ordering::Release);
                        pirn::thread::park();
                    })
                })
                .collect();
            let residents = settle(&runtime, &begun, many);
            assert_fair(&format!("from outside: {many}, {workers} workers"), &residents);
            let_go(parked);
        }
    }
}

/// As a server does it: accept, spawn, wait for the next.
#[test]
fn one_at_a_time_is_spread() {
    let _alone = alone();
    for workers in [2, 4, 8] {
        for _ in 0..5 {
            let runtime = runtime(workers);
            let begun = Arc::new(AtomicUsize::new(0));
            let many = 8 * workers;
            let counted = begun.clone();
            let parked: Vec<_> = runtime.run(move || {
                let spawn = |_| {
                    let begun = counted.clone();
                    let coroutine = pirn::spawn(move || {
                        begun.fetch_add(1, Ordering::Release);
                        pirn::thread::park();
                    });
                    pirn::thread::sleep(Duration::from_micros(200));
                    coroutine
                };
                (0..many).map(spawn).collect()
            });
            let residents = settle(&runtime, &begun, many);
            assert_fair(&format!("one at a time: {many}, {workers} workers"), &residents);
            let_go(parked);
        }
    }
}

/// What comes and goes leaves no imbalance that newcomers would have to make up for.
#[test]
fn churn_is_spread() {
    let _alone = alone();
    for workers in [2, 4] {
        let runtime = runtime(workers);
        let many = 50 * workers;
        let mut parked: Vec<pirn::thread::JoinHandle<()>> = Vec::new();
        for round in 0..20 {
            let begun = Arc::new(AtomicUsize::new(parked.len()));
            let missing = many - parked.len();
            let counted = begun.clone();
            parked.extend(runtime.run(move || {
                let spawn = |_| {
                    let begun = counted.clone();
                    pirn::spawn(move || {
                        begun.fetch_add(1, Ordering::Release);
                        pirn::thread::park();
                    })
                };
                (0..missing).map(spawn).collect::<Vec<_>>()
            }));
            let residents = settle(&runtime, &begun, many);
            assert_fair(&format!("churn round {round}, {workers} workers"), &residents);
            // Every third goes.
            let (gone, kept) =
                parked.drain(..).enumerate().partition::<Vec<_>, _>(|(index, _)| index % 3 == 0);
            let_go(gone.into_iter().map(|(_, gone)| gone).collect());
            parked = kept.into_iter().map(|(_, kept)| kept).collect();
        }
        let_go(parked);
    }
}

#[test]
fn what_never_parks_adds_nothing() {
    let _alone = alone();
    for workers in [1, 2, 4, 8] {
        let runtime = runtime(workers);
        let sum: u64 = runtime.run(|| {
            let tiny: Vec<_> = (0..10_000_u64).map(|n| pirn::spawn(move || n)).collect();
            tiny.into_iter().map(|tiny| tiny.join().unwrap()).sum()
        });
        assert_eq!(sum, 49_995_000);
        let nothing = AtomicUsize::new(0);
        assert_eq!(settle(&runtime, &nothing, 0), vec![0; workers]);
    }
}

/// A few that ask for it start on as many workers as there are.
#[test]
fn a_few_spread_over_all() {
    let _alone = alone();
    for workers in [2, 4, 8] {
        for _ in 0..20 {
            let runtime = runtime(workers);
            let begun = Arc::new(AtomicUsize::new(0));
            let counted = begun.clone();
            let parked: Vec<_> = runtime.run(move || {
                let spawn = |_| {
                    let begun = counted.clone();
                    let spread = pirn::thread::Placement::Spread;
                    let builder = pirn::thread::Builder::new().placement(spread);
                    let body = move || {
                        begun.fetch_add(1, Ordering::Release);
                        pirn::thread::park();
                    };
                    builder.spawn(body).unwrap()
                };
                (0..workers).map(spawn).collect()
            });
            let residents = settle(&runtime, &begun, workers);
            // The spawner lived somewhere, too, while it spawned.
            let used = residents.iter().filter(|&&residents| residents > 0).count();
            assert!(used + 1 >= workers, "{residents:?}");
            assert!(residents.iter().all(|&residents| residents <= 2), "{residents:?}");
            let_go(parked);
        }
    }
}

/// A worker that is stuck gets none, and those sent to it before it got stuck start elsewhere.
#[test]
fn nothing_starts_behind_a_stuck_worker() {
    let _alone = alone();
    for workers in [2, 4] {
        let runtime = runtime(workers);
        let stop = Arc::new(AtomicBool::new(false));
        let (sent, received) = mpsc::channel();
        let theirs = stop.clone();
        let hog = runtime.spawn(move || {
            sent.send(std::thread::current().id()).unwrap();
            while !theirs.load(Ordering::Relaxed) {
                std::hint::spin_loop();
            }
        });
        let stuck = received.recv().unwrap();
        let homes: Vec<_> = (0..20 * workers)
            .map(|_| {
                runtime.spawn(|| {
                    pirn::thread::yield_now();
                    std::thread::current().id()
                })
            })
            .collect();
        for home in homes {
            assert_ne!(home.join().unwrap(), stuck);
        }
        stop.store(true, Ordering::Relaxed);
        hog.join().unwrap();
    }
}
