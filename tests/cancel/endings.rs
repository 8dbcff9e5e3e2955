//! Cancellation between runtimes, and at the end of one.

use crate::support::{Drops, LONG, SHORT, runtime};
use pirn::time::timeout;
use pirn::{CancelToken, shield, thread};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};

/// Whoever cancels may do so because its runtime ends, where no coroutine begins any more.
#[test]
fn a_callback_is_called_when_the_runtime_of_whoever_cancels_ends() {
    for workers in [1, 2] {
        let runtime = runtime(workers);
        let token = CancelToken::new();
        let calls = Arc::new(AtomicUsize::new(0));
        for _ in 0..10 {
            let calls = calls.clone();
            let callback = token.on_cancel(move |cause| {
                assert_eq!(cause.to_string(), "cancelled");
                thread::yield_now();
                calls.fetch_add(1, Ordering::SeqCst);
            });
            callback.detach();
        }
        let (begun, begins) = mpsc::channel();
        let guard = token.drop_guard();
        runtime.spawn(move || {
            let _guard = guard;
            begun.send(()).unwrap();
            thread::park();
        });
        begins.recv().unwrap();
        drop(runtime);
        assert!(token.is_cancelled());
        // The runtime has waited for them.
        assert_eq!(calls.load(Ordering::SeqCst), 10);
    }
}

/// Whatever the caller is: a plain thread, or a coroutine of that runtime or of another.
#[test]
fn what_runs_in_a_runtime_ends_with_its_caller() {
    let (inner, other) = (runtime(2), runtime(1));
    let drops = Drops::default();
    let test = || {
        let before = drops.get();
        let run = || {
            let guard = drops.guard();
            inner.run(move || {
                let _guard = guard;
                thread::sleep(LONG);
            });
        };
        assert!(timeout(SHORT, run).is_err());
        assert_eq!(drops.get(), before + 1);
        // Of what is over already.
        let token = CancelToken::new();
        let late = token.run(|| {
            token.cancel();
            run();
        });
        assert!(late.is_err());
        assert_eq!(drops.get(), before + 2);
        // A result that comes late is a result, and a panic is a panic.
        let token = CancelToken::new();
        let result = token.run(|| {
            inner.run(|| {
                token.cancel();
                5
            })
        });
        assert_eq!(result.unwrap(), 5);
        let token = CancelToken::new();
        let panics = || {
            inner.run(|| {
                token.cancel();
                std::panic::resume_unwind(Box::new(7));
            })
        };
        let caught = catch_unwind(AssertUnwindSafe(|| token.run(panics)));
        assert_eq!(*caught.unwrap_err().downcast::<i32>().unwrap(), 7);
        // Not what a shield keeps off.
        let shielded = timeout(SHORT, || shield(|| inner.run(|| thread::sleep(2 * SHORT))));
        assert!(shielded.is_ok());
    };
    test();
    inner.run(test);
    other.run(test);
    // A coroutine that is cancelled as a whole.
    let (begun, begins) = mpsc::channel();
    thread::scope(|s| {
        let inner = &inner;
        let caller = s.spawn(move || {
            inner.run(|| {
                begun.send(()).unwrap();
                thread::sleep(LONG);
            })
        });
        begins.recv().unwrap();
        caller.cancel();
        assert!(caller.join().unwrap_err().is::<pirn::Cancelled>());
    });
}

/// Who waits for the deadline is cut short with that runtime. Others wait for it still.
#[test]
fn a_deadline_is_waited_for_beyond_the_end_of_a_runtime() {
    for workers in [1, 2] {
        let (first, second) = (runtime(workers), runtime(workers));
        let token = CancelToken::with_timeout(10 * SHORT);
        let child = token.child();
        let calls = Arc::new(AtomicUsize::new(0));
        let theirs = calls.clone();
        let (called, calls_made) = pirn::channel::bounded(1);
        let done = first.run(|| {
            let callback = child.on_cancel(move |cause| {
                assert_eq!(cause.to_string(), "deadline exceeded");
                theirs.fetch_add(1, Ordering::SeqCst);
                called.send(()).unwrap();
            });
            callback.detach();
            token.done()
        });
        drop(first);
        // In another one, as long as that lasts.
        second.run(|| drop(token.done()));
        second.shutdown(LONG).unwrap();
        assert!(done.recv_timeout(LONG).unwrap_err().is_disconnected());
        calls_made.recv_timeout(LONG).unwrap();
        assert_eq!(calls.load(Ordering::SeqCst), 1);
    }
}

/// Also while somebody else is about to tell it, one of many.
#[test]
fn what_is_cancelled_has_a_cause() {
    const CHILDREN: usize = 100;
    for _ in 0..200 {
        let token = CancelToken::with_timeout(SHORT / 20);
        let children: Vec<_> = (0..CHILDREN).map(|_| token.child()).collect();
        std::thread::scope(|s| {
            s.spawn(|| while !token.is_cancelled() {});
            for child in [&children[0], &children[CHILDREN / 2], &children[CHILDREN - 1]] {
                s.spawn(|| {
                    while !child.is_cancelled() {}
                    assert_eq!(child.check().unwrap_err().to_string(), "deadline exceeded");
                });
            }
        });
    }
}
