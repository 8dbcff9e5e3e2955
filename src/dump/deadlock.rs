//! Deadlocks: everybody waits for others, and there are no others.
//!
//! What is reported is certain. For that, all of this must hold at once:
//!
//! - no machine of any runtime runs a coroutine, or has one that is ready or unstarted;
//! - every coroutine waits, without a deadline, for what only other code in this process can do: a
//!   lock, a channel, a `join`, but no descriptor, no time, no blocking job;
//! - no blocking job runs or is queued;
//! - nobody is being told of a stall, by a sysmon;
//! - every other thread of the process is one of the runtimes' own, or waits in pirn as the coroutines
//!   do. A thread that waits anywhere else might come back and wake somebody.
//!
//! "At once" needs proof, since these things are looked at one after another. All is looked at twice,
//! the second time for changes: each machine's count of progress, and the number of the wait of each
//! thread. Who waited at both times in the same wait waited in between, and who does not run wakes
//! nobody.
//!
//! Machines look at their coroutines in steps, and stop at the first that may go on or as soon as
//! something runs, so the look is in nobody's way. What it costs is bounded: after a look for which the
//! machines have run for a millisecond there is none for a tenth of a second. How long it took is no
//! measure of that: on a busy system most of it is the time for which they wait for a processor.
//!
//! The look is taken by the last one that comes to rest: sysmon, before it goes to sleep for good, or
//! a plain thread that has waited in pirn for a while. So an idle process stays idle. Machines that
//! wake up for somebody who looks at the process from outside, be it all the time, do not count as
//! work; and if one does not answer although nothing runs there, whoever looked looks again.
//!
//! So nobody looks if the last thread that waits elsewhere ends when all others have come to rest: that is
//! a deadlock which goes unreported, until something runs and comes to rest again. To look now and then
//! would wake up every idle process that has such a thread.

use super::collect;
use crate::park::{self, WaitReason, WaitingThread};
use crate::protocol::park_word::Seq;
use crate::sched::{OnDeadlock, Processor, Residence, Shared, Standing, Survey, Visit};
use std::io::{self, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::ThreadId;
use std::time::{Duration, Instant};

/// How long the machines may do nothing towards an answer: others' questions may come first.
const PATIENCE: Duration = Duration::from_secs(1);
/// For how many times as long as the machines have run for a look there is no other.
const SHARE: u32 = 100;
/// How long they may take to begin their part of the report.
const REPORTED_IN: Duration = Duration::from_secs(10);
/// How often whoever waits for them sees whether they run something again.
const GLANCE: Duration = Duration::from_millis(10);

/// Threads that the runtimes have in common, and that wake nobody of themselves.
pub(crate) static COMMON_THREADS: AtomicUsize = AtomicUsize::new(0);

/// All that must not change between the two looks.
#[derive(Debug, PartialEq, Eq)]
struct Rest {
    /// Of each processor of each runtime.
    progress: Vec<(usize, u64)>,
    jobs: Vec<u64>,
    threads: Vec<(ThreadId, Seq)>,
    /// Of each runtime, how often somebody has been told of a stall.
    told: Vec<u64>,
}

/// Why there is no proof of a deadlock.
enum Doubt {
    /// Somebody may go on. When all rest again, somebody looks again.
    Hope,
    /// A machine did not answer in time, though nothing runs there.
    Silence,
}

/// Looks for a deadlock, and does what the runtimes were told to do about it. If it cannot be found out
/// now whether there is one, after what time to look again.
pub(crate) fn check() -> Option<Duration> {
    static LOOKS: Mutex<Looks> = Mutex::new(Looks { reported: None, next: None });

    let runtimes = Shared::all();
    let action = runtimes.iter().map(|shared| shared.config.on_deadlock).max();
    let action = action.filter(|&action| action != OnDeadlock::Off)?;
    // Whoever comes to rest meanwhile looks when this one is done.
    let mut looks = LOOKS.lock().unwrap_or_else(PoisonError::into_inner);
    let begun = Instant::now();
    let early = looks.next.map_or(Duration::ZERO, |next| next.saturating_duration_since(begun));
    if !early.is_zero() {
        return Some(early);
    }
    let had_run = have_run(&runtimes);
    let proof = prove(&runtimes);
    let ran = have_run(&runtimes).zip(had_run).map(|(now, then)| now.saturating_sub(then));
    let took = begun.elapsed();
    let cost = ran.map_or(took, |ran| ran.min(took));
    looks.next = cost.checked_mul(SHARE).and_then(|pause| Instant::now().checked_add(pause));
    let rest = match proof {
        Ok(rest) => rest,
        Err(Doubt::Hope) => return None,
        Err(Doubt::Silence) => return Some(PATIENCE),
    };
    if looks.reported.as_ref() == Some(&rest) {
        return None;
    }
    let mut out = io::stderr().lock();
    // There is nobody to be told of a failure.
    let _unwritten = writeln!(
        out,
        "\npirn: deadlock: everybody waits, and nobody is left to wake them\n\n{}",
        // Nothing runs, so whoever takes long has to wait for the system: the report is to be whole.
        collect::dump_with(runtimes, REPORTED_IN)
    );
    if action == OnDeadlock::Abort {
        std::process::abort();
    }
    looks.reported = Some(rest);
    None
}

/// For how long all machines have run; `None` where the system does not say.
fn have_run(runtimes: &[Arc<Shared>]) -> Option<Duration> {
    let of = |processor: &Arc<Processor>| processor.watch.thread.get()?.has_run();
    runtimes.iter().map(|shared| shared.processors().iter().map(of).sum::<Option<Duration>>()).sum()
}

/// What there is to know of earlier looks.
struct Looks {
    /// The last that was reported.
    reported: Option<Rest>,
    /// When there may be another.
    next: Option<Instant>,
}

/// That all of the process is at rest for ever.
fn prove(runtimes: &[Arc<Shared>]) -> Result<Rest, Doubt> {
    // Whoever looks from outside keeps machines awake that have nothing to run.
    let quiet = |shared: &Arc<Shared>| {
        shared.processors().iter().all(|p| p.runs_nothing()) && !shared.is_stopping()
    };
    if !runtimes.iter().all(quiet) {
        return Err(Doubt::Hope);
    }
    let before = look(runtimes).ok_or(Doubt::Hope)?;
    // Before the coroutines, who may be many.
    if !all_threads_are_known(runtimes, &before) {
        return Err(Doubt::Hope);
    }
    let mut coroutines = 0;
    for shared in runtimes {
        coroutines += Hopeless::count(shared)?;
    }
    let live: u64 = runtimes.iter().map(|shared| shared.live()).sum();
    let unchanged =
        look(runtimes).as_ref() == Some(&before) && all_threads_are_known(runtimes, &before);
    let somebody = coroutines > 0 || !before.threads.is_empty();
    let proven = somebody && live == coroutines && unchanged;
    if proven { Ok(before) } else { Err(Doubt::Hope) }
}

/// What there is to compare; `None` if somebody is at work, or waits for something that may come.
fn look(runtimes: &[Arc<Shared>]) -> Option<Rest> {
    let mut rest =
        Rest { progress: Vec::new(), jobs: Vec::new(), threads: Vec::new(), told: Vec::new() };
    for shared in runtimes {
        rest.told.push(shared.sysmon.told()?);
        let pool = shared.config.blocking.stats();
        if pool.queued > 0 || pool.idle != pool.threads {
            return None;
        }
        rest.jobs.push(pool.jobs);
        rest.progress.extend(shared.processors().iter().map(|processor| progress(processor)));
    }
    for waiting in park::waiting_threads() {
        if waiting.reason == WaitReason::Dump {
            // Either one of the common threads, or it is missed where all threads are counted.
            continue;
        }
        if !waits_for_others(&waiting) {
            return None;
        }
        rest.threads.push((waiting.thread.id(), waiting.wait));
    }
    Some(rest)
}

fn progress(processor: &Processor) -> (usize, u64) {
    (processor.number, processor.watch.progress())
}

fn waits_for_others(waiting: &WaitingThread) -> bool {
    waiting.forever && is_for_others(waiting.reason)
}

/// Whether each thread of the process is a runtime's or one of those that wait.
fn all_threads_are_known(runtimes: &[Arc<Shared>], rest: &Rest) -> bool {
    let threads = |shared: &Arc<Shared>| {
        // And sysmon.
        let own = shared.processors().len() + 1;
        own + shared.config.blocking.stats().threads + usize::from(shared.bank.has_thread())
    };
    let known: usize = runtimes.iter().map(threads).sum();
    let known = known + rest.threads.len() + COMMON_THREADS.load(Ordering::Acquire);
    threads_of_the_process() == Some(known)
}

/// `None` where the system does not say.
fn threads_of_the_process() -> Option<usize> {
    Some(std::fs::read_dir("/proc/self/task").ok()?.count())
}

/// Counts the coroutines of one runtime that wait for others, as long as all do and none runs.
///
/// The machines walk: while none of them runs anything, what they see in steps is what they would see
/// at once. So a program that goes on is not kept from it, however many coroutines it has.
struct Hopeless {
    progress: Vec<(usize, u64)>,
    state: Mutex<Count>,
    changed: Condvar,
}

struct Count {
    coroutines: u64,
    /// Machines that are not done.
    missing: usize,
    /// When one of them last did something.
    moved: Instant,
    /// Somebody may go on by himself, or nobody waits for the answer any more.
    over: bool,
}

impl Hopeless {
    /// How many there are, unless one of them may go on by itself.
    fn count(shared: &Arc<Shared>) -> Result<u64, Doubt> {
        let processors = shared.processors();
        let progress = processors.iter().map(|processor| progress(processor)).collect();
        let missing = processors.len();
        let count = Count { coroutines: 0, missing, moved: Instant::now(), over: false };
        let survey =
            Arc::new(Hopeless { progress, state: Mutex::new(count), changed: Condvar::new() });
        let mut migrants = false;
        shared.migrants(|_| migrants = true);
        if migrants {
            return Err(Doubt::Hope);
        }
        for processor in processors.iter() {
            if !processor.ask(survey.clone()) {
                survey.lock().over = true;
                return Err(Doubt::Silence);
            }
        }
        let counted = survey.wait(&processors);
        survey.lock().over = true;
        counted
    }

    fn wait(&self, processors: &[Arc<Processor>]) -> Result<u64, Doubt> {
        let mut state = self.lock();
        while state.missing > 0 && !state.over {
            if !processors.iter().all(|processor| self.rests(processor)) {
                return Err(Doubt::Hope);
            }
            if state.moved.elapsed() >= PATIENCE {
                return Err(Doubt::Silence);
            }
            let waited = self.changed.wait_timeout(state, GLANCE);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        if state.over { Err(Doubt::Hope) } else { Ok(state.coroutines) }
    }

    /// Whether it has run nothing since this began.
    fn rests(&self, processor: &Processor) -> bool {
        self.progress.contains(&progress(processor))
    }

    fn lock(&self) -> MutexGuard<'_, Count> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Survey for Hopeless {
    fn visit(&self, residence: &Residence<'_>) -> Visit {
        let mut coroutines = 0;
        let mut hope = self.lock().over || !self.rests(residence.processor());
        if !hope {
            residence.unstarted(|_| hope = true);
        }
        let done = hope
            || residence.next_residents(|sighting| {
                coroutines += 1;
                hope |= match sighting.standing {
                    Standing::Parked { reason, deadline } => {
                        deadline != u64::MAX || !is_for_others(reason)
                    }
                    Standing::Unstarted | Standing::Ready => true,
                };
            });
        let mut state = self.lock();
        state.coroutines += coroutines;
        state.moved = Instant::now();
        state.over |= hope;
        if !done && !state.over {
            return Visit::Unfinished;
        }
        state.missing -= usize::from(done);
        self.changed.notify_all();
        Visit::Done
    }

    fn walks(&self) -> bool {
        true
    }
}

/// Whether nothing but other code of this process can end such a wait, if it has no deadline.
fn is_for_others(reason: WaitReason) -> bool {
    use WaitReason::{
        Barrier, Condvar, Event, Join, Mutex, Notify, Once, Park, Receive, RwLockRead, RwLockWrite,
        Scope, Select, Semaphore, Send,
    };
    match reason {
        Park | Join | Scope | Select(_) | Send(_) | Receive(_) | Mutex(_) | RwLockRead(_)
        | RwLockWrite(_) | Condvar(_) | Once(_) | Barrier(_) | Semaphore(_) | Event(_)
        | Notify(_) => true,
        // What comes from outside, or of itself. What is not known is taken to.
        _ => false,
    }
}
