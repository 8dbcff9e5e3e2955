//! `RwLock`.

use crate::support::{Count, both, runtime, start, until};
use pirn::sync::{Arc, Barrier, RwLock, RwLockWriteGuard, TryLockError};
use std::time::Duration;

#[test]
fn readers_share_and_writers_do_not() {
    both(|| {
        let lock = RwLock::new(1);
        let (one, other) = (lock.read().unwrap(), lock.try_read().unwrap());
        assert!(matches!(lock.try_write(), Err(TryLockError::WouldBlock)));
        assert_eq!(*one + *other, 2);
        drop((one, other));
        let writer = lock.write().unwrap();
        assert!(lock.try_read().is_err() && lock.try_write().is_err());
        drop(writer);
        assert!(lock.try_write().is_ok());
    });
}

/// As many readers as like hold it at the same time, those that had to wait for a writer too.
#[test]
fn readers_that_waited_go_on_together() {
    both(|| {
        for thread in [false, true] {
            let shared = Arc::new((RwLock::new(0), Barrier::new(10)));
            let mut writer = shared.0.write().unwrap();
            let readers: Vec<_> = (0..10)
                .map(|_| {
                    let shared = shared.clone();
                    start(thread, move || {
                        let value = shared.0.read().unwrap();
                        shared.1.wait();
                        *value
                    })
                })
                .collect();
            pirn::thread::yield_now();
            *writer = 1;
            drop(writer);
            assert!(readers.into_iter().all(|join| join() == 1));
        }
    });
}

/// A writer that waits keeps readers out, and they go on after it.
#[test]
fn readers_do_not_overtake_a_writer() {
    runtime(1).run(|| {
        let lock = Arc::new(RwLock::new(0));
        let first = lock.read().unwrap();
        let theirs = lock.clone();
        let writer = pirn::spawn(move || *theirs.write().unwrap() = 1);
        pirn::thread::yield_now();
        assert!(lock.try_read().is_err());
        let theirs = lock.clone();
        let reader = pirn::spawn(move || *theirs.read().unwrap());
        pirn::thread::yield_now();
        assert_eq!(*first, 0);
        drop(first);
        assert_eq!(reader.join().unwrap(), 1);
        writer.join().unwrap();
    });
}

/// Readers that come all the time do not starve a writer.
#[test]
fn writers_do_not_starve() {
    for workers in [1, 2] {
        runtime(workers).run(|| {
            let lock = Arc::new(RwLock::new(false));
            let readers: Vec<_> = (0..8)
                .map(|_| {
                    let lock = lock.clone();
                    pirn::spawn(move || {
                        loop {
                            let stop = lock.read().unwrap();
                            if *stop {
                                return;
                            }
                            pirn::thread::yield_now();
                        }
                    })
                })
                .collect();
            for _ in 0..20 {
                pirn::thread::sleep(Duration::from_micros(100));
                drop(lock.write().unwrap());
            }
            *lock.write().unwrap() = true;
            readers.into_iter().for_each(|reader| reader.join().unwrap());
        });
    }
}

/// Writers that come all the time do not starve a reader, nor each other.
#[test]
fn readers_do_not_starve() {
    for workers in [1, 2] {
        runtime(workers).run(|| {
            let lock = Arc::new(RwLock::new(false));
            let writers: Vec<_> = (0..4)
                .map(|_| {
                    let lock = lock.clone();
                    pirn::spawn(move || {
                        loop {
                            let stop = lock.write().unwrap();
                            if *stop {
                                return;
                            }
                            pirn::thread::yield_now();
                        }
                    })
                })
                .collect();
            for _ in 0..20 {
                pirn::thread::sleep(Duration::from_micros(100));
                drop(lock.read().unwrap());
            }
            *lock.write().unwrap() = true;
            writers.into_iter().for_each(|writer| writer.join().unwrap());
        });
    }
}

#[test]
fn a_writer_becomes_a_reader() {
    both(|| {
        for thread in [false, true] {
            let lock = Arc::new(RwLock::new(0));
            let mut writer = lock.write().unwrap();
            let reads = lock.clone();
            let reader = start(thread, move || *reads.read().unwrap());
            let writes = lock.clone();
            let other = start(thread, move || *writes.write().unwrap() += 1);
            pirn::thread::yield_now();
            *writer = 10;
            let read = RwLockWriteGuard::downgrade(writer);
            assert!(lock.try_write().is_err());
            assert_eq!(*read, 10);
            drop(read);
            other();
            assert!([10, 11].contains(&reader()));
            assert_eq!(*lock.read().unwrap(), 11);
        }
    });
}

/// A downgrade lets readers in that are next.
#[test]
fn a_downgrade_lets_readers_in() {
    runtime(1).run(|| {
        let lock = Arc::new(RwLock::new(0));
        let writer = lock.write().unwrap();
        let theirs = lock.clone();
        let reader = pirn::spawn(move || *theirs.read().unwrap());
        pirn::thread::yield_now();
        let read = RwLockWriteGuard::downgrade(writer);
        assert_eq!(reader.join().unwrap(), 0);
        drop(read);
        assert!(lock.try_write().is_ok());
    });
}

#[test]
fn writers_poison_and_readers_do_not() {
    both(|| {
        let lock = Arc::new(RwLock::new(1));
        for (writes, poisons) in [(false, false), (true, true)] {
            let theirs = lock.clone();
            let panics = pirn::spawn(move || {
                let _guards = match writes {
                    true => (Some(theirs.write().unwrap()), None),
                    false => (None, Some(theirs.read().unwrap())),
                };
                std::panic::resume_unwind(Box::new(()));
            });
            assert!(panics.join().is_err());
            assert_eq!(lock.is_poisoned(), poisons);
        }
        assert_eq!(**lock.read().unwrap_err().get_ref(), 1);
        assert!(matches!(lock.try_read(), Err(TryLockError::Poisoned(_))));
        assert!(matches!(lock.try_write(), Err(TryLockError::Poisoned(_))));
        let poisoned = lock.write().unwrap_err().into_inner();
        assert_eq!(*RwLockWriteGuard::downgrade(poisoned), 1);
        lock.clear_poison();
        *lock.write().unwrap() = 2;
        let mut lock = Arc::into_inner(lock).unwrap();
        *lock.get_mut().unwrap() += 1;
        assert_eq!(lock.into_inner().unwrap(), 3);
    });
}

/// A waiting writer that goes away lets the readers behind it go on at once.
#[test]
fn readers_behind_a_writer_that_gave_up_go_on() {
    let lock = Arc::new(RwLock::new(0));
    let reader = lock.read().unwrap();
    let (doomed, waits) = (runtime(1), Arc::new(Count::default()));
    let (theirs, comes) = (lock.clone(), waits.clone());
    doomed.spawn(move || {
        comes.add();
        drop(theirs.write());
    });
    until(|| waits.get() == 1 && lock.try_read().is_err());
    let theirs = lock.clone();
    let behind = std::thread::spawn(move || *theirs.read().unwrap());
    drop(doomed);
    assert_eq!(behind.join().unwrap(), 0);
    drop(reader);
    assert!(lock.try_write().is_ok());
}
