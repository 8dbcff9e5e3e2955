//! A mutex: who holds it, who waits, and who comes next.
//!
//! | flag | meaning |
//! |---|---|
//! | `LOCKED` | somebody holds it |
//! | `POISONED` | a holder panicked; says nothing about who holds it |
//! | `WOKEN` | a waiter was taken off the queue and is on its way to try again, so nobody else need be woken; set by the waker, cleared by that waiter |
//! | `RESERVED` | the next release hands the lock to the first waiter; nobody else may take it |
//!
//! ```text
//!  free -- try_lock --> LOCKED -- unlock --> free; if somebody waits and nobody is WOKEN, wake one
//!    ^                    | enter                        |
//!    |                    v                              v
//!    |                 queued <--- enter again ------ WOKEN -- try_lock_woken --> LOCKED
//!    |                    |      (the lock was taken
//!    |                    |       before it came; if it
//!    |                    |       has waited long: RESERVED)
//!    +--------------------+ unlock with RESERVED: the first waiter is granted the lock
//! ```
//!
//! Whenever the lock is free and somebody is queued, either one is `WOKEN` and will try, or
//! whoever released it is about to look at the queue. A waiter that is `WOKEN` and gives up says so
//! ([`RawMutex::abandon`]). With `RESERVED` set and `LOCKED` not, the releaser is about to grant.

use crate::primitive::const_unless_loom;
use crate::primitive::sync::atomic::Ordering;
use crate::protocol::wait_word::{End, Node, Step, WaitWord};
use std::ptr::NonNull;

const LOCKED: usize = 1;
const POISONED: usize = 2;
const WOKEN: usize = 4;
const RESERVED: usize = 8;

/// See the module's description.
pub(crate) struct RawMutex<W>(WaitWord<W>);

/// How a waiter comes to the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    First,
    /// It was woken, and the lock was gone.
    Again {
        /// It has waited for so long that the lock is to be kept for it.
        reserve: bool,
    },
}

impl<W: Copy> RawMutex<W> {
    const_unless_loom! {
        pub(crate) fn new() -> Self {
            RawMutex(WaitWord::new(0))
        }
    }

    #[inline]
    pub(crate) fn try_lock(&self) -> bool {
        match self.0.bits().compare_exchange(0, LOCKED, Ordering::Acquire, Ordering::Relaxed) {
            Ok(_) => true,
            Err(now) => self.try_lock_from(now, 0),
        }
    }

    /// As [`RawMutex::try_lock`], by the waiter that is `WOKEN`; on success it is not any more.
    pub(crate) fn try_lock_woken(&self) -> bool {
        self.try_lock_from(self.0.bits().load(Ordering::Relaxed), WOKEN)
    }

    fn try_lock_from(&self, mut now: usize, clear: usize) -> bool {
        while now & (LOCKED | RESERVED) == 0 {
            let next = now & !clear | LOCKED;
            let bits = self.0.bits();
            match bits.compare_exchange_weak(now, next, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(newer) => now = newer,
            }
        }
        false
    }

    /// Whether it makes sense to look again before waiting: it is held, but nobody waits.
    pub(crate) fn is_worth_spinning(&self) -> bool {
        self.0.bits().load(Ordering::Relaxed) & !POISONED == LOCKED
    }

    /// Joins the queue. `false`: the lock was free, and is the caller's now.
    ///
    /// A waiter that enters again is not `WOKEN` any more, in both cases.
    ///
    /// # Safety
    ///
    /// The node is in no queue, and stays alive and in place until it is woken or has called
    /// [`RawMutex::leave`].
    #[expect(unsafe_code, reason = "passes on the queue's contract")]
    pub(crate) unsafe fn enter(&self, node: NonNull<Node<W>>, entry: Entry) -> bool {
        let (end, clear, reserve) = match entry {
            Entry::First => (End::Back, 0, 0),
            Entry::Again { reserve } => (End::Front, WOKEN, if reserve { RESERVED } else { 0 }),
        };
        let step = |flags| {
            if flags & (LOCKED | RESERVED) == 0 {
                Step::Instead(flags & !clear | LOCKED)
            } else {
                Step::Join(flags & !clear | reserve)
            }
        };
        // SAFETY: the caller's promise.
        unsafe { self.0.lock().join(end, node, step) }
    }

    /// Leaves the queue without having been woken by it.
    ///
    /// # Safety
    ///
    /// The node is alive, and if it is in a queue, it is in this one.
    #[expect(unsafe_code, reason = "passes on the queue's contract")]
    pub(crate) unsafe fn leave(&self, node: NonNull<Node<W>>) {
        // SAFETY: the caller's promise.
        unsafe { self.0.lock().remove(node) };
    }

    /// Releases the lock. `true`: somebody may have to be woken, see [`RawMutex::wake_next`].
    #[inline]
    #[must_use = "a waiter may have to be woken"]
    pub(crate) fn unlock(&self) -> bool {
        let before = self.0.bits().fetch_sub(LOCKED, Ordering::Release);
        debug_assert!(before & LOCKED != 0);
        before & !POISONED != LOCKED && before & WOKEN == 0
    }

    /// The waiter that is `WOKEN` gives up. Returns the one to wake in its place.
    #[must_use = "whoever was claimed is to be resumed"]
    pub(crate) fn abandon<C>(&self, claim: impl FnMut(W) -> Option<C>) -> Option<C> {
        self.0.bits().fetch_and(!WOKEN, Ordering::Relaxed);
        self.wake_next(claim)
    }

    /// After a release: claims the one that is to come next, if nobody else is about to.
    #[must_use = "whoever was claimed is to be resumed"]
    pub(crate) fn wake_next<C>(&self, claim: impl FnMut(W) -> Option<C>) -> Option<C> {
        let mut queue = self.0.lock();
        let bits = self.0.bits();
        let now = bits.load(Ordering::Acquire);
        if now & (LOCKED | WOKEN) != 0 {
            // Whoever holds it now will look at the queue, and so will whoever is woken.
            return None;
        }
        if now & RESERVED != 0 {
            // Nobody else can take it, so these two steps cannot be told from one.
            let granted = queue.claim_first(true, claim);
            let next = if granted.is_some() { RESERVED ^ LOCKED } else { RESERVED };
            bits.fetch_xor(next, Ordering::AcqRel);
            return granted;
        }
        let woken = queue.claim_first(false, claim)?;
        bits.fetch_or(WOKEN, Ordering::Relaxed);
        Some(woken)
    }

    pub(crate) fn poison(&self) {
        self.0.bits().fetch_or(POISONED, Ordering::Relaxed);
    }

    pub(crate) fn clear_poison(&self) {
        self.0.bits().fetch_and(!POISONED, Ordering::Relaxed);
    }

    #[inline]
    pub(crate) fn is_poisoned(&self) -> bool {
        self.0.bits().load(Ordering::Relaxed) & POISONED != 0
    }
}

#[cfg(all(test, loom))]
#[expect(unsafe_code, reason = "the models queue nodes by hand")]
mod models {
    use super::*;
    use crate::protocol::crowd::{Crowd, Outcome};
    use loom::cell::UnsafeCell;
    use loom::sync::Arc;

    struct Shared {
        raw: RawMutex<crate::protocol::crowd::Ticket>,
        crowd: Crowd,
        data: UnsafeCell<usize>,
    }

    impl Shared {
        fn new(count: usize) -> Arc<Shared> {
            Arc::new(Shared {
                raw: RawMutex::new(),
                crowd: Crowd::new(count),
                data: UnsafeCell::new(0),
            })
        }

        /// As the runtime's loop; `false`: gave up. Reserves as soon as it may if `impatient`.
        fn lock(&self, who: usize, gives_up: bool, impatient: bool) -> bool {
            let mut entry = Entry::First;
            loop {
                if entry == Entry::First && self.raw.try_lock() {
                    return true;
                }
                let mut node = None;
                let mut acquired = false;
                let outcome = self.crowd.park(who, gives_up, |ticket| {
                    let node = NonNull::from(node.insert(Node::new(ticket)));
                    // SAFETY: the node leaves the queue below before it goes.
                    let joined = unsafe { self.raw.enter(node, entry) };
                    acquired = !joined;
                    joined
                });
                let node = node.as_ref().expect("published");
                if acquired {
                    return true;
                }
                if outcome == Outcome::GaveUp {
                    // SAFETY: the node is alive, and in this queue if in any.
                    unsafe { self.raw.leave(NonNull::from(node)) };
                    return false;
                }
                if node.is_granted() || self.raw.try_lock_woken() {
                    return true;
                }
                if gives_up {
                    self.resume(self.raw.abandon(|ticket| self.crowd.claim(ticket)));
                    return false;
                }
                entry = Entry::Again { reserve: impatient };
            }
        }

        fn unlock(&self) {
            if self.raw.unlock() {
                self.resume(self.raw.wake_next(|ticket| self.crowd.claim(ticket)));
            }
        }

        fn resume(&self, claimed: Option<usize>) {
            if let Some(claimed) = claimed {
                self.crowd.resume(claimed);
            }
        }

        fn add_one(&self) {
            // SAFETY: the model checks that no two accesses overlap.
            self.data.with_mut(|data| unsafe { *data += 1 });
        }
    }

    /// `each` says for every one how often it locks, whether it gives up, whether it is impatient.
    fn check(each: &'static [(usize, bool, bool)], preemptions: usize) {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(preemptions);
        model.check(move || {
            let shared = Shared::new(each.len());
            let run = |who: usize| {
                let shared = shared.clone();
                move || {
                    let (times, gives_up, impatient) = each[who];
                    let mut count = 0;
                    for _ in 0..times {
                        if shared.lock(who, gives_up, impatient) {
                            shared.add_one();
                            shared.unlock();
                            count += 1;
                        }
                    }
                    count
                }
            };
            let others: Vec<_> = (1..each.len()).map(|who| loom::thread::spawn(run(who))).collect();
            let mut count = run(0)();
            count += others.into_iter().map(|other| other.join().unwrap()).sum::<usize>();
            // SAFETY: as above.
            shared.data.with(|data| assert_eq!(unsafe { *data }, count));
            assert_eq!(shared.raw.0.bits().load(Ordering::Relaxed), 0, "nothing is left behind");
        });
    }

    #[test]
    fn three_exclude_each_other_and_none_is_forgotten() {
        check(&[(1, false, false), (1, false, false), (1, false, false)], 3);
    }

    #[test]
    fn who_barges_in_does_not_swallow_the_wake() {
        check(&[(2, false, false), (1, false, false), (1, false, false)], 3);
    }

    #[test]
    fn the_lock_is_kept_for_who_has_waited_long() {
        check(&[(2, false, false), (1, false, true), (1, false, true)], 3);
    }

    #[test]
    fn who_gives_up_passes_the_wake_on() {
        check(&[(1, false, false), (1, true, false), (1, false, false)], 3);
        check(&[(2, false, false), (1, true, true), (1, false, true)], 3);
    }

    /// A poisoning does not disturb who holds the lock.
    #[test]
    fn poison_is_a_flag_of_its_own() {
        loom::model(|| {
            let shared = Shared::new(2);
            let other = {
                let shared = shared.clone();
                loom::thread::spawn(move || {
                    shared.raw.clear_poison();
                    assert!(shared.lock(1, false, false));
                    shared.unlock();
                })
            };
            assert!(shared.lock(0, false, false));
            shared.raw.poison();
            shared.unlock();
            other.join().unwrap();
            shared.raw.clear_poison();
            assert_eq!(shared.raw.0.bits().load(Ordering::Relaxed), 0);
        });
    }
}
