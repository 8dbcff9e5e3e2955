//! Whose turn it is where there is more than one thing to run.

use super::*;

/// Coroutines that each spawn two, of which one runs next: the other queues behind what is ready, by turns.
#[test]
fn residents_have_their_turn_among_starts_that_spawn() {
    fn step(left: u32, done: Arc<AtomicBool>) {
        if left > 0 && !done.load(Ordering::Relaxed) {
            drop(spawn(move || step(left - 1, done)));
            drop(spawn(|| ()));
        }
    }

    for offset in 0..2 {
        let scheduler = Scheduler::new();
        let (told, seen) = mpsc::channel();
        scheduler.spawn(move || {
            (0..offset).for_each(|_| yield_now());
            let done = Arc::new(AtomicBool::new(false));
            let theirs = done.clone();
            let steps = spawn(move || step(10_000, theirs));
            (0..10).for_each(|_| yield_now());
            done.store(true, Ordering::Relaxed);
            told.send(steps.is_finished()).unwrap();
        });
        assert!(seen.recv().unwrap(), "{offset}");
        assert!(scheduler.schedules() < 1_000, "{offset}: {}", scheduler.schedules());
    }
}

/// A join is two in a row, what is joined and who joins it, also if that one calls the other.
#[test]
fn residents_have_their_turn_among_joins() {
    const JOINS: usize = 1_000;
    let scheduler = Scheduler::new();
    let (told, turns) = mpsc::channel();
    scheduler.spawn(move || {
        let over = Arc::new(AtomicBool::new(false));
        let theirs = over.clone();
        let yields = spawn(move || {
            let mut turns = 0;
            while !theirs.load(Ordering::Relaxed) {
                turns += 1;
                yield_now();
            }
            turns
        });
        yield_now();
        (0..JOINS).for_each(|_| spawn(|| ()).join().unwrap());
        over.store(true, Ordering::Relaxed);
        told.send(yields.join().unwrap()).unwrap();
    });
    let turns = turns.recv().unwrap();
    assert!(turns >= JOINS / 6, "{turns} turns");
}

/// A resident that wakes another one each time that it runs: what has not started has its turn.
#[test]
fn starts_have_their_turn_among_residents_that_wake() {
    for offset in 0..2 {
        let scheduler = Scheduler::new();
        let (told, seen) = mpsc::channel();
        scheduler.spawn(move || {
            let woken = spawn(|| (0..1_000).for_each(|_| park()));
            (0..offset + 1).for_each(|_| yield_now());
            let started = Arc::new(AtomicBool::new(false));
            let theirs = started.clone();
            drop(spawn(move || theirs.store(true, Ordering::Relaxed)));
            // Runs next, so that the other queues.
            drop(spawn(|| ()));
            let mut rounds = 0;
            while !started.load(Ordering::Relaxed) && rounds < 900 {
                woken.thread().unpark();
                yield_now();
                rounds += 1;
            }
            told.send(rounds).unwrap();
            woken.cancel();
        });
        let rounds = seen.recv().unwrap();
        assert!(rounds < 100, "{offset}: {rounds}");
    }
}

#[test]
fn work_without_end_does_not_keep_it_from_polling() {
    let scheduler = Scheduler::new();
    let world = scheduler.world.clone();
    scheduler.spawn(move || {
        // Without polls in between, it would never see the end.
        while world.lock().glances < 10 {
            yield_now();
        }
    });
    drop(scheduler.world.wait_until(|state| state.glances >= 10 && state.asleep));
}

/// Sysmon nudges a machine whose schedules are long. Then a count of schedules is no measure of how
/// long others wait.
#[test]
fn what_comes_from_outside_has_its_turn_after_a_nudge() {
    let scheduler = Scheduler::new();
    let (waits, spawned) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicBool::new(false)));
    let (busy_waits, is_spawned) = (waits.clone(), spawned.clone());
    let (told, rounds) = mpsc::channel();
    scheduler.spawn(move || {
        while !is_spawned.load(Ordering::Acquire) {
            std::thread::yield_now();
        }
        let mut rounds = 0;
        while busy_waits.load(Ordering::Acquire) {
            with_processor(|processor, _| processor.watch.nudge.store(true, Ordering::Relaxed));
            spawn(|| ()).join().unwrap();
            rounds += 1;
        }
        told.send(rounds).unwrap();
    });
    scheduler.spawn(move || waits.store(false, Ordering::Release));
    spawned.store(true, Ordering::Release);
    let rounds = rounds.recv().unwrap();
    assert!(rounds < 16, "{rounds} others went before");
}

/// However much there is that has not started, and however long each of it runs.
#[test]
fn residents_have_their_turn_among_the_oldest_after_nudges() {
    const JOBS: usize = 512;
    let scheduler = Scheduler::new();
    let done = Arc::new(AtomicUsize::new(0));
    let ended = done.clone();
    let (told, turns) = mpsc::channel();
    scheduler.spawn(move || {
        for _ in 0..JOBS {
            let done = done.clone();
            spawn(move || {
                with_processor(|processor, _| processor.watch.nudge.store(true, Ordering::Relaxed));
                done.fetch_add(1, Ordering::Relaxed);
            });
        }
        // While there is a backlog, that is.
        let mut turns = 0;
        while ended.load(Ordering::Relaxed) < JOBS / 2 {
            yield_now();
            turns += 1;
        }
        told.send(turns).unwrap();
    });
    let turns = turns.recv().unwrap();
    assert!(turns >= JOBS / 8, "{turns} turns");
}
