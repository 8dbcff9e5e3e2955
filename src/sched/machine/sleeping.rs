//! A machine's sleep: the poller, and the timers that end it.

#![expect(unsafe_code, reason = "reaches residents whose timers fire")]

use super::Machine;
use crate::coroutine::{Coroutine, Header};
use crate::park::Outcome;
use crate::protocol::sleep::Wakeup;
use crate::sched::processor::{Activity, Processor, bump};
use crate::sched::shared::clock;
use crate::timers::Timers;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// The longest row of futile searches that adds to a spawner's patience.
const MAX_FUTILE: usize = 10;

impl Machine {
    pub(super) fn sleep(&self) {
        let processor = &*self.processor;
        processor.sleep.prepare();
        self.shared.idle.begin_sleep();
        let searched = self.searching.get();
        self.stop_searching();
        if !self.has_work(searched) {
            if searched {
                let futile = self.shared.futile.load(Ordering::Relaxed);
                // Only if it changes: all machines would write the line, each time that they sleep.
                if futile < MAX_FUTILE {
                    self.shared.futile.store(futile + 1, Ordering::Relaxed);
                }
            }
            let next = self.timers.borrow().next().unwrap_or(u64::MAX);
            let next = next.min(self.shared.migrants.next_timer());
            let now = self.shared.now();
            let timeout =
                (next != u64::MAX).then(|| Duration::from_nanos(next.saturating_sub(now)));
            processor.set_activity(Activity::Idle);
            bump(&processor.counters.sleeps);
            processor.counters.slept.begin(now);
            self.poll(timeout);
            let now = self.shared.now();
            processor.counters.slept.end(now);
            processor.watch.set_clock(clock(now));
            processor.set_activity(Activity::Running);
            if processor.watch.settle.swap(false, Ordering::Relaxed) {
                self.settle();
            }
        }
        self.shared.idle.end_sleep();
        if processor.sleep.end() == Wakeup::Searcher {
            self.searching.set(true);
        }
        self.shared.sysmon.notice_work();
    }

    /// Gives back what was kept at hand, since nothing is going on.
    #[cold]
    fn settle(&self) {
        self.cache.borrow_mut().settle();
        self.processor.backlog.settle();
        self.frames.settle();
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
            && (!victim.stealer.is_empty()
                || !victim.backlog.is_empty()
                || victim.is_stuck() && !victim.starts.is_empty())
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
    pub(super) fn set_timer(&self, header: NonNull<Header>, deadline: u64) {
        // SAFETY: the caller runs on the machine, whose resident has just been suspended.
        let resident = unsafe { header.as_ref().resident() };
        resident.deadline.set(deadline);
        let mut timers = self.timers.borrow_mut();
        if let Some(key) = resident.timer.get() {
            if resident.timer_at.get() <= deadline {
                return;
            }
            timers.cancel(key);
        }
        resident.set_timer(timers.insert(deadline, header), deadline);
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
        while let Some((_, header)) = timers.pop_due(now) {
            // SAFETY: a resident's timer goes before the resident does.
            let shared_part = unsafe { header.as_ref() };
            // SAFETY: this is its home.
            let resident = unsafe { shared_part.resident() };
            resident.timer.set(None);
            let deadline = resident.deadline.get();
            if deadline > now {
                if deadline != u64::MAX {
                    resident.set_timer(timers.insert(deadline, header), deadline);
                    bump(&self.processor.counters.timers_set);
                }
            } else if shared_part.park.claim_current() {
                // SAFETY: the claim has made the scheduler's reference this machine's.
                let coroutine = unsafe { Coroutine::from_raw(header) };
                self.record(|pen| pen.timer(shared_part));
                resident.outcome.set(Outcome::TimedOut);
                self.ready.push(coroutine);
                bump(&self.processor.counters.timers_fired);
                fired = true;
            }
        }
        self.processor.counters.timers.store(timers.len(), Ordering::Relaxed);
        fired
    }
}
