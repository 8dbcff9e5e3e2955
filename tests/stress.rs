//! Everything at once, from coroutines and threads, with seeds.
//!
//! `PIRN_STRESS_ROUNDS` and `PIRN_STRESS_SEED` set how many rounds each test makes and where it
//! begins.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
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

fn pause(random: &mut StdRng) {
    match random.random_range(0..12) {
        0..6 => pirn::thread::yield_now(),
        6..8 => pirn::thread::sleep(Duration::from_micros(random.random_range(0..200))),
        8 => pirn::thread::park_timeout(Duration::from_micros(random.random_range(0..200))),
        9 => pirn::blocking(|| ()),
        _ => {}
    }
}

#[test]
fn spawn_trees() {
    fn tree(seed: u64, depth: u32, count: &Arc<AtomicUsize>) -> usize {
        let mut random = StdRng::seed_from_u64(seed);
        count.fetch_add(1, Ordering::Relaxed);
        if depth == 0 {
            return 1;
        }
        let children: Vec<_> = (0..random.random_range(0..5))
            .map(|_| {
                let (seed, count) = (random.random(), count.clone());
                pause(&mut random);
                pirn::spawn(move || tree(seed, depth - 1, &count))
            })
            .collect();
        pause(&mut random);
        1 + children.into_iter().map(|child| child.join().unwrap()).sum::<usize>()
    }

    rounds(10, |runtime, seed| {
        let count = Arc::new(AtomicUsize::new(0));
        let counted = count.clone();
        let size = runtime
            .run(move || (0..8).map(|part| tree(seed * 8 + part, 5, &counted)).sum::<usize>());
        assert_eq!(size, count.load(Ordering::Relaxed));
    });
}

/// A token that is given is found: by whoever parks, whenever, wherever from.
#[test]
fn park_and_unpark() {
    rounds(10, |runtime, seed| {
        const TURNS: usize = 300;
        let mut random = StdRng::seed_from_u64(seed);
        // Each waits for its own counter to grow, which others do before they unpark it.
        let counters: Arc<Vec<AtomicUsize>> =
            Arc::new((0..8).map(|_| AtomicUsize::new(0)).collect());
        let waiters: Vec<_> = (0..8)
            .map(|number| {
                let counters = counters.clone();
                let mut random = StdRng::seed_from_u64(random.random());
                runtime.spawn(move || {
                    for turn in 1..=TURNS {
                        while counters[number].load(Ordering::Acquire) < turn {
                            if random.random_bool(0.2) {
                                pirn::thread::park_timeout(Duration::from_secs(3600));
                            } else {
                                pirn::thread::park();
                            }
                        }
                        if random.random_bool(0.1) {
                            pirn::thread::yield_now();
                        }
                    }
                })
            })
            .collect();
        let threads: Vec<_> = waiters.iter().map(|waiter| waiter.thread().clone()).collect();
        let waker = |seed: u64| {
            let (counters, threads) = (counters.clone(), threads.clone());
            move || {
                let mut random = StdRng::seed_from_u64(seed);
                let mut left: Vec<usize> = (0..8).flat_map(|n| [n].repeat(TURNS / 4)).collect();
                while !left.is_empty() {
                    let number = left.swap_remove(random.random_range(0..left.len()));
                    counters[number].fetch_add(1, Ordering::Release);
                    threads[number].unpark();
                    if random.random_bool(0.05) {
                        pirn::thread::yield_now();
                    }
                }
            }
        };
        let os: Vec<_> = (0..2).map(|_| std::thread::spawn(waker(random.random()))).collect();
        let green: Vec<_> = (0..2).map(|_| runtime.spawn(waker(random.random()))).collect();
        os.into_iter().for_each(|waker| waker.join().unwrap());
        green.into_iter().for_each(|waker| waker.join().unwrap());
        waiters.into_iter().for_each(|waiter| waiter.join().unwrap());
    });
}

struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn new(alive: &Arc<AtomicUsize>) -> Counted {
        alive.fetch_add(1, Ordering::Relaxed);
        Counted(alive.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Joins, drops and looks at handles race completion; each result is dropped once.
#[test]
fn handles_against_completion() {
    rounds(10, |runtime, seed| {
        let alive = Arc::new(AtomicUsize::new(0));
        let mut random = StdRng::seed_from_u64(seed);
        let (mut os, mut green) = (Vec::new(), Vec::new());
        for _ in 0..500 {
            let (held, result) = (Counted::new(&alive), Counted::new(&alive));
            let mut theirs = StdRng::seed_from_u64(random.random());
            let panics = random.random_bool(0.1);
            let coroutine = runtime.spawn(move || {
                let _held = held;
                pause(&mut theirs);
                if panics {
                    std::panic::resume_unwind(Box::new(result));
                }
                result
            });
            let check = move |outcome: pirn::thread::Result<Counted>| match outcome {
                Ok(_) => assert!(!panics),
                Err(payload) => assert!(panics && payload.is::<Counted>()),
            };
            match random.random_range(0..6) {
                0 => drop(coroutine),
                1 => check(coroutine.join()),
                2 => os.push(std::thread::spawn(move || check(coroutine.join()))),
                3 => green.push(runtime.spawn(move || check(coroutine.join()))),
                4 => green.push(runtime.spawn(move || {
                    while !coroutine.is_finished() {
                        pirn::thread::yield_now();
                    }
                    check(coroutine.join());
                })),
                _ => green.push(runtime.spawn(move || drop(coroutine))),
            }
            if os.len() > 16 {
                os.drain(..).for_each(|os| os.join().unwrap());
            }
        }
        os.into_iter().for_each(|os| os.join().unwrap());
        green.into_iter().for_each(|green| green.join().unwrap());
        drop(runtime);
        assert_eq!(alive.load(Ordering::Relaxed), 0);
    });
}

#[test]
fn scopes_and_borrows() {
    rounds(10, |runtime, seed| {
        let outer: Vec<_> = (0..8)
            .map(|part| {
                runtime.spawn(move || {
                    let mut random = StdRng::seed_from_u64(seed * 8 + part);
                    for _ in 0..20 {
                        let mut cells = vec![0_u64; random.random_range(1..20)];
                        let total = AtomicUsize::new(0);
                        let panics = random.random_bool(0.2);
                        let seeds: Vec<u64> = cells.iter().map(|_| random.random()).collect();
                        let scoped = std::panic::AssertUnwindSafe(|| {
                            pirn::thread::scope(|scope| {
                                for (cell, seed) in cells.iter_mut().zip(seeds) {
                                    let total = &total;
                                    let child = scope.spawn(move || {
                                        let mut random = StdRng::seed_from_u64(seed);
                                        pause(&mut random);
                                        scope.spawn(move || total.fetch_add(1, Ordering::Relaxed));
                                        pause(&mut random);
                                        *cell = seed;
                                        if panics {
                                            std::panic::resume_unwind(Box::new(()));
                                        }
                                    });
                                    if seed % 4 == 0 {
                                        drop(child.join());
                                    }
                                }
                            });
                        });
                        let outcome = std::panic::catch_unwind(scoped);
                        // Those joined by hand do not count.
                        assert!(panics || outcome.is_ok());
                        assert!(cells.iter().all(|cell| *cell != 0));
                        assert_eq!(total.load(Ordering::Relaxed), cells.len());
                    }
                })
            })
            .collect();
        outer.into_iter().for_each(|outer| outer.join().unwrap());
    });
}

/// Runtimes are dropped in the middle of it all.
#[test]
fn dropped_at_any_moment() {
    rounds(25, |runtime, seed| {
        struct Unwinds(#[expect(dead_code, reason = "counts when dropped")] Counted, u64);

        impl Drop for Unwinds {
            fn drop(&mut self) {
                let mut random = StdRng::seed_from_u64(self.1);
                if random.random_bool(0.5) {
                    pause(&mut random);
                }
                if random.random_bool(0.2) {
                    drop(pirn::spawn(|| ()));
                }
                if random.random_bool(0.2) {
                    drop(pirn::spawn(pirn::thread::yield_now).join());
                }
            }
        }

        fn live(random: &mut StdRng, alive: &Arc<AtomicUsize>, depth: usize) {
            let _unwinds = Unwinds(Counted::new(alive), random.random());
            loop {
                pause(random);
                let (seed, alive) = (random.random(), alive.clone());
                match random.random_range(0..10) {
                    0 if depth > 0 => drop(pirn::spawn(move || {
                        live(&mut StdRng::seed_from_u64(seed), &alive, depth - 1);
                    })),
                    1 if depth > 0 => {
                        let child = pirn::thread::spawn_local(move || {
                            live(&mut StdRng::seed_from_u64(seed), &alive, depth - 1);
                        });
                        drop(child.join());
                    }
                    2 if depth > 0 => pirn::thread::scope(|scope| {
                        scope.spawn(|| live(&mut StdRng::seed_from_u64(seed), &alive, 0));
                    }),
                    3 => return,
                    4 => std::panic::resume_unwind(Box::new(())),
                    5 => pirn::block_in_place(|| ()),
                    6 => pirn::thread::sleep(Duration::from_secs(3600)),
                    7 => pirn::thread::park(),
                    _ => {}
                }
            }
        }

        let alive = Arc::new(AtomicUsize::new(0));
        let mut random = StdRng::seed_from_u64(seed);
        let coroutines: Vec<_> = (0..100)
            .map(|_| {
                let (seed, alive) = (random.random(), alive.clone());
                runtime.spawn(move || live(&mut StdRng::seed_from_u64(seed), &alive, 3))
            })
            .collect();
        std::thread::sleep(Duration::from_micros(random.random_range(0..5000)));
        drop(runtime);
        assert_eq!(alive.load(Ordering::Relaxed), 0);
        for coroutine in coroutines {
            assert!(coroutine.is_finished());
            drop(coroutine.join());
        }
    });
}

/// Several runtimes whose coroutines wake, join and spawn in each other.
#[test]
fn runtimes_entangled() {
    rounds(8, |runtime, seed| {
        let other = Arc::new(pirn::Builder::new().workers(2).build().unwrap());
        let total = Arc::new(AtomicUsize::new(0));
        let coroutines: Vec<_> = (0..50)
            .map(|part| {
                let (other, total) = (other.clone(), total.clone());
                runtime.spawn(move || {
                    let mut random = StdRng::seed_from_u64(seed * 50 + part);
                    for _ in 0..10 {
                        let me = pirn::thread::current();
                        let woken = Arc::new(AtomicBool::new(false));
                        let (theirs, seed) = (woken.clone(), random.random());
                        let there = other.spawn(move || {
                            pause(&mut StdRng::seed_from_u64(seed));
                            theirs.store(true, Ordering::Release);
                            me.unpark();
                        });
                        while !woken.load(Ordering::Acquire) {
                            pirn::thread::park();
                        }
                        there.join().unwrap();
                        pause(&mut random);
                        total.fetch_add(other.run(|| 1), Ordering::Relaxed);
                    }
                })
            })
            .collect();
        coroutines.into_iter().for_each(|coroutine| coroutine.join().unwrap());
        assert_eq!(total.load(Ordering::Relaxed), 500);
    });
}

/// A hog, blocked workers and surplus machines coming and going, under all the rest.
#[test]
fn stalls_and_surplus_machines() {
    rounds(4, |runtime, seed| {
        let log = Arc::new(Mutex::new(0_usize));
        let coroutines: Vec<_> = (0..60)
            .map(|part| {
                let log = log.clone();
                runtime.spawn(move || {
                    let mut random = StdRng::seed_from_u64(seed * 60 + part);
                    for _ in 0..5 {
                        match random.random_range(0..4) {
                            0 => pirn::block_in_place(|| {
                                std::thread::sleep(Duration::from_micros(500));
                            }),
                            1 => {
                                let (sent, received) = std::sync::mpsc::channel();
                                drop(pirn::spawn(move || sent.send(()).unwrap()));
                                pirn::block_in_place(|| received.recv().unwrap());
                            }
                            2 => std::thread::sleep(Duration::from_millis(
                                random.random_range(0..15),
                            )),
                            _ => pause(&mut random),
                        }
                        *log.lock().unwrap() += 1;
                    }
                })
            })
            .collect();
        coroutines.into_iter().for_each(|coroutine| coroutine.join().unwrap());
        assert_eq!(*log.lock().unwrap(), 300);
    });
}
