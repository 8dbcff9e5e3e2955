//! Where coroutines end up living: bursts, one at a time, and what never parks.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, mpsc};
use std::time::{Duration, Instant};

fn runtime(workers: usize) -> pirn::Runtime {
    // So that whoever passes for stuck is counted among the stalls.
    let builder = pirn::Builder::new().workers(workers).stall_after(Duration::ZERO);
    builder.on_stall(|_| ()).build().unwrap()
}

/// Waits until all of `many` have begun and nothing else lives there. Gives the residents of each
/// worker, and whether each worker could run.
///
/// One that the machine keeps from running for long passes for stuck: it gets none, and what was
/// sent to it starts elsewhere, perhaps at a surplus worker. So no share is promised then.
fn settle(runtime: &pirn::Runtime, begun: &AtomicUsize, many: usize) -> (Vec<usize>, bool) {
    let patience = Instant::now() + Duration::from_secs(120);
    loop {
        let metrics = runtime.metrics();
        let residents: Vec<_> = metrics.workers.iter().map(|worker| worker.residents).collect();
        let begun = begun.load(Ordering::Acquire);
        if begun == many && residents.iter().sum::<usize>() == many {
            let taken_over = metrics.surplus_started + metrics.total().taken_over;
            return (residents, metrics.stalls + taken_over == 0);
        }
        assert!(Instant::now() < patience, "{begun} of {many} have begun: {metrics:#?}");
        std::thread::yield_now();
    }
}

/// Held by each test: these are about who runs where, so they do not compete for processors.
static ALONE: std::sync::Mutex<()> = std::sync::Mutex::new(());

fn alone() -> std::sync::MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// No worker has more than a quarter above its share, if all could run.
fn assert_fair(what: &str, (residents, all_ran): (Vec<usize>, bool)) {
    let fair = residents.iter().sum::<usize>() as f64 / residents.len() as f64;
    let most = *residents.iter().max().unwrap();
    println!("{what}: {residents:?}, the most {:.2} of the fair share", most as f64 / fair);
    assert!(most as f64 <= 1.25 * fair || !all_ran, "{what}: {residents:?}");
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
                assert_fair(&format!("burst of {many}, {workers} workers"), residents);
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
            assert_fair(&format!("from outside: {many}, {workers} workers"), residents);
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
            assert_fair(&format!("one at a time: {many}, {workers} workers"), residents);
            let_go(parked);
        }
    }
}

/// Those that are spawned one after the other are neighbours more often than not, as the stages of a
/// pipeline should be.
#[test]
fn neighbours_live_together() {
    let _alone = alone();
    for _ in 0..10 {
        let runtime = runtime(2);
        let begun = Arc::new(AtomicUsize::new(0));
        let homes = Arc::new(Mutex::new(Vec::new()));
        let many = 60;
        let (counted, noted) = (begun.clone(), homes.clone());
        let (parked, apart) = runtime.run(move || {
            // The other worker has something to do, so that it steals nothing.
            let over = Arc::new(AtomicBool::new(false));
            let theirs = over.clone();
            let busy = pirn::thread::Builder::new().placement(pirn::thread::Placement::Spread);
            let busy = busy.spawn(move || {
                while !theirs.load(Ordering::Acquire) {
                    pirn::thread::yield_now();
                }
                std::thread::current().id()
            });
            let spawn = |before| {
                let (begun, homes) = (counted.clone(), noted.clone());
                let coroutine = pirn::spawn(move || {
                    homes.lock().unwrap().push(std::thread::current().id());
                    begun.fetch_add(1, Ordering::Release);
                    pirn::thread::park();
                });
                while counted.load(Ordering::Acquire) == before {
                    pirn::thread::yield_now();
                }
                coroutine
            };
            let parked: Vec<_> = (0..many).map(spawn).collect();
            over.store(true, Ordering::Release);
            (parked, busy.unwrap().join().unwrap() != std::thread::current().id())
        });
        let (residents, all_ran) = settle(&runtime, &begun, many);
        assert!(apart || !all_ran);
        let homes = homes.lock().unwrap();
        let crossings = homes.windows(2).filter(|pair| pair[0] != pair[1]).count();
        // Runs of three, where each would cross if each went to the one with the fewest.
        assert!(crossings <= many / 2 || !all_ran, "{crossings} of {homes:?}");
        assert_fair("neighbours", (residents, all_ran));
        let_go(parked);
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
            assert_fair(&format!("churn round {round}, {workers} workers"), residents);
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
        settle(&runtime, &nothing, 0);
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
            let (residents, all_ran) = settle(&runtime, &begun, workers);
            // The spawner lived somewhere, too, while it spawned.
            let used = residents.iter().filter(|&&residents| residents > 0).count();
            assert!(used + 1 >= workers || !all_ran, "{residents:?}");
            let few = residents.iter().all(|&residents| residents <= 2);
            assert!(few || !all_ran, "{residents:?}");
            let_go(parked);
        }
    }
}

/// Who has nobody to spread over walks a tree in depth: in breadth, a fourth of its coroutines are
/// there at the same time.
#[test]
fn a_tree_that_is_spread_over_one_worker_is_walked_in_depth() {
    const DEPTH: usize = 14;

    fn walk(depth: usize, there: &'static AtomicUsize, most: &'static AtomicUsize) {
        if depth == 0 {
            return;
        }
        let spread = pirn::thread::Builder::new().placement(pirn::thread::Placement::Spread);
        let left = spread.spawn(move || {
            most.fetch_max(there.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
            walk(depth - 1, there, most);
            there.fetch_sub(1, Ordering::Relaxed);
        });
        walk(depth - 1, there, most);
        left.unwrap().join().unwrap();
    }

    static THERE: AtomicUsize = AtomicUsize::new(0);
    static MOST: AtomicUsize = AtomicUsize::new(0);
    let _alone = alone();
    runtime(1).run(|| walk(DEPTH, &THERE, &MOST));
    assert_eq!(THERE.load(Ordering::Relaxed), 0);
    let (all, most) = ((1 << DEPTH) - 1, MOST.load(Ordering::Relaxed));
    assert!(most < all / 16, "{most} of {all} at the same time");
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
