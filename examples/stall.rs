//! Two ways to keep a worker from its coroutines, and what the stall watch and a dump say of them.
//!
//! ```sh
//! cargo run --example stall
//! ```
//!
//! 1. A coroutine computes, and neither parks nor yields. Work of that kind belongs in
//!    `pirn::blocking`.
//! 2. A coroutine holds a lock of *std's* while it waits, and another one of the same worker wants
//!    that lock. The second blocks the thread, so the first, whatever it waits for, never goes on:
//!    the worker is lost. The lock belongs to `pirn::sync`, as the end of this example shows.

use pirn::channel::{Receiver, Sender, bounded};
use pirn::{Runtime, Stall, thread};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;

pub(crate) fn main() {
    computing();
    holding_a_lock_of_std();
    holding_a_lock_of_pirn();
}

/// A runtime with one worker, and what its watch says.
fn watched(name: &str) -> (Runtime, mpsc::Receiver<Stall>) {
    let (sent, reports) = mpsc::channel();
    let sent = Mutex::new(sent);
    let runtime = pirn::Builder::new()
        .workers(1)
        .name(name)
        .stall_after(Duration::from_millis(50))
        .on_stall(move |stall| {
            let sent = sent.lock().unwrap_or_else(PoisonError::into_inner);
            // Nobody listens any more once the example has seen enough.
            let _heard = sent.send(stall.clone());
        })
        .build()
        .expect("a runtime");
    (runtime, reports)
}

/// Waits for a report of that coroutine that says that somebody waits, and prints it.
fn report_of(name: &str, reports: &mpsc::Receiver<Stall>) {
    let ours = |stall: &Stall| stall.name.as_deref() == Some(name) && stall.waiting > 0;
    let stall = reports.iter().find(ours).expect("the watch reports for as long as it lasts");
    println!(
        "stall: worker {} has run coroutine {} \"{name}\", spawned at {}, for {:.0?}; \
         at least {} more cannot go on",
        stall.worker, stall.coroutine, stall.spawned_at, stall.running_for, stall.waiting,
    );
}

fn named(name: &str) -> thread::Builder {
    thread::Builder::new().name(name.into())
}

fn computing() {
    println!("1. a coroutine computes\n");
    let (runtime, reports) = watched("computing");
    let parked = runtime.spawn(thread::park);
    let enough = Arc::new(AtomicBool::new(false));
    let theirs = enough.clone();
    let (begins, begun) = mpsc::channel();
    let compute = move || {
        begins.send(()).expect("somebody waits for it");
        while !theirs.load(Ordering::Relaxed) {
            std::hint::spin_loop();
        }
    };
    let hog = runtime.run(|| named("hog").spawn(compute)).expect("a coroutine");
    begun.recv().expect("it begins");
    // Its worker does not come to it.
    parked.thread().unpark();
    report_of("hog", &reports);
    println!("\n{}", runtime.dump());
    enough.store(true, Ordering::Relaxed);
    hog.join().expect("the hog ends");
    parked.join().expect("and so does whoever waited for it");
}

fn holding_a_lock_of_std() {
    println!("2. a coroutine holds a lock of std's while it waits\n");
    let (runtime, reports) = watched("std's lock");
    let lock = Arc::new(Mutex::new(0));
    let (go_on, gate, has, wants) = gates();
    let theirs = lock.clone();
    let keep = move || {
        let mut guard = theirs.lock().unwrap_or_else(PoisonError::into_inner);
        has.send(()).expect("somebody waits for it");
        *guard += gate.recv().unwrap_or(0);
    };
    let _keeper = runtime.run(|| named("keeper").spawn(keep)).expect("a coroutine");
    wants.recv().expect("it has the lock");
    // This blocks the worker, and not the coroutine.
    let want = move || *lock.lock().unwrap_or_else(PoisonError::into_inner) += 1;
    let _wanting = runtime.run(|| named("wanting").spawn(want)).expect("a coroutine");
    // What the keeper waits for comes, and makes it ready; but its worker is the one that is blocked.
    reports.iter().find(|stall| stall.name.as_deref() == Some("wanting")).expect("a report");
    go_on.send(1).expect("the keeper waits for it");
    report_of("wanting", &reports);
    println!("\n{}", runtime.dump());
    // A runtime waits for its coroutines when it is dropped, and these do not end.
    std::mem::forget(runtime);
}

fn holding_a_lock_of_pirn() {
    println!("3. the same with a lock of pirn's\n");
    let (runtime, _reports) = watched("pirn's lock");
    let lock = Arc::new(pirn::sync::Mutex::new(0));
    let (go_on, gate, has, wants) = gates();
    let theirs = lock.clone();
    let keep = move || {
        let mut guard = theirs.lock().unwrap_or_else(PoisonError::into_inner);
        has.send(()).expect("somebody waits for it");
        *guard += gate.recv().unwrap_or(0);
    };
    let keeper = runtime.run(|| named("keeper").spawn(keep)).expect("a coroutine");
    wants.recv().expect("it has the lock");
    let theirs = lock.clone();
    let want = move || *theirs.lock().unwrap_or_else(PoisonError::into_inner) += 1;
    let wanting = runtime.run(|| named("wanting").spawn(want)).expect("a coroutine");
    go_on.send(1).expect("the keeper waits for it");
    for one in [keeper, wanting] {
        one.join().expect("it ends");
    }
    println!("both end: {}", lock.lock().unwrap_or_else(PoisonError::into_inner));
}

/// What the keeper of a lock waits for, and how it says that it has it.
fn gates() -> (Sender<i32>, Receiver<i32>, mpsc::Sender<()>, mpsc::Receiver<()>) {
    let (go_on, gate) = bounded(1);
    let (has, wants) = mpsc::channel();
    (go_on, gate, has, wants)
}
