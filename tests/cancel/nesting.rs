//! Scopes in scopes, shields, destructors, and panics that are caught on the way.

use crate::support::{Drops, LONG, SHORT, runtime, until};
use pirn::time::{Instant, timeout};
use pirn::{CancelToken, shield, thread};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// In a coroutine and on a thread.
fn everywhere(test: fn()) {
    test();
    runtime(1).run(test);
}

#[test]
fn each_timeout_catches_its_own() {
    everywhere(|| {
        let inner = timeout(LONG, || timeout(SHORT, || thread::sleep(LONG)));
        assert!(inner.unwrap().is_err());
        let outer = timeout(SHORT, || timeout(LONG, || thread::sleep(LONG)));
        assert!(outer.is_err());
        // The outer one, if both are over.
        let both = timeout(SHORT, || timeout(SHORT, || std::thread::sleep(2 * SHORT)));
        assert!(both.unwrap().is_ok());
        let both = timeout(SHORT, || {
            timeout(SHORT, || {
                std::thread::sleep(2 * SHORT);
                thread::sleep(LONG);
            })
        });
        assert!(both.is_err());
    });
}

#[test]
fn a_wait_with_a_limit_of_its_own_keeps_it() {
    everywhere(|| {
        let start = Instant::now();
        timeout(LONG, || thread::sleep(SHORT)).unwrap();
        assert!(start.elapsed() >= SHORT);
        let (_sender, receiver) = pirn::channel::bounded::<()>(0);
        let received = timeout(LONG, || receiver.recv_timeout(SHORT)).unwrap();
        assert_eq!(received, Err(pirn::channel::RecvTimeoutError::Timeout));
    });
}

#[test]
fn tokens_and_timeouts_mix() {
    everywhere(|| {
        let token = CancelToken::new();
        token.cancel();
        let live = CancelToken::new();
        let result = live.run(|| timeout(SHORT, thread::park));
        assert!(result.unwrap().is_err());
        let short = live.child_with_timeout(SHORT);
        assert!(timeout(LONG, || short.run(|| thread::sleep(LONG))).unwrap().is_err());
        assert!(!live.is_cancelled() && short.is_cancelled());
    });
}

#[test]
fn a_shield_masks_what_is_outside_of_it() {
    everywhere(|| {
        let start = Instant::now();
        let result = timeout(SHORT, || {
            shield(|| {
                thread::sleep(4 * SHORT);
                // But not what is inside.
                assert!(timeout(SHORT, || thread::sleep(LONG)).is_err());
            });
            thread::sleep(LONG);
        });
        assert!(result.is_err());
        assert!(start.elapsed() >= 5 * SHORT);
    });
}

/// Parks in its destructor, with a timeout in there.
struct Lingers(Arc<AtomicU32>);

impl Drop for Lingers {
    fn drop(&mut self) {
        thread::sleep(SHORT / 4);
        assert!(timeout(SHORT / 2, || thread::sleep(LONG)).is_err());
        let nested = timeout(LONG, || timeout(SHORT / 2, thread::park));
        assert!(nested.unwrap().is_err());
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn destructors_wait_and_time_out_while_a_cancellation_unwinds() {
    let runtime = runtime(1);
    let lingered = Arc::new(AtomicU32::new(0));
    let (lingers, begun) = (Lingers(lingered.clone()), Drops::default());
    let begins = begun.guard();
    let coroutine = runtime.spawn(move || {
        let _lingers = lingers;
        drop(begins);
        thread::park();
    });
    until(|| begun.get() == 1);
    coroutine.cancel();
    assert!(coroutine.join().unwrap_err().is::<pirn::Cancelled>());
    let lingers = Lingers(lingered.clone());
    let result = runtime.run(move || {
        timeout(SHORT, || {
            let _lingers = lingers;
            thread::sleep(LONG);
        })
    });
    assert!(result.is_err());
    assert_eq!(lingered.load(Ordering::SeqCst), 2);
}

/// A destructor with a timeout in which something panics, whose destructor waits past that timeout:
/// nothing may unwind there.
#[test]
fn no_unwinding_leaves_a_destructor() {
    struct Sleeps(Drops);

    impl Drop for Sleeps {
        fn drop(&mut self) {
            thread::sleep(4 * SHORT);
            drop(self.0.guard());
        }
    }

    struct Panics(Drops);

    impl Drop for Panics {
        fn drop(&mut self) {
            let drops = self.0.clone();
            let caught = catch_unwind(AssertUnwindSafe(|| {
                timeout(SHORT, || {
                    let _sleeps = Sleeps(drops);
                    std::panic::resume_unwind(Box::new(1_u32));
                })
            }));
            assert!(caught.unwrap_err().is::<u32>());
        }
    }

    let drops = Drops::default();
    let panics = Panics(drops.clone());
    let runtime = runtime(1);
    let coroutine = runtime.spawn(move || {
        let _panics = panics;
        std::panic::resume_unwind(Box::new(2_u64));
    });
    assert!(coroutine.join().unwrap_err().is::<u64>());
    assert_eq!(drops.get(), 1);
}

#[test]
fn what_is_swallowed_comes_again_and_is_reported() {
    let reports = Arc::new(AtomicU32::new(0));
    let told = reports.clone();
    let runtime = pirn::Builder::new()
        .workers(1)
        .on_swallowed_cancel(move |swallowed| {
            assert!(swallowed.deliveries >= 16 && swallowed.whole);
            told.fetch_add(1, Ordering::SeqCst);
        })
        .build()
        .unwrap();
    let (begins, begun) = std::sync::mpsc::channel();
    let deaf = runtime.spawn(move || {
        begins.send(()).unwrap();
        let mut deliveries = 0;
        while deliveries < 40 {
            let caught = catch_unwind(|| thread::sleep(LONG));
            assert!(caught.unwrap_err().is::<pirn::Cancelled>());
            deliveries += 1;
        }
    });
    // It lets others run in between.
    let other = runtime.spawn(|| (0..10).for_each(|_| thread::yield_now()));
    begun.recv().unwrap();
    deaf.cancel();
    deaf.join().unwrap();
    other.join().unwrap();
    assert_eq!(reports.load(Ordering::SeqCst), 2);
}

/// No wait is in the way of what the program does when it is told.
#[test]
fn who_is_told_may_use_the_channel_that_is_waited_for() {
    let (sends, receives) = pirn::channel::bounded::<u32>(1);
    let watched = sends.clone();
    let (tells, told) = std::sync::mpsc::channel();
    let runtime = pirn::Builder::new()
        .workers(1)
        .on_swallowed_cancel(move |_| {
            let full = watched.try_send(1).is_err();
            tells.send((full, watched.len())).unwrap();
        })
        .build()
        .unwrap();
    let deaf = runtime.spawn(move || {
        for _ in 0..20 {
            // It yields before it says that it is cancelled, so there is nothing to take.
            let caught = catch_unwind(AssertUnwindSafe(|| receives.recv()));
            assert!(caught.is_err() || caught.unwrap() == Ok(1));
        }
    });
    runtime.run(|| ());
    deaf.cancel();
    deaf.join().unwrap();
    assert_eq!(told.recv().unwrap(), (false, 1));
    drop(sends);
}

/// Who is cancelled in a `park` has not returned from it, so the token is still there.
#[test]
fn a_park_that_is_ended_leaves_the_token() {
    // On one worker both have happened before whoever parks runs again.
    runtime(1).run(|| {
        let token = CancelToken::new();
        let (me, theirs) = (thread::current(), token.clone());
        let canceller = thread::spawn_local(move || {
            theirs.cancel();
            me.unpark();
        });
        assert!(token.run(thread::park).is_err());
        canceller.join().unwrap();
        let start = Instant::now();
        thread::park_timeout(LONG);
        assert!(start.elapsed() < LONG, "the token is gone");
    });
}

#[test]
fn a_scope_passes_it_on_and_waits() {
    let runtime = runtime(2);
    let (drops, begun) = (Drops::default(), Drops::default());
    for way in 0..3 {
        let before = drops.get();
        let (theirs, begins) = (drops.clone(), begun.clone());
        let token = CancelToken::new();
        let children = move || {
            let here = 5;
            thread::scope(|s| {
                for _ in 0..10 {
                    let (guard, begins) = (theirs.guard(), begins.guard());
                    let here = &here;
                    s.spawn(move || {
                        let _guard = guard;
                        assert_eq!(*here, 5);
                        drop(begins);
                        thread::park();
                    });
                }
                if way == 0 {
                    thread::sleep(LONG);
                }
            });
        };
        let theirs = token.clone();
        let parent = runtime.spawn(move || match way {
            0 | 1 => children(),
            _ => assert!(theirs.run(children).is_err()),
        });
        until(|| begun.get() == before + 10);
        if way < 2 {
            parent.cancel();
            assert!(parent.join().unwrap_err().is::<pirn::Cancelled>());
        } else {
            token.cancel();
            parent.join().unwrap();
        }
        assert_eq!(drops.get(), before + 10);
    }
    let result = runtime.run(|| timeout(SHORT, || thread::scope(|s| drop(s.spawn(thread::park)))));
    assert!(result.is_err());
}

/// A child that spawns in a scope that is being cancelled gets a cancelled sibling.
#[test]
fn a_cancelled_scope_begins_nothing() {
    runtime(1).run(|| {
        let result = timeout(SHORT, || {
            thread::scope(|s| {
                s.spawn(|| {
                    shield(|| thread::sleep(4 * SHORT));
                    s.spawn(|| unreachable!("the scope is cancelled"));
                });
            });
        });
        assert!(result.is_err());
    });
}

#[test]
fn one_that_is_cancelled_in_a_scope_is_a_failure_of_the_scope() {
    let scope = || {
        thread::scope(|s| {
            s.spawn(thread::park).cancel();
        });
    };
    assert!(catch_unwind(scope).is_err());
    // Unless it is joined.
    thread::scope(|s| {
        let child = s.spawn(thread::park);
        child.cancel();
        assert!(child.join().unwrap_err().is::<pirn::Cancelled>());
    });
}

#[test]
fn callbacks_run_in_coroutines() {
    let add = |calls: &AtomicU32, n| {
        calls.fetch_add(n, Ordering::SeqCst);
    };
    let calls = Arc::new(AtomicU32::new(0));
    let (first, second, third) = (calls.clone(), calls.clone(), calls.clone());
    // One that is taken back is not called. Not the token below: it may be over before that.
    let other = CancelToken::new();
    drop(other.on_cancel(move |_| add(&second, 100)));
    other.cancel();
    let token = CancelToken::with_timeout(SHORT);
    token.on_cancel(move |_| add(&first, 1)).detach();
    let child = token.child();
    let callback = child.on_cancel(move |cause| {
        thread::sleep(SHORT / 10);
        assert_eq!(cause.to_string(), "deadline exceeded");
        third.fetch_add(10, Ordering::SeqCst);
    });
    until(|| calls.load(Ordering::SeqCst) == 11);
    drop(callback);
    let fourth = calls.clone();
    token.on_cancel(move |_| add(&fourth, 1000)).detach();
    until(|| calls.load(Ordering::SeqCst) == 1011);
}

#[test]
fn a_long_line_of_children_goes_without_recursion() {
    let mut tokens = vec![CancelToken::new()];
    for _ in 0..100_000 {
        tokens.push(tokens[tokens.len() - 1].child());
    }
    let (root, leaf) = (tokens[0].clone(), tokens.pop().unwrap());
    drop(tokens);
    root.cancel_with("enough");
    assert_eq!(leaf.cause().unwrap().to_string(), "enough");
    drop(leaf);
}

/// Whoever has caught a timeout's unwinding and left the timeout is like anybody else: his panics poison.
#[test]
fn what_was_swallowed_in_a_scope_ends_with_it() {
    runtime(1).run(|| {
        let swallowed = timeout(SHORT, || catch_unwind(|| thread::sleep(LONG)).is_err());
        assert_eq!(swallowed, Ok(true));
        let mutex = pirn::sync::Mutex::new(());
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            let _guard = mutex.lock();
            std::panic::resume_unwind(Box::new(()));
        }));
        assert!(panicked.is_err() && mutex.is_poisoned());
    });
}
