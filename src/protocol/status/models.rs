//! What the model checker is asked about the status word.

#![expect(unsafe_code, reason = "loom cells are read and written through raw pointers")]

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

/// A joiner calls what it joins, which gives references to itself away, in time or too late to be in the
/// way of plain stores: nothing that another thread did is lost, and the last one frees.
#[test]
fn a_call_with_a_third_reference() {
    for gives_away_before in [true, false] {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(3);
        model.check(move || {
            let shared = Shared::new();
            let stranger = || {
                shared.status.acquire_ref();
                let shared = shared.clone();
                loom::thread::spawn(move || {
                    let asked = shared.status.cancel();
                    (asked, shared.release(Status::release_ref))
                })
            };
            let early = gives_away_before.then(stranger);
            shared.status.begin_call();
            let late = (!gives_away_before).then(stranger);
            assert!(!shared.complete(), "its joiner wants the result");
            let mut last = usize::from(shared.release(Status::release_completed));
            assert!(shared.status.is_complete());
            assert_eq!(shared.take(), Some(7));
            last += usize::from(shared.release(Status::release_ref));
            let (asked, was_last) = early.or(late).unwrap().join().unwrap();
            last += usize::from(was_last);
            assert_eq!(last, 1, "exactly one reference is the last");
            assert_ne!(asked, Asked::Again);
            assert!(shared.status.is_cancelled(), "a request to cancel is never lost");
        });
    }
}

/// What a joiner calls leaves its stack, and ends as one that was never called, while others have
/// references, and the joiner waits.
#[test]
fn a_call_that_becomes_a_wait() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(|| {
        let shared = Shared::new();
        shared.status.begin_call();
        shared.status.acquire_ref();
        let canceller = {
            let shared = shared.clone();
            loom::thread::spawn(move || {
                let asked = shared.status.cancel();
                (asked, shared.release(Status::release_ref))
            })
        };
        shared.status.end_call();
        let body = {
            let shared = shared.clone();
            loom::thread::spawn(move || {
                assert!(!shared.complete());
                shared.release(Status::release_completed)
            })
        };
        let seq = shared.joiner.begin();
        // SAFETY: no ticket is published.
        shared.ticket.with_mut(|cell| unsafe { *cell = Some(seq) });
        if shared.status.publish_joiner() {
            while shared.joiner.is_waiting() {
                loom::thread::yield_now();
            }
        } else {
            assert!(shared.joiner.retract(seq));
        }
        assert!(shared.status.is_complete());
        assert_eq!(shared.take(), Some(7));
        let mut last = usize::from(shared.release(Status::release_ref));
        let (asked, was_last) = canceller.join().unwrap();
        last += usize::from(body.join().unwrap()) + usize::from(was_last);
        assert_eq!(last, 1, "exactly one reference is the last");
        assert_ne!(asked, Asked::Again);
        assert!(shared.status.is_cancelled());
    });
}
