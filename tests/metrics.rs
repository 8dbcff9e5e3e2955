//! What metrics say of programs whose counts are known.

use pirn::{Builder, Metrics, Runtime, StackClassMetrics, WorkerCounters, WorkerState};
use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

/// Long enough for any machine: a test that gets there has failed.
const PATIENCE: Duration = Duration::from_secs(120);

fn runtime(workers: usize) -> Runtime {
    Builder::new().workers(workers).build().unwrap()
}

/// Looks until what is to come has come.
fn until(runtime: &Runtime, holds: impl Fn(&Metrics) -> bool) -> Metrics {
    let begun = Instant::now();
    loop {
        let metrics = runtime.metrics();
        if holds(&metrics) {
            return metrics;
        }
        assert!(begun.elapsed() < PATIENCE, "{metrics:#?}");
        std::thread::yield_now();
    }
}

/// When nothing is left to run and every worker sleeps: then all counts are exact.
fn at_rest(runtime: &Runtime) -> Metrics {
    until(runtime, |metrics| {
        let workers = &metrics.workers;
        metrics.live == 0 && workers.iter().all(|worker| worker.state == WorkerState::Asleep)
    })
}

/// What holds of any program at rest.
fn check_sums(metrics: &Metrics) {
    let total = metrics.total();
    assert_eq!(total.spawned, total.finished, "{metrics:#?}");
    // Nobody waits any more, so each park was ended.
    assert!(total.wakes_signalled <= total.wakes_sent, "{metrics:#?}");
    assert!(total.taken_over <= total.steals, "{metrics:#?}");
    assert!(total.timers_fired <= total.timers_set, "{metrics:#?}");
    let taken: u64 = metrics.stacks.iter().map(|class| class.taken).sum();
    assert_eq!(taken, total.finished, "{metrics:#?}");
    for worker in &metrics.workers {
        assert_eq!((worker.residents, worker.runnable, worker.starts), (0, 0, 0), "{worker:#?}");
        assert_eq!((worker.ready, worker.inbox, worker.running), (0, false, None), "{worker:#?}");
        assert!(worker.most_events <= worker.counters.events, "{worker:#?}");
        assert!(worker.counters.slept <= metrics.uptime, "{worker:#?}");
    }
    assert_eq!(metrics.queued_outside, 0, "{metrics:#?}");
    assert_eq!(metrics.blocking_threads, metrics.blocking_idle + metrics.blocking_busy);
    assert!(metrics.blocking_threads <= metrics.blocking_peak_threads);
}

/// However many are taken back at once, none is counted that is not set any more.
#[test]
fn timers_that_are_taken_back_do_not_count() {
    for count in [1, 64, 65, 66, 200] {
        let runtime = runtime(1);
        let waiting: Vec<_> = (0..count)
            .map(|_| runtime.spawn(|| pirn::thread::park_timeout(Duration::from_secs(3600))))
            .collect();
        until(&runtime, |metrics| metrics.workers[0].timers == count);
        // Those that are set for the earliest go last.
        waiting.iter().rev().for_each(|one| one.thread().unpark());
        waiting.into_iter().for_each(|one| one.join().unwrap());
        assert_eq!(at_rest(&runtime).workers[0].timers, 0, "of {count}");
    }
}

/// Whether so many runs have ended in a park, and nobody runs.
fn have_parked(metrics: &Metrics, parks: u64) -> bool {
    let asleep = metrics.workers.iter().all(|worker| worker.state == WorkerState::Asleep);
    asleep && metrics.total().parks() == parks
}

/// Each park was ended by one of these.
fn wakes(total: &WorkerCounters) -> u64 {
    total.wakes_local + total.wakes_received + total.timers_fired
}

#[test]
fn spawns_and_ends_are_counted() {
    for workers in [1, 2, 4] {
        let runtime = runtime(workers);
        runtime.run(|| {
            let all: Vec<_> = (0..1000).map(|n| pirn::spawn(move || n)).collect();
            let sum: i32 = all.into_iter().map(|one| one.join().unwrap()).sum();
            assert_eq!(sum, 499_500);
        });
        let metrics = at_rest(&runtime);
        check_sums(&metrics);
        let total = metrics.total();
        assert_eq!((total.spawned, total.finished), (1001, 1001));
        assert_eq!(metrics.spawned_outside, 1);
        assert_eq!(metrics.workers.iter().map(|it| it.counters.spawned).sum::<u64>(), 1000);
        assert_eq!(total.yields, 0);
        assert_eq!(total.parks(), wakes(&total), "{metrics:#?}");
        // Whoever was spawned ran once; only the first one waited, for each at most once.
        assert!(total.parks() <= 1000, "{metrics:#?}");
    }
}

#[test]
fn yields_are_counted() {
    let runtime = runtime(1);
    runtime.run(|| (0..500).for_each(|_| pirn::thread::yield_now()));
    let total = at_rest(&runtime).total();
    assert_eq!((total.yields, total.schedules, total.parks()), (500, 501, 0));
}

#[test]
fn sleeps_fire_timers() {
    for workers in [1, 2, 4] {
        let runtime = runtime(workers);
        runtime.run(|| {
            let sleep = || (0..10).for_each(|_| pirn::thread::sleep(Duration::from_millis(1)));
            let all: Vec<_> = (0..20).map(|_| pirn::spawn(sleep)).collect();
            all.into_iter().for_each(|one| one.join().unwrap());
        });
        let metrics = at_rest(&runtime);
        check_sums(&metrics);
        let total = metrics.total();
        // One for each, but for those whose time was over before they could wait.
        assert_eq!(total.timers_set, total.timers_fired, "{metrics:#?}");
        assert!((100..=200).contains(&total.timers_set), "{metrics:#?}");
        assert_eq!(total.parks(), wakes(&total), "{metrics:#?}");
        assert!(metrics.workers.iter().all(|worker| worker.timers == 0));
    }
}

#[test]
fn a_timeout_that_is_not_needed_fires_nothing() {
    let runtime = runtime(1);
    let (sender, receiver) = pirn::channel::bounded(0);
    let waiting = runtime.spawn(move || receiver.recv_timeout(PATIENCE));
    until(&runtime, |metrics| metrics.workers[0].timers == 1);
    runtime.run(move || sender.send(7).unwrap());
    assert_eq!(waiting.join().unwrap(), Ok(7));
    let metrics = at_rest(&runtime);
    let total = metrics.total();
    assert_eq!((total.timers_set, total.timers_fired), (1, 0), "{metrics:#?}");
}

#[test]
fn reads_that_wait_park_once_each() {
    const READS: u64 = 100;
    let runtime = runtime(1);
    let (mut near, far) = std::os::unix::net::UnixStream::pair().unwrap();
    let mut far = pirn::os::unix::net::UnixStream::from_std(far);
    let reading = runtime.spawn(move || {
        for _ in 0..READS {
            far.read_exact(&mut [0]).unwrap();
        }
    });
    for parks in 1..=READS {
        // It waits, so the next byte is one that it waits for.
        until(&runtime, |metrics| have_parked(metrics, parks));
        near.write_all(&[1]).unwrap();
    }
    reading.join().unwrap();
    let metrics = at_rest(&runtime);
    check_sums(&metrics);
    let total = metrics.total();
    assert_eq!((total.parks(), total.wakes_local), (READS, READS), "{metrics:#?}");
    assert!(total.events >= READS && total.polls >= READS, "{metrics:#?}");
    assert!(total.events_per_poll() > 0.0);
}

/// One worker wakes, another is woken.
#[test]
fn wakes_between_workers_are_sent_and_received() {
    const ROUNDS: u64 = 200;
    let [here, there] = [(); 2].map(|()| runtime(1));
    let woken = here.spawn(|| (0..ROUNDS).for_each(|_| pirn::thread::park()));
    let thread = woken.thread().clone();
    for round in 1..=ROUNDS {
        until(&here, |metrics| have_parked(metrics, round));
        let thread = thread.clone();
        there.run(move || thread.unpark());
    }
    woken.join().unwrap();
    let (here, there) = (at_rest(&here).total(), at_rest(&there).total());
    assert_eq!((here.wakes_received, here.wakes_local, here.wakes_sent), (ROUNDS, 0, 0));
    assert_eq!((there.wakes_sent, there.wakes_local, there.wakes_received), (ROUNDS, 0, 0));
    // It slept each time; sysmon may have ended that sleep just before.
    assert!(there.wakes_signalled <= ROUNDS && there.wakes_signalled > 0, "{there:?}");
}

/// A plain thread has no counters; whom it wakes counts.
#[test]
fn wakes_by_plain_threads_are_received() {
    let runtime = runtime(2);
    let woken = runtime.spawn(pirn::thread::park);
    until(&runtime, |metrics| have_parked(metrics, 1));
    woken.thread().unpark();
    woken.join().unwrap();
    let total = at_rest(&runtime).total();
    assert_eq!((total.wakes_received, total.wakes_sent, total.parks()), (1, 0, 1));
}

fn default_class(metrics: &Metrics) -> &StackClassMetrics {
    metrics.stacks.iter().find(|class| class.size == 256 * 1024).unwrap()
}

#[test]
fn a_warm_burst_hits_the_pool() {
    let runtime = runtime(1);
    let burst = || {
        runtime.run(|| {
            for _ in 0..1000 {
                pirn::spawn(|| ()).join().unwrap();
            }
        });
        default_class(&runtime.metrics()).clone()
    };
    let cold = burst();
    assert!(cold.misses > 0, "{cold:?}");
    let warm = burst();
    assert_eq!(warm.taken - cold.taken, 1001);
    // In between, the worker may have given back what it had at hand, since it had nothing to do; and
    // again wherever the system kept it from the next thing to do for long.
    assert!(warm.misses - cold.misses <= 10, "{cold:?} {warm:?}");
    assert!(warm.hits() - cold.hits() >= 990, "{cold:?} {warm:?}");
    assert!(warm.carved > 0 && warm.mapped >= warm.carved * warm.size, "{warm:?}");
    assert!(warm.warm <= warm.free && warm.free + warm.out == warm.carved, "{warm:?}");
    assert!(["madvise", "uffd", "mprotect"].contains(&&*runtime.metrics().guard.to_string()));
}

#[test]
fn blocking_jobs_are_counted() {
    let runtime = Builder::new().workers(2).max_blocking_threads(3).build().unwrap();
    let (open, gate) = mpsc::channel::<()>();
    let gate = Arc::new(std::sync::Mutex::new(gate));
    let all: Vec<_> = (0..10)
        .map(|_| {
            let gate = gate.clone();
            runtime.spawn(move || pirn::blocking(move || gate.lock().unwrap().recv().is_err()))
        })
        .collect();
    let busy = until(&runtime, |metrics| metrics.blocking_queued == 7);
    assert_eq!((busy.blocking_busy, busy.blocking_idle, busy.blocking_threads), (3, 0, 3));
    drop(open);
    assert!(all.into_iter().all(|one| one.join().unwrap()));
    let metrics = until(&runtime, |metrics| metrics.blocking_busy == 0);
    assert_eq!((metrics.blocking_jobs, metrics.blocking_in_place), (10, 0));
    assert_eq!((metrics.blocking_peak_threads, metrics.blocking_queued), (3, 0));
}

/// A stuck worker, what stands in for it, and what is left when that is gone.
#[test]
fn what_a_stuck_worker_leaves_is_taken_over() {
    let runtime = Builder::new()
        .workers(1)
        .stall_after(Duration::from_millis(1))
        .on_stall(|_| ())
        .build()
        .unwrap();
    let (stop, hog) = hog(&runtime, || ());
    let metrics = until(&runtime, |metrics| {
        metrics.live == 1 && metrics.stalls > 0 && metrics.stuck_workers == 1
    });
    assert_eq!(metrics.surplus_started, 1);
    assert_eq!(metrics.total().taken_over, 1);
    let stuck = metrics.workers.iter().find(|worker| worker.stuck).unwrap();
    assert!(!stuck.surplus && stuck.running.is_some(), "{metrics:#?}");
    assert_eq!((stuck.state, stuck.residents), (WorkerState::Running, 1));
    assert!(cfg!(not(target_os = "linux")) || stuck.counters.busy > Duration::ZERO);
    let before = metrics.total();
    drop(stop);
    hog.join().unwrap();
    until(&runtime, |metrics| metrics.workers.len() == 1);
    let metrics = at_rest(&runtime);
    check_sums(&metrics);
    // What the surplus worker did is not forgotten.
    assert_eq!(metrics.retired.taken_over, 1);
    assert_eq!(metrics.retired.finished, 1);
    assert!(metrics.retired.schedules >= 1);
    never_falls(&before, &metrics.total());
}

/// Tells somebody to stop when it is dropped, before the runtime is that waits for him.
struct Stop(Arc<AtomicBool>);

impl Drop for Stop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// Spawns a coroutine, and computes beside it until it is told to stop.
fn hog(
    runtime: &Runtime,
    beside: impl FnOnce() + Send + 'static,
) -> (Stop, pirn::thread::JoinHandle<()>) {
    let stop = Arc::new(AtomicBool::new(false));
    let theirs = stop.clone();
    let hog = runtime.spawn(move || {
        let beside = pirn::spawn(beside);
        while !theirs.load(Ordering::Acquire) {
            std::hint::spin_loop();
        }
        beside.join().unwrap();
    });
    (Stop(stop), hog)
}

/// Two workers are two cores' worth: while one computes the other does the rest, and no third thread is
/// in their way.
#[test]
fn who_computes_is_not_stood_in_for_while_another_takes_over() {
    let runtime = runtime(2);
    let (stop, hog) = hog(&runtime, || ());
    let before = until(&runtime, |metrics| metrics.stuck_workers == 1 && metrics.live == 1);
    // The other one has something to do, and there is always more of it outside.
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(200) {
        let burst: Vec<_> = (0..64).map(|_| runtime.spawn(pirn::thread::yield_now)).collect();
        burst.into_iter().for_each(|one| one.join().unwrap());
    }
    let metrics = runtime.metrics();
    drop(stop);
    hog.join().unwrap();
    assert_eq!(metrics.surplus_started, before.surplus_started, "{metrics:#?}");
}

/// One that has computed for long and then blocks leaves its core to others.
#[test]
fn who_computed_and_blocks_is_stood_in_for() {
    let runtime = runtime(2);
    let (open, gate) = mpsc::channel::<()>();
    let blocked = runtime.spawn(move || {
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_millis(60) {
            std::hint::spin_loop();
        }
        // As a system call would.
        gate.recv().unwrap_err();
    });
    // From now on nothing is sent there.
    until(&runtime, |metrics| metrics.stuck_workers == 1);
    let idle = Stop(Arc::new(AtomicBool::new(false)));
    // The other one has something to do, and there is always more of it outside.
    let theirs = idle.0.clone();
    let runner = runtime.spawn(move || {
        while !theirs.load(Ordering::Relaxed) {
            pirn::thread::yield_now();
        }
    });
    let begun = Instant::now();
    let mut seen = false;
    while !seen && begun.elapsed() < PATIENCE {
        let burst: Vec<_> = (0..64).map(|_| runtime.spawn(pirn::thread::yield_now)).collect();
        burst.into_iter().for_each(|one| one.join().unwrap());
        seen = runtime.metrics().surplus_started > 0;
    }
    drop((open, idle));
    blocked.join().unwrap();
    runner.join().unwrap();
    assert!(seen);
}

/// But what waits on the one that computes does not wait for ever, if the other has too much to do.
#[test]
fn who_computes_is_stood_in_for_if_nobody_takes_over() {
    let runtime = Builder::new().workers(2).build().unwrap();
    let idle = Stop(Arc::new(AtomicBool::new(false)));
    // Always ready, on one worker or both: nobody ever searches.
    let runners: Vec<_> = (0..16)
        .map(|_| {
            let idle = idle.0.clone();
            runtime.spawn(move || {
                while !idle.load(Ordering::Relaxed) {
                    pirn::thread::yield_now();
                }
            })
        })
        .collect();
    let started = Arc::new(AtomicBool::new(false));
    let theirs = started.clone();
    let (stop, hog) = hog(&runtime, move || theirs.store(true, Ordering::Release));
    until(&runtime, |_| started.load(Ordering::Acquire));
    drop((stop, idle));
    hog.join().unwrap();
    runners.into_iter().for_each(|one| one.join().unwrap());
}

#[test]
fn time_is_spent_or_slept() {
    let runtime = runtime(1);
    let begun = at_rest(&runtime);
    runtime.run(|| {
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_millis(50) {
            std::hint::spin_loop();
        }
        pirn::thread::sleep(Duration::from_millis(50));
    });
    let ended = at_rest(&runtime);
    let (before, after) = (begun.total(), ended.total());
    assert!(after.slept > before.slept, "{before:?} {after:?}");
    // Both clocks tick apart.
    let slack = Duration::from_millis(5);
    assert!(after.slept + after.busy <= ended.uptime + slack, "{ended:#?}");
    if cfg!(target_os = "linux") {
        assert!(after.busy > before.busy, "{before:?} {after:?}");
    }
    // It sleeps on, and that counts before it ends.
    let enough = after.slept + Duration::from_millis(50);
    let later = until(&runtime, |metrics| metrics.total().slept >= enough);
    assert!(later.uptime > ended.uptime);
}

/// Each counter, in an order of its own.
fn counts(counters: &WorkerCounters) -> [u128; 18] {
    let WorkerCounters { schedules, yields, spawned, finished, steals, taken_over, .. } = *counters;
    let WorkerCounters { pushed, wakes_local, wakes_sent, wakes_signalled, .. } = *counters;
    let WorkerCounters { wakes_received, polls, events, sleeps, .. } = *counters;
    let WorkerCounters { timers_set, timers_fired, busy, slept, .. } = *counters;
    let counts = [schedules, yields, spawned, finished, steals, taken_over, pushed, wakes_local];
    let more = [wakes_sent, wakes_signalled, wakes_received, polls, events, sleeps];
    let mut all = [0; 18];
    let counts = counts.into_iter().chain(more).chain([timers_set, timers_fired]);
    let values = counts.map(u128::from).chain([busy.as_nanos(), slept.as_nanos()]);
    all.iter_mut().zip(values).for_each(|(slot, value)| *slot = value);
    all
}

fn never_falls(before: &WorkerCounters, after: &WorkerCounters) {
    for (before_it, after_it) in counts(before).into_iter().zip(counts(after)) {
        assert!(before_it <= after_it, "{before:#?}\n{after:#?}");
    }
}

#[test]
fn no_counter_falls_under_load() {
    for workers in [1, 2, 4] {
        let runtime = runtime(workers);
        let stop = Arc::new(AtomicBool::new(false));
        let load: Vec<_> = (0..8)
            .map(|number| {
                let stop = stop.clone();
                runtime.spawn(move || {
                    while !stop.load(Ordering::Relaxed) {
                        match number % 4 {
                            0 => pirn::thread::yield_now(),
                            1 => pirn::thread::sleep(Duration::from_micros(100)),
                            2 => drop(pirn::spawn(|| ()).join()),
                            _ => {
                                let (sender, receiver) = pirn::channel::bounded(0);
                                let sending = pirn::spawn(move || sender.send(1));
                                assert_eq!(receiver.recv(), Ok(1));
                                sending.join().unwrap().unwrap();
                            }
                        }
                    }
                })
            })
            .collect();
        let mut before = runtime.metrics();
        // Until the load has done something of each kind, and some more looks.
        let mut looks = 0;
        while looks < 300 {
            let metrics = runtime.metrics();
            never_falls(&before.total(), &metrics.total());
            for worker in &metrics.workers {
                // Where the machine keeps a worker waiting, a surplus one may come and go.
                let before = before.workers.iter().find(|before| before.number == worker.number);
                assert!(before.is_some() || worker.surplus);
                before.inspect(|before| never_falls(&before.counters, &worker.counters));
            }
            for (before, class) in before.stacks.iter().zip(&metrics.stacks) {
                assert!(before.taken <= class.taken && before.misses <= class.misses);
            }
            assert!(before.uptime <= metrics.uptime);
            let total = metrics.total();
            looks += u32::from(total.timers_fired > 10 && total.yields > 10 && total.finished > 10);
            before = metrics;
            std::thread::yield_now();
        }
        stop.store(true, Ordering::Relaxed);
        load.into_iter().for_each(|one| one.join().unwrap());
        let metrics = at_rest(&runtime);
        check_sums(&metrics);
        let total = metrics.total();
        assert_eq!(total.schedules, total.parks() + total.yields + total.finished);
        assert_eq!(total.parks(), wakes(&total), "{metrics:#?}");
    }
}

#[test]
fn all_runtimes_can_be_asked_for() {
    let names = ["metrics-one", "metrics-two"];
    let runtimes = names.map(|name| Builder::new().workers(1).name(name).build().unwrap());
    let all = Metrics::of_all();
    let ours: Vec<_> = all.iter().filter(|it| names.contains(&&*it.name)).collect();
    assert_eq!(ours.iter().map(|metrics| &*metrics.name).collect::<Vec<_>>(), names);
    assert!(ours.iter().all(|metrics| metrics.runtimes >= 2));
    let own = runtimes[1].run(pirn::current_metrics).unwrap();
    assert_eq!((own.name.as_str(), own.live), ("metrics-two", 1));
    assert!(own.workers[0].running.is_some());
}

#[test]
fn the_json_has_every_field() {
    let runtime = Builder::new().workers(2).name("a \"name\"").build().unwrap();
    // Its time may be over before it waits.
    let waited = || pirn::current_metrics().unwrap().total().timers_set > 0;
    runtime.run(|| {
        while !waited() {
            pirn::thread::sleep(Duration::from_millis(50));
        }
    });
    let metrics = at_rest(&runtime);
    let json = metrics.to_json();
    assert!(json.starts_with(r#"{"name":"a \"name\"","runtimes":"#), "{json}");
    // Each field of the structures, as their `Debug` texts have them.
    let debug = format!("{metrics:#?}");
    let fields = debug.lines().filter_map(|line| {
        let (name, _) = line.trim_start().split_once(':')?;
        name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_').then_some(name)
    });
    let mut seen = 0;
    for field in fields.filter(|&field| field != "counters") {
        assert!(json.contains(&format!("\"{field}\":")), "{field} is not in {json}");
        seen += 1;
    }
    assert!(seen > 60, "{debug}");
    for part in [
        r#""total":{"schedules":2,"#,
        r#""timers_fired":1"#,
        r#""state":"asleep""#,
        r#""running":null"#,
        r#""parks":1,"#,
    ] {
        assert!(json.contains(part), "{part} is not in {json}");
    }
    assert_eq!(json.matches("\"slept\":").count(), 4, "two workers, those gone, and all");
}
