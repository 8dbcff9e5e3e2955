//! How many are there, and one who waits until nobody is.
//!
//! Who leaves last looks for the one who waits after it has left, and the one who waits looks at the
//! count before it says so, both with the same lock held: one of the two sees the other. Others may
//! come meanwhile. A wake says only that nobody was there at some moment since, so whoever was woken
//! looks again.

use crate::primitive::lock;
use crate::primitive::sync::Mutex;
use crate::primitive::sync::atomic::{AtomicUsize, Ordering};

/// See the module's description.
pub(crate) struct Headcount<W> {
    present: AtomicUsize,
    /// Who is to be woken by the last one that leaves.
    waiter: Mutex<Option<W>>,
}

impl<W> Default for Headcount<W> {
    fn default() -> Self {
        Headcount { present: AtomicUsize::new(0), waiter: Mutex::new(None) }
    }
}

impl<W> Headcount<W> {
    /// Counts one in. `false`: there are too many.
    #[must_use = "who was not counted in must not leave"]
    pub(crate) fn come(&self) -> bool {
        if self.present.fetch_add(1, Ordering::Relaxed) > usize::MAX / 2 {
            self.present.fetch_sub(1, Ordering::Relaxed);
            return false;
        }
        true
    }

    /// Counts one out. If it was the last, `wake` gets the one who waits, with the lock held: until it
    /// returns, so does no [`Headcount::retract`].
    pub(crate) fn leave(&self, wake: impl FnOnce(W)) {
        if self.present.fetch_sub(1, Ordering::Release) == 1 {
            let mut waiter = lock(&self.waiter);
            if let Some(waiter) = waiter.take() {
                wake(waiter);
            }
        }
    }

    /// Whether nobody is there; whoever sees that sees what all who have left did before.
    pub(crate) fn is_empty(&self) -> bool {
        self.present.load(Ordering::Acquire) == 0
    }

    /// How many there are: a number that may be old.
    pub(crate) fn count(&self) -> usize {
        self.present.load(Ordering::Relaxed)
    }

    /// Says whom the last one is to wake, instead of whom was said before. `false`: nobody is there.
    pub(crate) fn enter(&self, this: W) -> bool {
        let mut waiter = lock(&self.waiter);
        // The lock shows the departure of the one that has looked for this one in vain.
        if self.present.load(Ordering::Relaxed) == 0 {
            return false;
        }
        *waiter = Some(this);
        true
    }

    /// Forgets who waits. If that one is just being woken, this returns after it.
    pub(crate) fn retract(&self) {
        lock(&self.waiter).take();
    }
}

#[cfg(all(test, loom))]
#[expect(unsafe_code, reason = "the models' data, which is nobody's but by the protocol")]
mod models {
    use super::*;
    use crate::protocol::crowd::{Crowd, Outcome, Ticket};
    use loom::cell::UnsafeCell;
    use loom::sync::Arc;
    use std::array;

    /// One who waits, and two who may be there.
    struct Shared {
        headcount: Headcount<Ticket>,
        crowd: Crowd,
        /// What each of the two has done before it left.
        done: [UnsafeCell<u32>; 2],
        /// The memory of the one who waits, which goes when it does.
        frame: UnsafeCell<()>,
    }

    // SAFETY: loom finds out whether the protocol orders the accesses.
    unsafe impl Sync for Shared {}

    impl Shared {
        /// With so many there.
        fn new(present: usize) -> Arc<Shared> {
            let headcount = Headcount::default();
            (0..present).for_each(|_| assert!(headcount.come()));
            let (crowd, frame) = (Crowd::new(1), UnsafeCell::new(()));
            let done = array::from_fn(|_| UnsafeCell::new(0));
            Arc::new(Shared { headcount, crowd, done, frame })
        }

        fn leave(&self, who: usize) {
            // SAFETY: nobody else is `who`, and nobody looks before it has left.
            self.done[who].with_mut(|done| unsafe { *done += 1 });
            self.headcount.leave(|ticket| {
                // SAFETY: the one who waits has not gone.
                self.frame.with(|frame| unsafe { *frame });
                let claimed = self.crowd.claim(ticket);
                claimed.into_iter().for_each(|claimed| self.crowd.resume(claimed));
            });
        }

        fn wait_once(&self, gives_up: bool) -> Outcome {
            self.crowd.park(0, gives_up, |ticket| self.headcount.enter(ticket))
        }

        fn wait(&self) {
            while !self.headcount.is_empty() {
                assert_eq!(self.wait_once(false), Outcome::Woken);
            }
        }

        fn has_left(&self, who: usize) -> bool {
            // SAFETY: `who` has left, and does not come again.
            self.done[who].with(|done| unsafe { *done }) == 1
        }
    }

    fn check(model: impl Fn() + Sync + Send + 'static) {
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(3);
        builder.check(model);
    }

    fn spawn_one_that_leaves(shared: &Arc<Shared>, who: usize) -> loom::thread::JoinHandle<()> {
        let theirs = shared.clone();
        loom::thread::spawn(move || theirs.leave(who))
    }

    /// Either may be the last, and the one who waits may come after both.
    #[test]
    fn the_last_of_two_wakes_and_shows_what_both_did() {
        check(|| {
            let shared = Shared::new(2);
            let one = spawn_one_that_leaves(&shared, 0);
            let other = spawn_one_that_leaves(&shared, 1);
            shared.wait();
            assert!(shared.has_left(0) && shared.has_left(1));
            one.join().unwrap();
            other.join().unwrap();
        });
    }

    /// The wake of the first, who found nobody left, then comes while the second is there.
    #[test]
    fn one_that_comes_after_the_last_has_left_and_before_it_looks_is_waited_for() {
        check(|| {
            let shared = Shared::new(1);
            let first = spawn_one_that_leaves(&shared, 0);
            assert!(shared.headcount.come());
            let second = spawn_one_that_leaves(&shared, 1);
            shared.wait();
            assert!(shared.has_left(0) && shared.has_left(1));
            first.join().unwrap();
            second.join().unwrap();
        });
    }

    /// The second is counted in by others than the one who waits, as a pool's are.
    #[test]
    fn one_that_comes_while_the_other_leaves_strands_nobody() {
        check(|| {
            let shared = Shared::new(1);
            let first = spawn_one_that_leaves(&shared, 0);
            let theirs = shared.clone();
            let second = loom::thread::spawn(move || {
                assert!(theirs.headcount.come());
                theirs.leave(1);
            });
            shared.wait();
            assert!(shared.has_left(0));
            first.join().unwrap();
            second.join().unwrap();
            assert!(shared.headcount.is_empty());
        });
    }

    #[test]
    fn nobody_touches_who_has_retracted() {
        check(|| {
            let shared = Shared::new(1);
            let last = spawn_one_that_leaves(&shared, 0);
            if !shared.headcount.is_empty() {
                let _woken_or_not = shared.wait_once(true);
                shared.headcount.retract();
            }
            // SAFETY: as the protocol says; loom looks whether the last one still does.
            shared.frame.with_mut(|frame| unsafe { *frame = () });
            last.join().unwrap();
        });
    }
}
