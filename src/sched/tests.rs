//! The scheduler over a driver without an outside world: what it asks of it, and when.

use crate::blocking::BlockingPool;
use crate::park::{self, Cancel, Outcome, WaitReason};
use crate::sched::machine::{caller_of_running, hold_beginners};
#[cfg(feature = "migrating")]
use crate::sched::migrants::spawn_migrating;
use crate::sched::{
    Config, Driver, Processor, Residence, Shared, Survey, Visit, block_in_place, current_id,
    with_processor,
};
use crate::stack::{Class, StackOptions, Stacks};
#[cfg(feature = "migrating")]
use crate::thread::park_timeout;
use crate::thread::{Builder, Thread, current, park, sleep, spawn, yield_now};
use crate::util::rng::Rng;
use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, mpsc};
use std::time::Duration;

mod stacks;
mod turns;

/// What a poll does.
type Event = Box<dyn FnOnce() + Send>;

/// An outside world that the test makes up.
#[derive(Default)]
struct World {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Happens in the next poll.
    events: Vec<Event>,
    interrupted: bool,
    interrupts: usize,
    /// Polls that did not wait.
    glances: usize,
    /// Polls that had to wait: their timeouts, and how many interrupts there had been.
    sleeps: Vec<(Option<Duration>, usize)>,
    /// A poll is waiting.
    asleep: bool,
    /// Polls do not return, whatever happens.
    held: bool,
    /// For each driver that was closed, how many interrupts there had been.
    closed: Vec<usize>,
}

impl World {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn change<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        let result = change(&mut self.lock());
        self.changed.notify_all();
        result
    }

    fn wait_until(&self, happened: impl Fn(&State) -> bool) -> MutexGuard<'_, State> {
        self.changed.wait_while(self.lock(), |state| !happened(state)).unwrap()
    }
}

struct Fake {
    world: Arc<World>,
    /// That of the first machine.
    first: Arc<World>,
}

impl Driver for Fake {
    fn poll(&self, timeout: Option<Duration>) -> usize {
        let over = |state: &State| !state.held && (state.interrupted || !state.events.is_empty());
        let mut state = self.world.lock();
        if timeout == Some(Duration::ZERO) {
            state.glances += 1;
        } else if !over(&state) {
            let interrupts = state.interrupts;
            state.sleeps.push((timeout, interrupts));
            state.asleep = true;
            self.world.changed.notify_all();
            let limit = timeout.unwrap_or(Duration::MAX);
            let wait = |state: &mut State| !over(state);
            state = match timeout {
                Some(_) => self.world.changed.wait_timeout_while(state, limit, wait).unwrap().0,
                None => self.world.changed.wait_while(state, wait).unwrap(),
            };
            state.asleep = false;
        }
        state.interrupted = false;
        let events = std::mem::take(&mut state.events);
        drop(state);
        self.world.changed.notify_all();
        let count = events.len();
        events.into_iter().for_each(|event| event());
        count
    }

    fn interrupt(&self) {
        self.world.change(|state| {
            state.interrupted = true;
            state.interrupts += 1;
        });
    }

    fn close(&self) {
        self.first.change(|state| state.closed.push(state.interrupts));
    }

    fn number(&self) -> u32 {
        u32::MAX
    }

    fn as_any(&self) -> &dyn std::any::Any {
        self
    }
}

/// A scheduler with one machine, and its world.
struct Scheduler {
    shared: Arc<Shared>,
    world: Arc<World>,
}

impl Scheduler {
    fn new() -> Scheduler {
        Scheduler::with_surplus(0)
    }

    fn with_surplus(max_surplus: usize) -> Scheduler {
        Scheduler::with(max_surplus, StackOptions::default())
    }

    fn with(max_surplus: usize, stacks: StackOptions) -> Scheduler {
        let world = Arc::new(World::default());
        let theirs = world.clone();
        let config = Config {
            workers: 1,
            name: "test".into(),
            class: Class::for_size(64 << 10).unwrap(),
            slack: 2,
            stall_after: Duration::MAX,
            on_stall: None,
            on_held_guard: None,
            on_swallowed_cancel: None,
            on_rest: || None,
            on_deadlock: crate::OnDeadlock::Off,
            max_surplus,
            trace: None,
            blocking: BlockingPool::new("test".into(), 1),
            driver: Box::new(move |number| {
                // What interrupts one is not to end the sleep of another.
                let world = if number == 0 { theirs.clone() } else { Arc::default() };
                Ok(Box::new(Fake { world, first: theirs.clone() }))
            }),
        };
        let stacks = Stacks::new(stacks).unwrap();
        Scheduler { shared: Shared::start(config, stacks).unwrap(), world }
    }

    #[track_caller]
    fn spawn(&self, body: impl FnOnce() + Send + 'static) {
        drop(Builder::new().spawn_in(&self.shared, body).unwrap());
    }

    /// Waits until the machine waits in its driver, and sysmon without limit. How often the
    /// machine has gone to sleep, and how often it was interrupted.
    fn idle(&self) -> (usize, usize) {
        loop {
            let state = self.world.wait_until(|state| state.asleep);
            if self.shared.sysmon.is_asleep() {
                return (state.sleeps.len(), state.interrupts);
            }
            drop(state);
            std::thread::yield_now();
        }
    }

    /// How often the machine has run a coroutine.
    fn schedules(&self) -> u64 {
        let of = |one: &Arc<Processor>| one.watch.schedules.load(Ordering::Relaxed);
        self.shared.processors().iter().map(of).sum()
    }

    /// Waits until the machine has gone to sleep for the `nth` time; how that was.
    fn sleep(&self, nth: usize) -> (Option<Duration>, usize) {
        self.world.wait_until(|state| state.sleeps.len() > nth).sleeps[nth]
    }
}

impl Drop for Scheduler {
    fn drop(&mut self) {
        self.world.change(|state| state.held = false);
        self.shared.stop();
        assert!(self.shared.join(None));
    }
}

#[test]
fn with_nothing_to_do_it_waits_without_limit_and_once() {
    let scheduler = Scheduler::new();
    // The watch may have interrupted a machine that was late to begin.
    assert_eq!(scheduler.sleep(0).0, None);
    let (sleeps, interrupts) = scheduler.idle();
    scheduler.spawn(|| ());
    assert_eq!(scheduler.sleep(sleeps), (None, interrupts + 1));
}

#[test]
fn a_timer_bounds_the_wait() {
    let scheduler = Scheduler::new();
    let (sleeps, _) = scheduler.idle();
    let hour = Duration::from_secs(3600);
    scheduler.spawn(move || sleep(hour));
    let timeout = scheduler.sleep(sleeps).0.expect("there is a timer");
    assert!(timeout <= hour && timeout > hour / 2, "{timeout:?}");
}

/// A wait that ends before it begins is no end of the run: whoever watches still sees what runs.
#[test]
fn what_goes_on_without_a_wait_is_seen_to_run() {
    let scheduler = Scheduler::new();
    let (told, seen) = mpsc::channel();
    scheduler.spawn(move || {
        let is_seen = || with_processor(|processor, _| !processor.runs_nothing());
        let before = is_seen();
        let outcome = park::park(WaitReason::Park, None, Cancel::Defer, |_ticket| false);
        told.send((before, outcome, is_seen())).unwrap();
    });
    assert_eq!(seen.recv().unwrap(), (Some(true), Outcome::Woken, Some(true)));
}

/// Whoever watches does not take the time of what was called for its joiner's.
#[test]
fn what_goes_on_after_a_call_is_seen_to_do_so() {
    let scheduler = Scheduler::new();
    let (told, seen) = mpsc::channel();
    scheduler.spawn(move || {
        let look =
            || with_processor(|one, _| (one.watch.progress(), one.watch.running().map(|it| it.id)));
        let before = look().unwrap();
        let within = spawn(move || look().unwrap()).join().unwrap();
        told.send([before, within, look().unwrap()]).unwrap();
    });
    let [before, within, after] = seen.recv().unwrap();
    assert_eq!([within.0, after.0], [before.0 + 1, before.0 + 2]);
    assert!(
        before.1 == after.1 && before.1.is_some() && within.1 > before.1,
        "{before:?} {within:?}"
    );
}

/// A debugger follows the calls from what runs: one whose wait was not needed is still in its call, and in
/// none when it has been away.
#[test]
fn what_goes_on_in_a_call_has_its_joiner() {
    let scheduler = Scheduler::new();
    let (told, seen) = mpsc::channel();
    scheduler.spawn(move || {
        let look = || {
            let begun = caller_of_running();
            let outcome = park::park(WaitReason::Park, None, Cancel::Defer, |_ticket| false);
            assert_eq!(outcome, Outcome::Woken);
            let went_on = caller_of_running();
            yield_now();
            [begun, went_on, caller_of_running()]
        };
        // Not each one is called.
        let looks = (0..100).map(|_| spawn(look).join().unwrap());
        let called = looks.into_iter().find(|look| look[0].is_some());
        told.send((current_id(), called)).unwrap();
    });
    let (joiner, called) = seen.recv().unwrap();
    assert_eq!(called, Some([joiner, joiner, None]));
}

#[test]
fn many_wakes_from_outside_interrupt_it_once() {
    const PARKED: usize = 100;
    let scheduler = Scheduler::new();
    let threads = Arc::new(Mutex::new(Vec::new()));
    let done = Arc::new(Mutex::new(0));
    for _ in 0..PARKED {
        let (threads, done) = (threads.clone(), done.clone());
        scheduler.spawn(move || {
            threads.lock().unwrap().push(current());
            park();
            *done.lock().unwrap() += 1;
        });
    }
    let all_parked = |state: &State| state.asleep && threads.lock().unwrap().len() == PARKED;
    drop(scheduler.world.wait_until(all_parked));
    let (_, interrupts) = scheduler.idle();
    // It cannot come back for the first wake before the last is there.
    scheduler.world.change(|state| state.held = true);
    threads.lock().unwrap().iter().for_each(Thread::unpark);
    assert_eq!(scheduler.world.lock().interrupts, interrupts + 1);
    scheduler.world.change(|state| state.held = false);
    drop(scheduler.world.wait_until(|state| state.asleep && *done.lock().unwrap() == PARKED));
}

#[test]
fn a_wake_within_a_poll_needs_no_interrupt() {
    let scheduler = Scheduler::new();
    let parked = Arc::new(Mutex::new(None));
    let done = Arc::new(Mutex::new(false));
    let (theirs, finished) = (parked.clone(), done.clone());
    scheduler.spawn(move || {
        *theirs.lock().unwrap() = Some(current());
        park();
        *finished.lock().unwrap() = true;
    });
    drop(scheduler.world.wait_until(|s| s.asleep && parked.lock().unwrap().is_some()));
    let (sleeps, interrupts) = scheduler.idle();
    let thread = parked.lock().unwrap().take().unwrap();
    scheduler.world.change(|state| state.events.push(Box::new(move || thread.unpark())));
    assert_eq!(scheduler.sleep(sleeps), (None, interrupts));
    assert!(*done.lock().unwrap());
}

/// Walks, and notes whom it has seen, and how often its machine had scheduled at each step.
#[derive(Default)]
struct Walk {
    seen: Mutex<Vec<u64>>,
    steps: Mutex<Vec<u64>>,
    done: AtomicBool,
    /// Begins with those that have not started.
    has_all: bool,
}

impl Survey for Walk {
    fn visit(&self, residence: &Residence<'_>) -> Visit {
        let schedules = residence.processor().watch.schedules.load(Ordering::Relaxed);
        let mut steps = self.steps.lock().unwrap();
        if self.has_all && steps.is_empty() {
            residence.unstarted(|sighting| self.seen.lock().unwrap().push(sighting.header.id));
        }
        steps.push(schedules);
        if residence.next_residents(|sighting| self.seen.lock().unwrap().push(sighting.header.id)) {
            self.done.store(true, Ordering::Release);
            return Visit::Done;
        }
        Visit::Unfinished
    }

    fn walks(&self) -> bool {
        true
    }
}

/// So many parked coroutines.
fn crowd(scheduler: &Scheduler, count: usize) -> Vec<Thread> {
    let threads = Arc::new(Mutex::new(Vec::new()));
    for _ in 0..count {
        let threads = threads.clone();
        scheduler.spawn(move || {
            threads.lock().unwrap().push(current());
            park();
        });
    }
    let here = |state: &State| state.asleep && threads.lock().unwrap().len() == count;
    drop(scheduler.world.wait_until(here));
    std::mem::take(&mut *threads.lock().unwrap())
}

#[test]
fn others_run_between_the_steps_of_a_walk() {
    const PARKED: usize = 3000;
    let scheduler = Scheduler::new();
    let _parked = crowd(&scheduler, PARKED);
    let walk = Arc::new(Walk::default());
    let theirs = walk.clone();
    scheduler.spawn(move || {
        while !theirs.done.load(Ordering::Acquire) {
            yield_now();
        }
    });
    assert!(scheduler.shared.processors()[0].ask(walk.clone()));
    drop(scheduler.world.wait_until(|state| state.asleep && walk.done.load(Ordering::Acquire)));
    let steps = walk.steps.lock().unwrap();
    assert!(steps.len() > PARKED / 300 && steps.is_sorted_by(|a, b| a < b), "{steps:?}");
    let mut seen = walk.seen.lock().unwrap();
    seen.sort_unstable();
    seen.dedup();
    assert!(seen.len() >= PARKED, "{}", seen.len());
}

/// At each step of a walk some end, among them those that it would have seen next.
#[test]
fn residents_may_end_during_a_walk() {
    for seed in 0..20 {
        let scheduler = Scheduler::new();
        let mut parked = crowd(&scheduler, 2000);
        let random = Rng::new(seed);
        let walk = Arc::new(Walk::default());
        let stayed = Arc::new(Mutex::new(Vec::new()));
        let (theirs, who_stays) = (walk.clone(), stayed.clone());
        scheduler.spawn(move || {
            while !theirs.done.load(Ordering::Acquire) {
                // Now the oldest, whom it sees last, now the latest, now somebody.
                for _ in 0..parked.len().min(100) {
                    let place = match random.below(3) {
                        0 => 0,
                        1 => parked.len() - 1,
                        _ => random.below(parked.len()),
                    };
                    parked.swap_remove(place).unpark();
                }
                yield_now();
            }
            who_stays.lock().unwrap().extend(parked.iter().map(|thread| thread.id().number()));
            parked.iter().for_each(Thread::unpark);
        });
        assert!(scheduler.shared.processors()[0].ask(walk.clone()));
        drop(scheduler.world.wait_until(|state| state.asleep && walk.done.load(Ordering::Acquire)));
        let mut seen = walk.seen.lock().unwrap().clone();
        let count = seen.len();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), count, "each is seen once");
        let all_seen = stayed.lock().unwrap().iter().all(|id| seen.binary_search(id).is_ok());
        assert!(all_seen, "whoever stays is seen");
    }
}

/// Those that it begins with start while it is on its way, in places that it has not come to.
#[test]
fn whoever_starts_during_a_walk_is_not_seen_again() {
    const STARTED: usize = 50;
    let scheduler = Scheduler::new();
    let parked = crowd(&scheduler, 3000);
    parked[..100].iter().for_each(Thread::unpark);
    let processor = scheduler.shared.processors()[0].clone();
    let residents = &processor.counters.residents;
    let gone = |state: &State| state.asleep && residents.load(Ordering::Relaxed) == 2900;
    drop(scheduler.world.wait_until(gone));
    let walk = Arc::new(Walk { has_all: true, ..Walk::default() });
    let (theirs, asked) = (walk.clone(), processor.clone());
    scheduler.spawn(move || {
        let left = Arc::new(AtomicUsize::new(STARTED));
        for _ in 0..STARTED {
            let left = left.clone();
            drop(spawn(move || {
                left.fetch_sub(1, Ordering::Relaxed);
                park();
            }));
        }
        assert!(asked.ask(theirs.clone()));
        while !theirs.done.load(Ordering::Acquire) {
            yield_now();
        }
        assert_eq!(left.load(Ordering::Relaxed), 0);
    });
    let all = 2900 + STARTED;
    let here = |state: &State| state.asleep && residents.load(Ordering::Relaxed) == all;
    drop(scheduler.world.wait_until(here));
    assert!(walk.done.load(Ordering::Acquire));
    let mut seen = walk.seen.lock().unwrap().clone();
    let count = seen.len();
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), count, "each is seen once");
    assert!(count >= all, "{count}");
}

/// Where many have been and few are left, a walk passes the places of those that have gone.
#[test]
fn a_walk_passes_places_that_were_left() {
    const BEFORE: usize = 40_000;
    let scheduler = Scheduler::new();
    let mut parked = crowd(&scheduler, BEFORE);
    let left = [0, BEFORE / 3, BEFORE - 1].map(|n| parked[n].id().number());
    parked.retain(|thread| {
        let stays = left.contains(&thread.id().number());
        if !stays {
            thread.unpark();
        }
        stays
    });
    let processor = scheduler.shared.processors()[0].clone();
    let residents = &processor.counters.residents;
    let here = |state: &State| state.asleep && residents.load(Ordering::Relaxed) == left.len();
    drop(scheduler.world.wait_until(here));
    let walk = Arc::new(Walk::default());
    assert!(processor.ask(walk.clone()));
    drop(scheduler.world.wait_until(|state| state.asleep && walk.done.load(Ordering::Acquire)));
    let mut seen = walk.seen.lock().unwrap().clone();
    seen.sort_unstable();
    assert_eq!(seen, left);
    let steps = walk.steps.lock().unwrap().len();
    assert!((2..10).contains(&steps), "{steps}");
}

/// Not even if nobody hears why.
#[test]
fn a_machine_that_panics_ends_the_process() {
    const CHILD: &str = "PIRN_TEST_MACHINE_PANICS";
    if std::env::var_os(CHILD).is_some() {
        let scheduler = Scheduler::new();
        let panics: Event = Box::new(|| panic!("on a machine's own stack"));
        scheduler.world.change(|state| state.events.push(panics));
        loop {
            std::thread::park();
        }
    }
    for heard in [true, false] {
        let (mut reader, writer) = std::io::pipe().unwrap();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "sched::tests::a_machine_that_panics_ends_the_process",
                "--nocapture",
            ])
            .env(CHILD, "1")
            .stdout(Stdio::null())
            .stderr(writer)
            .spawn()
            .unwrap();
        let mut said = String::new();
        if heard {
            reader.read_to_string(&mut said).unwrap();
            assert!(said.contains("fatal runtime error: a worker"), "{said}");
        }
        drop(reader);
        assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGABRT), "{said}");
    }
}

/// The system takes its time to let the machine's thread run, longer than the watch stays awake while
/// nothing goes on.
#[test]
fn a_machine_that_begins_late_wakes_the_watch() {
    let beginners = hold_beginners();
    let scheduler = Scheduler::with_surplus(1);
    while !scheduler.shared.sysmon.is_asleep() {
        std::thread::yield_now();
    }
    let (sent, received) = std::sync::mpsc::channel();
    scheduler.spawn(move || {
        let (answer, awaited) = std::sync::mpsc::channel();
        drop(spawn(move || answer.send(())));
        // The only machine is in here, so the watch has to start another one.
        let answered = block_in_place(|| awaited.recv_timeout(Duration::from_secs(30)));
        sent.send(answered).unwrap();
    });
    drop(beginners);
    assert_eq!(received.recv().unwrap(), Ok(()));
}

/// A surplus machine sets the timer of a migrating coroutine while the others sleep, and goes.
#[cfg(feature = "migrating")]
#[test]
fn the_timer_of_a_machine_that_goes_is_for_another_to_see() {
    let scheduler = Scheduler::with_surplus(1);
    let (shared, world) = (scheduler.shared.clone(), scheduler.world.clone());
    let (told, seen) = mpsc::channel();
    scheduler.spawn(move || {
        let (started, has_started) = mpsc::channel();
        let theirs = shared.clone();
        spawn_migrating(&shared, move || {
            started.send(()).unwrap();
            // The only regular machine has nothing to do any more, and the watch has seen that.
            drop(world.wait_until(|state| state.asleep && !state.interrupted));
            while theirs.sysmon.stuck_workers() > 0 {
                std::thread::yield_now();
            }
            told.send(world.lock().interrupts).unwrap();
            sleep(Duration::from_secs(3600));
        });
        block_in_place(|| has_started.recv().unwrap());
    });
    let before = seen.recv().unwrap();
    let at_the_end = scheduler.world.wait_until(|state| !state.closed.is_empty()).closed[0];
    assert!(at_the_end > before, "nobody is told of the timer");
    let bounded = |state: &State| state.asleep && state.sleeps.last().unwrap().0.is_some();
    drop(scheduler.world.wait_until(bounded));
}

/// A migrating coroutine's timers do not outlast what they were set for.
#[cfg(feature = "migrating")]
#[test]
fn a_migrating_coroutine_has_one_timer_at_most_and_none_when_it_has_ended() {
    let scheduler = Scheduler::new();
    let shared = scheduler.shared.clone();
    let (told, seen) = mpsc::channel();
    let told_at_end = told.clone();
    scheduler.spawn(move || {
        let migrant = Arc::new(Mutex::new(None));
        let done = Arc::new(AtomicBool::new(false));
        let (theirs, end, runtime) = (migrant.clone(), done.clone(), shared.clone());
        spawn_migrating(&shared, move || {
            *theirs.lock().unwrap() = Some(current());
            let mut most = 0;
            for _ in 0..100 {
                park_timeout(Duration::from_secs(3600));
                most = runtime.migrants.timers().max(most);
            }
            end.store(true, Ordering::Relaxed);
            told.send(most).unwrap();
        });
        while !done.load(Ordering::Relaxed) {
            yield_now();
            migrant.lock().unwrap().as_ref().inspect(|migrant| migrant.unpark());
        }
        // On the only machine: that one has left its stack for good.
        told_at_end.send(shared.migrants.timers()).unwrap();
    });
    assert_eq!(seen.recv(), Ok(1));
    assert_eq!(seen.recv(), Ok(0));
}
