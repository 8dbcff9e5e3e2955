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
//! For the same reason a machine need not count as a searcher to see that there is nothing: it looks
//! first, by loads alone, and says that it searches if it has seen something. Machines that work by
//! their own events, and sleep in between, so do not write the word that all share but for their sleep.
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
        let mut word = self.0.load(Ordering::Relaxed);
        // Again if it changed: a sleeper that has left says nothing about the others.
        while (SLEEPER..SEARCHER).contains(&word) {
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
        false
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

    /// A machine is about to sleep, and ceases to search if it did. Look at every queue again after
    /// this, and at all else that others may have done before they have seen the sleep announced
    /// ([`Sleep::prepare`](crate::protocol::sleep::Sleep::prepare)): the fence is for both.
    pub(crate) fn begin_sleep(&self, searching: bool) {
        // The sum wraps around to the difference.
        let change = if searching { SLEEPER.wrapping_sub(SEARCHER) } else { SLEEPER };
        let before = self.0.fetch_add(change, Ordering::AcqRel);
        debug_assert!(!searching || before >= SEARCHER);
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
    use loom::sync::Arc;

    /// Machines, and a queue that orders no memory, so that the fences have to.
    struct Shared {
        idle: Idle,
        queue: AtomicUsize,
        machines: Vec<(Sleep, Signal)>,
    }

    impl Shared {
        fn new(machines: usize) -> Arc<Shared> {
            Arc::new(Shared {
                idle: Idle::new(),
                queue: AtomicUsize::new(0),
                machines: (0..machines).map(|_| (Sleep::new(), Signal::new())).collect(),
            })
        }

        fn submit(&self) {
            self.queue.fetch_add(1, Ordering::Relaxed);
            self.wake();
        }

        fn wake(&self) {
            self.idle.wake_one(|| {
                self.machines.iter().any(|(sleep, signal)| match sleep.wake_to_search() {
                    Picked::Asleep => {
                        signal.notify();
                        true
                    }
                    Picked::Woken => true,
                    Picked::No => false,
                })
            });
        }

        fn take(&self) -> bool {
            let mut some = self.queue.load(Ordering::Relaxed);
            while some > 0 {
                let (order, less) = (Ordering::Relaxed, some - 1);
                match self.queue.compare_exchange_weak(some, less, order, order) {
                    Ok(_) => return true,
                    Err(now) => some = now,
                }
            }
            false
        }

        fn is_left(&self) -> bool {
            self.queue.load(Ordering::Relaxed) > 0
        }

        /// One machine's way to work that is there or comes, by way of sleep if need be. Without
        /// the right to search it looks at the queue as it would at the global one.
        fn find_work(&self, machine: usize, mut searching: bool) {
            let (sleep, signal) = &self.machines[machine];
            while !self.take() {
                sleep.prepare();
                self.idle.begin_sleep(std::mem::take(&mut searching));
                if !self.is_left() {
                    signal.wait();
                }
                self.idle.end_sleep();
                if sleep.end() == Wakeup::Searcher {
                    searching = true;
                }
            }
            // The last searcher wakes the next, and so does one who leaves something in the queue
            // without having searched.
            let more = if searching { self.idle.stop_searching() } else { self.is_left() };
            if more {
                self.wake();
            }
        }
    }

    impl Shared {
        /// One machine, which looks at the queue as the scheduler's do: when it searches, if it
        /// has seen something there and not enough others search, and before it sleeps if it has
        /// searched or nobody does.
        fn run(&self, machine: usize) {
            let (sleep, signal) = &self.machines[machine];
            let mut searching = false;
            loop {
                searching = searching || self.is_left() && self.idle.try_search(2);
                if searching && self.take() {
                    self.idle.stop_searching();
                    return;
                }
                sleep.prepare();
                let searched = std::mem::take(&mut searching);
                self.idle.begin_sleep(searched);
                let looks = searched || self.idle.searching() == 0;
                if !looks || !self.is_left() {
                    signal.wait();
                }
                self.idle.end_sleep();
                searching = sleep.end() == Wakeup::Searcher;
            }
        }
    }

    /// A submission meets a machine that gives up its search, or that was not allowed one: the
    /// machine sees the work, or the submitter sees the sleeper.
    fn work_is_found_by_one(searches: bool) {
        loom::model(move || {
            let shared = Shared::new(1);
            let submitter = {
                let shared = shared.clone();
                loom::thread::spawn(move || shared.submit())
            };
            let searching = searches && shared.idle.try_search(2);
            assert_eq!(searching, searches);
            shared.find_work(0, searching);
            submitter.join().unwrap();
            assert_eq!(shared.idle.searching(), 0);
            assert_eq!(shared.idle.sleepers(), 0);
        });
    }

    #[test]
    fn work_is_found_by_a_searcher() {
        work_is_found_by_one(true);
    }

    #[test]
    fn work_is_found_without_a_search() {
        work_is_found_by_one(false);
    }

    /// Two submissions and one machine that is awake at first: both are found.
    #[test]
    fn a_burst_is_found() {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(3);
        model.check(|| {
            let shared = Shared::new(1);
            let submitter = {
                let shared = shared.clone();
                loom::thread::spawn(move || {
                    shared.submit();
                    shared.submit();
                })
            };
            shared.find_work(0, shared.idle.try_search(2));
            shared.find_work(0, false);
            submitter.join().unwrap();
        });
    }

    /// Two submissions, of which each keeps a machine busy: the second machine is woken by the
    /// submitter, or by the first one when it has ceased to search.
    #[test]
    fn each_wake_pays_for_the_next() {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(2);
        model.check(|| {
            let shared = Shared::new(2);
            let other = {
                let shared = shared.clone();
                loom::thread::spawn(move || shared.find_work(1, false))
            };
            let submitter = {
                let shared = shared.clone();
                loom::thread::spawn(move || {
                    shared.submit();
                    shared.submit();
                })
            };
            shared.find_work(0, shared.idle.try_search(2));
            submitter.join().unwrap();
            other.join().unwrap();
            assert_eq!(shared.idle.searching(), 0);
            assert_eq!(shared.idle.sleepers(), 0);
        });
    }

    /// One sleeper wakes by itself and is busy from then on, while a submitter is about to wake
    /// somebody: it finds the other sleeper.
    #[test]
    fn a_sleeper_that_leaves_does_not_cover_another() {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(3);
        model.check(|| {
            let shared = Shared::new(2);
            let leaves = {
                let shared = shared.clone();
                loom::thread::spawn(move || {
                    let sleep = &shared.machines[0].0;
                    sleep.prepare();
                    shared.idle.begin_sleep(false);
                    // An event of its own.
                    shared.idle.end_sleep();
                    if sleep.end() == Wakeup::Searcher && shared.idle.stop_searching() {
                        shared.wake();
                    }
                })
            };
            let submitter = {
                let shared = shared.clone();
                loom::thread::spawn(move || shared.submit())
            };
            shared.find_work(1, false);
            leaves.join().unwrap();
            submitter.join().unwrap();
        });
    }

    /// As `work_is_found`, while somebody wakes the machine for another reason.
    #[test]
    fn work_is_found_by_one_that_was_woken_for_another_reason() {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(3);
        model.check(|| {
            let shared = Shared::new(1);
            let submitter = {
                let shared = shared.clone();
                loom::thread::spawn(move || shared.submit())
            };
            let waker = {
                let shared = shared.clone();
                loom::thread::spawn(move || {
                    let (sleep, signal) = &shared.machines[0];
                    if sleep.wake() {
                        signal.notify();
                    }
                })
            };
            shared.run(0);
            submitter.join().unwrap();
            waker.join().unwrap();
            assert_eq!(shared.idle.searching(), 0);
            assert_eq!(shared.idle.sleepers(), 0);
        });
    }
}
