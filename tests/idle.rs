//! What a burst leaves behind once it is over: no wakeups, and no memory.
#![cfg(target_os = "linux")]

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Held by each test: they measure the process.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> std::sync::MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Resident memory in bytes.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = statm.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}

/// What the runtime's threads have done: how often they went to sleep, and nanoseconds that they
/// ran, so that one long piece of work is not taken for rest. Nothing while one of them wants to run,
/// which on a busy system may take long without a trace in these numbers.
fn activity() -> Option<(usize, usize)> {
    let (mut sleeps, mut ran) = (0, 0);
    for task in std::fs::read_dir("/proc/self/task").unwrap() {
        let task = task.unwrap().path();
        let read = |file| std::fs::read_to_string(task.join(file)).unwrap_or_default();
        if !read("comm").starts_with("burst") {
            continue;
        }
        let status = read("status");
        if !status.contains("\nState:\tS") {
            return None;
        }
        let switches =
            status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        sleeps += switches.map_or(0, |switches| switches.trim().parse().unwrap());
        let schedstat = read("schedstat");
        ran += schedstat.split(' ').next().map_or(0, |ran| ran.parse().unwrap_or(0));
    }
    Some((sleeps, ran))
}

/// Waits until nothing wakes up for a while, and returns how long that took.
fn until_idle() -> Duration {
    const WINDOW: Duration = Duration::from_millis(300);
    let begun = Instant::now();
    loop {
        let before = activity();
        std::thread::sleep(WINDOW);
        if before.is_some() && activity() == before {
            return begun.elapsed() - WINDOW;
        }
        assert!(begun.elapsed() < Duration::from_secs(120), "never idle");
    }
}

fn runtime() -> pirn::Runtime {
    pirn::Builder::new().name("burst").workers(2).build().unwrap()
}

/// `many` coroutines at once. The resident memory while all of them are there.
fn burst(runtime: &pirn::Runtime, many: usize) -> usize {
    static PARKED: AtomicUsize = AtomicUsize::new(0);
    PARKED.store(0, Ordering::Relaxed);
    runtime.run(move || {
        let spawn = |_| {
            pirn::spawn(|| {
                PARKED.fetch_add(1, Ordering::Relaxed);
                pirn::thread::park();
            })
        };
        let parked: Vec<_> = (0..many).map(spawn).collect();
        while PARKED.load(Ordering::Relaxed) < many {
            pirn::thread::sleep(Duration::from_millis(1));
        }
        let resident = resident();
        parked.iter().for_each(|parked| parked.thread().unpark());
        parked.into_iter().for_each(|parked| parked.join().unwrap());
        resident
    })
}

#[test]
fn a_burst_is_followed_by_rest() {
    let _alone = alone();
    let runtime = runtime();
    burst(&runtime, 100_000);
    let took = until_idle();
    println!("idle after {took:?}");
    // Some 0.3 s; the limit is for a machine that has much other work.
    assert!(took < Duration::from_secs(30), "idle only after {took:?}");
}

#[test]
fn memory_comes_back_after_a_burst() {
    const MIB: usize = 1 << 20;
    let _alone = alone();
    let runtime = runtime();
    burst(&runtime, 10_000);
    until_idle();
    let before = resident();
    let peak = burst(&runtime, 300_000);
    until_idle();
    let after = resident();
    println!("{} MiB, {} MiB, {} MiB", before / MIB, peak / MIB, after / MIB);
    assert!(peak > before + 1000 * MIB, "the burst was none: {before} {peak}");
    assert!(after < before + 24 * MIB, "{before} became {after}");
}

#[test]
fn many_that_come_and_go_leave_nothing() {
    const MIB: usize = 1 << 20;
    let _alone = alone();
    let runtime = runtime();
    let round = || {
        runtime.run(|| {
            for _ in 0..1_000 {
                let some: Vec<_> =
                    (0..1_000).map(|_| pirn::spawn(pirn::thread::yield_now)).collect();
                some.into_iter().for_each(|one| one.join().unwrap());
            }
        });
    };
    round();
    let before = resident();
    (0..3).for_each(|_| round());
    let after = resident();
    println!("{} MiB, {} MiB", before / MIB, after / MIB);
    assert!(after < before + 16 * MIB, "{before} became {after}");
}
