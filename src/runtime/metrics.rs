//! A runtime's counters.
//!
//! Each worker counts in memory of its own with plain stores; reading adds nothing to a hot path.

use crate::sched::Shared;
use crate::stack::{Class, GuardStrategy};
use std::sync::atomic::Ordering;

/// A snapshot of a runtime's counters.
///
/// The counters of different workers are read one after another while the runtime runs, so sums
/// are as exact as the moment allows.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Metrics {
    /// Coroutines spawned and not yet ended.
    pub live: u64,
    /// The workers, surplus ones included.
    pub workers: Vec<WorkerMetrics>,
    /// How stacks are guarded.
    pub guard: GuardKind,
    /// The classes of stacks.
    pub stacks: Vec<StackClassMetrics>,
    /// Threads of the blocking pool.
    pub blocking_threads: usize,
    /// Those among them that have nothing to do.
    pub blocking_idle: usize,
    /// Blocking jobs that wait for a thread.
    pub blocking_queued: usize,
    /// Blocking jobs so far.
    pub blocking_jobs: u64,
    /// The most threads that the blocking pool ever had.
    pub blocking_peak_threads: usize,
    /// Workers that are stuck in a coroutine.
    pub stuck_workers: usize,
}

/// One worker's counters.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct WorkerMetrics {
    /// Its number.
    pub number: usize,
    /// Whether it stands in for a stuck worker.
    pub surplus: bool,
    /// Coroutines it has run, once for each time.
    pub schedules: u64,
    /// Coroutines that live on it.
    pub residents: usize,
    /// Coroutines spawned from it.
    pub spawned: u64,
    /// Coroutines that ended on it.
    pub finished: u64,
    /// Times it took work from another worker.
    pub steals: u64,
    /// Starts it sent to a less loaded worker.
    pub pushed: u64,
    /// Times it asked the system for events.
    pub polls: u64,
    /// Events it got.
    pub events: u64,
    /// Times it went to sleep.
    pub sleeps: u64,
    /// Residents that others woke.
    pub inbox_wakes: u64,
    /// Timers that are set.
    pub timers: usize,
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

/// The stacks of one size.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct StackClassMetrics {
    /// Address space of each, in bytes.
    pub size: usize,
    /// Stacks that have a place in memory.
    pub mapped: usize,
    /// Stacks promised to coroutines.
    pub credited: usize,
    /// Stacks that are in use or at hand for a worker.
    pub out: usize,
    /// Stacks that nobody uses.
    pub free: usize,
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

impl Metrics {
    pub(crate) fn of(shared: &Shared) -> Metrics {
        let stacks = shared.stacks.stats();
        let pool = shared.config.blocking.stats();
        Metrics {
            live: shared.live(),
            workers: shared.processors().iter().map(|p| WorkerMetrics::of(p)).collect(),
            guard: GuardKind::of(shared.stacks.strategy()),
            stacks: Class::ALL
                .into_iter()
                .map(|class| {
                    let stats = stacks.class(class);
                    StackClassMetrics {
                        size: class.size(),
                        mapped: stats.mapped,
                        credited: stats.credited,
                        out: stats.out,
                        free: stats.free,
                    }
                })
                .collect(),
            blocking_threads: pool.threads,
            blocking_idle: pool.idle,
            blocking_queued: pool.queued,
            blocking_jobs: pool.jobs,
            blocking_peak_threads: pool.peak_threads,
            stuck_workers: shared.sysmon.stuck_workers(),
        }
    }
}

impl WorkerMetrics {
    fn of(processor: &crate::sched::Processor) -> WorkerMetrics {
        let counters = &processor.counters;
        WorkerMetrics {
            number: processor.number,
            surplus: processor.surplus,
            schedules: processor.watch.schedules.load(Ordering::Relaxed),
            residents: counters.residents.load(Ordering::Relaxed),
            spawned: counters.spawned.load(Ordering::Relaxed),
            finished: counters.finished.load(Ordering::Relaxed),
            steals: counters.steals.load(Ordering::Relaxed),
            pushed: counters.pushed.load(Ordering::Relaxed),
            polls: counters.polls.load(Ordering::Relaxed),
            events: counters.events.load(Ordering::Relaxed),
            sleeps: counters.sleeps.load(Ordering::Relaxed),
            inbox_wakes: counters.inbox_wakes.load(Ordering::Relaxed),
            timers: counters.timers.load(Ordering::Relaxed),
        }
    }
}
