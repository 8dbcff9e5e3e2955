//! The watch: a thread without a processor that looks at all machines from outside.
//!
//! It sleeps 20 us at first, doubles that while there is nothing to do up to 10 ms (Go's figures),
//! and once every machine has been idle for a while it sleeps without limit, until a machine that
//! wakes up says so. An idle process makes no wakeups.
//!
//! A machine is **stuck** when it runs one coroutine for [`RETAKE_AFTER`], or said so by
//! `block_in_place`. One that has hardly run in that time but could, since the system has more
//! threads to run than processors, is not: it will go on. Then sysmon takes over the *work*, not the processor: it polls the stuck
//! machine's descriptors on behalf of coroutines that live elsewhere, sees that somebody steals
//! what has not started, and if no worker is free starts a surplus machine: for one that blocks, which
//! leaves its core to others, and for one that computes only if nobody else is left. What lives on the
//! stuck machine waits for it; the stall watch says so.

use crate::coroutine::contained;
use crate::primitive::{heavy_fence, light_fence};
use crate::sched::processor::{Activity, Processor};
use crate::sched::shared::{Shared, Stall, clock};
use crate::stack::{self, Trim};
use crate::util::wait_while;
use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The shortest and the longest nap.
const NAP: Duration = Duration::from_micros(20);
const LONG_NAP: Duration = Duration::from_millis(10);
/// Naps without anything to do before they get longer.
const PATIENT_NAPS: u32 = 50;
/// How long everything is idle before the machines give back what they keep at hand, and at least
/// before the watch sleeps without limit. Naps are long by then.
const SETTLE_AFTER: Duration = Duration::from_millis(150);
const SLEEP_AFTER: Duration = Duration::from_millis(200);
/// How often whoever has come to rest says so at most, if he is to say it again.
pub(crate) const RESTS: u32 = 10;
/// After so many stacks had their memory released, the allocator is asked for its own: that is
/// what came and went in a burst.
const MANY_STACKS: usize = 4096;
/// How long a machine may be in one coroutine before its work is retaken, and how long its thread
/// must have run of that time, unless it blocks.
const RETAKE_AFTER: Duration = Duration::from_millis(40);
const BUSY_AFTER: Duration = Duration::from_millis(20);
/// For how long it must not have run at all if it blocks.
const BLOCKED_FOR: Duration = Duration::from_millis(5);
/// A nap that takes so much longer than it was to: then the system kept the whole process from
/// running, most likely, and what a machine did not do in that time says nothing of its coroutine.
const LATE: Duration = Duration::from_millis(20);
/// How long a machine may go without a poll before it is nudged.
const NUDGE_AFTER: Duration = Duration::from_millis(1);
/// How long no regular worker has been stuck before surplus machines are told: where some are every
/// now and then, they are needed again.
const DISMISS_AFTER: Duration = Duration::from_millis(150);
/// How often caches and stacks are looked after.
const UPKEEP_EVERY: Duration = Duration::from_millis(50);

/// What the machines and the watch share.
pub(crate) struct Sysmon {
    /// The watch sleeps without limit.
    asleep: AtomicBool,
    /// Regular workers that are stuck.
    stuck: AtomicUsize,
    /// Written by the watch alone, as what follows.
    pub(crate) surplus_started: AtomicU64,
    /// Events that it got from the pollers of stuck machines.
    pub(crate) events: AtomicU64,
    /// Reports of stalls.
    pub(crate) stalls: AtomicU64,
    /// Odd while somebody is told of a stall, who may do anything.
    telling: AtomicU64,
    lock: Mutex<()>,
    changed: Condvar,
}

impl Sysmon {
    pub(crate) fn new() -> Sysmon {
        Sysmon {
            asleep: AtomicBool::new(false),
            stuck: AtomicUsize::new(0),
            surplus_started: AtomicU64::new(0),
            events: AtomicU64::new(0),
            stalls: AtomicU64::new(0),
            telling: AtomicU64::new(0),
            lock: Mutex::new(()),
            changed: Condvar::new(),
        }
    }

    pub(crate) fn stuck_workers(&self) -> usize {
        self.stuck.load(Ordering::Relaxed)
    }

    /// How often somebody has been told of a stall; `None` while that goes on.
    ///
    /// Who has seen all machines without a running coroutine before he asked, and is told the same
    /// number later, knows that nobody was told in between, or is about to be.
    pub(crate) fn told(&self) -> Option<u64> {
        fence(Ordering::SeqCst);
        let telling = self.telling.load(Ordering::Acquire);
        telling.is_multiple_of(2).then_some(telling)
    }

    /// Whether the watch sleeps until somebody calls.
    #[cfg(test)]
    pub(crate) fn is_asleep(&self) -> bool {
        self.asleep.load(Ordering::Relaxed)
    }

    /// A machine is awake again.
    pub(crate) fn notice_work(&self) {
        light_fence();
        if self.asleep.load(Ordering::Relaxed) && self.asleep.swap(false, Ordering::Relaxed) {
            self.notify();
        }
    }

    /// The runtime stops or has stopped.
    pub(crate) fn notice_end(&self) {
        self.asleep.store(false, Ordering::Relaxed);
        self.notify();
    }

    fn notify(&self) {
        drop(self.lock.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_all();
    }

    /// Waits until the runtime's state may have changed; `false`: the time is over.
    pub(crate) fn wait_finished(&self, deadline: Instant, done: impl Fn() -> bool) -> bool {
        let guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        wait_while(&self.changed, guard, Some(deadline), |()| !done()).is_some()
    }

    fn nap(&self, length: Duration) {
        let guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.changed.wait_timeout(guard, length));
    }

    /// Sleeps until somebody calls. `false`: nobody has, but it is past `limit`, or `busy` says that
    /// there is something to watch.
    fn sleep(&self, limit: Option<Instant>, busy: impl Fn() -> bool) -> bool {
        self.asleep.store(true, Ordering::Relaxed);
        // Against a machine that wakes up: it does so often, and this is rare.
        heavy_fence();
        if busy() {
            self.asleep.store(false, Ordering::Relaxed);
            return false;
        }
        let mut guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        while self.asleep.load(Ordering::Relaxed) {
            let Some(limit) = limit else {
                guard = self.changed.wait(guard).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let left = limit.saturating_duration_since(Instant::now());
            if left.is_zero() {
                // Whoever swaps first: a caller may be about to notify, which does no harm.
                return !self.asleep.swap(false, Ordering::Relaxed);
            }
            let waited = self.changed.wait_timeout(guard, left);
            guard = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }
}

/// Starts the watch.
pub(super) fn start(shared: Arc<Shared>) -> io::Result<()> {
    let name = format!("{}-sysmon", shared.config.name);
    let watched = shared.clone();
    shared.threads.spawn(name, move || Watcher::new(watched).run())
}

struct Watcher {
    shared: Arc<Shared>,
    seen: HashMap<usize, Seen>,
    upkeep_at: Instant,
    upkeep_pending: bool,
    /// What has been taken over from stuck machines, while one of them has something to take, and since when
    /// it is so much.
    stranded: Option<(u64, Instant)>,
    /// When a regular worker was last stuck, until surplus machines have been told that none is.
    last_stuck: Option<Instant>,
    /// Nothing goes on, and the machines have given back what they kept.
    settled: bool,
}

/// What a machine's thread does that has been in one coroutine for long.
#[derive(Clone, Copy, PartialEq)]
enum Stuck {
    /// It is not long yet, or the thread only waits for a core.
    No,
    Computes,
    /// Or nobody knows.
    Blocks,
}

/// What a processor was doing when the watch last saw it change.
struct Seen {
    progress: u64,
    since: Instant,
    /// How long the thread had run then, or a look later.
    had_run: Option<Duration>,
    /// How long the thread had run when it was first seen not to be runnable, and when that was.
    blocked: Option<(Duration, Instant)>,
    /// The stall is reported when it has lasted this long; doubles with each report.
    report_at: Duration,
    polls: u64,
    /// When the number of polls last changed.
    polled: Instant,
}

impl Watcher {
    fn new(shared: Arc<Shared>) -> Watcher {
        Watcher {
            shared,
            seen: HashMap::new(),
            upkeep_at: Instant::now() + UPKEEP_EVERY,
            upkeep_pending: false,
            stranded: None,
            last_stuck: None,
            settled: false,
        }
    }

    fn run(&mut self) {
        let mut nap = NAP;
        let mut quiet = 0;
        let mut progress = 0;
        let (mut at_rest, mut rests, mut again_at) = (0, RESTS, None);
        let mut idle_since = None;
        while !self.shared.is_finished() {
            let asleep = Instant::now();
            self.shared.sysmon.nap(nap);
            self.leave_out(asleep.elapsed().saturating_sub(nap + LATE));
            let retaken = self.look();
            quiet = if retaken { 0 } else { quiet + 1 };
            nap = match quiet {
                0 => NAP,
                quiet if quiet <= PATIENT_NAPS => nap,
                _ => (nap * 2).min(LONG_NAP),
            };
            let total = self.progress();
            let same = std::mem::replace(&mut progress, total) == total;
            if !same || !all_rest(&self.shared) {
                (idle_since, self.settled) = (None, false);
                continue;
            }
            let idle = idle_since.get_or_insert_with(Instant::now).elapsed();
            if idle >= SETTLE_AFTER && !self.settled {
                self.settle();
            }
            if idle >= SLEEP_AFTER && !self.upkeep_pending {
                self.release_heap();
                let shared = &self.shared;
                // Once for each time that they come to rest: to be asked wakes the machines.
                if std::mem::replace(&mut at_rest, total) != total {
                    (rests, again_at) = (0, None);
                }
                // Who looks from outside may keep machines awake, and so the watch from its sleep.
                if rests < RESTS && again_at.is_none_or(|at| at <= Instant::now()) {
                    let again = (shared.config.on_rest)();
                    rests = again.map_or(RESTS, |_| rests + 1);
                    again_at = again.and_then(|wait| Instant::now().checked_add(wait));
                }
                let busy = || shared.is_finished() || !all_idle(shared);
                if !shared.sysmon.sleep(again_at, busy) {
                    // It may be said now; or a machine is still awake from being asked.
                    continue;
                }
                self.seen.clear();
                (nap, quiet, idle_since, self.settled) = (NAP, 0, None, false);
            }
        }
    }

    fn progress(&self) -> u64 {
        let of = |p: &Arc<Processor>| p.watch.progress();
        self.shared.processors().iter().map(of).sum()
    }

    /// Nothing is going on: every machine is to give back the stacks that it keeps at hand, so
    /// that the upkeep can return their memory.
    fn settle(&mut self) {
        for processor in self.shared.processors().iter() {
            processor.watch.settle.store(true, Ordering::Relaxed);
            processor.driver.interrupt();
        }
        self.settled = true;
        self.upkeep_pending = true;
    }

    /// Looks after the stacks: a step at a time while something goes on, and to the end of what
    /// there is to do while nothing does.
    fn upkeep(&mut self) {
        let shared = &self.shared;
        loop {
            let outcome = shared.stacks.trim();
            self.upkeep_pending = outcome != Trim::Settled;
            let at_leisure = self.settled && all_idle(shared) && !shared.is_stopping();
            if outcome != Trim::Now || !at_leisure {
                return;
            }
        }
    }

    /// After a burst: what the coroutines had in the allocator's memory goes back to the system
    /// as their stacks did.
    fn release_heap(&self) {
        if self.shared.stacks.released() >= MANY_STACKS {
            self.shared.stacks.forget_released();
            stack::release_heap();
        }
    }

    /// So much of the time since the last look does not count.
    fn leave_out(&mut self, lost: Duration) {
        if !lost.is_zero() {
            self.seen.values_mut().for_each(|seen| seen.since += lost);
        }
    }

    /// One look at everything. Whether something was retaken.
    fn look(&mut self) -> bool {
        let now = Instant::now();
        let processors = self.shared.processors();
        let mut retaken = false;
        let mut stuck_workers = 0;
        let (mut able, mut computing) = (0, 0);
        let mut stranded = false;
        let mut waiting = !self.shared.global.is_empty();
        for processor in processors.iter() {
            let stuck_for = self.stuck_for(processor, now);
            let stuck = match processor.activity() {
                Activity::Running => self.stuck(processor, stuck_for, now),
                Activity::BlockInPlace if !stuck_for.is_zero() => Stuck::Blocks,
                Activity::Idle | Activity::BlockInPlace => Stuck::No,
            };
            processor.watch.stuck.store(stuck != Stuck::No, Ordering::Relaxed);
            if processor.activity() != Activity::Idle {
                processor.watch.set_clock(clock(self.shared.nanos(now)));
            }
            self.nudge(processor, now);
            waiting |= stuck_for > Duration::ZERO && processor.has_stealable();
            if stuck == Stuck::No {
                able += 1;
                continue;
            }
            computing += usize::from(stuck == Stuck::Computes);
            stranded |= processor.has_stealable();
            stuck_workers += usize::from(!processor.surplus);
            // Its descriptors may be waited for by coroutines that live elsewhere.
            let events = processor.driver.poll(Some(Duration::ZERO));
            self.shared.sysmon.events.fetch_add(events as u64, Ordering::Relaxed);
            retaken |= events > 0;
            retaken |= self.shared.migrants.fire(self.shared.now());
            self.report(processor, stuck_for);
        }
        self.shared.sysmon.stuck.store(stuck_workers, Ordering::Relaxed);
        self.dismiss(&processors, stuck_workers, now);
        let stranded = self.stranded(stranded, &processors, now);
        if waiting {
            // While the runtime stops, too: a stuck coroutine may wait for what has not started.
            // One that computes has a core for itself, as the number of workers says. But what waits
            // there is not to wait for its end, if the others have too much to do to take it.
            let computing = if stranded || able == 0 { 0 } else { computing };
            retaken |= self.find_taker(able + computing, processors.len());
        }
        if self.settled || now >= self.upkeep_at {
            self.upkeep_at = now + UPKEEP_EVERY;
            self.upkeep();
        }
        self.seen.retain(|number, _| processors.iter().any(|p| p.number == *number));
        retaken
    }

    /// Wakes surplus machines whose time has been over for a while, to see that: one that sleeps would
    /// stay until something came for it, and each spawn would look for a sleeper that may not be woken.
    fn dismiss(&mut self, processors: &[Arc<Processor>], stuck_workers: usize, now: Instant) {
        if stuck_workers > 0 {
            self.last_stuck = Some(now);
        } else if self.last_stuck.is_some_and(|last| now - last >= DISMISS_AFTER) {
            self.last_stuck = None;
            for surplus in processors.iter().filter(|p| p.surplus && p.sleep.wake()) {
                surplus.driver.interrupt();
            }
        }
    }

    /// Sees to it that a machine whose schedules are few and long polls now and then.
    fn nudge(&mut self, processor: &Processor, now: Instant) {
        let polls = processor.counters.polls.load(Ordering::Relaxed);
        let Some(seen) = self.seen.get_mut(&processor.number) else { return };
        if seen.polls != polls || processor.activity() == Activity::Idle {
            (seen.polls, seen.polled) = (polls, now);
        } else if now - seen.polled >= NUDGE_AFTER {
            processor.watch.nudge.store(true, Ordering::Relaxed);
        }
    }

    /// For how long the processor has been in one stretch of a coroutine's time.
    fn stuck_for(&mut self, processor: &Processor, now: Instant) -> Duration {
        let progress = processor.watch.progress();
        let first_report = self.shared.config.stall_after;
        let seen = self.seen.entry(processor.number).or_insert(Seen {
            progress,
            since: now,
            had_run: None,
            blocked: None,
            report_at: first_report,
            polls: 0,
            polled: now,
        });
        if seen.progress != progress || processor.activity() == Activity::Idle {
            (seen.progress, seen.since, seen.report_at) = (progress, now, first_report);
            seen.had_run = None;
            seen.blocked = None;
        }
        now - seen.since
    }

    /// Whether a machine that has been in one coroutine for so long is stuck there.
    fn stuck(&mut self, processor: &Processor, stuck_for: Duration, now: Instant) -> Stuck {
        if stuck_for.is_zero() || processor.runs_nothing() {
            return Stuck::No;
        }
        let long = stuck_for >= RETAKE_AFTER;
        let Some(seen) = self.seen.get_mut(&processor.number) else { return Stuck::No };
        let Some(thread) = processor.watch.thread.get() else { return Stuck::No };
        let Some(has_run) = thread.has_run() else {
            return if long { Stuck::Blocks } else { Stuck::No };
        };
        let had_run = *seen.had_run.get_or_insert(has_run);
        if !long {
            return Stuck::No;
        }
        let run = has_run.saturating_sub(had_run);
        let computed = run >= BUSY_AFTER;
        if !computed && thread.is_runnable() {
            seen.blocked = None;
            return Stuck::No;
        }
        // Once is not enough: a page or a lock of the allocator's may be what it waits for.
        let (then, at) = *seen.blocked.get_or_insert((has_run, now));
        let rests = then == has_run && now - at >= BLOCKED_FOR;
        if then != has_run {
            seen.blocked = Some((has_run, now));
        }
        let leaves_core = rests || computed && run < stuck_for / 2;
        // Unless it waits for one. One that has not computed does not, as was seen above.
        if leaves_core && !(computed && thread.is_runnable()) {
            return Stuck::Blocks;
        }
        if computed { Stuck::Computes } else { Stuck::No }
    }

    /// Whether nobody has taken anything over for long that a stuck machine has.
    fn stranded(&mut self, there_is: bool, processors: &[Arc<Processor>], now: Instant) -> bool {
        let of = |p: &Arc<Processor>| p.counters.taken_over.load(Ordering::Relaxed);
        let taken = there_is.then(|| processors.iter().map(of).sum());
        self.stranded = taken.map(|taken| match self.stranded {
            Some((before, since)) if before == taken => (taken, since),
            _ => (taken, now),
        });
        self.stranded.is_some_and(|(_, since)| now - since >= RETAKE_AFTER)
    }

    /// Somebody must take what waits: a sleeper, or if too few can a surplus machine.
    fn find_taker(&self, able: usize, processors: usize) -> bool {
        let config = &self.shared.config;
        if self.shared.idle.sleepers() > 0 {
            self.shared.wake_searcher();
            return true;
        }
        if able < config.workers && processors < config.workers + config.max_surplus {
            // Failing is no error: the work waits, and the next look tries again.
            let started = self.shared.start_machine(true).is_ok();
            let counter = &self.shared.sysmon.surplus_started;
            counter.fetch_add(u64::from(started), Ordering::Relaxed);
            return started;
        }
        false
    }

    fn report(&mut self, processor: &Processor, stuck_for: Duration) {
        let Some(on_stall) = &self.shared.config.on_stall else { return };
        let Some(seen) = self.seen.get_mut(&processor.number) else { return };
        if stuck_for < seen.report_at {
            return;
        }
        seen.report_at = stuck_for.max(seen.report_at).saturating_mul(2);
        let watch = &processor.watch;
        let _telling = Telling::new(&self.shared.sysmon);
        let Some(running) = watch.running() else { return };
        let in_inbox = usize::from(!processor.inbox.is_empty());
        let stall = Stall {
            worker: processor.number,
            coroutine: running.id,
            name: running.name,
            spawned_at: running.spawned_at,
            running_for: stuck_for,
            waiting: watch.ready.load(Ordering::Relaxed) + in_inbox,
            block_in_place: processor.activity() == Activity::BlockInPlace,
        };
        if watch.progress() == seen.progress {
            self.shared.sysmon.stalls.fetch_add(1, Ordering::Relaxed);
            // The watch goes on, whatever its user's code does.
            contained(|| on_stall(&stall));
        }
    }
}

/// From before the last look at what runs until somebody has been told of it.
struct Telling<'a>(&'a Sysmon);

impl<'a> Telling<'a> {
    fn new(sysmon: &'a Sysmon) -> Telling<'a> {
        sysmon.telling.fetch_add(1, Ordering::SeqCst);
        // Against whoever looks for a deadlock: it sees this, or this sees that nothing runs.
        fence(Ordering::SeqCst);
        Telling(sysmon)
    }
}

impl Drop for Telling<'_> {
    fn drop(&mut self) {
        self.0.telling.fetch_add(1, Ordering::Release);
    }
}

/// Whether no coroutine runs. A machine that answers whoever looks from outside is awake for that.
fn all_rest(shared: &Shared) -> bool {
    shared.processors().iter().all(|p| p.runs_nothing())
}

fn all_idle(shared: &Shared) -> bool {
    shared.processors().iter().all(|p| p.activity() == Activity::Idle)
}
