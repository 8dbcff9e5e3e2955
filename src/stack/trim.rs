//! Memory back to the system, in the background.
//!
//! What is surplus shows by not being used: the least that the free slots, and the warm ones among
//! them, came down to between two looks is what nobody needed in the meantime. All of that may go,
//! beyond a small remainder.

use std::sync::atomic::Ordering;

use super::class::Class;
use super::pool::{Books, Pool};
use super::slab::Slab;

/// How much address space has its memory released in one step, some milliseconds if all of it was
/// touched, and far less if the stacks were shallow.
const STEP: usize = 64 << 20;

/// How many stacks have their deep memory released in one step. That takes a call for each.
const DEEP_STEP: usize = 128;

/// What a look at the pools says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[must_use = "it says when to trim again"]
pub(crate) enum Trim {
    /// Nothing is surplus, and nothing will be until more stacks are used.
    Settled,
    /// There is more than the remainder, which will be surplus if it stays unused until the next
    /// look: some 10 ms to 1 s later.
    Later,
    /// A bounded piece of work was done, and there may be more.
    Now,
}

/// How many stacks [`STEP`] is.
const fn step(class: Class) -> usize {
    STEP / class.size()
}

/// Free stacks that are left alone.
const fn remainder(class: Class) -> usize {
    4 * class.batch()
}

impl Pool {
    pub(super) fn trim(&self) -> Trim {
        if !self.stirred.swap(false, Ordering::Relaxed) {
            return Trim::Settled;
        }
        let outcome = if self.release_warm() || self.release_slab() || self.release_deep() {
            Trim::Now
        } else {
            self.books().look_again(remainder(self.class()))
        };
        if outcome != Trim::Settled {
            self.stirred.store(true, Ordering::Relaxed);
        }
        outcome
    }

    /// Releases the memory of some surplus warm slots; says whether there were any.
    fn release_warm(&self) -> bool {
        let taken = {
            let mut books = self.books();
            let surplus = books.low_warm.saturating_sub(remainder(self.class()));
            books.take_out_warm(surplus.min(step(self.class())))
        };
        let Some(mut limbo) = taken else { return false };
        limbo.release();
        self.released.fetch_add(limbo.len(), Ordering::Relaxed);
        self.books().put_back_cold(limbo);
        true
    }

    /// Unmaps a slab that is surplus as a whole; says whether there was one.
    fn release_slab(&self) -> bool {
        self.unmap_one(|books| books.low_free.saturating_sub(remainder(self.class())))
    }

    /// Unmaps all slabs of which nobody has, or counts on, a slot, since there is no room for others;
    /// says whether there were any.
    pub(super) fn make_room(&self) -> bool {
        let mut made = false;
        while self.unmap_one(Books::unclaimed) {
            made = true;
        }
        made
    }

    fn unmap_one(&self, surplus: impl FnOnce(&Books) -> usize) -> bool {
        // Where slots are carved now, none are surplus.
        let Some(mut quarry) = self.idle_quarry() else { return false };
        let slab = {
            let mut books = self.books();
            let surplus = surplus(&books);
            // Most of it is cold: surplus warm slots were seen to first.
            let Some(start) = books.surplus_slab(surplus).map(Slab::start) else { return false };
            quarry.take_if(|quarry| quarry.start() == start);
            books.remove_slab(start)
        };
        drop(quarry);
        // The system call comes here, under no lock.
        drop(slab);
        true
    }

    /// Releases what lies deep in some unchecked slots that rest; says whether there were any.
    fn release_deep(&self) -> bool {
        let taken = {
            let mut books = self.books();
            let resting = books.resting_unchecked();
            books.take_out_unchecked(resting.min(DEEP_STEP))
        };
        let Some(mut limbo) = taken else { return false };
        limbo.release_deep();
        self.books().put_back_warm(limbo);
        true
    }
}

impl Books {
    /// An idle slab that has no more than `surplus` slots; of several the one that is used last.
    fn surplus_slab(&self, surplus: usize) -> Option<&Slab> {
        let surplus = surplus.min(self.unclaimed());
        self.slabs.iter().rfind(|slab| slab.is_idle() && slab.carved() <= surplus)
    }

    /// How many unchecked slots have not been used since the last look. Those that come and go may be
    /// unchecked, all of them, and would be again at once.
    fn resting_unchecked(&self) -> usize {
        self.unchecked().saturating_sub(self.warm - self.low_warm)
    }

    fn unchecked(&self) -> usize {
        self.slabs.iter().map(Slab::unchecked).sum()
    }

    /// Starts to observe anew, and says whether that may show anything.
    fn look_again(&mut self, remainder: usize) -> Trim {
        self.low_free = self.free;
        self.low_warm = self.warm;
        let slots = self.warm > remainder || self.unchecked() > 0;
        let slab = self.surplus_slab(self.free.saturating_sub(remainder));
        if (slots && self.unclaimed() > 0) || slab.is_some() { Trim::Later } else { Trim::Settled }
    }
}
