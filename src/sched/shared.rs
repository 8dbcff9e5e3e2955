//! What the machines of one runtime share.

use crate::blocking::BlockingPool;
use crate::coroutine::{Coroutine, Header, UnwindBank};
use crate::park::{HeldGuard, SwallowedCancel};
use crate::primitive::{lock, prepare_fences};
use crate::protocol::idle::Idle;
use crate::protocol::sleep::Picked;
use crate::sched::counters::Retired;
use crate::sched::migrants::Migrants;
use crate::sched::processor::{Activity, Processor};
use crate::sched::record::Recorder;
use crate::sched::sysmon::Sysmon;
use crate::sched::threads::Threads;
use crate::stack::{Class, Stacks};
use crossbeam_deque::Injector;
use crossbeam_utils::CachePadded;
use std::io;
use std::panic::Location;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};
use std::time::{Duration, Instant};

/// All schedulers of the process, for dumps.
static ALL: Mutex<Vec<Weak<Shared>>> = Mutex::new(Vec::new());

/// For how long a machine that sleeps is waited for when others need what it keeps, and how often that is
/// looked at.
const RECALL_FOR: Duration = Duration::from_millis(10);
const RECALL_LOOK: Duration = Duration::from_micros(50);

/// Told of waits with guards held.
pub(crate) type OnHeldGuard = Box<dyn Fn(&HeldGuard) + Send + Sync>;
/// Told of cancellations that are caught and come again.
pub(crate) type OnSwallowedCancel = Box<dyn Fn(&SwallowedCancel) + Send + Sync>;
/// Told by sysmon that all of its runtime has come to rest, or by a plain thread that it has waited
/// for long. It may want to be told again if that still is so after a time.
pub(crate) type OnRest = fn() -> Option<Duration>;
/// Told of stalls.
pub(crate) type OnStall = Box<dyn Fn(&Stall) + Send + Sync>;
/// Makes the outside world of the processor of that number.
pub(crate) type MakeDriver = Box<dyn Fn(usize) -> io::Result<Box<dyn Driver>> + Send + Sync>;

/// What is done about a deadlock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[non_exhaustive]
pub enum OnDeadlock {
    /// Nothing: nobody looks for one.
    Off,
    /// A dump is written to standard error, once.
    #[default]
    Report,
    /// A dump is written to standard error, and the process aborts.
    Abort,
}

impl OnDeadlock {
    /// The value of `PIRN_DEADLOCK`.
    pub(crate) fn named(name: &str) -> Option<OnDeadlock> {
        match name {
            "off" => Some(OnDeadlock::Off),
            "report" => Some(OnDeadlock::Report),
            "abort" => Some(OnDeadlock::Abort),
            _ => None,
        }
    }
}

/// What a scheduler is built from.
pub(crate) struct Config {
    pub(crate) workers: usize,
    pub(crate) name: String,
    /// Stacks for coroutines whose spawn does not ask for a size.
    pub(crate) class: Class,
    /// How many more resident coroutines than the least loaded worker one may have before it
    /// sends its starts there. `usize::MAX` turns that off.
    pub(crate) slack: usize,
    /// How long a worker may run one coroutine before the stall watch speaks.
    pub(crate) stall_after: Duration,
    pub(crate) on_stall: Option<OnStall>,
    /// Asked by debug builds alone.
    #[cfg_attr(not(debug_assertions), expect(dead_code, reason = "release builds do not check"))]
    pub(crate) on_held_guard: Option<OnHeldGuard>,
    pub(crate) on_swallowed_cancel: Option<OnSwallowedCancel>,
    pub(crate) on_rest: OnRest,
    /// What to do if nobody can ever go on.
    pub(crate) on_deadlock: OnDeadlock,
    pub(crate) max_surplus: usize,
    /// How many records of what it does each machine keeps, if any.
    pub(crate) trace: Option<usize>,
    /// Where work goes that blocks its thread.
    pub(crate) blocking: BlockingPool,
    /// Makes the outside world of one processor.
    pub(crate) driver: MakeDriver,
}

/// The outside world as a processor sees it: something that can be waited for.
///
/// What becomes ready is handed to [`super::ready`] from within `poll`. Any thread may poll.
pub(crate) trait Driver: Send + Sync {
    /// Waits until something happens, somebody interrupts, or the time is over; `None` is without
    /// limit. Returns how many events came.
    fn poll(&self, timeout: Option<Duration>) -> usize;

    /// Makes a `poll` that is in progress, or else the next one, return.
    fn interrupt(&self);

    /// The processor ends: what is registered here must move elsewhere.
    fn close(&self);

    /// A number that no other one in the process has, and never 0.
    fn number(&self) -> u32;

    fn as_any(&self) -> &dyn std::any::Any;
}

/// A worker that has run one coroutine for too long, as told to
/// [`Builder::on_stall`](crate::Builder::on_stall).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Stall {
    /// The worker's number.
    pub worker: usize,
    /// The coroutine that runs there.
    pub coroutine: u64,
    /// Its name, if it has one.
    pub name: Option<String>,
    /// Where it was spawned.
    pub spawned_at: &'static Location<'static>,
    /// How long it has run without parking or yielding, as far as the watch can tell.
    pub running_for: Duration,
    /// How many coroutines of that worker are ready and wait for it, at least: those that were woken
    /// from elsewhere, descriptors included, are not told apart and count as one.
    pub waiting: usize,
    /// Whether it said so itself, by [`block_in_place`](crate::block_in_place).
    pub block_in_place: bool,
}

/// One runtime's scheduler.
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) stacks: Arc<Stacks>,
    pub(crate) bank: UnwindBank,
    pub(crate) idle: CachePadded<Idle>,
    /// Coroutines that have not started and were spawned from outside.
    pub(crate) global: Injector<Coroutine>,
    /// Spawned from outside; the rest is counted by the processors.
    pub(crate) spawned_outside: CachePadded<AtomicU64>,
    /// Consecutive searches that found nothing, as a power of two of patience.
    pub(crate) futile: CachePadded<AtomicUsize>,
    pub(crate) migrants: Migrants,
    processors: RwLock<Arc<[Arc<Processor>]>>,
    /// Changes with the list of processors.
    pub(crate) generation: CachePadded<AtomicUsize>,
    /// What processors had counted that are gone. They leave the list under this lock.
    pub(crate) retired: Mutex<Retired>,
    /// What those had spawned more than finished, for debuggers, which see through no lock.
    pub(crate) retired_live: AtomicU64,
    pub(super) threads: Threads,
    pub(crate) sysmon: Sysmon,
    pub(crate) recorder: Option<Arc<Recorder>>,
    /// Cancels everything and refuses new work from outside.
    stopping: AtomicBool,
    /// Every coroutine has ended: the machines may go.
    finished: AtomicBool,
    /// What was cut short by the end, and is to go on elsewhere after it.
    afterwards: Mutex<Vec<Afterwards>>,
    /// The moment that timers count from.
    pub(crate) epoch: Instant,
    pub(crate) next_processor: AtomicUsize,
}

type Afterwards = Box<dyn FnOnce() + Send>;

/// The stamp of a moment in nanoseconds.
pub(crate) fn clock(nanos: u64) -> u32 {
    (nanos / 1_000_000) as u32
}

impl Shared {
    /// Starts the machines. `Err` leaves nothing behind.
    pub(crate) fn start(config: Config, stacks: Arc<Stacks>) -> io::Result<Arc<Shared>> {
        prepare_fences();
        let workers = config.workers;
        let shared = Arc::new(Shared {
            bank: UnwindBank::new(stacks.clone()),
            recorder: config.trace.map(Recorder::new).map(Arc::new),
            config,
            stacks,
            idle: CachePadded::new(Idle::new()),
            global: Injector::new(),
            spawned_outside: CachePadded::default(),
            futile: CachePadded::default(),
            migrants: Migrants::new(),
            processors: RwLock::new(Arc::new([])),
            generation: CachePadded::default(),
            retired: Mutex::default(),
            retired_live: AtomicU64::new(0),
            threads: Threads::default(),
            sysmon: Sysmon::new(),
            stopping: AtomicBool::new(false),
            finished: AtomicBool::new(false),
            afterwards: Mutex::default(),
            epoch: Instant::now(),
            next_processor: AtomicUsize::new(0),
        });
        let started = (0..workers).try_for_each(|_| shared.start_machine(false));
        let started = started.and_then(|()| super::sysmon::start(shared.clone()));
        if let Err(error) = started {
            shared.stop();
            shared.join(None);
            return Err(error);
        }
        let mut all = ALL.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|one| one.strong_count() > 0);
        all.push(Arc::downgrade(&shared));
        drop(all);
        Ok(shared)
    }

    /// Starts one more machine with its own processor.
    pub(crate) fn start_machine(self: &Arc<Self>, surplus: bool) -> io::Result<()> {
        let number = self.next_processor.fetch_add(1, Ordering::Relaxed);
        let driver = (self.config.driver)(number)?;
        let (processor, runq) = Processor::new(number, surplus, driver);
        let processor = Arc::new(processor);
        let name = match surplus {
            false => format!("{}-{number}", self.config.name),
            true => format!("{}-surplus-{number}", self.config.name),
        };
        self.change_processors(|list| list.push(processor.clone()));
        let shared = self.clone();
        let ours = processor.clone();
        let run = move || super::machine::run(shared, ours, runq);
        self.threads.spawn(name, run).inspect_err(|_| {
            self.change_processors(|list| list.retain(|other| !Arc::ptr_eq(other, &processor)));
            processor.driver.close();
        })
    }

    pub(crate) fn processors(&self) -> Arc<[Arc<Processor>]> {
        self.processors.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Looks at the processors and at what those had counted that are gone. None goes meanwhile, nor
    /// ends its thread.
    pub(crate) fn with_processors<R>(
        &self,
        look: impl FnOnce(&[Arc<Processor>], &Retired) -> R,
    ) -> R {
        let retired = self.retired.lock().unwrap_or_else(PoisonError::into_inner);
        look(&self.processors(), &retired)
    }

    pub(crate) fn change_processors(&self, change: impl FnOnce(&mut Vec<Arc<Processor>>)) {
        let mut guard = self.processors.write().unwrap_or_else(PoisonError::into_inner);
        let mut list = guard.to_vec();
        change(&mut list);
        *guard = list.into();
        self.generation.fetch_add(1, Ordering::Release);
    }

    /// Nanoseconds since the scheduler started; beyond the clock's reach it stays at the end.
    pub(crate) fn nanos(&self, instant: Instant) -> u64 {
        let since = instant.saturating_duration_since(self.epoch);
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX - 1)
    }

    pub(crate) fn now(&self) -> u64 {
        self.nanos(Instant::now())
    }

    /// The time as coroutines are stamped with it: milliseconds, of which differences count.
    pub(crate) fn clock(&self) -> u32 {
        clock(self.now())
    }

    /// Looks at the migrating coroutines that have started. What their homes say of others nobody
    /// says of these.
    pub(crate) fn migrants(&self, look: impl FnMut(&Header)) {
        self.migrants.for_each(look);
    }

    /// All schedulers of the process that run.
    pub(crate) fn all() -> Vec<Arc<Shared>> {
        let mut all = ALL.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|one| one.strong_count() > 0);
        all.iter().filter_map(Weak::upgrade).collect()
    }

    // Submitting work that any machine may take.

    /// Spawns from outside the runtime.
    pub(crate) fn submit(&self, coroutine: Coroutine) {
        self.spawned_outside.fetch_add(1, Ordering::Relaxed);
        self.global.push(coroutine);
        self.wake_searcher();
    }

    /// After a submission: wakes a sleeping machine, unless somebody is searching already.
    pub(crate) fn wake_searcher(&self) {
        self.idle.wake_one(|| {
            let processors = self.processors();
            // Regular workers first: a surplus machine is there to go away again.
            let surplus_too = self.sysmon.stuck_workers() > 0;
            let regular = processors.iter().filter(|p| !p.surplus);
            let surplus = processors.iter().filter(|p| p.surplus && surplus_too);
            for processor in regular.chain(surplus) {
                match processor.sleep.wake_to_search() {
                    Picked::Asleep => processor.driver.interrupt(),
                    Picked::Woken => {}
                    Picked::No => continue,
                }
                return true;
            }
            false
        });
    }

    // Stacks that lie idle.

    /// Reserves a stack from outside, after a refusal.
    ///
    /// # Errors
    ///
    /// The refusal, or another one.
    #[cold]
    pub(super) fn credit_again(&self, class: Class, refusal: io::Error) -> io::Result<()> {
        match self.recall() {
            true => self.stacks.credit(class, 1),
            false => Err(refusal),
        }
    }

    /// Has the machines that sleep give back the stacks that they keep at hand, and waits for that; not
    /// for long, as one that wakes for something else may be late. `false`: none sleeps.
    pub(super) fn recall(&self) -> bool {
        let processors = self.processors();
        let mut any = false;
        for processor in processors.iter().filter(|one| one.activity() == Activity::Idle) {
            processor.watch.settle.store(true, Ordering::Relaxed);
            processor.driver.interrupt();
            any = true;
        }
        let until = Instant::now() + RECALL_FOR;
        let keeps = |one: &Arc<Processor>| one.watch.settle.load(Ordering::Acquire);
        while any && processors.iter().any(keeps) && Instant::now() < until {
            std::thread::sleep(RECALL_LOOK);
        }
        any
    }

    // The end.

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    pub(crate) fn is_finished(&self) -> bool {
        self.finished.load(Ordering::Acquire)
    }

    /// Coroutines that have been spawned and have not ended.
    ///
    /// Exact when it says 0: what has ended is read before what was spawned, and both only grow.
    pub(crate) fn live(&self) -> u64 {
        // Held throughout: a processor that retires moves its counts under this lock.
        let retired = self.retired.lock().unwrap_or_else(PoisonError::into_inner);
        let processors = self.processors();
        let ended: u64 =
            processors.iter().map(|p| p.counters.finished.load(Ordering::Acquire)).sum();
        let spawned: u64 =
            processors.iter().map(|p| p.counters.spawned.load(Ordering::Acquire)).sum();
        let outside = self.spawned_outside.load(Ordering::Acquire);
        let gone = retired.counters;
        (spawned + gone.spawned + outside).saturating_sub(ended + gone.finished)
    }

    /// After a change of what retired processors had counted.
    pub(crate) fn note_retired(&self, retired: &Retired) {
        let counters = &retired.counters;
        let live = counters.spawned.wrapping_sub(counters.finished);
        self.retired_live.store(live, Ordering::Relaxed);
    }

    /// Cancels every coroutine; the machines end when all have unwound.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
        self.wake_all();
    }

    /// A machine has seen that nothing is left.
    pub(crate) fn finish_if_empty(&self) {
        if self.is_stopping() && !self.is_finished() && self.live() == 0 {
            self.finished.store(true, Ordering::Release);
            self.wake_all();
        }
    }

    fn wake_all(&self) {
        std::sync::atomic::fence(Ordering::SeqCst);
        for processor in self.processors().iter() {
            // Unconditionally: a machine may be about to look at its sources for the last time.
            let _signalled = processor.sleep.wake();
            processor.driver.interrupt();
        }
        self.sysmon.notice_end();
    }

    /// Waits for the threads; `false`: the time was over first.
    pub(crate) fn join(&self, deadline: Option<Instant>) -> bool {
        self.finish_if_empty();
        if let Some(deadline) = deadline
            && !self.sysmon.wait_finished(deadline, || self.is_finished())
        {
            return false;
        }
        let ended = self.threads.join(deadline);
        if ended {
            self.bank.close();
        }
        ended
    }

    /// Has `f` called when this has ended, if it is about to.
    pub(super) fn after_the_end(&self, f: Afterwards) {
        if self.is_stopping() {
            lock(&self.afterwards).push(f);
        }
    }

    /// Has what was cut short go on: called when the threads have ended, or are not waited for any more.
    pub(crate) fn go_on_elsewhere(&self) {
        let taken = std::mem::take(&mut *lock(&self.afterwards));
        taken.into_iter().for_each(|one| one());
    }

    /// Whether the caller is one of the threads that [`Shared::join`] waits for.
    pub(crate) fn is_own_thread(&self) -> bool {
        self.threads.are_calling()
    }
}
