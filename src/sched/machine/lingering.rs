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
//!
//! Two machines that both sleep between messages stay that way: each waits too short a time for the other,
//! who has to be woken before it can reply. So what is played rarely is played for longer
//! ([`LONGEST`], which covers a wake). If a reply comes then, the other one is awake as well, and the
//! next occasion is used, a short one: if that gains, they have found together.

use super::Machine;
use std::cell::Cell;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// About what a sleep and a wake across cores cost: no more is staked as a rule.
const SHORT: Duration = Duration::from_micros(15);
/// What is staked on rare occasions, about what a wake across cores takes.
const LONGEST: Duration = Duration::from_micros(50);
/// So many losses in a row make occasions rare.
const SEVERAL_LOSSES: u32 = 3;
/// Looks between two looks at the clock.
const LOOKS: u32 = 16;
/// At most one occasion in two to the power of this is used while none brings anything.
const MOST_LOSSES: u32 = 6;

/// What a machine knows of its luck.
pub(super) struct Linger {
    /// Something came from elsewhere since it last had nothing to do.
    arrived: Cell<bool>,
    /// In a row, but for what came late.
    losses: Cell<u32>,
    /// Occasions to let pass.
    pass: Cell<u32>,
    /// Something came late, so the next one may be quick.
    hopes: Cell<bool>,
}

/// How an occasion that was used has ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Luck {
    Gain,
    /// After more than [`SHORT`].
    LateGain,
    Loss,
}

impl Linger {
    pub(super) fn new() -> Linger {
        Linger {
            arrived: Cell::new(false),
            losses: Cell::new(0),
            pass: Cell::new(0),
            hopes: Cell::new(false),
        }
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

    /// For how long to try.
    fn stake(&self) -> Duration {
        match self.losses.get() >= SEVERAL_LOSSES && !self.hopes.get() {
            true => LONGEST,
            false => SHORT,
        }
    }

    fn settle(&self, luck: Luck) {
        self.hopes.set(luck == Luck::LateGain);
        let losses = match luck {
            Luck::Gain => 0,
            Luck::LateGain => self.losses.get(),
            Luck::Loss => (self.losses.get() + 1).min(MOST_LOSSES),
        };
        self.losses.set(losses);
        self.pass.set(match luck {
            Luck::LateGain => 0,
            Luck::Gain | Luck::Loss => (1 << losses) - 1,
        });
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
        let begin = Instant::now();
        let stake = self.linger.stake();
        let luck = loop {
            let came = (0..LOOKS).any(|_| {
                std::hint::spin_loop();
                !self.processor.inbox.is_empty()
            });
            let took = begin.elapsed();
            match came {
                true if took <= SHORT => break Luck::Gain,
                true => break Luck::LateGain,
                false if took >= stake => break Luck::Loss,
                false => {}
            }
        };
        self.linger.settle(luck);
        luck != Luck::Loss
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of so many occasions are used.
    fn used(linger: &Linger, occasions: u32, luck: Luck) -> u32 {
        let use_one = |_| {
            linger.note_arrival();
            let due = linger.is_due();
            if due {
                linger.settle(luck);
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
        assert_eq!(used(&linger, 100, Luck::Gain), 100);
        // After 0, 1, 3, 7, 15 and 31 that go by, each 64th.
        assert_eq!(used(&linger, 6 + 1 + 3 + 7 + 15 + 31, Luck::Loss), 6);
        assert_eq!(used(&linger, 64 * 10, Luck::Loss), 10);
        assert_eq!(used(&linger, 64, Luck::Gain), 1);
        assert_eq!(used(&linger, 10, Luck::Gain), 10);
    }

    #[test]
    fn what_comes_late_is_tried_again_at_once() {
        if !has_company() {
            return;
        }
        let linger = Linger::new();
        assert_eq!(linger.stake(), SHORT);
        // Rarely, and then for longer.
        assert_eq!(used(&linger, 6 + 1 + 3 + 7 + 15 + 31, Luck::Loss), 6);
        assert_eq!(linger.stake(), LONGEST);
        assert_eq!(used(&linger, 64, Luck::LateGain), 1);
        // In vain: as rarely as before.
        assert_eq!(linger.stake(), SHORT);
        assert_eq!(used(&linger, 1, Luck::Loss), 1);
        assert_eq!(used(&linger, 63, Luck::Loss), 0);
        // Not in vain.
        assert_eq!(used(&linger, 1, Luck::LateGain), 1);
        assert_eq!(used(&linger, 1, Luck::Gain), 1);
        assert_eq!(used(&linger, 10, Luck::Gain), 10);
    }
}
