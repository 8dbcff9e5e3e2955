//! The end of a machine, and of its residents.

#![expect(unsafe_code, reason = "walks the residents")]

use super::Machine;
use super::finding::repeat;
use crate::coroutine::Coroutine;
use crate::park::Outcome;
use std::sync::{Arc, PoisonError};

/// Ends the process instead of a machine that panics: its residents could never go on, nor unwind, and
/// who comes to it by its thread's pointer would find it gone.
pub(super) struct NeverUnwinds;

impl Drop for NeverUnwinds {
    fn drop(&mut self) {
        crate::util::die("a worker of pirn's panicked");
    }
}

impl Machine {
    /// Once the runtime stops: cancels every resident. Whether it did, so that some may be ready.
    pub(super) fn look_after_stop(&self) -> bool {
        if !self.shared.is_stopping() || self.cancelled_all.replace(true) {
            return false;
        }
        // The last to come are the first, more or less.
        for place in (0..self.residents.end()).rev().filter_map(|n| self.residents.get(n)) {
            // SAFETY: residents are alive, and this is their home.
            let header = unsafe { place.as_ref() };
            // SAFETY: as above.
            let resident = unsafe { header.resident() };
            let _before = header.status.cancel();
            if !cfg!(panic = "abort") && header.park.claim_current() {
                resident.outcome.set(Outcome::Cancelled);
                // SAFETY: the claim has made the scheduler's reference this machine's. The pointer is
                // that which the table has, and not one to the header alone.
                let coroutine = unsafe { Coroutine::from_raw(place) };
                self.ready.push(coroutine);
            }
        }
        self.shared.migrants.cancel_all();
        self.shared.finish_if_empty();
        true
    }

    /// Leaves the runtime: nothing lives here any more.
    pub(super) fn retire(&self) {
        let processor = &self.processor;
        debug_assert_eq!(self.residents.count(), 0);
        {
            let mut retired = self.shared.retired.lock().unwrap_or_else(PoisonError::into_inner);
            retired.add(processor, || self.shared.now());
            self.shared.note_retired(&retired);
            self.shared.change_processors(|list| list.retain(|p| !Arc::ptr_eq(p, processor)));
        }
        self.close_surveys();
        self.hand_over_timers();
        processor.driver.close();
        // Whoever saw this processor in the list may still send something.
        let mut left_over = false;
        let taken = || {
            processor
                .take_next_start()
                .or_else(|| self.runq.pop())
                .or_else(|| processor.backlog.take_oldest())
                .or_else(|| repeat(|| processor.starts.steal()))
        };
        while let Some(coroutine) = taken() {
            self.shared.global.push(coroutine);
            left_over = true;
        }
        if left_over {
            self.shared.wake_searcher();
        }
        // Wakers that pushed a resident's wake may still be on their way out.
        while !processor.pins.is_free() {
            std::thread::yield_now();
        }
    }

    /// What is set for migrating coroutines is left to the others, and whoever sleeps may do so since before
    /// it was: one of them is to look again at how long. Who is awake looks before it sleeps.
    fn hand_over_timers(&self) {
        if self.shared.migrants.next_timer() == u64::MAX {
            return;
        }
        let processors = self.shared.processors();
        if let Some(asleep) = processors.iter().find(|other| !other.surplus && other.sleep.wake()) {
            asleep.driver.interrupt();
        }
    }
}
