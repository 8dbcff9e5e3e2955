//! Two things of few bits each, so that neither makes a coroutine's header longer.
//!
//! - A migrating coroutine has left its stack, and its wait is being **published** out of its frame.
//!   It may be claimed and queued meanwhile; whoever is to resume it waits until this is over.
//! - Its **spawner**, as the difference of the two numbers. A parent's is the smaller one; of one that
//!   has spawned across two billion others nothing is known.
//!
//! ```text
//!   machine that it has left           whoever claims the wait        machine that takes it
//!   PUBLISHING -> 1
//!   open the wait
//!   join a queue ------------------->  claim; queue it ------------>  PUBLISHING == 1: wait
//!   join the next queue, ...
//!   PUBLISHING -> 0 ----------------------------------------------->  resume it
//! ```
//!
//! The wait is opened after the bit was set, and claimed after that, so whoever takes the coroutine
//! sees the bit. Only the machine that the coroutine has left writes, so it needs no
//! read-modify-write.

use crate::primitive::sync::atomic::{AtomicU32, Ordering};

/// See the module's description.
pub(crate) struct Lineage(AtomicU32);

impl Lineage {
    const PUBLISHING: u32 = 1;

    #[inline]
    pub(crate) fn new(id: u64, parent: u64) -> Lineage {
        let distance = if parent == 0 { 0 } else { id.wrapping_sub(parent) };
        let fits = distance <= u64::from(u32::MAX >> 1);
        Lineage(AtomicU32::new(if fits { (distance as u32) << 1 } else { 0 }))
    }

    /// The number of the coroutine that has spawned the one of this number, if it is known.
    pub(crate) fn parent_of(&self, id: u64) -> Option<u64> {
        let distance = u64::from(self.0.load(Ordering::Relaxed) >> 1);
        (distance != 0).then(|| id - distance)
    }

    /// Called by the machine that the coroutine has left: nobody else writes.
    pub(crate) fn begin_publication(&self) {
        let word = self.0.load(Ordering::Relaxed);
        self.0.store(word | Lineage::PUBLISHING, Ordering::Relaxed);
    }

    /// What was done to the frame is behind whoever sees this.
    pub(crate) fn end_publication(&self) {
        let word = self.0.load(Ordering::Relaxed);
        self.0.store(word & !Lineage::PUBLISHING, Ordering::Release);
    }

    pub(crate) fn is_publishing(&self) -> bool {
        self.0.load(Ordering::Acquire) & Lineage::PUBLISHING != 0
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_publication_leaves_the_parent_alone() {
        let lineage = Lineage::new(1000, 7);
        lineage.begin_publication();
        assert!(lineage.is_publishing());
        assert_eq!(lineage.parent_of(1000), Some(7));
        lineage.end_publication();
        assert!(!lineage.is_publishing());
        assert_eq!(lineage.parent_of(1000), Some(7));
    }

    #[test]
    fn nothing_is_known_of_a_plain_threads_and_of_one_far_away() {
        assert_eq!(Lineage::new(9, 0).parent_of(9), None);
        let far = (1 << 31) + 5;
        assert_eq!(Lineage::new(far, 5).parent_of(far), None);
        assert_eq!(Lineage::new(far, 6).parent_of(far), Some(6));
    }
}

#[cfg(all(test, loom))]
#[expect(unsafe_code, reason = "loom cells are read and written through raw pointers")]
mod models {
    use super::*;
    use crate::protocol::park_word::{ParkWord, Seq};
    use loom::cell::UnsafeCell;
    use loom::sync::{Arc, Mutex};

    /// A coroutine that waits in two queues, as a select does.
    struct Selecting {
        word: ParkWord,
        lineage: Lineage,
        queues: [Mutex<Option<Seq>>; 2],
        /// What its publication and itself use.
        frame: UnsafeCell<usize>,
        turns: UnsafeCell<usize>,
    }

    impl Selecting {
        /// Of the machine that it runs on: it parks.
        fn park(&self) {
            // SAFETY: the model checks that no two accesses to a cell overlap.
            self.turns.with_mut(|turns| unsafe { *turns += 1 });
            self.lineage.begin_publication();
            let seq = self.word.begin();
            for queue in &self.queues {
                // SAFETY: as above.
                self.frame.with_mut(|frame| unsafe { *frame += 1 });
                *queue.lock().unwrap() = Some(seq);
            }
            // SAFETY: as above.
            self.frame.with_mut(|frame| unsafe { *frame += 1 });
            self.lineage.end_publication();
        }

        /// Wakes it if it is found in that queue, and goes on as the machine that has taken it.
        fn wake_and_run(&self, queue: usize) -> bool {
            let found = self.queues[queue].lock().unwrap().take();
            if !found.is_some_and(|seq| self.word.claim(seq)) {
                return false;
            }
            while self.lineage.is_publishing() {
                loom::thread::yield_now();
            }
            // SAFETY: as above.
            self.frame.with_mut(|frame| assert_eq!(unsafe { std::mem::take(&mut *frame) }, 3));
            true
        }
    }

    fn selecting() -> Arc<Selecting> {
        Arc::new(Selecting {
            word: ParkWord::new(),
            lineage: Lineage::new(2, 1),
            queues: [Mutex::new(None), Mutex::new(None)],
            frame: UnsafeCell::new(0),
            turns: UnsafeCell::new(0),
        })
    }

    /// Whoever has claimed the wait resumes it when its publication is through; one of the two does.
    #[test]
    fn nobody_resumes_it_before_its_publication_is_through() {
        loom::model(|| {
            let shared = selecting();
            let wakers: Vec<_> = (0..2)
                .map(|queue| {
                    let shared = shared.clone();
                    loom::thread::spawn(move || shared.wake_and_run(queue))
                })
                .collect();
            shared.park();
            let mut woken = 0;
            for waker in wakers {
                woken += usize::from(waker.join().unwrap());
            }
            woken += usize::from(shared.wake_and_run(0)) + usize::from(shared.wake_and_run(1));
            assert_eq!(woken, 1);
        });
    }

    /// It parks again where it was resumed, while the first machine is on its way out.
    #[test]
    fn it_parks_again_elsewhere() {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(3);
        model.check(|| {
            let shared = selecting();
            let other = {
                let shared = shared.clone();
                loom::thread::spawn(move || {
                    while !shared.wake_and_run(0) {
                        loom::thread::yield_now();
                    }
                    shared.park();
                })
            };
            shared.park();
            other.join().unwrap();
            assert!(!shared.lineage.is_publishing());
            // SAFETY: the model checks that no two accesses overlap.
            shared.turns.with(|turns| assert_eq!(unsafe { *turns }, 2));
            assert!(shared.wake_and_run(1) && !shared.wake_and_run(0));
        });
    }
}
