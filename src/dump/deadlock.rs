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
//! the second time for changes: each machine's count of schedules, and the number of the wait of each
//! thread. Who waited at both times in the same wait waited in between, and who does not run wakes
//! nobody.
//!
//! The look is taken by the last one that comes to rest: sysmon, before it goes to sleep for good, or
//! a plain thread that has waited in pirn for a while. So an idle process stays idle. Machines that
//! wake up for somebody who looks at the process from outside, be it all the time, do not count as
//! work; and if one does not answer although nothing runs there, whoever looked looks again.

use crate::park::{self, WaitReason, WaitingThread};
use crate::protocol::park_word::Seq;
use crate::sched::{OnDeadlock, Processor, Residence, Shared, Standing, Survey, Visit};
use std::io::{self, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::ThreadId;
use std::time::{Duration, Instant};

/// How long the machines may take to say what they know.
const PATIENCE: Duration = Duration::from_millis(100);

/// Threads that the runtimes have in common, and that wake nobody of themselves.
pub(crate) static COMMON_THREADS: AtomicUsize = AtomicUsize::new(0);

/// All that must not change between the two looks.
#[derive(Debug, PartialEq, Eq)]
struct Rest {
    /// Of each processor of each runtime.
    schedules: Vec<(usize, u64)>,
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

/// Looks for a deadlock, and does what the runtimes were told to do about it. `false`: whether there is
/// one could not be found out.
pub(crate) fn check() -> bool {
    /// The last that was reported.
    static REPORTED: Mutex<Option<Rest>> = Mutex::new(None);

    let runtimes = Shared::all();
    let action = runtimes.iter().map(|shared| shared.config.on_deadlock).max();
    let Some(action) = action.filter(|&action| action != OnDeadlock::Off) else { return true };
    // Whoever comes to rest meanwhile looks when this one is done.
    let mut reported = REPORTED.lock().unwrap_or_else(PoisonError::into_inner);
    let rest = match prove(&runtimes) {
        Ok(rest) => rest,
        Err(doubt) => return matches!(doubt, Doubt::Hope),
    };
    if reported.as_ref() == Some(&rest) {
        return true;
    }
    let mut out = io::stderr().lock();
    // There is nobody to be told of a failure.
    let _unwritten = writeln!(
        out,
        "\npirn: deadlock: everybody waits, and nobody is left to wake them\n\n{}",
        super::dump(runtimes)
    );
    if action == OnDeadlock::Abort {
        std::process::abort();
    }
    *reported = Some(rest);
    true
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
    let deadline = Instant::now() + PATIENCE;
    let mut coroutines = 0;
    for shared in runtimes {
        match Hopeless::count(shared, deadline) {
            Ok(count) => coroutines += count,
            // It may be silent since somebody runs there again.
            Err(Doubt::Silence) if look(runtimes).as_ref() == Some(&before) => {
                return Err(Doubt::Silence);
            }
            Err(_) => return Err(Doubt::Hope),
        }
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
        Rest { schedules: Vec::new(), jobs: Vec::new(), threads: Vec::new(), told: Vec::new() };
    for shared in runtimes {
        rest.told.push(shared.sysmon.told()?);
        let pool = shared.config.blocking.stats();
        if pool.queued > 0 || pool.idle != pool.threads {
            return None;
        }
        rest.jobs.push(pool.jobs);
        rest.schedules.extend(shared.processors().iter().map(|processor| schedules(processor)));
    }
    for waiting in park::waiting_threads() {
        if !waits_for_others(&waiting) {
            return None;
        }
        rest.threads.push((waiting.thread.id(), waiting.wait));
    }
    Some(rest)
}

fn schedules(processor: &Processor) -> (usize, u64) {
    (processor.number, processor.watch.schedules.load(Ordering::Acquire))
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

/// Counts the coroutines of one runtime that wait for others, as long as all do.
struct Hopeless {
    state: Mutex<Count>,
    changed: Condvar,
}

struct Count {
    coroutines: u64,
    /// Machines that have not answered.
    missing: usize,
    /// Somebody may go on by himself.
    hope: bool,
}

impl Hopeless {
    /// How many there are, unless one of them may go on by itself.
    fn count(shared: &Arc<Shared>, deadline: Instant) -> Result<u64, Doubt> {
        let processors = shared.processors();
        let state = Mutex::new(Count { coroutines: 0, missing: processors.len(), hope: false });
        let survey = Arc::new(Hopeless { state, changed: Condvar::new() });
        for processor in processors.iter() {
            if !processor.ask(survey.clone()) {
                return Err(Doubt::Silence);
            }
        }
        let mut migrants = 0;
        shared.migrants(|_| migrants += 1);
        let mut state = survey.lock();
        while state.missing > 0 && !state.hope && migrants == 0 {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Doubt::Silence);
            }
            let waited = survey.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        if state.hope || migrants > 0 { Err(Doubt::Hope) } else { Ok(state.coroutines) }
    }

    fn lock(&self) -> MutexGuard<'_, Count> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Survey for Hopeless {
    fn visit(&self, residence: &Residence<'_>) -> Visit {
        let mut coroutines = 0;
        let mut hope = false;
        residence.residents(|sighting| {
            coroutines += 1;
            hope = match sighting.standing {
                Standing::Parked { reason, deadline } => {
                    deadline != u64::MAX || !is_for_others(reason)
                }
                Standing::Unstarted | Standing::Ready => true,
            };
            !hope
        });
        residence.unstarted(|_| hope = true);
        let mut state = self.lock();
        state.coroutines += coroutines;
        state.missing -= 1;
        state.hope |= hope;
        self.changed.notify_all();
        Visit::Done
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
