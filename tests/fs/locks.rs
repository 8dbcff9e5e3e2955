//! Locks of files.

use crate::support::{Folder, narrow, until, within_patience};
use pirn::fs::{File, TryLockError};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Each with an open file of its own, so that the locks exclude each other. There is one thread
/// for blocking work, which stays free.
#[test]
fn a_crowd_takes_turns() {
    within_patience(|| {
        let folder = Folder::new();
        let path = folder.join("lock");
        std::fs::write(&path, "").unwrap();
        let runtime = narrow(2);
        let held = std::fs::File::open(&path).unwrap();
        held.lock().unwrap();
        let inside = Arc::new(AtomicUsize::new(0));
        let crowd: Vec<_> = (0..50)
            .map(|_| {
                let (path, inside) = (path.clone(), inside.clone());
                runtime.spawn(move || {
                    let file = File::open(path).unwrap();
                    file.lock().unwrap();
                    assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                    pirn::thread::yield_now();
                    assert_eq!(inside.fetch_sub(1, Ordering::SeqCst), 1);
                    file.unlock().unwrap();
                })
            })
            .collect();
        runtime.run(|| {
            for _ in 0..100 {
                pirn::fs::metadata(&path).unwrap();
            }
        });
        assert!(crowd.iter().all(|one| !one.is_finished()));
        drop(held);
        crowd.into_iter().for_each(|one| one.join().unwrap());
    });
}

/// A lock ends with its file, and whoever waits is told.
#[test]
fn readers_and_writers() {
    within_patience(|| {
        let folder = Folder::new();
        let path = folder.join("lock");
        std::fs::write(&path, "").unwrap();
        let runtime = pirn::Builder::new().workers(2).build().unwrap();
        let open = || File::open(&path).unwrap();
        runtime.run(|| {
            let (one, two, three) = (open(), open(), open());
            one.lock_shared().unwrap();
            two.lock_shared().unwrap();
            assert!(matches!(three.try_lock(), Err(TryLockError::WouldBlock)));
            three.try_lock_shared().unwrap();
            three.unlock().unwrap();
            let writer = pirn::spawn(move || {
                three.lock().unwrap();
                three
            });
            pirn::thread::sleep(Duration::from_millis(5));
            // A reader does not queue behind a writer: one of those inside may wait for it.
            let reader = open();
            pirn::spawn(move || reader.lock_shared().unwrap()).join().unwrap();
            assert!(!writer.is_finished());
            drop(one);
            assert!(!writer.is_finished());
            drop(two);
            let three = writer.join().unwrap();
            let fourth = open();
            assert!(matches!(fourth.try_lock_shared(), Err(TryLockError::WouldBlock)));
            // Down to a shared one, which others may have too, also if one that came first may not.
            let waiting = Arc::new(AtomicUsize::new(0));
            let (fifth, begun) = (open(), waiting.clone());
            let writer = pirn::spawn(move || {
                begun.fetch_add(1, Ordering::SeqCst);
                fifth.lock().unwrap();
            });
            until(|| waiting.load(Ordering::SeqCst) == 1);
            pirn::thread::sleep(Duration::from_millis(5));
            let begun = waiting.clone();
            let reader = pirn::spawn(move || {
                begun.fetch_add(1, Ordering::SeqCst);
                fourth.lock_shared().unwrap();
            });
            until(|| waiting.load(Ordering::SeqCst) == 2);
            pirn::thread::sleep(Duration::from_millis(5));
            three.lock_shared().unwrap();
            reader.join().unwrap();
            assert!(!writer.is_finished());
            three.unlock().unwrap();
            writer.join().unwrap();
        });
    });
}

/// Who is cancelled leaves the queue, and gets no lock later.
#[test]
fn one_that_waits_is_cancelled() {
    within_patience(|| {
        let folder = Folder::new();
        let path = folder.join("lock");
        std::fs::write(&path, "").unwrap();
        let runtime = narrow(1);
        let held = File::open(&path).unwrap();
        held.lock().unwrap();
        let begun = Arc::new(AtomicUsize::new(0));
        let waiters: Vec<_> = (0..3)
            .map(|_| {
                let (path, begun) = (path.clone(), begun.clone());
                runtime.spawn(move || {
                    let file = File::open(path).unwrap();
                    begun.fetch_add(1, Ordering::SeqCst);
                    file.lock().unwrap();
                })
            })
            .collect();
        until(|| begun.load(Ordering::SeqCst) == 3);
        drop(runtime);
        for waiter in waiters {
            assert!(waiter.join().unwrap_err().is::<pirn::Cancelled>());
        }
        held.unlock().unwrap();
        assert_eq!(folder.descriptors(), 1);
        File::open(&path).unwrap().try_lock().unwrap();
    });
}

/// Another process, or whoever else does not tell: it is found out by looking.
#[test]
fn a_stranger_gives_it_up() {
    within_patience(|| {
        let folder = Folder::new();
        let path = folder.join("lock");
        std::fs::write(&path, "").unwrap();
        let held = std::fs::File::open(&path).unwrap();
        held.lock().unwrap();
        let runtime = pirn::Builder::new().workers(1).build().unwrap();
        let file = File::open(&path).unwrap();
        let waiter = runtime.spawn(move || file.lock().unwrap());
        let slept = runtime.spawn(|| pirn::thread::sleep(Duration::from_millis(30)));
        slept.join().unwrap();
        assert!(!waiter.is_finished());
        held.unlock().unwrap();
        waiter.join().unwrap();
    });
}
