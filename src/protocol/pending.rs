//! Signals that have come and were not taken, and when to ring for them.
//!
//! A signal handler may do little more than set a bit and write to a descriptor. Takers wait until
//! the descriptor, the **bell**, is readable; a bell that is quietened forgets how often it rang.
//!
//! ```text
//!   handler                           taker
//!   set the bit                       quieten the bell
//!   was it clear? ring                take one bit: there it is
//!                                       any other left? ring, for the next taker
//!                                     take one bit: none
//!                                       wait for the bell
//! ```
//!
//! A handler that finds the bit set needs not ring: whoever takes it does so after that. It may be
//! set by one that is about to ring, or its bell was heard by one that is about to take. So a storm
//! of signals costs an instruction each, and leaves little in the bell. A taker quietens the bell
//! for all, and takes one; that is why it rings for what it leaves.

use crate::primitive::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// One bit for each signal.
#[derive(Debug)]
pub(crate) struct Pending {
    bits: AtomicU64,
    /// Which was taken last: the next one to look at comes after it.
    last: AtomicU32,
}

/// What a taker got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Taken {
    pub(crate) bit: u32,
    /// There are others: the taker is to ring.
    pub(crate) ring: bool,
}

impl Pending {
    pub(crate) fn new() -> Pending {
        Pending { bits: AtomicU64::new(0), last: AtomicU32::new(0) }
    }

    /// Whether the caller has to ring. Safe in a signal handler.
    #[must_use]
    pub(crate) fn raise(&self, bit: u32) -> bool {
        let mask = 1 << bit;
        self.bits.fetch_or(mask, Ordering::AcqRel) & mask == 0
    }

    /// Takes one, after the bell was quietened. They take turns, whatever comes how often.
    #[must_use]
    pub(crate) fn take(&self) -> Option<Taken> {
        loop {
            let bits = self.bits.load(Ordering::Acquire);
            if bits == 0 {
                return None;
            }
            let first = (self.last.load(Ordering::Relaxed) + 1) % u64::BITS;
            let bit = (bits.rotate_right(first).trailing_zeros() + first) % u64::BITS;
            let mask = 1 << bit;
            let before = self.bits.fetch_and(!mask, Ordering::AcqRel);
            if before & mask != 0 {
                self.last.store(bit, Ordering::Relaxed);
                return Some(Taken { bit, ring: before != mask });
            }
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn they_take_turns() {
        let pending = Pending::new();
        for bit in [1, 5, 63] {
            assert!(pending.raise(bit));
            assert!(!pending.raise(bit));
        }
        let mut taken = Vec::new();
        for _ in 0..6 {
            let next = pending.take().unwrap();
            assert!(next.ring);
            taken.push(next.bit);
            assert!(pending.raise(next.bit));
        }
        assert_eq!(taken, [1, 5, 63, 1, 5, 63]);
        for left in [true, true, false] {
            assert_eq!(pending.take().map(|taken| taken.ring), Some(left));
        }
        assert_eq!(pending.take(), None);
    }
}

#[cfg(all(test, loom))]
mod models {
    use super::*;
    use crate::primitive::sync::atomic::AtomicUsize;
    use loom::sync::{Arc, Condvar, Mutex};
    use loom::thread;

    /// A descriptor that is readable while it rings.
    struct Bell {
        rings: Mutex<bool>,
        rung: Condvar,
    }

    struct Listener {
        pending: Pending,
        bell: Bell,
    }

    impl Listener {
        fn new() -> Arc<Listener> {
            let bell = Bell { rings: Mutex::new(false), rung: Condvar::new() };
            Arc::new(Listener { pending: Pending::new(), bell })
        }

        fn ring(&self) {
            *self.bell.rings.lock().unwrap() = true;
            self.bell.rung.notify_all();
        }

        fn raise(&self, bit: u32) {
            if self.pending.raise(bit) {
                self.ring();
            }
        }

        fn receive(&self) -> u32 {
            loop {
                *self.bell.rings.lock().unwrap() = false;
                if let Some(taken) = self.pending.take() {
                    if taken.ring {
                        self.ring();
                    }
                    return taken.bit;
                }
                let mut rings = self.bell.rings.lock().unwrap();
                while !*rings {
                    rings = self.bell.rung.wait(rings).unwrap();
                }
            }
        }
    }

    fn model(f: impl Fn() + Send + Sync + 'static) {
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(3);
        builder.check(f);
    }

    /// A taker that is left waiting for a signal that has come is a deadlock.
    #[test]
    fn two_signals_reach_two_takers() {
        model(|| {
            let listener = Listener::new();
            let taker = {
                let listener = listener.clone();
                thread::spawn(move || listener.receive())
            };
            let handler = {
                let listener = listener.clone();
                thread::spawn(move || listener.raise(1))
            };
            listener.raise(2);
            let here = listener.receive();
            let there = taker.join().unwrap();
            assert_eq!(here + there, 3);
            handler.join().unwrap();
        });
    }

    /// What is raised while another is being taken is taken too, and whoever takes it sees what was
    /// done before it was raised: a taker that missed the second would wait for ever.
    #[test]
    fn the_last_of_several_is_not_missed() {
        model(|| {
            let listener = Listener::new();
            let news = Arc::new(AtomicUsize::new(0));
            let handler = {
                let (listener, news) = (listener.clone(), news.clone());
                thread::spawn(move || {
                    for number in 1..=2 {
                        news.store(number, Ordering::Relaxed);
                        listener.raise(4);
                    }
                })
            };
            loop {
                assert_eq!(listener.receive(), 4);
                if news.load(Ordering::Relaxed) == 2 {
                    break;
                }
            }
            handler.join().unwrap();
        });
    }
}
