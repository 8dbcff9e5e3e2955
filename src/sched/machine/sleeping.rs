//! A machine's sleep: the poller, and the timers that end it.

#![expect(unsafe_code, reason = "reaches residents whose timers fire")]

use super::Machine;
use super::finding::HEADER_LINES;
use crate::coroutine::{Coroutine, Header};
use crate::park::{Outcome, ParkRequest};
use crate::primitive::prefetch;
use crate::protocol::sleep::Wakeup;
use crate::sched::processor::{Activity, Processor, bump};
use crate::sched::shared::clock;
use crate::timers::{self, Timers};
use std::cell::Cell;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// The longest row of futile searches that adds to a spawner's patience.
const MAX_FUTILE: usize = 10;

/// So many timers that fired between two sleeps are a crowd.
const CROWD: u64 = 3;
/// For how many nanoseconds after a wake the timers of a crowd are gathered: a wake of the machine's
/// thread is dearer than that of a few coroutines.
const GATHER: u64 = 200_000;

/// How a machine's timers came of late.
pub(super) struct TimerPace {
    /// How many had fired before the last sleep.
    fired: Cell<u64>,
    /// When that sleep ended.
    woke_at: Cell<u64>,
}

impl TimerPace {
    pub(super) fn new() -> TimerPace {
        TimerPace { fired: Cell::new(0), woke_at: Cell::new(0) }
    }

    /// When to wake for a timer that is due at `next`, if so many have fired by now: then, or a little
    /// later if it is one of a crowd.
    fn gather(&self, next: u64, fired: u64) -> u64 {
        let crowd = fired.wrapping_sub(self.fired.replace(fired)) >= CROWD;
        match crowd && next != u64::MAX {
            true => next.max(self.woke_at.get().saturating_add(GATHER)),
            false => next,
        }
    }

    fn note_wake(&self, now: u64) {
        self.woke_at.set(now);
    }
}

impl Machine {
    pub(super) fn sleep(&self) {
        let processor = &*self.processor;
        processor.sleep.prepare();
        let searched = self.searching.take();
        self.shared.idle.begin_sleep(searched);
        if searched && self.is_leaving() {
            // What it was to look for is for another to find.
            self.shared.wake_searcher();
        }
        if !self.has_work(searched) {
            if searched {
                self.note_futile();
            }
            let next = self.timers.borrow().next().unwrap_or(u64::MAX);
            let next = next.min(self.shared.migrants.next_timer());
            let fired = processor.counters.timers_fired.load(Ordering::Relaxed);
            let next = self.timer_pace.gather(next, fired);
            let now = self.shared.now();
            let timeout =
                (next != u64::MAX).then(|| Duration::from_nanos(next.saturating_sub(now)));
            processor.set_activity(Activity::Idle);
            bump(&processor.counters.sleeps);
            processor.counters.slept.begin(now);
            self.poll(timeout);
            let now = self.shared.now();
            processor.counters.slept.end(now);
            self.timer_pace.note_wake(now);
            processor.watch.set_clock(clock(now));
            processor.set_activity(Activity::Running);
            if processor.watch.settle.load(Ordering::Relaxed) {
                self.settle();
                processor.watch.settle.store(false, Ordering::Release);
            }
        }
        self.shared.idle.end_sleep();
        if processor.sleep.end() == Wakeup::Searcher {
            self.searching.set(true);
        }
        self.shared.sysmon.notice_work();
    }

    /// A search has found nothing.
    pub(super) fn note_futile(&self) {
        let futile = self.shared.futile.load(Ordering::Relaxed);
        // Only if it changes: all machines would write the line, each time that they sleep.
        if futile < MAX_FUTILE {
            self.shared.futile.store(futile + 1, Ordering::Relaxed);
        }
    }

    /// Gives back what was kept at hand, since nothing is going on.
    #[cold]
    fn settle(&self) {
        self.cache.borrow_mut().settle();
        self.processor.backlog.settle();
        self.frames.settle();
        self.residents.settle();
        let mut timers = self.timers.borrow_mut();
        if timers.len() == 0 {
            // No resident has a key of these.
            *timers = Timers::new();
        }
    }

    /// The second look, after the sleep has been announced.
    pub(super) fn has_work(&self, searched: bool) -> bool {
        // One that was not let search relies on others who do, if they do.
        let looks = searched || (self.shared.idle.searching() == 0 && !self.is_leaving());
        let stopping = self.shared.is_stopping();
        !self.processor.inbox.is_empty()
            || !self.processor.starts.is_empty()
            || (stopping && !self.cancelled_all.get())
            || self.shared.is_finished()
            || self.is_superfluous()
            || (!self.is_leaving() && !self.shared.global.is_empty())
            || (looks && self.with_peers(|peers| peers.iter().any(|p| self.could_steal(p))))
    }

    pub(super) fn could_steal(&self, victim: &Arc<Processor>) -> bool {
        !Arc::ptr_eq(victim, &self.processor)
            && (!victim.backlog.is_empty()
                // Whether it is stuck is asked last: its machine writes to that line all the time.
                || !victim.starts.is_empty() && victim.is_stuck()
                || !victim.stealer.is_empty())
    }

    /// Whether a search would find something there.
    pub(super) fn could_find(&self, victim: &Arc<Processor>) -> bool {
        victim.has_next_start() && !Arc::ptr_eq(victim, &self.processor) || self.could_steal(victim)
    }

    pub(super) fn poll(&self, timeout: Option<Duration>) {
        bump(&self.processor.counters.polls);
        self.record(|pen| pen.poll(timeout));
        let events = self.processor.driver.poll(timeout) as u64;
        self.record(|pen| pen.polled(events));
        let counters = &self.processor.counters;
        let sum = counters.events.load(Ordering::Relaxed) + events;
        counters.events.store(sum, Ordering::Relaxed);
        if events > counters.most_events.load(Ordering::Relaxed) {
            counters.most_events.store(events, Ordering::Relaxed);
        }
    }

    /// Makes sure that a timer fires for this coroutine at `deadline` or before.
    ///
    /// A timer that was left by an earlier wait and fires before the deadline does as well: when
    /// it fires, it is set anew. So a socket with a timeout sets one timer per timeout that goes
    /// by, not one per operation.
    pub(super) fn set_timer(&self, header: NonNull<Header>, request: &ParkRequest, deadline: u64) {
        // SAFETY: the caller runs on the machine, whose resident has just been suspended.
        let started = unsafe { header.as_ref().resident().started() };
        request.due.set(deadline);
        let mut timers = self.timers.borrow_mut();
        if let Some(key) = started.timer.get() {
            if timers.when(key) <= deadline {
                return;
            }
            timers.cancel(key);
        }
        started.timer.set(Some(timers.insert(deadline, header)));
        bump(&self.processor.counters.timers_set);
        self.processor.counters.timers.store(timers.len(), Ordering::Relaxed);
    }

    pub(super) fn fire_timers(&self) -> bool {
        let migrants = &self.shared.migrants;
        if self.timers.borrow().next().is_none() && migrants.next_timer() == u64::MAX {
            return false;
        }
        let now = self.shared.now();
        let mut fired = migrants.fire(now);
        let mut timers = self.timers.borrow_mut();
        let mut due = [NonNull::dangling(); timers::SEVERAL];
        loop {
            let count = timers.pop_several(now, &mut due);
            if count == 0 {
                break;
            }
            let due = &due[..count];
            // Nobody may have touched them since they began to wait.
            if count > 1 {
                due.iter().for_each(|header| prefetch(header.as_ptr(), HEADER_LINES));
                for header in due {
                    // SAFETY: as below.
                    let resident = unsafe { header.as_ref().resident() };
                    prefetch(resident.place_of_started(), 1);
                    prefetch(resident.parked_at(), 1);
                }
            }
            for &header in due {
                fired |= self.fire_timer(&mut timers, header, now);
            }
        }
        self.processor.counters.timers.store(timers.len(), Ordering::Relaxed);
        fired
    }

    /// A resident's timer is due, which has been taken out. Whether that was to end its wait.
    #[inline]
    fn fire_timer(
        &self,
        timers: &mut Timers<NonNull<Header>>,
        header: NonNull<Header>,
        now: u64,
    ) -> bool {
        // SAFETY: a resident's timer goes before the resident does.
        let shared_part = unsafe { header.as_ref() };
        // SAFETY: this is its home.
        let resident = unsafe { shared_part.resident() };
        // SAFETY: a resident has started.
        let started = unsafe { resident.started() };
        started.timer.set(None);
        // SAFETY: it is looked at here alone.
        let deadline = unsafe { resident.request() }.map_or(u64::MAX, |request| request.due.get());
        if deadline > now {
            if deadline != u64::MAX {
                started.timer.set(Some(timers.insert(deadline, header)));
                bump(&self.processor.counters.timers_set);
            }
            return false;
        }
        if !shared_part.park.claim_current() {
            return false;
        }
        // SAFETY: the claim has made the scheduler's reference this machine's.
        let coroutine = unsafe { Coroutine::from_raw(header) };
        self.record(|pen| pen.timer(shared_part));
        resident.outcome.set(Outcome::TimedOut);
        self.ready.push(coroutine);
        bump(&self.processor.counters.timers_fired);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timers_are_gathered_in_a_crowd_and_punctual_otherwise() {
        let pace = TimerPace::new();
        pace.note_wake(1_000_000);
        // One each time, as of a ticker.
        assert_eq!(pace.gather(1_050_000, 1), 1_050_000);
        assert_eq!(pace.gather(1_100_000, 2), 1_100_000);
        assert_eq!(pace.gather(1_150_000, 2 + CROWD), 1_000_000 + GATHER);
        // What is far away is not put off, and never stays never.
        assert_eq!(pace.gather(9_000_000, 2 + 2 * CROWD), 9_000_000);
        assert_eq!(pace.gather(u64::MAX, 2 + 3 * CROWD), u64::MAX);
        // And it is over as soon as there are few.
        assert_eq!(pace.gather(1_160_000, 3 + 3 * CROWD), 1_160_000);
    }
}
