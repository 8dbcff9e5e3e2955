//! Threads for work that blocks: name lookups, files, anything without readiness.
//!
//! A pool with a cap. A job goes to an idle thread, or to a new one, or at the cap into a queue;
//! threads without a job retire after a while. If the system refuses a thread and there is none
//! at all, the caller runs the job in place: blocking work never fails for lack of a thread. If there
//! are some, the job waits for one of them, and its waiter asks for another now and then: what the
//! others do may take for ever.

#![expect(unsafe_code, reason = "claims the ticket of whoever waits for a job")]

use crate::coroutine::{contained, unwind_cancelled};
use crate::park::{self, Cancel, Outcome, Ticket, WaitReason};
use crate::sched;
use crate::util::{thread_end, wait_while};
use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How long a thread waits for another job.
const RETIRE_AFTER: Duration = Duration::from_secs(10);
/// How long after a refusal the system is asked for a thread again, and the longest: each time it is
/// twice as long as the one before.
const FIRST_RETRY: Duration = Duration::from_millis(10);
const LONGEST_RETRY: Duration = Duration::from_secs(1);

type Work = Box<dyn FnOnce() + Send>;

/// Work for the pool.
struct Job {
    work: Work,
    /// Of a kind that together may take half of the threads at most.
    is_lookup: bool,
}

/// One runtime's pool.
pub(crate) struct BlockingPool {
    shared: Arc<Pool>,
}

struct Pool {
    name: String,
    cap: usize,
    state: Mutex<State>,
    work: Condvar,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    /// Lookups beyond their share of the threads. One of them follows each that ends.
    held_back: VecDeque<Job>,
    /// Lookups among `jobs`, and those that run.
    lookups: usize,
    threads: usize,
    idle: usize,
    /// Threads that take no jobs any more, while the destructors of their thread-locals run.
    ending: usize,
    /// A thread was refused, for which a job may still wait.
    refused: bool,
    closed: bool,
    handles: Vec<JoinHandle<()>>,
    started: u64,
    in_place: u64,
    peak: usize,
}

/// What the pool is doing.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct PoolStats {
    pub(crate) threads: usize,
    pub(crate) idle: usize,
    pub(crate) queued: usize,
    pub(crate) jobs: u64,
    /// Jobs that whoever had them did, since there was no thread to be had.
    pub(crate) in_place: u64,
    pub(crate) peak_threads: usize,
}

impl BlockingPool {
    pub(crate) fn new(name: String, cap: usize) -> BlockingPool {
        let pool = Pool { name, cap, state: Mutex::default(), work: Condvar::new() };
        BlockingPool { shared: Arc::new(pool) }
    }

    /// Queues a job. `Err` gives its work back: no thread can be had, now or later. `Ok(false)`: a thread
    /// for it was refused, and the others are busy.
    fn submit(&self, job: Job) -> Result<bool, Work> {
        let pool = &self.shared;
        let mut state = pool.lock();
        if state.closed {
            state.in_place += 1;
            return Err(job.work);
        }
        state.started += 1;
        if job.is_lookup {
            if state.lookups >= pool.cap.div_ceil(2) {
                state.held_back.push_back(job);
                return Ok(true);
            }
            state.lookups += 1;
        }
        state.jobs.push_back(job);
        if state.idle >= state.jobs.len() {
            drop(state);
            pool.work.notify_one();
            return Ok(true);
        }
        if state.threads >= pool.cap {
            return Ok(true);
        }
        match self.add_thread(&mut state) {
            Ok(()) => Ok(true),
            Err(_) => {
                if state.threads > 0 {
                    state.refused = true;
                    return Ok(false);
                }
                state.started -= 1;
                state.in_place += 1;
                let job = state.jobs.pop_back().expect("pushed above");
                state.lookups -= usize::from(job.is_lookup);
                Err(job.work)
            }
        }
    }

    /// Asks again for the threads that were refused, if jobs still wait for them. `false`: nothing is
    /// left to be asked for.
    fn retry(&self) -> bool {
        let mut state = self.shared.lock();
        if !state.refused || state.closed {
            return false;
        }
        let room = self.shared.cap.saturating_sub(state.threads);
        let missing = state.jobs.len().saturating_sub(state.idle).min(room);
        state.refused = (0..missing).any(|_| self.add_thread(&mut state).is_err());
        state.refused
    }

    /// Whether threads are to be asked for [again](BlockingPool::retry).
    fn is_refused(&self) -> bool {
        self.shared.lock().refused
    }

    fn add_thread(&self, state: &mut State) -> io::Result<()> {
        let handle = self.start_thread()?;
        state.threads += 1;
        state.peak = state.peak.max(state.threads);
        state.handles.retain(|handle| !handle.is_finished());
        state.handles.push(handle);
        Ok(())
    }

    fn start_thread(&self) -> io::Result<JoinHandle<()>> {
        let pool = self.shared.clone();
        let name = format!("{}-blocking", pool.name);
        thread::Builder::new().name(name).spawn(move || {
            pool.serve();
            // If it cannot be kept, it ends here.
            let _not_kept = thread_end::keep(Box::new(Ending(pool)));
        })
    }

    /// Drops what is queued and waits for what runs, at most until `deadline`.
    pub(crate) fn close(&self, deadline: Option<Instant>) -> bool {
        let mut state = self.shared.lock();
        state.closed = true;
        let mut dropped = std::mem::take(&mut state.jobs);
        dropped.append(&mut state.held_back);
        self.shared.work.notify_all();
        drop(state);
        for job in dropped {
            contained(|| drop(job));
        }
        let state = self.shared.lock();
        let gone = wait_while(&self.shared.work, state, deadline, |state| {
            state.threads + state.ending > 0
        });
        let Some(mut state) = gone else { return false };
        let handles = std::mem::take(&mut state.handles);
        drop(state);
        for handle in handles {
            let _panicked = handle.join();
        }
        true
    }

    /// Whether the caller is one of the pool's threads.
    pub(crate) fn is_own_thread(&self) -> bool {
        let current = thread::current().id();
        let is_it = |handle: &JoinHandle<()>| handle.thread().id() == current;
        // The handle may have gone when it has served.
        thread_end::keeps(|ending: &Ending| Arc::ptr_eq(&ending.0, &self.shared))
            || self.shared.lock().handles.iter().any(is_it)
    }

    pub(crate) fn stats(&self) -> PoolStats {
        let state = self.shared.lock();
        PoolStats {
            threads: state.threads,
            idle: state.idle,
            queued: state.jobs.len() + state.held_back.len(),
            jobs: state.started,
            in_place: state.in_place,
            peak_threads: state.peak,
        }
    }
}

impl Drop for BlockingPool {
    /// A runtime whose shutdown ran out of time ends without this pool being closed: its threads
    /// are to go as they become idle.
    fn drop(&mut self) {
        self.close(Some(Instant::now()));
    }
}

impl Pool {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The life of one thread.
    fn serve(&self) {
        let mut state = self.lock();
        loop {
            if let Some(job) = state.jobs.pop_front() {
                drop(state);
                // A job keeps its own panic for whoever waits for it. But if that one was
                // cancelled, the result is dropped here, and that may panic too.
                contained(job.work);
                state = self.lock();
                if job.is_lookup {
                    match state.held_back.pop_front() {
                        // For this thread, or whoever is faster.
                        Some(next) => state.jobs.push_back(next),
                        None => state.lookups -= 1,
                    }
                }
                continue;
            }
            if state.closed {
                break;
            }
            state.idle += 1;
            let waited = self.work.wait_timeout(state, RETIRE_AFTER);
            let (guard, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
            state = guard;
            state.idle -= 1;
            if timeout.timed_out() && state.jobs.is_empty() {
                break;
            }
        }
        state.threads -= 1;
        state.ending += 1;
    }
}

/// Counts a thread that has served until it ends.
struct Ending(Arc<Pool>);

impl Drop for Ending {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.ending -= 1;
        if state.closed {
            // Whoever closes the pool counts the threads.
            self.0.work.notify_all();
        }
    }
}

/// What a job and its waiter share.
struct Handover<T> {
    state: Mutex<HandoverState<T>>,
}

struct HandoverState<T> {
    result: Option<thread::Result<T>>,
    waiter: Option<Ticket>,
}

impl<T> Handover<T> {
    fn lock(&self) -> MutexGuard<'_, HandoverState<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs `f` on the runtime's blocking pool, and parks the calling coroutine until it is done.
///
/// For anything that blocks its thread and that pirn has no better way for. The number of threads
/// is bounded ([`Builder::max_blocking_threads`](crate::Builder::max_blocking_threads)); beyond
/// that, jobs queue. On a plain thread `f` runs right there; in a scope that may end the wait, as a
/// [`timeout`](crate::time::timeout), it runs on a thread of its own, if the system has one.
///
/// If the waiting coroutine is cancelled, or its scope ends, its wait ends and the work goes on; a job
/// that has not begun when its runtime ends is dropped.
///
/// # Panics
///
/// A panic of `f` comes out here.
///
/// # Examples
///
/// ```
/// # let runtime = pirn::Builder::new().workers(1).build()?;
/// let host = runtime.run(|| pirn::blocking(|| std::fs::read_to_string("/proc/version")))?;
/// assert!(!host.is_empty());
/// # std::io::Result::Ok(())
/// ```
pub fn blocking<F, T>(f: F) -> T
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    blocking_for(WaitReason::Blocking, f)
}

/// [`blocking`], with a reason of the caller's for dumps.
pub(crate) fn blocking_for<F, T>(reason: WaitReason, f: F) -> T
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    blocking_unless(Cancel::Deliver, reason, f)
}

/// [`blocking_for`], and whether a cancellation ends the wait.
pub(crate) fn blocking_unless<F, T>(cancel: Cancel, reason: WaitReason, f: F) -> T
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    let runtime = sched::current_shared().filter(|_| sched::in_coroutine());
    if runtime.is_none() && (cancel == Cancel::Defer || !park::is_in_scope()) {
        return f();
    }
    handed_over(cancel, reason, f, move |work| match runtime {
        Some(runtime) => runtime.config.blocking.submit(Job { work, is_lookup: false }),
        None => start_alone(work).map(|()| true),
    })
}

/// Runs `f` on a thread of its own, if the system has one, and parks the calling coroutine until it is
/// done, whoever is cancelled.
///
/// For work that waits for coroutines: on a pool, these might wait for a thread that it keeps.
pub(crate) fn blocking_apart<F, T>(reason: WaitReason, f: F) -> T
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    if !sched::in_coroutine() {
        return f();
    }
    handed_over(Cancel::Defer, reason, f, |work| start_alone(work).map(|()| true))
}

/// Waits for work that another thread does. `submit` says whether there is one for it, or gives the work
/// back.
fn handed_over<F, T>(
    cancel: Cancel,
    reason: WaitReason,
    f: F,
    submit: impl FnOnce(Work) -> Result<bool, Work>,
) -> T
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    let handover =
        Arc::new(Handover { state: Mutex::new(HandoverState { result: None, waiter: None }) });
    let theirs = handover.clone();
    let runtime = sched::current_shared().filter(|_| sched::in_coroutine());
    let recorded = runtime.and_then(|runtime| runtime.recorder.clone()).zip(sched::current_id());
    let work: Work = Box::new(move || {
        let job = recorded.map(|(recorder, coroutine)| recorder.job(coroutine, reason));
        let result = catch_unwind(AssertUnwindSafe(f));
        let mut state = theirs.lock();
        state.result = Some(result);
        let waiter = state.waiter.take();
        // Before anybody goes on, so that the next job finds this one's ring.
        if let Some(job) = job {
            job.end(waiter.is_some());
        }
        if let Some(ticket) = waiter {
            // SAFETY: the waiter takes its ticket out, under this lock, before it leaves.
            drop(unsafe { ticket.claim() });
        }
    });
    let mut retry = match submit(work) {
        Ok(true) => None,
        Ok(false) => Some(FIRST_RETRY),
        Err(work) => {
            sched::block_in_place(work);
            None
        }
    };
    loop {
        let again = retry.and_then(park::deadline_after);
        let outcome = park::park(reason, again, cancel, |ticket| {
            let mut state = handover.lock();
            if state.result.is_some() {
                return false;
            }
            state.waiter = Some(ticket);
            true
        });
        let mut state = handover.lock();
        state.waiter = None;
        if let Some(result) = state.result.take() {
            drop(state);
            return result.unwrap_or_else(|panic| resume_unwind(panic));
        }
        drop(state);
        if outcome == Outcome::Cancelled {
            unwind_cancelled();
        }
        if outcome == Outcome::TimedOut {
            let refused = sched::current_shared().is_some_and(|one| one.config.blocking.retry());
            retry = retry.filter(|_| refused).map(|pause| LONGEST_RETRY.min(2 * pause));
        }
    }
}

/// Starts work on a thread of its own: for a plain thread, whose wait may end before the work does, and
/// for what would keep a pool's thread too long.
/// `Err` gives it back: the system refuses the thread.
fn start_alone(work: Work) -> Result<(), Work> {
    let job = Arc::new(Mutex::new(Some(work)));
    let theirs = job.clone();
    let take = |job: &Mutex<Option<Work>>| {
        let work = job.lock().unwrap_or_else(PoisonError::into_inner).take();
        work.expect("it is taken once")
    };
    // What nobody waits for any more is dropped there, and may panic.
    let run = move || contained(take(&theirs));
    match thread::Builder::new().name("pirn-blocking".into()).spawn(run) {
        Ok(_) => Ok(()),
        Err(_) => Err(take(&job)),
    }
}

/// Begins work that nobody waits for here, on the pool of the calling coroutine's runtime. Such work
/// takes half of the threads at most, and waits its turn beyond that; it is dropped if it has not
/// begun when the runtime ends. Without a thread it is done right here.
///
/// # Errors
///
/// From a plain thread it takes a thread of its own, which the system may refuse.
pub(crate) fn begin_lookup(work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let runtime = sched::current_shared().filter(|_| sched::in_coroutine());
    let Some(runtime) = runtime else {
        return thread::Builder::new().name("pirn-lookup".into()).spawn(work).map(drop);
    };
    let recorded = runtime.recorder.clone().zip(sched::current_id());
    let work = move || {
        let _job = recorded.map(|(recorder, id)| recorder.job(id, WaitReason::Lookup));
        work();
    };
    let job = Job { work: Box::new(work), is_lookup: true };
    if let Err(work) = runtime.config.blocking.submit(job) {
        sched::block_in_place(work);
    }
    Ok(())
}

/// Waits for a lookup by `wait`, which is given a deadline and says whether it has landed. While threads
/// are refused to the pool of the calling coroutine's runtime, it asks for them now and then.
pub(crate) fn wait_for_lookup(
    deadline: Option<Instant>,
    mut wait: impl FnMut(Option<Instant>) -> bool,
) -> bool {
    // Not kept while it waits.
    let ask = |ask: fn(&BlockingPool) -> bool| {
        let runtime = sched::current_shared().filter(|_| sched::in_coroutine());
        runtime.is_some_and(|one| ask(&one.config.blocking))
    };
    let mut refused = ask(BlockingPool::is_refused);
    let mut pause = FIRST_RETRY;
    while refused {
        let again =
            park::deadline_after(pause).filter(|&again| deadline.is_none_or(|at| again < at));
        if again.is_none() {
            break;
        }
        if wait(again) {
            return true;
        }
        refused = ask(BlockingPool::retry);
        pause = LONGEST_RETRY.min(2 * pause);
    }
    wait(deadline)
}
