//! One wait, decided exactly once.
//!
//! Whoever parks may be woken by several parties that do not know of each other: the waker that
//! took it off a wait queue, a timer, a cancellation. The word makes sure that one of them wins,
//! and that a late one cannot end a *later* wait of the same coroutine by mistake.
//!
//! ```text
//!                begin (owner)                claim (anyone, with the wait's Seq)
//!   Running(n) ----------------> Waiting(n+1) ------------------------------> Claimed(n+1)
//!                                     |  retract (owner): nobody was told           |
//!                                     v                                             v
//!                                Running(n+1)  <-------------- the next begin treats both alike
//! ```
//!
//! | state | who owns what |
//! |---|---|
//! | `Running` | the owner runs; no wait is open |
//! | `Waiting` | the owner has left its stack (a coroutine) or is about to block (a thread); whoever claims it must make it run again |
//! | `Claimed` | the claimant owns the duty to resume the owner, and until it has done so everything the owner lent out for the wait (its wait-queue node, its stack) stays alive |
//!
//! A sequence number of 62 bits does not wrap within the life of a machine.

use crate::primitive::sync::atomic::{AtomicU64, Ordering};

const STATE: u64 = 0b11;
const RUNNING: u64 = 0;
const WAITING: u64 = 1;
const CLAIMED: u64 = 2;
const ONE_SEQ: u64 = 4;

/// Names one wait of one [`ParkWord`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seq(u64);

impl Seq {
    /// The number as a word; never 0, and its two lowest bits are free.
    pub(crate) fn to_bits(self) -> u64 {
        self.0
    }

    pub(crate) fn from_bits(bits: u64) -> Seq {
        Seq(bits)
    }
}

/// The state of whoever can park.
#[derive(Debug)]
pub(crate) struct ParkWord(AtomicU64);

impl ParkWord {
    pub(crate) fn new() -> Self {
        ParkWord(AtomicU64::new(RUNNING))
    }

    /// Opens a wait. Only the owner calls this, with no wait open.
    #[inline]
    pub(crate) fn begin(&self) -> Seq {
        let seq = (self.0.load(Ordering::Relaxed) & !STATE).wrapping_add(ONE_SEQ);
        // Release: a claimant sees all that the owner wrote before it parked.
        self.0.store(seq | WAITING, Ordering::Release);
        Seq(seq)
    }

    /// Ends the wait `seq` on behalf of a waker. On `true` the caller, and nobody else, must
    /// resume the owner.
    #[inline]
    #[must_use = "whoever claims a wait must resume its owner"]
    pub(crate) fn claim(&self, seq: Seq) -> bool {
        self.0
            .compare_exchange(seq.0 | WAITING, seq.0 | CLAIMED, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
    }

    /// The wait that was opened last.
    #[cfg(debug_assertions)]
    #[cfg_attr(loom, expect(dead_code, reason = "models hold no guards"))]
    pub(crate) fn latest(&self) -> Seq {
        Seq(self.0.load(Ordering::Relaxed) & !STATE)
    }

    /// Ends whatever wait is open, if one is.
    #[must_use = "whoever claims a wait must resume its owner"]
    pub(crate) fn claim_current(&self) -> bool {
        let word = self.0.load(Ordering::Acquire);
        word & STATE == WAITING && self.claim(Seq(word & !STATE))
    }

    /// Takes a wait back that turned out to be needless. `false`: somebody has claimed it
    /// meanwhile and is going to resume the owner.
    #[must_use = "a claimed wait is resumed by its claimant"]
    pub(crate) fn retract(&self, seq: Seq) -> bool {
        self.0
            .compare_exchange(seq.0 | WAITING, seq.0 | RUNNING, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }

    /// The wait that is open and that nobody has claimed.
    #[cfg_attr(loom, expect(dead_code, reason = "models look at `is_waiting`"))]
    pub(crate) fn open_wait(&self) -> Option<Seq> {
        let word = self.0.load(Ordering::Acquire);
        (word & STATE == WAITING).then_some(Seq(word & !STATE))
    }

    /// Whether a wait is open that nobody has claimed.
    pub(crate) fn is_waiting(&self) -> bool {
        self.0.load(Ordering::Acquire) & STATE == WAITING
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_stale_claim_does_not_touch_the_next_wait() {
        let word = ParkWord::new();
        let first = word.begin();
        assert!(word.claim(first));
        let second = word.begin();
        assert!(!word.claim(first));
        assert!(word.is_waiting());
        assert!(word.retract(second));
        assert!(!word.claim(second));
    }
}

#[cfg(all(test, loom))]
#[expect(unsafe_code, reason = "loom cells are read and written through raw pointers")]
mod models {
    use super::*;
    use loom::sync::Arc;
    use loom::sync::atomic::AtomicUsize;

    /// A waker, a timer and the owner's own retraction: exactly one of them ends the wait.
    #[test]
    fn one_winner() {
        loom::model(|| {
            let word = Arc::new(ParkWord::new());
            let wins = Arc::new(AtomicUsize::new(0));
            let seq = word.begin();
            let wakers: Vec<_> = (0..2)
                .map(|_| {
                    let (word, wins) = (word.clone(), wins.clone());
                    loom::thread::spawn(move || {
                        if word.claim(seq) {
                            wins.fetch_add(1, Ordering::Relaxed);
                        }
                    })
                })
                .collect();
            if word.retract(seq) {
                wins.fetch_add(1, Ordering::Relaxed);
            }
            for waker in wakers {
                waker.join().unwrap();
            }
            assert_eq!(wins.load(Ordering::Relaxed), 1);
        });
    }

    /// What the owner wrote before it parked is seen by the claimant. Nothing but the word orders
    /// the two.
    fn orders_memory(claim: impl Fn(&ParkWord) -> bool + Copy + Send + Sync + 'static) {
        loom::model(move || {
            let word = Arc::new(ParkWord::new());
            let cell = Arc::new(loom::cell::UnsafeCell::new(0));
            let waker = {
                let (word, cell) = (word.clone(), cell.clone());
                loom::thread::spawn(move || {
                    while !claim(&word) {
                        loom::thread::yield_now();
                    }
                    // SAFETY: the model checks that no two accesses to the cell overlap; the owner
                    // does not touch it while it waits.
                    cell.with(|value| assert_eq!(unsafe { *value }, 1));
                })
            };
            // SAFETY: as above.
            cell.with_mut(|value| unsafe { *value = 1 });
            let _wait = word.begin();
            waker.join().unwrap();
            assert!(!word.is_waiting());
        });
    }

    #[test]
    fn a_claim_sees_the_owner() {
        // The first wait has the first number: whoever guesses it needs no other order.
        orders_memory(|word| word.claim(Seq::from_bits(ONE_SEQ)));
    }

    #[test]
    fn a_claim_of_any_wait_sees_the_owner() {
        orders_memory(ParkWord::claim_current);
    }

    /// What was done to the waiter before the claim is over when the owner sees its wait claimed.
    #[test]
    fn the_owner_sees_its_claimant() {
        loom::model(|| {
            let word = Arc::new(ParkWord::new());
            let cell = Arc::new(loom::cell::UnsafeCell::new(1));
            let seq = word.begin();
            let waker = {
                let (word, cell) = (word.clone(), cell.clone());
                loom::thread::spawn(move || {
                    // SAFETY: as above.
                    cell.with(|value| assert_eq!(unsafe { *value }, 1));
                    assert!(word.claim(seq));
                })
            };
            while word.is_waiting() {
                loom::thread::yield_now();
            }
            // SAFETY: as above; the wait has ended.
            cell.with_mut(|value| unsafe { *value = 2 });
            waker.join().unwrap();
        });
    }

    /// A late claim of one wait meets the next wait: it must not end it.
    #[test]
    fn a_stale_claim_races_the_next_wait() {
        loom::model(|| {
            let word = Arc::new(ParkWord::new());
            let first = word.begin();
            let late = {
                let word = word.clone();
                loom::thread::spawn(move || word.claim(first))
            };
            // A timer ends the first wait, unless the waker has.
            let by_timer = word.claim(first);
            let second = word.begin();
            assert!(late.join().unwrap() != by_timer);
            assert!(word.retract(second), "nobody was told of the second wait");
        });
    }
}
