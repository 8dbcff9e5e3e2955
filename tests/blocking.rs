//! The blocking pool, where what it is given misbehaves.

use std::sync::mpsc::{self, Receiver, Sender};
use std::time::Duration;

/// Says so when it is dropped, and panics then, and its payload does too.
struct PanicsOnDrop(Sender<()>);

impl Drop for PanicsOnDrop {
    fn drop(&mut self) {
        struct Payload;

        impl Drop for Payload {
            fn drop(&mut self) {
                std::panic::resume_unwind(Box::new(()));
            }
        }

        self.0.send(()).unwrap();
        std::panic::resume_unwind(Box::new(Payload));
    }
}

fn runtime() -> pirn::Runtime {
    pirn::Builder::new().workers(1).max_blocking_threads(1).build().unwrap()
}

fn within_patience<T>(receiver: &Receiver<T>) -> T {
    receiver.recv_timeout(Duration::from_secs(120)).expect("the pool hangs")
}

/// Drops the runtime on a thread of its own, which says when it is done.
fn drop_elsewhere(runtime: pirn::Runtime) -> Receiver<()> {
    let (sent, done) = mpsc::channel();
    std::thread::spawn(move || {
        drop(runtime);
        sent.send(()).unwrap();
    });
    done
}

/// Whoever waited has been cancelled, so the job's thread drops the result.
#[test]
fn a_result_that_nobody_waits_for_panics_on_drop() {
    let runtime = runtime();
    let (dropped, drops) = mpsc::channel();
    let (began, beginnings) = mpsc::channel();
    let (let_go, gate) = mpsc::channel::<()>();
    let waiter = runtime.spawn(move || {
        pirn::blocking(move || {
            began.send(()).unwrap();
            gate.recv().unwrap();
            PanicsOnDrop(dropped)
        });
    });
    within_patience(&beginnings);
    let done = drop_elsewhere(runtime);
    let cancelled = waiter.join().unwrap_err();
    assert!(cancelled.is::<pirn::Cancelled>());
    let_go.send(()).unwrap();
    within_patience(&drops);
    within_patience(&done);
}

/// A job that never ran is dropped by whoever closes the pool.
#[test]
fn a_queued_job_panics_on_drop() {
    let runtime = runtime();
    let (dropped, drops) = mpsc::channel();
    let (began, beginnings) = mpsc::channel();
    let (let_go, gate) = mpsc::channel::<()>();
    let first = runtime.spawn(move || {
        pirn::blocking(move || {
            began.send(()).unwrap();
            gate.recv().unwrap();
        });
    });
    within_patience(&beginnings);
    // The only thread is taken, so these wait.
    let queued: Vec<_> = (0..3)
        .map(|_| {
            let bomb = PanicsOnDrop(dropped.clone());
            runtime.spawn(move || pirn::blocking(move || drop(bomb)))
        })
        .collect();
    while runtime.metrics().blocking_queued < queued.len() {
        std::thread::yield_now();
    }
    let done = drop_elsewhere(runtime);
    for waiter in queued {
        assert!(waiter.join().unwrap_err().is::<pirn::Cancelled>());
    }
    assert!(first.join().unwrap_err().is::<pirn::Cancelled>());
    (0..3).for_each(|_| within_patience(&drops));
    let_go.send(()).unwrap();
    within_patience(&done);
}

/// In a scope that may end, a plain thread waits for work that a thread of its own does.
#[test]
fn a_plain_thread_in_a_scope_gets_the_result_and_the_panic() {
    let patience = Duration::from_secs(120);
    let here = std::thread::current().id();
    let run_on = || pirn::blocking(|| std::thread::current().id());
    assert_eq!(run_on(), here);
    assert_ne!(pirn::time::timeout(patience, run_on).unwrap(), here);
    let panics = std::panic::catch_unwind(|| {
        pirn::time::timeout(patience, || {
            pirn::blocking(|| std::panic::resume_unwind(Box::new("expected")));
        })
    });
    assert_eq!(panics.unwrap_err().downcast_ref(), Some(&"expected"));
}

/// What is left behind by a scope that is over may panic as it likes.
#[test]
fn a_result_for_a_plain_thread_that_has_gone_on_panics_on_drop() {
    let (dropped, drops) = mpsc::channel();
    let (let_go, gate) = mpsc::channel::<()>();
    let over = pirn::time::timeout(Duration::from_millis(2), || {
        pirn::blocking(move || {
            gate.recv().unwrap();
            PanicsOnDrop(dropped)
        })
    });
    assert!(over.is_err());
    let_go.send(()).unwrap();
    within_patience(&drops);
}
