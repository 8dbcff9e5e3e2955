//! Everything at once, from coroutines and threads, with seeds.
//!
//! `PIRN_STRESS_ROUNDS` and `PIRN_STRESS_SEED` set how many rounds each test makes and where it
//! begins.

use pirn::sync::{Arc, Barrier, Condvar, Mutex, OnceLock, RwLock, RwLockWriteGuard};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const WORKERS: [usize; 4] = [1, 2, 4, 8];

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().unwrap())
}

/// Runs `round` for each seed and number of workers, and says which one it was if it hangs.
fn rounds(default: u64, round: impl Fn(pirn::Runtime, u64)) {
    let first = number("PIRN_STRESS_SEED", 0);
    for seed in first..first + number("PIRN_STRESS_ROUNDS", default) {
        for workers in WORKERS {
            let (done, running) = std::sync::mpsc::channel::<()>();
            let watch = std::thread::spawn(move || {
                let outcome = running.recv_timeout(Duration::from_secs(240));
                if outcome == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
                    eprintln!("hangs: seed {seed}, {workers} workers");
                    std::process::abort();
                }
            });
            round(pirn::Builder::new().workers(workers).build().unwrap(), seed);
            drop(done);
            watch.join().unwrap();
        }
    }
}

/// Runs `f` with a generator of its own in some coroutines and some threads, all to their ends.
fn everywhere(
    runtime: &pirn::Runtime,
    random: &mut StdRng,
    (coroutines, threads): (usize, usize),
    f: impl Fn(&mut StdRng) + Clone + Send + 'static,
) {
    let run = |seed: u64| {
        let f = f.clone();
        move || f(&mut StdRng::seed_from_u64(seed))
    };
    let green: Vec<_> = (0..coroutines).map(|_| runtime.spawn(run(random.random()))).collect();
    let os: Vec<_> = (0..threads).map(|_| std::thread::spawn(run(random.random()))).collect();
    os.into_iter().for_each(|one| one.join().unwrap());
    green.into_iter().for_each(|one| one.join().unwrap());
}

fn pause(random: &mut StdRng) {
    match random.random_range(0..16) {
        0..4 => pirn::thread::yield_now(),
        4 => pirn::thread::sleep(Duration::from_micros(random.random_range(0..100))),
        5 => std::hint::spin_loop(),
        _ => {}
    }
}

#[test]
fn mutex() {
    rounds(6, |runtime, seed| {
        let mutex = Arc::new(Mutex::new((0_usize, 0_usize)));
        let theirs = mutex.clone();
        everywhere(&runtime, &mut StdRng::seed_from_u64(seed), (40, 4), move |random| {
            for _ in 0..100 {
                let guard = match random.random_range(0..4) {
                    0 => theirs.try_lock().ok(),
                    _ => theirs.lock().ok(),
                };
                if let Some(mut pair) = guard {
                    pair.0 += 1;
                    pause(random);
                    pair.1 += 1;
                    assert_eq!(pair.0, pair.1);
                }
                pause(random);
            }
        });
        let pair = mutex.lock().unwrap();
        assert!(pair.0 == pair.1 && pair.0 > 0);
    });
}

#[test]
fn rwlock() {
    rounds(6, |runtime, seed| {
        let lock = Arc::new(RwLock::new((0_usize, 0_usize)));
        let theirs = lock.clone();
        let readers = Arc::new(AtomicUsize::new(0));
        everywhere(&runtime, &mut StdRng::seed_from_u64(seed), (40, 4), move |random| {
            for _ in 0..100 {
                let dice = random.random_range(0..10);
                if dice < 3 {
                    let mut pair = theirs.write().unwrap();
                    assert_eq!(readers.load(Ordering::SeqCst), 0);
                    pair.0 += 1;
                    pause(random);
                    pair.1 += 1;
                    if dice == 0 {
                        let read = RwLockWriteGuard::downgrade(pair);
                        let before = *read;
                        pause(random);
                        assert_eq!(*read, before);
                    }
                } else {
                    let read = if dice == 3 { theirs.try_read().ok() } else { theirs.read().ok() };
                    if let Some(pair) = read {
                        readers.fetch_add(1, Ordering::SeqCst);
                        assert_eq!(pair.0, pair.1);
                        pause(random);
                        readers.fetch_sub(1, Ordering::SeqCst);
                    }
                }
                pause(random);
            }
        });
        assert!(lock.try_write().is_ok());
    });
}

/// A bounded queue from a mutex and two conditions; some takers are in a hurry.
#[test]
fn condvar() {
    rounds(6, |runtime, seed| {
        const ITEMS: usize = 3000;
        struct Queue {
            items: Mutex<(VecDeque<usize>, usize)>,
            filled: Condvar,
            emptied: Condvar,
        }
        let queue = Arc::new(Queue {
            items: Mutex::default(),
            filled: Condvar::new(),
            emptied: Condvar::new(),
        });
        let given = Arc::new(AtomicUsize::new(0));
        let theirs = queue.clone();
        everywhere(&runtime, &mut StdRng::seed_from_u64(seed), (20, 4), move |random| {
            let gives = random.random_bool(0.4);
            loop {
                let mut items = theirs.items.lock().unwrap();
                if items.1 == ITEMS {
                    theirs.filled.notify_all();
                    theirs.emptied.notify_all();
                    return;
                }
                if gives && given.load(Ordering::Relaxed) < ITEMS {
                    let full = |items: &mut (VecDeque<usize>, usize)| items.0.len() >= 8;
                    let hurry = Duration::from_micros(random.random_range(0..500));
                    items = theirs.emptied.wait_timeout_while(items, hurry, full).unwrap().0;
                    if items.0.len() < 8 && given.fetch_add(1, Ordering::Relaxed) < ITEMS {
                        items.0.push_back(1);
                        drop(items);
                        theirs.filled.notify_one();
                    }
                } else {
                    let done = |items: &mut (VecDeque<usize>, usize)| {
                        items.0.is_empty() && items.1 < ITEMS
                    };
                    items = match random.random_range(0..3) {
                        0 => {
                            let hurry = Duration::from_micros(random.random_range(0..200));
                            theirs.filled.wait_timeout_while(items, hurry, done).unwrap().0
                        }
                        // Nobody else might give.
                        _ => {
                            let long = Duration::from_millis(20);
                            theirs.filled.wait_timeout_while(items, long, done).unwrap().0
                        }
                    };
                    if items.0.pop_front().is_none() {
                        if items.1 < ITEMS && given.fetch_add(1, Ordering::Relaxed) < ITEMS {
                            items.0.push_back(1);
                        }
                        continue;
                    }
                    items.1 += 1;
                    let all = items.1 == ITEMS;
                    drop(items);
                    if all {
                        theirs.filled.notify_all();
                    }
                    theirs.emptied.notify_one();
                }
                pause(random);
            }
        });
        assert_eq!(queue.items.lock().unwrap().1, ITEMS);
    });
}

#[test]
fn barrier_and_once() {
    rounds(6, |runtime, seed| {
        const MEMBERS: (usize, usize) = (12, 4);
        const TURNS: usize = 30;
        let barrier = Arc::new(Barrier::new(MEMBERS.0 + MEMBERS.1));
        let cells: Arc<Vec<OnceLock<u64>>> =
            Arc::new((0..TURNS).map(|_| OnceLock::new()).collect());
        let (made, led) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (makes, leads) = (made.clone(), led.clone());
        everywhere(&runtime, &mut StdRng::seed_from_u64(seed), MEMBERS, move |random| {
            for cell in &*cells {
                let value = *cell.get_or_init(|| {
                    pause(random);
                    makes.fetch_add(1, Ordering::Relaxed);
                    random.random()
                });
                pause(random);
                if barrier.wait().is_leader() {
                    leads.fetch_add(1, Ordering::Relaxed);
                }
                assert_eq!(cell.get(), Some(&value));
            }
        });
        assert_eq!((made.load(Ordering::Relaxed), led.load(Ordering::Relaxed)), (TURNS, TURNS));
    });
}

/// A runtime ends in the middle of it all; threads and another runtime go on.
#[test]
fn cancelled_at_any_moment() {
    rounds(15, |runtime, seed| {
        let shared =
            Arc::new((Mutex::new(0_usize), Condvar::new(), RwLock::new((0_usize, 0_usize))));
        let work = |seed: u64, times: usize| {
            let shared = shared.clone();
            move || {
                let mut random = StdRng::seed_from_u64(seed);
                for _ in 0..times {
                    match random.random_range(0..6) {
                        0 | 1 => {
                            let mut count = shared.0.lock().unwrap();
                            pause(&mut random);
                            *count += 1;
                        }
                        2 => {
                            let hurry = Duration::from_micros(random.random_range(0..300));
                            let count = shared.0.lock().unwrap();
                            drop(shared.1.wait_timeout(count, hurry).unwrap());
                        }
                        3 => shared.1.notify_one(),
                        4 => {
                            let mut pair = shared.2.write().unwrap();
                            pair.0 += 1;
                            pair.1 += 1;
                            pause(&mut random);
                        }
                        _ => {
                            let pair = shared.2.read().unwrap();
                            pause(&mut random);
                            assert_eq!(pair.0, pair.1);
                        }
                    }
                }
            }
        };
        let mut random = StdRng::seed_from_u64(seed);
        let other = pirn::Builder::new().workers(2).build().unwrap();
        let doomed: Vec<_> =
            (0..40).map(|_| runtime.spawn(work(random.random(), usize::MAX))).collect();
        let green: Vec<_> = (0..10).map(|_| other.spawn(work(random.random(), 100))).collect();
        let os: Vec<_> = (0..3).map(|_| std::thread::spawn(work(random.random(), 100))).collect();
        std::thread::sleep(Duration::from_micros(random.random_range(0..5000)));
        drop(runtime);
        for one in doomed {
            assert!(one.join().unwrap_err().is::<pirn::Cancelled>());
        }
        green.into_iter().for_each(|one| one.join().unwrap());
        os.into_iter().for_each(|one| one.join().unwrap());
        assert!(shared.0.try_lock().is_ok() && shared.2.try_write().is_ok());
    });
}
