//! Sleeping and waiting with a limit.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::fs;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

fn runtime(workers: usize) -> pirn::Runtime {
    pirn::Builder::new().workers(workers).build().unwrap()
}

fn on_workers(test: impl Fn(pirn::Runtime)) {
    for workers in [1, 2, 4, 8] {
        test(runtime(workers));
    }
}

#[test]
fn a_sleep_is_never_short() {
    on_workers(|runtime| {
        runtime.run(|| {
            for micros in [0, 1, 10, 50, 100, 333, 1000, 2500, 10_000] {
                let duration = Duration::from_micros(micros);
                let start = Instant::now();
                pirn::thread::sleep(duration);
                assert!(start.elapsed() >= duration);
                let start = Instant::now();
                pirn::thread::sleep_until(start + duration);
                assert!(start.elapsed() >= duration);
            }
        });
    });
}

#[test]
fn plain_threads_sleep_too() {
    for micros in [0, 1, 100, 3000] {
        let duration = Duration::from_micros(micros);
        let start = Instant::now();
        pirn::thread::sleep(duration);
        assert!(start.elapsed() >= duration);
        let start = Instant::now();
        pirn::thread::sleep_until(start + duration);
        assert!(start.elapsed() >= duration);
        let start = Instant::now();
        pirn::thread::park_timeout(duration);
        assert!(start.elapsed() >= duration);
    }
}

#[test]
fn a_deadline_in_the_past_is_over() {
    on_workers(|runtime| {
        runtime.run(|| {
            let now = Instant::now();
            for past in [Duration::ZERO, Duration::from_secs(1), Duration::from_secs(3600)] {
                // Before the clock's own beginning there is no instant to ask for.
                let Some(deadline) = now.checked_sub(past) else { continue };
                (0..100).for_each(|_| pirn::thread::sleep_until(deadline));
            }
            (0..100).for_each(|_| pirn::thread::park_timeout(Duration::ZERO));
            assert!(now.elapsed() < Duration::from_secs(120));
        });
    });
}

#[test]
fn a_sleep_of_nothing_yields() {
    let runtime = runtime(1);
    runtime.run(|| {
        let ran = Arc::new(AtomicBool::new(false));
        let theirs = ran.clone();
        let peer = pirn::spawn(move || theirs.store(true, Ordering::Relaxed));
        let mut yields = 0;
        while !ran.load(Ordering::Relaxed) {
            pirn::thread::sleep(Duration::ZERO);
            yields += 1;
            assert!(yields < 1_000_000, "a loop of empty sleeps starves its peers");
        }
        peer.join().unwrap();
    });
}

/// Who is late each time waits for nothing, and does not keep the others of its worker from running.
#[test]
fn sleeps_that_are_over_let_others_run() {
    runtime(1).run(|| {
        let past = Instant::now();
        let mut ticks = pirn::time::interval(Duration::from_nanos(1));
        let late: [&mut dyn FnMut(); 3] = [
            &mut || pirn::thread::sleep_until(past),
            &mut || pirn::thread::sleep(Duration::from_nanos(1)),
            &mut || _ = ticks.tick(),
        ];
        for late in late {
            let turns = Arc::new(AtomicUsize::new(0));
            let theirs = turns.clone();
            let other = pirn::thread::spawn_local(move || {
                for _ in 0..10 {
                    theirs.fetch_add(1, Ordering::Relaxed);
                    pirn::thread::yield_now();
                }
            });
            while turns.load(Ordering::Relaxed) == 0 {
                pirn::thread::yield_now();
            }
            (0..10_000).for_each(|_| late());
            assert_eq!(turns.load(Ordering::Relaxed), 10);
            other.join().unwrap();
        }
    });
}

#[test]
fn the_longest_durations_are_legal() {
    on_workers(|runtime| {
        let durations = [
            Duration::MAX,
            Duration::from_secs(u64::MAX),
            Duration::from_secs(u64::MAX / 2),
            Duration::from_secs(i64::MAX as u64 - 1),
            Duration::from_secs(1 << 40),
            // More nanoseconds than 64 bits hold.
            Duration::from_secs(600 * 365 * 86_400),
            Duration::from_secs(100 * 365 * 86_400),
        ];
        let started = Arc::new(AtomicUsize::new(0));
        let sleepers: Vec<_> = durations
            .iter()
            .flat_map(|&duration| {
                let marks = (started.clone(), started.clone());
                [
                    runtime.spawn(move || {
                        marks.0.fetch_add(1, Ordering::Relaxed);
                        pirn::thread::sleep(duration);
                        unreachable!("slept for {duration:?}");
                    }),
                    runtime.spawn(move || {
                        marks.1.fetch_add(1, Ordering::Relaxed);
                        pirn::thread::park_timeout(duration);
                        unreachable!("waited for {duration:?}");
                    }),
                ]
            })
            .collect();
        while started.load(Ordering::Relaxed) < 2 * durations.len() {
            std::thread::yield_now();
        }
        runtime.run(|| pirn::thread::sleep(Duration::from_millis(20)));
        assert!(sleepers.iter().all(|sleeper| !sleeper.is_finished()));
        drop(runtime);
        for sleeper in sleepers {
            let payload = sleeper.join().unwrap_err();
            assert!(payload.is::<pirn::Cancelled>());
        }
    });
}

#[test]
fn an_endless_wait_ends_by_unpark() {
    on_workers(|runtime| {
        let waiting = runtime.spawn(|| pirn::thread::park_timeout(Duration::MAX));
        waiting.thread().unpark();
        waiting.join().unwrap();
    });
}

/// On one worker timers fire in the order of their deadlines.
#[test]
fn timers_fire_in_order() {
    let runtime = runtime(1);
    for seed in 0..5 {
        let mut random = StdRng::seed_from_u64(seed);
        // Half a millisecond apart, in random order of setting.
        let mut order: Vec<u64> = (0..100).collect();
        for index in (1..order.len()).rev() {
            order.swap(index, random.random_range(0..=index));
        }
        // All are set before the first one fires; on a busy machine that takes longer.
        let fired = (0..).find_map(|attempt| {
            let start = Instant::now() + Duration::from_millis(20 << attempt);
            let fired = Arc::new(Mutex::new(Vec::new()));
            let sleepers: Vec<_> = runtime.run(|| {
                let sleeper = |&number: &u64| {
                    let fired = fired.clone();
                    pirn::spawn(move || {
                        pirn::thread::sleep_until(start + Duration::from_micros(500 * number));
                        fired.lock().unwrap().push(number);
                    })
                };
                order.iter().map(sleeper).collect()
            });
            let mut all_set = false;
            while !all_set && Instant::now() < start {
                all_set = runtime.metrics().workers[0].timers == order.len();
            }
            sleepers.into_iter().for_each(|sleeper| sleeper.join().unwrap());
            all_set.then(|| fired.lock().unwrap().clone())
        });
        let fired: Vec<u64> = fired.expect("some attempt is in time");
        assert!(fired.is_sorted(), "seed {seed}: {fired:?}");
    }
}

#[test]
fn a_park_ends_by_whichever_comes_first() {
    on_workers(|runtime| {
        runtime.run(|| {
            let start = Instant::now();
            pirn::thread::park_timeout(Duration::from_millis(5));
            // std allows spurious returns; this implementation has none.
            assert!(start.elapsed() >= Duration::from_millis(5));
            let waiting = pirn::spawn(|| {
                let start = Instant::now();
                pirn::thread::park_timeout(Duration::from_secs(3600));
                start.elapsed()
            });
            waiting.thread().unpark();
            assert!(waiting.join().unwrap() < Duration::from_secs(1800));
            // A token that is there counts at once, and is used up by it.
            pirn::thread::current().unpark();
            pirn::thread::park_timeout(Duration::from_secs(3600));
            let start = Instant::now();
            pirn::thread::park_timeout(Duration::from_millis(3));
            assert!(start.elapsed() >= Duration::from_millis(3));
        });
    });
}

/// A timeout that was set for one wait must not end a later one.
#[test]
fn an_old_timer_does_not_end_a_new_wait() {
    on_workers(|runtime| {
        runtime.run(|| {
            let coroutines: Vec<_> = (0..50)
                .map(|_| {
                    pirn::spawn(|| {
                        for _ in 0..20 {
                            pirn::thread::current().unpark();
                            pirn::thread::park_timeout(Duration::from_micros(300));
                            let me = pirn::thread::current();
                            let waker = pirn::spawn(move || me.unpark());
                            pirn::thread::park_timeout(Duration::from_millis(2));
                            waker.join().unwrap();
                            // Whatever is left of those must not shorten this.
                            pirn::thread::park_timeout(Duration::ZERO);
                            let start = Instant::now();
                            pirn::thread::sleep(Duration::from_millis(3));
                            assert!(start.elapsed() >= Duration::from_millis(3));
                        }
                    })
                })
                .collect();
            coroutines.into_iter().for_each(|coroutine| coroutine.join().unwrap());
        });
    });
}

#[test]
fn ten_thousand_sleepers() {
    on_workers(|runtime| {
        let workers = runtime.metrics().workers.len();
        let mut late = runtime.run(|| {
            let mut random = StdRng::seed_from_u64(workers as u64);
            let sleepers: Vec<_> = (0..10_000)
                .map(|_| {
                    let duration = Duration::from_micros(random.random_range(0..300_000));
                    pirn::spawn(move || {
                        let start = Instant::now();
                        pirn::thread::sleep(duration);
                        start.elapsed().checked_sub(duration).expect("woke too early")
                    })
                })
                .collect();
            sleepers.into_iter().map(|sleeper| sleeper.join().unwrap()).collect::<Vec<_>>()
        });
        late.sort_unstable();
        let at = |share: usize| late[late.len() * share / 1000];
        println!(
            "{workers} workers, late by: p50 {:?} p99 {:?} max {:?}",
            at(500),
            at(990),
            at(999)
        );
        assert!(at(500) < Duration::from_secs(30), "half of them very late: {:?}", at(500));
        let left: usize = runtime.metrics().workers.iter().map(|worker| worker.timers).sum();
        assert_eq!(left, 0);
    });
}

fn resident_kib() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

const CHILD: &str = "PIRN_TIMERS_CHILD";

/// A server sets timeouts that hardly ever fire. They must not pile up. In a process of its own,
/// since it looks at memory.
#[test]
fn timeouts_that_do_not_fire_cost_no_memory() {
    const NAME: &str = "timeouts_that_do_not_fire_cost_no_memory";
    if std::env::var(CHILD).is_err() {
        let child = std::process::Command::new(std::env::current_exe().unwrap())
            .args([NAME, "--exact", "--nocapture"])
            .env(CHILD, "1")
            .output()
            .unwrap();
        let (out, err) = (String::from_utf8_lossy(&child.stdout), child.stderr);
        assert!(out.contains("running 1 test"), "{out}");
        assert!(child.status.success(), "{out}\n{}", String::from_utf8_lossy(&err));
        print!("{out}");
        return;
    }
    on_workers(|runtime| {
        let waits = |count: u64, vary: bool| {
            runtime.run(|| {
                for number in 0..count {
                    pirn::thread::current().unpark();
                    pirn::thread::park_timeout(Duration::from_secs(3600));
                    let me = pirn::thread::current();
                    let waker = pirn::thread::spawn_local(move || me.unpark());
                    // Shorter and shorter, so that the timer which is set is never early enough.
                    let shorter = if vary { number } else { 0 };
                    pirn::thread::park_timeout(Duration::from_secs(1_000_000 - shorter));
                    waker.join().unwrap();
                }
            });
        };
        let timers = || runtime.metrics().workers.iter().map(|worker| worker.timers).sum::<usize>();
        for vary in [false, true] {
            waits(10_000, vary);
            let before = resident_kib();
            waits(100_000, vary);
            let grown = resident_kib().saturating_sub(before);
            assert!(timers() <= 8, "{}", timers());
            println!("vary {vary}: grown by {grown} KiB");
            // Each timer left behind would be 16 bytes at least, and some 3 MiB in all.
            assert!(grown < 1024, "{grown} KiB");
        }
    });
}

/// Coroutines that come and go with a timeout each: their timers go with them.
#[test]
fn timers_go_with_their_coroutines() {
    on_workers(|runtime| {
        runtime.run(|| {
            for _ in 0..2000 {
                let (sent, received) = mpsc::channel();
                let waiting = pirn::spawn(move || {
                    sent.send(()).unwrap();
                    pirn::thread::park_timeout(Duration::from_secs(3600));
                });
                while received.try_recv().is_err() {
                    pirn::thread::yield_now();
                }
                waiting.thread().unpark();
                waiting.join().unwrap();
            }
        });
        let patience = Instant::now() + Duration::from_secs(120);
        loop {
            let left: usize = runtime.metrics().workers.iter().map(|worker| worker.timers).sum();
            if left < 100 {
                break;
            }
            assert!(Instant::now() < patience, "{left} timers left behind");
            runtime.run(|| pirn::thread::sleep(Duration::from_millis(1)));
        }
    });
}

/// Runnable coroutines do not starve timers.
#[test]
fn sleepers_wake_beside_busy_ones() {
    for workers in [1, 2] {
        let runtime = runtime(workers);
        let stop = Arc::new(AtomicBool::new(false));
        let busy: Vec<_> = (0..8)
            .map(|_| {
                let stop = stop.clone();
                runtime.spawn(move || {
                    while !stop.load(Ordering::Relaxed) {
                        pirn::thread::yield_now();
                    }
                })
            })
            .collect();
        let (sent, received) = mpsc::channel();
        drop(runtime.spawn(move || {
            (0..20).for_each(|_| pirn::thread::sleep(Duration::from_millis(1)));
            sent.send(()).unwrap();
        }));
        let outcome = received.recv_timeout(Duration::from_secs(120));
        stop.store(true, Ordering::Relaxed);
        busy.into_iter().for_each(|busy| busy.join().unwrap());
        outcome.expect("the sleeper starves");
    }
}
