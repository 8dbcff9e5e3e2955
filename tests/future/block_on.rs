//! `pirn::block_on`, from coroutines and threads.

use crate::support::{Flag, everywhere, until};
use pirn::time::timeout;
use pirn::{CancelToken, block_on};
use std::cell::Cell;
use std::future::{pending, poll_fn, ready};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::time::Duration;

const SHORT: Duration = Duration::from_millis(2);

/// Counts its drops.
struct OnDrop<'a>(&'a AtomicUsize);

impl Drop for OnDrop<'_> {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn what_is_ready_is_returned_and_may_borrow_and_stay() {
    everywhere(|| {
        let text = String::from("text");
        let local = Rc::new(Cell::new(1));
        let theirs = local.clone();
        let len = block_on(async {
            theirs.set(ready(2).await);
            text.len()
        });
        assert_eq!((len, local.get()), (4, 2));
    });
}

#[test]
fn a_wake_before_the_wait_is_not_lost() {
    everywhere(|| {
        let mut polls = 0;
        block_on(poll_fn(|context| {
            polls += 1;
            context.waker().wake_by_ref();
            let again = context.waker().clone();
            again.wake_by_ref();
            again.wake();
            if polls < 3 { Poll::Pending } else { Poll::Ready(()) }
        }));
        assert_eq!(polls, 3);
    });
}

#[test]
fn it_is_woken_from_threads_and_coroutines() {
    everywhere(|| {
        for round in 0..200 {
            let flag = Flag::default();
            let theirs = flag.clone();
            if round % 2 == 0 {
                let thread = std::thread::spawn(move || theirs.set());
                block_on(flag);
                thread.join().unwrap();
            } else {
                let coroutine = pirn::spawn(move || theirs.set());
                block_on(flag);
                coroutine.join().unwrap();
            }
        }
    });
}

#[test]
fn many_wakes_without_a_reason_do_no_harm() {
    everywhere(|| {
        let flag = Flag::default();
        let theirs = flag.clone();
        let over = Arc::new(AtomicBool::new(false));
        let pokers: Vec<_> = (0..2)
            .map(|_| {
                let (flag, over) = (flag.clone(), over.clone());
                std::thread::spawn(move || {
                    while !over.load(Ordering::SeqCst) {
                        flag.poke();
                        std::thread::yield_now();
                    }
                })
            })
            .collect();
        let setter = std::thread::spawn(move || {
            until(|| theirs.is_polled());
            theirs.set();
        });
        block_on(flag);
        over.store(true, Ordering::SeqCst);
        setter.join().unwrap();
        pokers.into_iter().for_each(|poker| poker.join().unwrap());
    });
}

#[test]
fn a_waker_outlives_what_it_woke() {
    let kept = Mutex::new(None::<Waker>);
    everywhere(|| {
        block_on(poll_fn(|context| {
            *kept.lock().unwrap() = Some(context.waker().clone());
            Poll::Ready(())
        }));
        let waker = kept.lock().unwrap().take().unwrap();
        waker.wake_by_ref();
        waker.wake_by_ref();
        // Nothing of the next wait is ended by it.
        assert!(timeout(SHORT, || block_on(pending::<()>())).is_err());
        std::thread::spawn(move || waker.wake()).join().unwrap();
    });
}

#[test]
fn it_nests() {
    everywhere(|| {
        let (outer, inner) = (Flag::default(), Flag::default());
        let theirs = (outer.clone(), inner.clone());
        let setter = pirn::spawn(move || {
            // The wake of the outer one comes while the inner one waits.
            until(|| theirs.1.is_polled());
            theirs.0.set();
            theirs.1.set();
        });
        let mut inner = Some(inner);
        let mut outer = outer;
        block_on(poll_fn(|context| {
            let result = std::pin::Pin::new(&mut outer).poll(context);
            inner.take().into_iter().for_each(block_on);
            result
        }));
        setter.join().unwrap();
    });
}

#[test]
fn a_timeout_drops_the_future() {
    everywhere(|| {
        let drops = AtomicUsize::new(0);
        let waiting = async {
            let _dropped = OnDrop(&drops);
            pending::<()>().await;
        };
        assert!(timeout(SHORT, || block_on(waiting)).is_err());
        assert_eq!(drops.load(Ordering::SeqCst), 1);
    });
}

#[test]
fn a_cancellation_drops_the_future() {
    let drops = Arc::new(AtomicUsize::new(0));
    let flag = Flag::default();
    let theirs = (drops.clone(), flag.clone());
    let worker = pirn::spawn(move || {
        block_on(async {
            let _dropped = OnDrop(&theirs.0);
            theirs.1.await;
        });
    });
    until(|| flag.is_polled());
    worker.cancel();
    assert!(worker.join().unwrap_err().is::<pirn::Cancelled>());
    assert_eq!(drops.load(Ordering::SeqCst), 1);
    flag.set();
}

/// It never waits, so it has to be ended between two polls.
#[test]
fn a_future_that_wakes_itself_for_ever_can_be_ended() {
    let spin = || {
        block_on(poll_fn(|context| {
            context.waker().wake_by_ref();
            Poll::<()>::Pending
        }));
    };
    everywhere(|| {
        assert!(timeout(SHORT, spin).is_err());
        let token = CancelToken::new();
        let theirs = token.clone();
        let canceller = std::thread::spawn(move || theirs.cancel());
        assert!(token.run(spin).is_err());
        canceller.join().unwrap();
    });
    let worker = pirn::spawn(spin);
    worker.cancel();
    assert!(worker.join().unwrap_err().is::<pirn::Cancelled>());
}

#[test]
fn a_future_that_wakes_itself_lets_others_run() {
    let runtime = pirn::Builder::new().workers(1).build().unwrap();
    runtime.run(|| {
        let done = Arc::new(AtomicBool::new(false));
        let theirs = done.clone();
        pirn::spawn(move || theirs.store(true, Ordering::SeqCst));
        block_on(poll_fn(|context| {
            context.waker().wake_by_ref();
            if done.load(Ordering::SeqCst) { Poll::Ready(()) } else { Poll::Pending }
        }));
    });
}

#[test]
fn a_panic_comes_out() {
    everywhere(|| {
        let payload = catch_unwind(AssertUnwindSafe(|| {
            block_on(async { std::panic::resume_unwind(Box::new(7)) })
        }));
        let payload: Result<(), _> = payload;
        assert_eq!(payload.unwrap_err().downcast_ref(), Some(&7));
    });
}

/// A destructor that drives a future while a cancellation unwinds.
#[test]
fn it_works_while_unwinding() {
    struct Late(Flag, Arc<AtomicBool>);

    impl Drop for Late {
        fn drop(&mut self) {
            block_on(self.0.clone());
            self.1.store(true, Ordering::SeqCst);
        }
    }

    // In a runtime that ends: what carries panics for it is given back then.
    pirn::Builder::new().workers(2).build().unwrap().run(|| {
        let (flag, done) = (Flag::default(), Arc::new(AtomicBool::new(false)));
        let late = Late(flag.clone(), done.clone());
        let worker = pirn::spawn(move || {
            let _late = late;
            pirn::thread::park();
        });
        until(|| {
            worker.cancel();
            flag.is_polled()
        });
        flag.set();
        assert!(worker.join().is_err());
        assert!(done.load(Ordering::SeqCst));
    });
}

/// Two coroutines that hand a turn to each other, many times, by wakers alone.
#[test]
fn no_wake_is_lost_between_two() {
    #[derive(Default)]
    struct Turn {
        turn: usize,
        waker: Option<Waker>,
    }

    const ROUNDS: usize = 2_000;
    for workers in [1, 2] {
        pirn::Builder::new().workers(workers).build().unwrap().run(|| {
            let turn = Arc::new(Mutex::new(Turn::default()));
            let players: Vec<_> = (0..2)
                .map(|player| {
                    let turn = turn.clone();
                    pirn::spawn(move || {
                        for _ in 0..ROUNDS {
                            block_on(poll_fn(|context| {
                                let mut turn = turn.lock().unwrap();
                                if turn.turn % 2 != player {
                                    turn.waker = Some(context.waker().clone());
                                    return Poll::Pending;
                                }
                                turn.turn += 1;
                                let waker = turn.waker.take();
                                drop(turn);
                                waker.into_iter().for_each(Waker::wake);
                                Poll::Ready(())
                            }));
                        }
                    })
                })
                .collect();
            players.into_iter().for_each(|player| player.join().unwrap());
            assert_eq!(turn.lock().unwrap().turn, 2 * ROUNDS);
        });
    }
}
