//! What a waker of a future and the one that polls it settle with each other.
//!
//! ```text
//!   who polls                              wakers
//!   poll: pending                          woken -> 1; was it 1? then somebody else sees to it
//!   lock; woken?                           lock; take the ticket, claim it; unlock
//!     yes: woken -> 0, poll again          resume whoever was claimed
//!     no:  leave a ticket, park
//!   resumed: woken -> 0, poll again
//! ```
//!
//! A waker says first that it has come, and looks for a ticket then; who polls leaves its ticket
//! and looks in one step, under the lock. So one of the two sees the other. Wakes that come before
//! the first of them was taken are one wake.
//!
//! Rejected: the ticket's number in one atomic word, as [`super::token`] has it. A wait can be that
//! of a whole thread, of which the number alone says nothing; and a waker may outlive the one it
//! wakes, so it would need a count of that one's references.

use crate::primitive::lock;
use crate::primitive::sync::Mutex;
use crate::primitive::sync::atomic::{AtomicU32, Ordering};

/// See the module's description. `W` is what it takes to end a wait.
pub(crate) struct Wakeup<W> {
    /// 1: a wake has come that was not taken.
    woken: AtomicU32,
    waiter: Mutex<Option<W>>,
}

impl<W> Wakeup<W> {
    pub(crate) fn new() -> Self {
        Wakeup { woken: AtomicU32::new(0), waiter: Mutex::new(None) }
    }

    /// Takes the wake that has come, if one has. What its waker did before is seen.
    #[inline]
    pub(crate) fn take(&self) -> bool {
        // A load first: the swap would take the cache line from a waker for nothing.
        self.woken.load(Ordering::Relaxed) != 0 && self.woken.swap(0, Ordering::AcqRel) != 0
    }

    /// Leaves what ends the wait with the wakers. `false`: one has come, and its wake is taken.
    #[must_use = "a wake that has come ends the wait"]
    pub(crate) fn enter(&self, waiter: W) -> bool {
        let mut place = lock(&self.waiter);
        if self.take() {
            return false;
        }
        *place = Some(waiter);
        true
    }

    /// Takes back what was left, after a wait that was not ended by a waker.
    pub(crate) fn leave(&self) {
        *lock(&self.waiter) = None;
    }

    /// Wakes: `claim` gets what was left, with the lock held.
    #[must_use = "whoever was claimed is to be resumed"]
    pub(crate) fn wake<C>(&self, claim: impl FnOnce(W) -> Option<C>) -> Option<C> {
        if self.woken.swap(1, Ordering::AcqRel) != 0 {
            return None;
        }
        lock(&self.waiter).take().and_then(claim)
    }
}

#[cfg(all(test, loom))]
#[expect(unsafe_code, reason = "loom cells are read and written through raw pointers")]
mod models {
    use super::*;
    use crate::protocol::crowd::{Crowd, Outcome};
    use crate::protocol::park_word::{ParkWord, Seq};
    use crate::protocol::signal::Signal;
    use loom::sync::Arc;
    use loom::sync::atomic::{AtomicBool, AtomicUsize};

    /// One who polls until as many wakers have come as there are.
    struct Task {
        crowd: Crowd,
        wakeup: Wakeup<crate::protocol::crowd::Ticket>,
        done: AtomicUsize,
    }

    impl Task {
        fn new() -> Arc<Task> {
            Arc::new(Task {
                crowd: Crowd::new(1),
                wakeup: Wakeup::new(),
                done: AtomicUsize::new(0),
            })
        }

        fn wake(&self) {
            self.done.fetch_add(1, Ordering::Relaxed);
            if let Some(claimed) = self.wakeup.wake(|ticket| self.crowd.claim(ticket)) {
                self.crowd.resume(claimed);
            }
        }

        /// As the runtime's loop; a wait that gives up is tried again.
        fn block_on(&self, wakers: usize, mut impatient: bool) {
            while self.done.load(Ordering::Relaxed) < wakers {
                let outcome = self.crowd.park(0, impatient, |ticket| self.wakeup.enter(ticket));
                match outcome {
                    Outcome::Woken => {
                        self.wakeup.take();
                    }
                    Outcome::GaveUp => self.wakeup.leave(),
                }
                impatient = false;
            }
        }
    }

    fn check(wakers: usize, impatient: bool, preemptions: usize) {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(preemptions);
        model.check(move || {
            let task = Task::new();
            let threads: Vec<_> = (0..wakers)
                .map(|_| {
                    let task = task.clone();
                    loom::thread::spawn(move || task.wake())
                })
                .collect();
            task.block_on(wakers, impatient);
            for thread in threads {
                thread.join().unwrap();
            }
        });
    }

    #[test]
    fn one_wake_is_not_lost() {
        check(1, false, 5);
    }

    #[test]
    fn two_wakes_are_not_lost() {
        check(2, false, 3);
    }

    /// The wait is ended by something else as the waker comes: the next one sees it.
    #[test]
    fn a_wait_that_gives_up_loses_no_wake() {
        check(1, true, 5);
        check(2, true, 3);
    }

    /// Somebody pokes at the wait and was not meant to, as it is shielded: whoever polls waits again,
    /// unless a wake has come that was taken when the wait was opened.
    #[test]
    fn a_poke_in_vain_loses_no_wake() {
        struct Poked {
            word: ParkWord,
            resumed: Signal,
            poked: AtomicBool,
            wakeup: Wakeup<Seq>,
        }

        impl Poked {
            /// Whether it was woken; else it was poked at.
            fn park(&self, publish: impl FnOnce(Seq) -> bool) -> bool {
                let seq = self.word.begin();
                if !publish(seq) && self.word.retract(seq) {
                    return true;
                }
                self.resumed.wait();
                !self.poked.swap(false, Ordering::Relaxed)
            }

            /// As the runtime's loop.
            fn wait(&self) {
                loop {
                    let mut taken = false;
                    let woken = self.park(|seq| {
                        taken = !self.wakeup.enter(seq);
                        !taken
                    });
                    if taken {
                        return;
                    }
                    if woken {
                        self.wakeup.take();
                        return;
                    }
                    self.wakeup.leave();
                }
            }
        }

        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(3);
        model.check(|| {
            let task = Arc::new(Poked {
                word: ParkWord::new(),
                resumed: Signal::new(),
                poked: AtomicBool::new(false),
                wakeup: Wakeup::new(),
            });
            let theirs = task.clone();
            let waker = loom::thread::spawn(move || {
                let claimed = theirs.wakeup.wake(|seq| theirs.word.claim(seq).then_some(()));
                claimed.into_iter().for_each(|()| theirs.resumed.notify());
            });
            let theirs = task.clone();
            let poker = loom::thread::spawn(move || {
                if theirs.word.claim_current() {
                    theirs.poked.store(true, Ordering::Relaxed);
                    theirs.resumed.notify();
                }
            });
            task.wait();
            waker.join().unwrap();
            poker.join().unwrap();
        });
    }

    /// What a waker did before it woke is seen by the next poll, also if its wake was one of two.
    #[test]
    fn a_wake_orders_memory() {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(4);
        model.check(|| {
            let shared = Arc::new((Task::new(), loom::cell::UnsafeCell::new(0)));
            let theirs = shared.clone();
            let waker = loom::thread::spawn(move || {
                // SAFETY: the model checks that no two accesses overlap.
                theirs.1.with_mut(|value| unsafe { *value = 7 });
                if let Some(claimed) = theirs.0.wakeup.wake(|ticket| theirs.0.crowd.claim(ticket)) {
                    theirs.0.crowd.resume(claimed);
                }
            });
            let (task, cell) = &*shared;
            let woken = task.crowd.park(0, false, |ticket| task.wakeup.enter(ticket));
            assert_eq!(woken, Outcome::Woken);
            // SAFETY: as above.
            cell.with(|value| assert_eq!(unsafe { *value }, 7));
            waker.join().unwrap();
        });
    }
}
