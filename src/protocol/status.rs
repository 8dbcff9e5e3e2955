//! Completion, joining, cancellation and lifetime of one coroutine, in one word.
//!
//! ```text
//!   bit 0  COMPLETE       the body has ended; set once, on the coroutine's own stack
//!   bit 1  JOIN_INTEREST  a join handle exists that has not given up the result
//!   bit 2  JOIN_WAITER    the handle's owner is parked in `join`; the ticket cell is the completer's
//!   bit 3  CANCELLED      cancellation has been asked for
//!   bit 4  NOTIFIED       the completer is done with the joiner's ticket
//!   rest   reference count
//! ```
//!
//! Who may touch what:
//!
//! | | not `COMPLETE` | `COMPLETE` |
//! |---|---|---|
//! | the result | the coroutine | the handle if `JOIN_INTEREST` was set when `COMPLETE` was, else already dropped |
//! | the ticket cell | the joiner while `JOIN_WAITER` is clear, nobody while it is set | the completer until `NOTIFIED` |
//!
//! So an unclaimed result is always dropped by the coroutine itself, before completion is
//! published; a handle that is dropped later owns the result and drops it as std's does.
//!
//! The cell may hold a task's waker instead of a ticket. The completer takes it out before it wakes
//! it, and the task does not wait for that.
//!
//! A joiner that was woken for another reason (a timeout, a cancellation) takes `JOIN_WAITER` back.
//! If completion was faster, the completer may be about to claim the joiner's wait, so the joiner
//! stays until `NOTIFIED`: a few instructions of the completer's.
//!
//! # Cancellation
//!
//! `CANCELLED` is set once and stays. `POKED` says that there is something new to look at: a
//! cancellation of the coroutine, or of a scope in which it runs. Whoever sets it then claims the
//! wait that is open, if one is; the coroutine's machine looks at it when it has opened a wait. Both
//! write first and read the other's word then, with a fence in between whose price the canceller
//! pays ([`crate::primitive`]), so one of them sees the other: no wait is opened unseen.
//!
//! References count memory alone: dropping the last one frees the allocation and runs no user code.

use crate::primitive::sync::atomic::{AtomicUsize, Ordering};

const COMPLETE: usize = 1;
const JOIN_INTEREST: usize = 1 << 1;
const JOIN_WAITER: usize = 1 << 2;
const CANCELLED: usize = 1 << 3;
const NOTIFIED: usize = 1 << 4;
const POKED: usize = 1 << 5;
const REF_ONE: usize = 1 << 6;
/// Twice as many references would overflow the count; nothing but a leak loop gets here.
const REF_LIMIT: usize = usize::MAX / 2;

/// See the module's description.
#[derive(Debug)]
pub(crate) struct Status(AtomicUsize);

/// What [`Status::try_complete`] found.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Completion {
    /// Nobody will ask for the result: drop it, then try again with
    /// [`Status::complete_unclaimed`].
    Unclaimed,
    /// Published; the result is the handle's now.
    Published {
        /// A joiner is parked: claim its ticket before [`Status::release_completed`].
        joiner: bool,
    },
}

/// What became of a request to cancel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// It stands.
    First,
    /// It stood before.
    Again,
    /// The coroutine has completed.
    TooLate,
}

/// What a handle that gives up its interest has to do.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Released {
    /// The coroutine will drop its own result.
    BeforeCompletion,
    /// The result belongs to the caller, who must drop it.
    OwnsResult,
}

impl Status {
    /// A coroutine with two references: the scheduler's and the join handle's.
    pub(crate) fn new() -> Self {
        Status(AtomicUsize::new((2 * REF_ONE) | JOIN_INTEREST))
    }

    // Completion: called by the coroutine itself.

    /// Publishes completion if somebody still wants the result.
    pub(crate) fn try_complete(&self) -> Completion {
        let mut word = self.0.load(Ordering::Relaxed);
        loop {
            debug_assert!(word & COMPLETE == 0, "a coroutine completes once");
            if word & JOIN_INTEREST == 0 {
                // Acquire pairs with the handle's release: it no longer touches anything.
                self.0.load(Ordering::Acquire);
                return Completion::Unclaimed;
            }
            match self.0.compare_exchange_weak(
                word,
                word | COMPLETE,
                Ordering::AcqRel,
                Ordering::Relaxed,
            ) {
                Ok(_) => return Completion::Published { joiner: word & JOIN_WAITER != 0 },
                Err(now) => word = now,
            }
        }
    }

    /// Publishes completion after the unclaimed result has been dropped.
    pub(crate) fn complete_unclaimed(&self) {
        let before = self.0.fetch_or(COMPLETE, Ordering::AcqRel);
        debug_assert!(before & (COMPLETE | JOIN_INTEREST) == 0);
    }

    /// Whether nobody can ask for the result any more. Only the coroutine itself may rely on it.
    pub(crate) fn is_unclaimed(&self) -> bool {
        // Acquire as in `try_complete`.
        self.0.load(Ordering::Acquire) & JOIN_INTEREST == 0
    }

    // Joining: called by the owner of the join handle.

    #[inline]
    pub(crate) fn is_complete(&self) -> bool {
        self.0.load(Ordering::Acquire) & COMPLETE != 0
    }

    /// Hands the ticket cell to the completer. `false`: the coroutine has completed.
    #[must_use = "a completed coroutine wakes nobody"]
    pub(crate) fn publish_joiner(&self) -> bool {
        let mut word = self.0.load(Ordering::Relaxed);
        loop {
            if word & COMPLETE != 0 {
                self.0.load(Ordering::Acquire);
                return false;
            }
            match self.0.compare_exchange_weak(
                word,
                word | JOIN_WAITER,
                Ordering::AcqRel,
                Ordering::Relaxed,
            ) {
                Ok(_) => return true,
                Err(now) => word = now,
            }
        }
    }

    /// Takes the ticket cell back. `false`: the coroutine has completed, and the caller must wait
    /// for [`Status::is_joiner_released`] before its wait's memory may go.
    #[must_use]
    pub(crate) fn retract_joiner(&self) -> bool {
        let mut word = self.0.load(Ordering::Relaxed);
        loop {
            if word & COMPLETE != 0 {
                return false;
            }
            match self.0.compare_exchange_weak(
                word,
                word & !JOIN_WAITER,
                Ordering::AcqRel,
                Ordering::Relaxed,
            ) {
                Ok(_) => return true,
                Err(now) => word = now,
            }
        }
    }

    /// Whether a joiner's ticket was published when the coroutine completed.
    pub(crate) fn has_joiner(&self) -> bool {
        self.0.load(Ordering::Relaxed) & JOIN_WAITER != 0
    }

    /// Whether the completer is done with the joiner's ticket.
    pub(crate) fn is_joiner_released(&self) -> bool {
        self.0.load(Ordering::Acquire) & NOTIFIED != 0
    }

    /// Gives up the result.
    pub(crate) fn release_interest(&self) -> Released {
        let mut word = self.0.load(Ordering::Relaxed);
        loop {
            debug_assert!(word & JOIN_INTEREST != 0);
            if word & COMPLETE != 0 {
                self.0.load(Ordering::Acquire);
                return Released::OwnsResult;
            }
            match self.0.compare_exchange_weak(
                word,
                word & !JOIN_INTEREST,
                Ordering::AcqRel,
                Ordering::Relaxed,
            ) {
                Ok(_) => return Released::BeforeCompletion,
                Err(now) => word = now,
            }
        }
    }

    // Cancellation.

    /// Asks for cancellation, and pokes.
    pub(crate) fn cancel(&self) -> Asked {
        let before = self.0.fetch_or(CANCELLED | POKED, Ordering::AcqRel);
        match (before & COMPLETE != 0, before & CANCELLED != 0) {
            (true, _) => Asked::TooLate,
            (false, true) => Asked::Again,
            (false, false) => Asked::First,
        }
    }

    #[inline]
    pub(crate) fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Acquire) & CANCELLED != 0
    }

    /// Says that there is something to look at before the next wait. The caller then claims the
    /// wait that is open, if one is, behind a heavy fence.
    pub(crate) fn poke(&self) {
        self.0.fetch_or(POKED, Ordering::AcqRel);
    }

    /// Whether it was poked since it last looked. Asked by the coroutine's machine when it has
    /// opened a wait, behind a light fence.
    #[inline]
    pub(crate) fn is_poked(&self) -> bool {
        self.0.load(Ordering::Acquire) & POKED != 0
    }

    /// Said by the coroutine before it looks at what it may have been poked for.
    pub(crate) fn note_poke(&self) {
        if self.is_poked() {
            self.0.fetch_and(!POKED, Ordering::AcqRel);
        }
    }

    // References.

    pub(crate) fn acquire_ref(&self) {
        let before = self.0.fetch_add(REF_ONE, Ordering::Relaxed);
        if before > REF_LIMIT {
            std::process::abort();
        }
    }

    /// Drops the scheduler's reference to a coroutine that has completed, and says in the same
    /// step that the completer will not touch the joiner's ticket again. `true`: it was the last.
    #[inline]
    #[must_use = "the last reference frees the allocation"]
    pub(crate) fn release_completed(&self) -> bool {
        let word = self.0.load(Ordering::Acquire);
        if word / REF_ONE == 1 {
            return true;
        }
        let notified = if word & JOIN_WAITER != 0 { NOTIFIED } else { 0 };
        self.0.fetch_sub(REF_ONE - notified, Ordering::AcqRel) / REF_ONE == 1
    }

    /// Drops a reference. `true`: it was the last, and the caller must free the allocation.
    #[inline]
    #[must_use = "the last reference frees the allocation"]
    pub(crate) fn release_ref(&self) -> bool {
        // The only holder needs no read-modify-write: nobody else can make a new reference.
        if self.0.load(Ordering::Acquire) / REF_ONE == 1 {
            return true;
        }
        self.0.fetch_sub(REF_ONE, Ordering::AcqRel) / REF_ONE == 1
    }
}

#[cfg(all(test, loom))]
#[expect(unsafe_code, reason = "loom cells are read and written through raw pointers")]
mod models {
    use super::*;
    use crate::primitive::{heavy_fence, light_fence};
    use crate::protocol::park_word::{ParkWord, Seq};
    use loom::cell::UnsafeCell;
    use loom::sync::Arc;

    /// A cancellation meets a coroutine that is about to wait: one of the two sees the other.
    #[test]
    fn a_cancellation_finds_the_wait_or_is_found() {
        loom::model(|| {
            let shared = Arc::new((Status::new(), ParkWord::new()));
            let canceller = {
                let shared = shared.clone();
                loom::thread::spawn(move || {
                    assert_eq!(shared.0.cancel(), Asked::First);
                    heavy_fence();
                    shared.1.claim_current()
                })
            };
            let (status, park) = &*shared;
            let mut ended = 0;
            // A wait that it is woken from, and one that nobody else would end.
            let first = park.begin();
            light_fence();
            if status.is_poked() && park.retract(first) {
                ended += 1;
            } else if !park.claim(first) {
                ended += 1;
            }
            if ended == 0 {
                let second = park.begin();
                light_fence();
                if status.is_poked() && park.retract(second) {
                    ended += 1;
                } else if canceller.join().unwrap() {
                    ended += 1;
                }
            }
            assert_eq!(ended, 1);
        });
    }

    /// What was written before a poke is seen by whoever finds himself poked.
    #[test]
    fn a_poke_carries_its_reason() {
        loom::model(|| {
            let shared = Arc::new((Status::new(), UnsafeCell::new(0)));
            let canceller = {
                let shared = shared.clone();
                loom::thread::spawn(move || {
                    // SAFETY: the model checks that no two accesses to the cell overlap.
                    shared.1.with_mut(|cell| unsafe { *cell = 1 });
                    shared.0.poke();
                })
            };
            if shared.0.is_poked() {
                shared.0.note_poke();
                assert!(!shared.0.is_poked());
                // SAFETY: as above.
                shared.1.with(|cell| assert_eq!(unsafe { *cell }, 1));
            }
            canceller.join().unwrap();
        });
    }

    /// A cancellation against completion: the handle is told one thing or the other.
    #[test]
    fn a_cancellation_is_in_time_or_too_late() {
        loom::model(|| {
            let status = Arc::new(Status::new());
            let canceller = {
                let status = status.clone();
                loom::thread::spawn(move || status.cancel())
            };
            let body_saw_it = status.is_cancelled();
            let Completion::Published { joiner: false } = status.try_complete() else {
                panic!("the handle is still there");
            };
            match canceller.join().unwrap() {
                Asked::TooLate => assert!(!body_saw_it),
                asked => assert_eq!(asked, Asked::First),
            }
        });
    }

    /// A task polls the handle twice, with a waker each time, while the coroutine completes: it sees
    /// the end, or its latest waker is woken, and no waker is looked at that it has taken back.
    #[test]
    fn a_task_that_polls_is_woken() {
        loom::model(|| {
            let shared = Arc::new((Status::new(), UnsafeCell::new(None::<u32>)));
            let coroutine = {
                let shared = shared.clone();
                loom::thread::spawn(move || match shared.0.try_complete() {
                    // SAFETY: the model checks that no two accesses to a cell overlap.
                    Completion::Published { joiner: true } => {
                        shared.1.with_mut(|cell| unsafe { (*cell).take() })
                    }
                    _ => None,
                })
            };
            let (status, cell) = &*shared;
            let mut pending = None;
            for waker in 1..=2 {
                if status.is_complete() {
                    pending = None;
                    break;
                }
                if status.has_joiner() && status.retract_joiner() {
                    // SAFETY: as above.
                    assert!(cell.with_mut(|cell| unsafe { (*cell).take() }).is_some());
                }
                if status.is_complete() {
                    pending = None;
                    break;
                }
                // SAFETY: as above.
                cell.with_mut(|cell| unsafe { *cell = Some(waker) });
                pending = status.publish_joiner().then_some(waker);
                if pending.is_none() {
                    break;
                }
            }
            let woken = coroutine.join().unwrap();
            if pending.is_some() {
                assert_eq!(woken, pending);
            }
        });
    }

    /// What a coroutine and its handle share.
    struct Shared {
        status: Status,
        result: UnsafeCell<Option<u32>>,
        ticket: UnsafeCell<Option<Seq>>,
        joiner: ParkWord,
        /// Stands for the memory in which the joiner waits.
        waits: UnsafeCell<()>,
        /// Stands for the allocation: whoever has a reference reads it, the last one frees it.
        memory: UnsafeCell<()>,
    }

    impl Shared {
        fn new() -> Arc<Shared> {
            Arc::new(Shared {
                status: Status::new(),
                result: UnsafeCell::new(None),
                ticket: UnsafeCell::new(None),
                joiner: ParkWord::new(),
                waits: UnsafeCell::new(()),
                memory: UnsafeCell::new(()),
            })
        }

        /// Drops a reference, and frees if it was the last.
        fn release(&self, release: impl FnOnce(&Status) -> bool) -> bool {
            self.memory.with(|_| ());
            let last = release(&self.status);
            if last {
                self.memory.with_mut(|_| ());
            }
            last
        }

        /// The end of a coroutine's body. Returns whether it dropped the result itself.
        fn complete(&self) -> bool {
            // SAFETY: the model checks that no two accesses to a cell overlap.
            self.result.with_mut(|cell| unsafe { *cell = Some(7) });
            match self.status.try_complete() {
                Completion::Unclaimed => {
                    // SAFETY: as above.
                    self.result.with_mut(|cell| unsafe { *cell = None });
                    self.status.complete_unclaimed();
                    true
                }
                Completion::Published { joiner } => {
                    if joiner {
                        // SAFETY: as above.
                        let seq = self.ticket.with(|cell| unsafe { (*cell).unwrap() });
                        self.waits.with(|_| ());
                        let _lost_to_a_timeout = !self.joiner.claim(seq);
                    }
                    false
                }
            }
        }

        fn take(&self) -> Option<u32> {
            // SAFETY: as above.
            self.result.with_mut(|cell| unsafe { (*cell).take() })
        }
    }

    #[test]
    fn join_gets_the_result() {
        loom::model(|| {
            let shared = Shared::new();
            let body = {
                let shared = shared.clone();
                loom::thread::spawn(move || assert!(!shared.complete()))
            };
            if !shared.status.is_complete() {
                let seq = shared.joiner.begin();
                // SAFETY: as above.
                shared.ticket.with_mut(|cell| unsafe { *cell = Some(seq) });
                if shared.status.publish_joiner() {
                    while shared.joiner.is_waiting() {
                        loom::thread::yield_now();
                    }
                    assert!(shared.status.is_complete());
                } else {
                    assert!(shared.joiner.retract(seq));
                }
            }
            assert_eq!(shared.take(), Some(7));
            body.join().unwrap();
        });
    }

    #[test]
    fn join_times_out_while_the_coroutine_completes() {
        loom::model(|| {
            let shared = Shared::new();
            let body = {
                let shared = shared.clone();
                loom::thread::spawn(move || {
                    shared.complete();
                    let last = shared.release(Status::release_completed);
                    assert!(!last, "the handle has the other one");
                })
            };
            let seq = shared.joiner.begin();
            // SAFETY: as above.
            shared.ticket.with_mut(|cell| unsafe { *cell = Some(seq) });
            if shared.status.publish_joiner() {
                // The timer fires at once.
                let timed_out = shared.joiner.claim(seq);
                if timed_out && !shared.status.retract_joiner() {
                    while !shared.status.is_joiner_released() {
                        loom::thread::yield_now();
                    }
                }
                if !timed_out {
                    // Whoever claimed the wait resumes its owner, which orders memory.
                    while shared.joiner.is_waiting() {
                        loom::thread::yield_now();
                    }
                    assert!(shared.status.is_complete());
                }
            } else {
                assert!(shared.joiner.retract(seq));
            }
            // The wait is over, and its memory goes.
            shared.waits.with_mut(|_| ());
            if shared.status.is_complete() {
                assert_eq!(shared.take(), Some(7));
            } else if shared.status.release_interest() == Released::OwnsResult {
                assert_eq!(shared.take(), Some(7));
            }
            body.join().unwrap();
        });
    }

    /// The result is dropped once, whoever is first, and by the coroutine if it can be.
    #[test]
    fn a_dropped_handle_and_the_end_of_the_body() {
        loom::model(|| {
            let shared = Shared::new();
            let body = {
                let shared = shared.clone();
                loom::thread::spawn(move || {
                    let dropped = shared.complete();
                    (dropped, shared.release(Status::release_completed))
                })
            };
            let owned = match shared.status.release_interest() {
                Released::OwnsResult => shared.take().is_some(),
                Released::BeforeCompletion => false,
            };
            let last = shared.release(Status::release_ref);
            let (dropped, body_last) = body.join().unwrap();
            assert!(dropped != owned, "the result is dropped exactly once");
            assert!(last != body_last, "exactly one reference is the last");
        });
    }

    /// A joiner that was cancelled gives up the ticket, then the result, then its reference, and
    /// another handle (a `Thread`) has a third one: what the joiner wrote is behind it when the
    /// completer, or whoever is last, frees the allocation.
    #[test]
    fn the_last_reference_frees() {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(3);
        model.check(|| {
            let shared = Shared::new();
            shared.status.acquire_ref();
            let body = {
                let shared = shared.clone();
                loom::thread::spawn(move || {
                    let dropped = shared.complete();
                    (dropped, shared.release(Status::release_completed))
                })
            };
            let thread = {
                let shared = shared.clone();
                loom::thread::spawn(move || {
                    let _first = shared.status.cancel();
                    shared.release(Status::release_ref)
                })
            };
            let owned = match shared.status.release_interest() {
                Released::OwnsResult => shared.take().is_some(),
                Released::BeforeCompletion => false,
            };
            let mut last = usize::from(shared.release(Status::release_ref));
            let (dropped, body_last) = body.join().unwrap();
            last += usize::from(body_last) + usize::from(thread.join().unwrap());
            assert!(dropped != owned, "the result is dropped exactly once");
            assert_eq!(last, 1, "exactly one reference is the last");
        });
    }

    /// The joiner's wait is ended by a cancellation, and the joiner joins again in a later wait
    /// (a scope's does): the ticket cell is never written while the completer reads it.
    #[test]
    fn a_second_wait_of_the_joiner() {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(3);
        model.check(|| {
            let shared = Shared::new();
            let body = {
                let shared = shared.clone();
                loom::thread::spawn(move || {
                    shared.complete();
                    assert!(!shared.release(Status::release_completed));
                })
            };
            for round in 0..2 {
                if shared.status.is_complete() {
                    break;
                }
                let seq = shared.joiner.begin();
                // SAFETY: as above.
                shared.ticket.with_mut(|cell| unsafe { *cell = Some(seq) });
                if !shared.status.publish_joiner() {
                    assert!(shared.joiner.retract(seq));
                    break;
                }
                if round == 0 && shared.joiner.claim(seq) {
                    // The cancellation was faster than the completer.
                    if !shared.status.retract_joiner() {
                        while !shared.status.is_joiner_released() {
                            loom::thread::yield_now();
                        }
                    }
                    shared.waits.with_mut(|_| ());
                    continue;
                }
                while shared.joiner.is_waiting() {
                    loom::thread::yield_now();
                }
                assert!(shared.status.is_complete());
                break;
            }
            assert!(shared.status.is_complete());
            assert_eq!(shared.take(), Some(7));
            body.join().unwrap();
        });
    }
}
