//! A moment awake, for those whose peers live with another machine.
//!
//! When two coroutines that talk to each other have different homes, each message wakes a machine,
//! and each reply wakes the other: two system calls and two switches of the kernel's for what takes
//! a few hundred nanoseconds. So a machine that has run out of work, and whose latest work came from
//! elsewhere, looks at its inbox for some microseconds before it sleeps. The reply that comes meanwhile
//! costs no system call on either side.
//!
//! It is a wager, and the loser stops betting: after each loss twice as many occasions are let pass, up
//! to [`MOST_LOSSES`] doublings, and the first gain makes it play again each time. Work that could
//! be stolen is not waited for here; that is what searching is for.

use super::Machine;
use std::cell::Cell;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// About what a sleep and a wake across cores cost at the least.
const LONGEST: Duration = Duration::from_micros(5);
/// Looks between two looks at the clock.
const LOOKS: u32 = 16;
/// At most one occasion in two to the power of this is used while none brings anything.
const MOST_LOSSES: u32 = 6;

/// What a machine knows of its luck.
pub(super) struct Linger {
    /// Something came from elsewhere since it last had nothing to do.
    arrived: Cell<bool>,
    losses: Cell<u32>,
    /// Occasions to let pass.
    pass: Cell<u32>,
}

impl Linger {
    pub(super) fn new() -> Linger {
        Linger { arrived: Cell::new(false), losses: Cell::new(0), pass: Cell::new(0) }
    }

    #[inline]
    pub(super) fn note_arrival(&self) {
        self.arrived.set(true);
    }

    /// Whether it is worth another try.
    fn is_due(&self) -> bool {
        let pass = self.pass.get();
        if !self.arrived.replace(false) || !has_company() {
            return false;
        }
        self.pass.set(pass.saturating_sub(1));
        pass == 0
    }

    fn settle(&self, gained: bool) {
        let losses = if gained { 0 } else { (self.losses.get() + 1).min(MOST_LOSSES) };
        self.losses.set(losses);
        self.pass.set((1 << losses) - 1);
    }
}

/// Whether somebody else can run while this thread does.
fn has_company() -> bool {
    static COMPANY: OnceLock<bool> = OnceLock::new();
    *COMPANY.get_or_init(|| std::thread::available_parallelism().is_ok_and(|cores| cores.get() > 1))
}

impl Machine {
    /// Waits awake for a moment, if that has been worth it. Whether something came.
    pub(super) fn linger(&self) -> bool {
        if self.shared.config.workers == 1 || !self.linger.is_due() {
            return false;
        }
        let end = Instant::now() + LONGEST;
        let gained = loop {
            if (0..LOOKS).any(|_| {
                std::hint::spin_loop();
                !self.processor.inbox.is_empty()
            }) {
                break true;
            }
            if Instant::now() >= end {
                break false;
            }
        };
        self.linger.settle(gained);
        gained
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of so many occasions are used.
    fn used(linger: &Linger, occasions: u32, gain: bool) -> u32 {
        let use_one = |_| {
            linger.note_arrival();
            let due = linger.is_due();
            if due {
                linger.settle(gain);
            }
            u32::from(due)
        };
        (0..occasions).map(use_one).sum()
    }

    #[test]
    fn one_that_loses_plays_ever_less_and_one_gain_brings_it_back() {
        if !has_company() {
            return;
        }
        let linger = Linger::new();
        assert!(!linger.is_due(), "nothing has come");
        assert_eq!(used(&linger, 100, true), 100);
        // After 0, 1, 3, 7, 15 and 31 that go by, each 64th.
        assert_eq!(used(&linger, 6 + 1 + 3 + 7 + 15 + 31, false), 6);
        assert_eq!(used(&linger, 64 * 10, false), 10);
        assert_eq!(used(&linger, 64, true), 1);
        assert_eq!(used(&linger, 10, true), 10);
    }
}
