//! Who looks for work, who sleeps, and whom a submitter must wake.
//!
//! For work that *any* machine may take (coroutines that have not started, migrating ones). The
//! rule is that of Go's scheduler (`proc.go`, "Worker thread parking/unparking"): at most one wake
//! at a time, and while a machine is searching, a submitter need not wake another, because a
//! searcher looks at everything once more *after* it has ceased to count as one.
//!
//! ```text
//!   submitter                           searcher that finds nothing
//!   push the work                       searching -= 1
//!   fence                               fence
//!   searching == 0 and sleepers > 0?    look at every queue again
//!     0 -> 1 searching: wake a sleeper    found: search again, else sleep
//! ```
//!
//! A searcher that finds work stops counting, and if it was the last one it wakes the next: a
//! burst of submissions wakes machines one after the other, each paid for by the one before.
//!
//! A submitter counts as a searcher while it picks the sleeper to wake, so that no other submitter
//! picks one too. It searches nothing, though, and a machine must not go to sleep unsearched on
//! its account. So a machine that has not searched itself looks at the queues if nobody searches
//! once it counts as a sleeper; and a submitter that has found nobody asks again after it has
//! ceased to count, when it sees whoever has begun to sleep meanwhile.
//!
//! Both counts live in one word: `searching` in the upper half, `sleepers` in the lower.

use crate::primitive::sync::atomic::{AtomicUsize, Ordering, fence};

/// How often a submitter tries to pick a sleeper. Only one that may not be picked stays.
const PICKS: usize = 3;
const SLEEPER: usize = 1;
const SEARCHER: usize = 1 << 16;
const SLEEPERS: usize = SEARCHER - 1;

/// See the module's description.
#[derive(Debug)]
pub(crate) struct Idle(AtomicUsize);

impl Idle {
    pub(crate) fn new() -> Self {
        Idle(AtomicUsize::new(0))
    }

    /// After a submission: has `pick` wake a sleeper, unless somebody is searching already. The one
    /// that it picks counts as searching. `false` from `pick`: nobody is there to be picked.
    pub(crate) fn wake_one(&self, mut pick: impl FnMut() -> bool) {
        for _ in 0..PICKS {
            if !self.claim_wake() || pick() {
                return;
            }
            self.stop_searching();
        }
    }

    /// Whether the caller must wake a sleeper. On `true` the sleeper to be woken counts as searching
    /// already.
    fn claim_wake(&self) -> bool {
        fence(Ordering::SeqCst);
        let word = self.0.load(Ordering::Relaxed);
        (SLEEPER..SEARCHER).contains(&word)
            && self
                .0
                .compare_exchange(word, word + SEARCHER, Ordering::AcqRel, Ordering::Relaxed)
                .is_ok()
    }

    /// A machine begins to search on its own account. `false`: enough others do (half of those
    /// that are awake, as in Go, so that searching never costs more than the work).
    #[must_use]
    pub(crate) fn try_search(&self, machines: usize) -> bool {
        let mut word = self.0.load(Ordering::Relaxed);
        loop {
            let awake = machines.saturating_sub(word & SLEEPERS);
            if 2 * (word / SEARCHER) >= awake {
                return false;
            }
            match self.0.compare_exchange_weak(
                word,
                word + SEARCHER,
                Ordering::AcqRel,
                Ordering::Relaxed,
            ) {
                Ok(_) => return true,
                Err(now) => word = now,
            }
        }
    }

    /// A searcher stops. `true`: it was the last one.
    pub(crate) fn stop_searching(&self) -> bool {
        let before = self.0.fetch_sub(SEARCHER, Ordering::AcqRel);
        debug_assert!(before >= SEARCHER);
        fence(Ordering::SeqCst);
        before / SEARCHER == 1
    }

    /// A machine is about to sleep. Look at every queue again after this.
    pub(crate) fn begin_sleep(&self) {
        self.0.fetch_add(SLEEPER, Ordering::AcqRel);
        fence(Ordering::SeqCst);
    }

    /// A machine is awake again.
    pub(crate) fn end_sleep(&self) {
        self.0.fetch_sub(SLEEPER, Ordering::AcqRel);
    }

    #[inline]
    pub(crate) fn sleepers(&self) -> usize {
        self.0.load(Ordering::Relaxed) & SLEEPERS
    }

    #[inline]
    pub(crate) fn searching(&self) -> usize {
        self.0.load(Ordering::Relaxed) / SEARCHER
    }
}

#[cfg(all(test, loom))]
mod models {
    use super::*;
    use crate::protocol::signal::Signal;
    use crate::protocol::sleep::{Picked, Sleep, Wakeup};
    use loom::sync::{Arc, Mutex};

    struct Shared {
        idle: Idle,
        sleep: Sleep,
        queue: Mutex<usize>,
        signal: Signal,
    }

    impl Shared {
        fn submit(&self) {
            *self.queue.lock().unwrap() += 1;
            self.idle.wake_one(|| match self.sleep.wake_to_search() {
                Picked::Asleep => {
                    self.signal.notify();
                    true
                }
                Picked::Woken => true,
                Picked::No => false,
            });
        }

        /// One machine, which looks at the queue as the scheduler's do: when it searches, which it
        /// may not if others do, and before it sleeps if it has searched or nobody does.
        fn run(&self) {
            let mut searching = false;
            loop {
                searching = searching || self.idle.try_search(2);
                if searching && self.take() {
                    self.idle.stop_searching();
                    return;
                }
                self.sleep.prepare();
                self.idle.begin_sleep();
                let searched = std::mem::replace(&mut searching, false);
                if searched {
                    self.idle.stop_searching();
                }
                let looks = searched || self.idle.searching() == 0;
                if !looks || *self.queue.lock().unwrap() == 0 {
                    self.signal.wait();
                }
                self.idle.end_sleep();
                searching = self.sleep.end() == Wakeup::Searcher;
            }
        }

        fn take(&self) -> bool {
            let mut queue = self.queue.lock().unwrap();
            let some = *queue > 0;
            *queue -= some as usize;
            some
        }

        /// One machine's way to sleep, up to the point where it has found work.
        fn find_work(&self) {
            let mut searching = self.idle.try_search(2);
            loop {
                if self.take() {
                    if searching {
                        self.idle.stop_searching();
                    }
                    return;
                }
                self.sleep.prepare();
                self.idle.begin_sleep();
                if searching {
                    self.idle.stop_searching();
                    searching = false;
                }
                if *self.queue.lock().unwrap() == 0 {
                    self.signal.wait();
                }
                self.idle.end_sleep();
                if self.sleep.end() == Wakeup::Searcher {
                    searching = true;
                }
            }
        }
    }

    /// A submission meets a machine that gives up its search: the machine sees the work, or the
    /// submitter sees the sleeper.
    #[test]
    fn work_is_found() {
        loom::model(|| {
            let shared = Arc::new(Shared {
                idle: Idle::new(),
                sleep: Sleep::new(),
                queue: Mutex::new(0),
                signal: Signal::new(),
            });
            let submitter = {
                let shared = shared.clone();
                loom::thread::spawn(move || shared.submit())
            };
            shared.find_work();
            submitter.join().unwrap();
            assert_eq!(shared.idle.searching(), 0);
            assert_eq!(shared.idle.sleepers(), 0);
        });
    }

    /// Two submissions and one machine that is awake at first: both are found.
    #[test]
    fn a_burst_is_found() {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(2);
        model.check(|| {
            let shared = Arc::new(Shared {
                idle: Idle::new(),
                sleep: Sleep::new(),
                queue: Mutex::new(0),
                signal: Signal::new(),
            });
            let submitter = {
                let shared = shared.clone();
                loom::thread::spawn(move || {
                    shared.submit();
                    shared.submit();
                })
            };
            shared.find_work();
            shared.find_work();
            submitter.join().unwrap();
        });
    }

    /// As `work_is_found`, while somebody wakes the machine for another reason.
    #[test]
    fn work_is_found_by_one_that_was_woken_for_another_reason() {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(3);
        model.check(|| {
            let shared = Arc::new(Shared {
                idle: Idle::new(),
                sleep: Sleep::new(),
                queue: Mutex::new(0),
                signal: Signal::new(),
            });
            let submitter = {
                let shared = shared.clone();
                loom::thread::spawn(move || shared.submit())
            };
            let waker = {
                let shared = shared.clone();
                loom::thread::spawn(move || {
                    if shared.sleep.wake() {
                        shared.signal.notify();
                    }
                })
            };
            shared.run();
            submitter.join().unwrap();
            waker.join().unwrap();
            assert_eq!(shared.idle.searching(), 0);
            assert_eq!(shared.idle.sleepers(), 0);
        });
    }
}
