//! A runtime's metrics: what its machines count, its stacks, and its threads for blocking work.
//!
//! Each machine counts in memory of its own with plain stores ([`crate::sched::WorkerCounters`]);
//! reading adds nothing to a hot path.

mod json;

use crate::sched::{Activity, Processor, Shared, WorkerCounters};
use crate::stack::{Class, GuardStrategy};
use std::fmt;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// A snapshot of a runtime's metrics, by [`Runtime::metrics`](crate::Runtime::metrics),
/// [`current_metrics`](crate::current_metrics) or [`Metrics::of_all`].
///
/// The counters of different workers are read one after another while the runtime runs, so sums
/// are as exact as the moment allows. At rest they are exact. A counter, by which is meant what is
/// described as having happened so far, never falls.
///
/// # What it costs
///
/// A worker counts in memory of its own, by one or two instructions: nothing is shared and nothing
/// is locked. In a release build on x86-64 that is 1 of a yield's 140 instructions, 2 for a wake and
/// the park that it ends, and 8 of the 1,200 of a spawn with its run and its join. Its thread's
/// processor time is kept by the system, and the clock is read when it goes to sleep. A snapshot
/// makes one system call for each worker, and stops nobody.
///
/// # Examples
///
/// ```
/// let runtime = pirn::Builder::new().workers(2).build()?;
/// runtime.run(|| {
///     let all: Vec<_> = (0..100).map(|n| pirn::spawn(move || n)).collect();
///     all.into_iter().for_each(|one| drop(one.join()));
/// });
/// let metrics = runtime.metrics();
/// // The 100, and the one that has spawned them.
/// assert_eq!(metrics.total().spawned, 101);
/// println!("{:.1?} of processor time", metrics.total().busy);
/// println!("{}", metrics.to_json());
/// # std::io::Result::Ok(())
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Metrics {
    /// The runtime's [name](crate::Builder::name).
    pub name: String,
    /// How many runtimes the process has, this one included.
    pub runtimes: usize,
    /// How long ago the runtime started.
    pub uptime: Duration,
    /// Coroutines spawned and not yet [ended](WorkerCounters::finished). One that has been joined may be
    /// among them for a moment.
    pub live: u64,
    /// Coroutines spawned so far by others than the runtime's own.
    pub spawned_outside: u64,
    /// Coroutines spawned by others that no worker has come to.
    pub queued_outside: usize,
    /// The workers, surplus ones included.
    pub workers: Vec<WorkerMetrics>,
    /// What workers did that are gone: surplus ones whose time was over.
    pub retired: WorkerCounters,
    /// Workers that are stuck in a coroutine.
    pub stuck_workers: usize,
    /// Surplus workers started so far, to stand in for stuck ones.
    pub surplus_started: u64,
    /// Events so far that stuck workers did not ask for themselves.
    pub retaken_events: u64,
    /// Stalls reported so far, to [`Builder::on_stall`](crate::Builder::on_stall). Without that,
    /// nobody looks.
    pub stalls: u64,
    /// How stacks are guarded.
    pub guard: GuardKind,
    /// The classes of stacks.
    pub stacks: Vec<StackClassMetrics>,
    /// Threads of the blocking pool.
    pub blocking_threads: usize,
    /// Those among them that have nothing to do.
    pub blocking_idle: usize,
    /// Those among them that have a job.
    pub blocking_busy: usize,
    /// Blocking jobs that wait for a thread.
    pub blocking_queued: usize,
    /// Blocking jobs so far.
    pub blocking_jobs: u64,
    /// Blocking jobs so far that no thread could be had for, so that whoever had them did them in
    /// place. They are not among `blocking_jobs`. None is ever refused.
    pub blocking_in_place: u64,
    /// The most threads that the blocking pool ever had.
    pub blocking_peak_threads: usize,
}

/// One worker, in [`Metrics`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct WorkerMetrics {
    /// Its number.
    pub number: usize,
    /// Whether it stands in for a stuck worker.
    pub surplus: bool,
    /// Whether it is stuck in a coroutine itself.
    pub stuck: bool,
    /// What it does. One that is asleep has ended all runs that its `counters` have.
    pub state: WorkerState,
    /// The number of the coroutine that it runs.
    pub running: Option<u64>,
    /// Coroutines that live on it. One that its joiner runs counts as soon as it has waited.
    pub residents: usize,
    /// Coroutines spawned here that have not started: any worker may take them.
    pub runnable: usize,
    /// Coroutines that others have sent here to start.
    pub starts: usize,
    /// Residents that were ready when the present one began to run, or the last.
    pub ready: usize,
    /// Whether residents were woken from elsewhere that it has not come to. How many is not known.
    pub inbox: bool,
    /// Timers that are set.
    pub timers: usize,
    /// The most events that the system had at one time.
    pub most_events: u64,
    /// What it has done so far.
    pub counters: WorkerCounters,
}

/// What a worker does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WorkerState {
    /// It looks for something to run.
    Scheduling,
    /// It runs a coroutine.
    Running,
    /// It runs a coroutine that is in [`block_in_place`](crate::block_in_place).
    Blocking,
    /// It sleeps until there is something to do.
    Asleep,
}

/// How the stack guards are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum GuardKind {
    /// `MADV_GUARD_INSTALL`, Linux 6.13 and later: no mapping of its own per stack.
    Madvise,
    /// `UFFDIO_POISON`, Linux 6.6 and later.
    Userfault,
    /// `mprotect`: two mappings per stack, so `vm.max_map_count` limits the number of coroutines.
    Mprotect,
}

/// The stacks of one size, in [`Metrics`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct StackClassMetrics {
    /// Address space of each, in bytes.
    pub size: usize,
    /// Address space of all, in bytes.
    pub mapped: usize,
    /// Stacks that are guarded and fit for use, in use or not.
    pub carved: usize,
    /// Stacks promised to coroutines.
    pub credited: usize,
    /// Stacks that are in use or at hand for a worker.
    pub out: usize,
    /// Stacks that nobody uses.
    pub free: usize,
    /// Those of the free ones that still have memory.
    pub warm: usize,
    /// Stacks given to coroutines so far.
    pub taken: u64,
    /// Those of them that the worker did not have at hand, so that it went to the shared pool for a
    /// supply.
    pub misses: u64,
}

impl fmt::Display for WorkerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            WorkerState::Scheduling => "scheduling",
            WorkerState::Running => "running",
            WorkerState::Blocking => "blocking",
            WorkerState::Asleep => "asleep",
        })
    }
}

/// The name by which `PIRN_STACK_GUARD` knows it.
impl fmt::Display for GuardKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.strategy().fmt(f)
    }
}

impl GuardKind {
    pub(crate) fn strategy(self) -> GuardStrategy {
        match self {
            GuardKind::Madvise => GuardStrategy::Madvise,
            GuardKind::Userfault => GuardStrategy::Userfault,
            GuardKind::Mprotect => GuardStrategy::Mprotect,
        }
    }

    fn of(strategy: GuardStrategy) -> GuardKind {
        match strategy {
            GuardStrategy::Madvise => GuardKind::Madvise,
            GuardStrategy::Userfault => GuardKind::Userfault,
            GuardStrategy::Mprotect => GuardKind::Mprotect,
        }
    }
}

impl StackClassMetrics {
    /// Stacks given to coroutines so far that their worker had at hand.
    #[must_use]
    pub fn hits(&self) -> u64 {
        self.taken.saturating_sub(self.misses)
    }
}

impl Metrics {
    pub(crate) fn of(shared: &Shared) -> Metrics {
        let stacks = shared.stacks.stats();
        let pool = shared.config.blocking.stats();
        let sysmon = &shared.sysmon;
        let live = shared.live();
        let spawned_outside = shared.spawned_outside.load(Ordering::Relaxed);
        let (workers, retired) = shared.with_processors(|processors, retired| {
            let workers = processors.iter().map(|one| WorkerMetrics::of(one, shared)).collect();
            let mut retired = *retired;
            for processor in processors {
                retired.add_taken(processor);
            }
            (workers, retired)
        });
        let class = |class: Class| {
            let stats = stacks.class(class);
            StackClassMetrics {
                size: class.size(),
                mapped: stats.mapped,
                carved: stats.carved,
                credited: stats.credited,
                out: stats.out,
                free: stats.free,
                warm: stats.warm,
                taken: retired.taken[class as usize],
                misses: stats.refills,
            }
        };
        Metrics {
            name: shared.config.name.clone(),
            runtimes: Shared::all().len(),
            uptime: shared.epoch.elapsed(),
            live,
            spawned_outside,
            queued_outside: shared.global.len(),
            workers,
            retired: retired.counters,
            stuck_workers: sysmon.stuck_workers(),
            surplus_started: sysmon.surplus_started.load(Ordering::Relaxed),
            retaken_events: sysmon.events.load(Ordering::Relaxed),
            stalls: sysmon.stalls.load(Ordering::Relaxed),
            guard: GuardKind::of(shared.stacks.strategy()),
            stacks: Class::ALL.map(class).into(),
            blocking_threads: pool.threads,
            blocking_idle: pool.idle,
            blocking_busy: pool.threads - pool.idle,
            blocking_queued: pool.queued,
            blocking_jobs: pool.jobs,
            blocking_in_place: pool.in_place,
            blocking_peak_threads: pool.peak_threads,
        }
    }

    /// Those of all runtimes of the process, in the order in which they were built.
    ///
    /// May be called from anywhere. The default runtime is among them once it has started.
    ///
    /// ```
    /// let runtime = pirn::Builder::new().workers(1).name("web").build()?;
    /// assert!(pirn::Metrics::of_all().iter().any(|metrics| metrics.name == "web"));
    /// # std::io::Result::Ok(())
    /// ```
    #[must_use]
    pub fn of_all() -> Vec<Metrics> {
        Shared::all().iter().map(|shared| Metrics::of(shared)).collect()
    }

    /// What all workers have done so far, those that are gone included, and what was spawned from
    /// outside.
    #[must_use]
    pub fn total(&self) -> WorkerCounters {
        let mut total = self.retired;
        total.spawned += self.spawned_outside;
        for worker in &self.workers {
            total.add(&worker.counters);
        }
        total
    }

    /// The same as JSON: an object with the names of the fields that are documented here, those of
    /// `counters` among the worker's own, and with `total`. Times are in seconds.
    #[must_use]
    pub fn to_json(&self) -> String {
        json::of(self)
    }
}

impl WorkerMetrics {
    fn of(processor: &Processor, shared: &Shared) -> WorkerMetrics {
        // The state is looked at last: what is found asleep has ended all that was counted.
        let counted = WorkerCounters::of(processor, || shared.now());
        let counters = &processor.counters;
        let watch = &processor.watch;
        // To look closer takes a system call.
        let running = match processor.runs_nothing() {
            true => None,
            false => watch.running.observe(|header| header.id),
        };
        WorkerMetrics {
            number: processor.number,
            surplus: processor.surplus,
            stuck: processor.is_stuck(),
            state: match processor.activity() {
                Activity::Idle => WorkerState::Asleep,
                Activity::BlockInPlace => WorkerState::Blocking,
                Activity::Running if running.is_some() => WorkerState::Running,
                Activity::Running => WorkerState::Scheduling,
            },
            running,
            residents: counters.residents.load(Ordering::Relaxed),
            runnable: processor.stealer.len()
                + processor.backlog.len()
                + usize::from(processor.has_next_start()),
            starts: processor.starts.len(),
            ready: watch.ready.load(Ordering::Relaxed),
            inbox: !processor.inbox.is_empty(),
            timers: counters.timers.load(Ordering::Relaxed),
            most_events: counters.most_events.load(Ordering::Relaxed),
            counters: counted,
        }
    }
}
