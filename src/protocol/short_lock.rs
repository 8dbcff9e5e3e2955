//! A lock for critical sections of a few dozen instructions.
//!
//! std's mutex costs two read-modify-writes a turn, since its unlock has to look for sleepers.
//! Nobody sleeps at this one: unlocking is a plain store. Who finds it held looks again after
//! pauses that double, then gives its processor away, then sleeps for a moment, so a holder that
//! was preempted gets to run, whatever its priority.
//!
//! Two cores that took turns would pay for the transfer of the lock's cache line each time, ten times
//! what a critical section takes. So the lock counts its turns, and who waits looks at them after a
//! moment: if another core has had several meanwhile, it is in the middle of a streak, and is left
//! alone for as long as a hundred turns take, in which the line stays with it. Then the one that waited
//! has its streak. The lock is not fair by this, and what it guards has to be: the queues inside it
//! are in order.

#![expect(unsafe_code, reason = "a lock hands out what it guards")]

use crate::primitive::sync::atomic::{AtomicU32, Ordering};
use std::cell::UnsafeCell;
use std::ops::{Deref, DerefMut};
use std::time::Duration;

const FREE: u32 = 0;
const HELD: u32 = 1;

/// Pauses before the first look, as the power of two: a few critical sections long.
const GLANCE: u32 = 1;
/// More turns than this within a row of pauses are a streak.
const FEW: u32 = 2;
/// Pauses in which a streak is left alone, as the power of two: a microsecond or two.
const STREAK: u32 = 6;
/// Looks at the end of those pauses: the lock is held half of the time.
const LOOKS: u32 = 16;
/// The longest row of pauses is two to the power of this.
const SPINS: u32 = 7;
/// Turns given away before it sleeps.
const YIELDS: u32 = 64;
const NAP: Duration = Duration::from_micros(50);

/// See the module's description.
pub(crate) struct ShortLock<T> {
    word: AtomicU32,
    /// How often it was taken, which who holds it writes.
    turns: AtomicU32,
    data: UnsafeCell<T>,
}

// SAFETY: one thread at a time gets at the data, by reference or by value.
unsafe impl<T: Send> Send for ShortLock<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for ShortLock<T> {}

impl<T> ShortLock<T> {
    pub(crate) fn new(data: T) -> ShortLock<T> {
        ShortLock {
            word: AtomicU32::new(FREE),
            turns: AtomicU32::new(0),
            data: UnsafeCell::new(data),
        }
    }

    #[inline]
    pub(crate) fn lock(&self) -> ShortGuard<'_, T> {
        if !self.try_lock() {
            self.lock_contended();
        }
        self.turns.store(self.turns().wrapping_add(1), Ordering::Relaxed);
        ShortGuard { lock: self }
    }

    #[inline]
    fn try_lock(&self) -> bool {
        self.word.compare_exchange(FREE, HELD, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }

    #[inline]
    fn turns(&self) -> u32 {
        self.turns.load(Ordering::Relaxed)
    }

    #[cold]
    fn lock_contended(&self) {
        let mut turn = GLANCE;
        let mut seen = self.turns();
        loop {
            wait(turn);
            let turns = self.turns();
            if turn < STREAK && turns.wrapping_sub(seen) > FEW {
                turn = STREAK;
                continue;
            }
            seen = turns;
            let looks = if turn == STREAK { LOOKS } else { 1 };
            if (0..looks).any(|look| self.is_free_at(look) && self.try_lock()) {
                return;
            }
            turn += 1;
        }
    }

    fn is_free_at(&self, look: u32) -> bool {
        if look > 0 {
            wait(0);
        }
        self.word.load(Ordering::Relaxed) == FREE
    }
}

/// The pause before the next look, which is the so-many-th.
#[cfg(not(loom))]
pub(super) fn wait(turn: u32) {
    if turn <= SPINS {
        for _ in 0..1 << turn {
            std::hint::spin_loop();
        }
    } else if turn <= SPINS + YIELDS {
        std::thread::yield_now();
    } else {
        std::thread::sleep(NAP);
    }
}

#[cfg(loom)]
pub(super) fn wait(turn: u32) {
    let _turns_of_the_runtime = (turn, SPINS, YIELDS, NAP);
    crate::primitive::yield_to_others();
}

/// The lock is held. It may be released on another stack than it was taken on, but by the same
/// thread of control.
pub(crate) struct ShortGuard<'a, T> {
    lock: &'a ShortLock<T>,
}

impl<T> Deref for ShortGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: the lock is held for as long as the guard lives.
        unsafe { &*self.lock.data.get() }
    }
}

impl<T> DerefMut for ShortGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as above, and the guard is borrowed exclusively.
        unsafe { &mut *self.lock.data.get() }
    }
}

impl<T> Drop for ShortGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.lock.word.store(FREE, Ordering::Release);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn more_threads_than_cores_take_turns() {
        let lock = ShortLock::new(0_u64);
        std::thread::scope(|scope| {
            for _ in 0..16 {
                scope.spawn(|| {
                    for _ in 0..20_000 {
                        *lock.lock() += 1;
                    }
                });
            }
        });
        assert_eq!(*lock.lock(), 320_000);
    }
}

#[cfg(all(test, loom))]
mod models {
    use super::*;
    use loom::sync::Arc;

    #[test]
    fn one_at_a_time() {
        loom::model(|| {
            let lock = Arc::new(ShortLock::new(loom::cell::UnsafeCell::new(0)));
            let add = |lock: &ShortLock<loom::cell::UnsafeCell<u32>>| {
                let guard = lock.lock();
                // SAFETY: the model checks that no two accesses to the cell overlap.
                guard.with_mut(|value| unsafe { *value += 1 });
            };
            let other = {
                let lock = lock.clone();
                loom::thread::spawn(move || {
                    add(&lock);
                    add(&lock);
                })
            };
            add(&lock);
            other.join().unwrap();
            // SAFETY: as above.
            lock.lock().with(|value| assert_eq!(unsafe { *value }, 3));
        });
    }
}
