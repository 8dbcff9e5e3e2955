//! The check of debug builds for guards that are held across a wait.
#![cfg(debug_assertions)]

use pirn::sync::{Condvar, Mutex, RwLock, RwLockWriteGuard, mpsc};
use pirn::{Builder, HeldGuard, channel, thread};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

type Reports = Arc<std::sync::Mutex<Vec<HeldGuard>>>;

/// What `f` is reported for.
fn reports_of(f: impl FnOnce() + Send + 'static) -> Vec<HeldGuard> {
    let reports = Reports::default();
    let theirs = reports.clone();
    let report = move |held: &HeldGuard| theirs.lock().unwrap().push(held.clone());
    let runtime = Builder::new().workers(1).on_held_guard(report).build().unwrap();
    runtime.run(|| {
        thread::Builder::new().name("holder".into()).spawn(f).unwrap().join().unwrap();
    });
    drop(runtime);
    Arc::into_inner(reports).unwrap().into_inner().unwrap()
}

/// Waits, in any case: who ends the wait lives on this worker, and runs when it has begun.
fn nap() {
    let me = thread::current();
    thread::spawn_local(move || me.unpark());
    thread::park();
}

#[test]
fn a_wait_with_a_guard_is_told_with_the_place() {
    let line = line!() + 3;
    let reports = reports_of(|| {
        let mutex = Mutex::new(());
        let _guard = mutex.lock().unwrap();
        nap();
    });
    let [report] = &reports[..] else { panic!("{reports:?}") };
    assert_eq!((report.locked_at.file(), report.locked_at.line()), (file!(), line));
    assert_eq!((report.name.as_deref(), report.guards), (Some("holder"), 1));
    assert_eq!(report.waits_for, "park");
    assert_eq!(report.spawned_at.file(), file!());
}

#[test]
fn every_kind_of_guard_counts_and_ceases_to() {
    let reports = reports_of(|| {
        let (mutex, lock) = (Mutex::new(()), RwLock::new(()));
        nap();
        let (one, two) = (mutex.lock().unwrap(), lock.write().unwrap());
        nap();
        let two = RwLockWriteGuard::downgrade(two);
        let three = lock.read().unwrap();
        nap();
        drop((one, three));
        nap();
        drop(two);
        nap();
    });
    let guards: Vec<u32> = reports.iter().map(|report| report.guards).collect();
    assert_eq!(guards, [2, 3, 1]);
}

#[test]
fn waits_for_locks_are_no_matter() {
    let reports = reports_of(|| {
        let (one, two) = (Arc::new(Mutex::new(false)), Arc::new(Mutex::new(())));
        let turned = Arc::new(Condvar::new());
        let held = two.lock().unwrap();
        let (theirs, wanted, turns) = (one.clone(), two.clone(), turned.clone());
        let other = pirn::spawn(move || {
            *theirs.lock().unwrap() = true;
            turns.notify_all();
            // It waits for this one.
            drop(wanted.lock().unwrap());
        });
        let guard = one.lock().unwrap();
        drop(turned.wait_while(guard, |turned| !*turned).unwrap());
        drop(held);
        other.join().unwrap();
    });
    assert!(reports.is_empty(), "{reports:?}");
}

#[test]
fn a_report_may_lock_for_itself() {
    static SEEN: Mutex<Vec<String>> = Mutex::new(Vec::new());
    let report = |held: &HeldGuard| SEEN.lock().unwrap().push(held.waits_for.clone());
    let runtime = Builder::new().workers(1).on_held_guard(report).build().unwrap();
    runtime.run(|| {
        let (send, receive) = mpsc::channel();
        let mutex = Mutex::new(receive);
        // It starts on this worker and nowhere else, so not before this one waits.
        thread::spawn_local(move || send.send(()).unwrap());
        mutex.lock().unwrap().recv().unwrap();
    });
    let seen = SEEN.lock().unwrap();
    assert_eq!(seen.len(), 1);
    assert!(seen[0].starts_with("channel receive"), "{seen:?}");
}

/// What a scope has lent out lasts until it is given back, whatever the report does.
#[test]
fn a_report_that_panics_ends_no_wait() {
    let report = |held: &HeldGuard| panic!("told of {}", held.waits_for);
    let runtime = Builder::new().workers(1).on_held_guard(report).build().unwrap();
    let (lent, seen) = (AtomicUsize::new(0), AtomicUsize::new(0));
    runtime.run(|| {
        let mutex = Mutex::new(());
        let _guard = mutex.lock().unwrap();
        thread::scope(|scope| {
            scope.spawn(|| {
                nap();
                lent.fetch_add(1, Ordering::Relaxed);
            });
        });
        seen.store(lent.load(Ordering::Relaxed), Ordering::Relaxed);
    });
    assert_eq!(seen.into_inner(), 1);
}

/// A channel that is about to be waited for is not locked meanwhile.
#[test]
fn a_report_may_use_the_channel_that_is_waited_for() {
    let (sends, receives) = channel::bounded::<u32>(1);
    let (told, seen) = (sends.clone(), Arc::new(AtomicUsize::new(0)));
    let reports = seen.clone();
    let report = move |held: &HeldGuard| {
        assert!(held.waits_for.starts_with("channel receive"), "{held:?}");
        reports.fetch_add(1 + told.len(), Ordering::Relaxed);
    };
    let runtime = Builder::new().workers(1).on_held_guard(report).build().unwrap();
    runtime.run(move || {
        let mutex = Mutex::new(receives);
        let receives = mutex.lock().unwrap();
        for round in 0..3 {
            let sends = sends.clone();
            thread::spawn_local(move || sends.send(round).unwrap());
            assert_eq!(receives.recv(), Ok(round));
        }
    });
    assert_eq!(seen.load(Ordering::Relaxed), 3);
}
