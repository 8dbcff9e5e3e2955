//! `Mutex`.

use crate::support::{Count, both, runtime, start, until};
use pirn::sync::{Arc, Mutex, TryLockError};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

#[test]
fn whoever_comes_waits_for_the_holder() {
    both(|| {
        for thread in [false, true] {
            let mutex = Arc::new(Mutex::new(0));
            let guard = mutex.lock().unwrap();
            assert!(matches!(mutex.try_lock(), Err(TryLockError::WouldBlock)));
            let waiters: Vec<_> = (0..10)
                .map(|_| {
                    let mutex = mutex.clone();
                    start(thread, move || *mutex.lock().unwrap() += 1)
                })
                .collect();
            pirn::thread::yield_now();
            assert_eq!(*guard, 0);
            drop(guard);
            waiters.into_iter().for_each(|join| join());
            assert_eq!(*mutex.try_lock().unwrap(), 10);
        }
    });
}

/// The holder may park, for as long as it likes, in whatever.
#[test]
fn a_holder_may_park() {
    runtime(1).run(|| {
        let mutex = Arc::new(Mutex::new(0));
        let turns: Vec<_> = (0..100)
            .map(|_| {
                let mutex = mutex.clone();
                pirn::spawn(move || {
                    let mut value = mutex.lock().unwrap();
                    let before = *value;
                    pirn::thread::yield_now();
                    pirn::thread::sleep(Duration::from_micros(10));
                    *value = before + 1;
                })
            })
            .collect();
        turns.into_iter().for_each(|turn| turn.join().unwrap());
        assert_eq!(*mutex.lock().unwrap(), 100);
    });
}

#[test]
fn a_panic_poisons_and_poison_can_be_cleared() {
    both(|| {
        let mutex = Arc::new(Mutex::new(1));
        let theirs = mutex.clone();
        let outcome = pirn::spawn(move || {
            let mut value = theirs.lock().unwrap();
            *value = 2;
            std::panic::resume_unwind(Box::new(()));
        });
        assert!(outcome.join().is_err());
        assert!(mutex.is_poisoned());
        assert_eq!(**mutex.lock().unwrap_err().get_ref(), 2);
        let Err(TryLockError::Poisoned(poisoned)) = mutex.try_lock() else { panic!("poisoned") };
        assert_eq!(*poisoned.into_inner(), 2);
        mutex.clear_poison();
        assert_eq!(*mutex.lock().unwrap(), 2);
        let mut mutex = Arc::into_inner(mutex).unwrap();
        assert_eq!(*mutex.get_mut().unwrap(), 2);
        let poisoning = catch_unwind(AssertUnwindSafe(|| {
            let _guard = mutex.lock().unwrap();
            std::panic::resume_unwind(Box::new(()));
        }));
        assert!(poisoning.is_err());
        assert_eq!(*mutex.get_mut().unwrap_err().into_inner(), 2);
        assert_eq!(mutex.into_inner().unwrap_err().into_inner(), 2);
    });
}

/// A waiter does not have to be woken by the one that made the lock poisoned to see it.
#[test]
fn whoever_waits_while_it_is_poisoned_is_told() {
    runtime(1).run(|| {
        let mutex = Arc::new(Mutex::new(()));
        let theirs = mutex.clone();
        let held = Arc::new(Count::default());
        let holds = held.clone();
        let poisons = pirn::spawn(move || {
            let _guard = theirs.lock().unwrap();
            holds.add();
            pirn::thread::park();
            std::panic::resume_unwind(Box::new(()));
        });
        until(|| held.get() == 1);
        let theirs = mutex.clone();
        let waits = pirn::spawn(move || theirs.lock().is_err());
        pirn::thread::yield_now();
        poisons.thread().unpark();
        assert!(poisons.join().is_err());
        assert!(waits.join().unwrap());
    });
}

/// What is locked and unlocked in the middle of a panic is not poisoned by it, and may be waited
/// for.
#[test]
fn it_can_be_locked_while_unwinding() {
    struct Locks(Arc<Mutex<u32>>);

    impl Drop for Locks {
        fn drop(&mut self) {
            *self.0.lock().unwrap() += 1;
        }
    }

    runtime(1).run(|| {
        let mutex = Arc::new(Mutex::new(0));
        let guard = mutex.lock().unwrap();
        let panicking: Vec<_> = (0..10)
            .map(|_| {
                let locks = Locks(mutex.clone());
                pirn::spawn(move || {
                    let _locks = locks;
                    std::panic::resume_unwind(Box::new(()));
                })
            })
            .collect();
        pirn::thread::yield_now();
        assert!(!std::thread::panicking());
        drop(guard);
        for panicking in panicking {
            assert!(panicking.join().is_err());
        }
        assert!(!mutex.is_poisoned());
        assert_eq!(*mutex.lock().unwrap(), 10);
    });
}

/// One that locks again and again, and parks in between, does not keep others out.
#[test]
fn a_greedy_one_does_not_starve_others() {
    for workers in [1, 2] {
        for thread in [false, true] {
            runtime(workers).run(move || {
                let mutex = Arc::new(Mutex::new(false));
                let theirs = mutex.clone();
                let greedy = pirn::spawn(move || {
                    loop {
                        let stop = theirs.lock().unwrap();
                        if *stop {
                            return;
                        }
                        pirn::thread::yield_now();
                        drop(stop);
                    }
                });
                let start_of_wait = Instant::now();
                let others: Vec<_> = (0..20)
                    .map(|_| {
                        let mutex = mutex.clone();
                        start(thread, move || drop(mutex.lock().unwrap()))
                    })
                    .collect();
                others.into_iter().for_each(|join| join());
                *mutex.lock().unwrap() = true;
                greedy.join().unwrap();
                assert!(start_of_wait.elapsed() < Duration::from_secs(120));
            });
        }
    }
}

/// Whoever never parks with the lock in hand never has to wait, on one worker.
#[test]
fn on_one_worker_a_short_section_is_never_contended() {
    let runtime = runtime(1);
    runtime.run(|| {
        let mutex = Arc::new(Mutex::new(0_u32));
        let adding: Vec<_> = (0..100)
            .map(|_| {
                let mutex = mutex.clone();
                pirn::thread::spawn_local(move || {
                    for _ in 0..1000 {
                        *mutex.try_lock().expect("nobody can hold it now") += 1;
                    }
                })
            })
            .collect();
        adding.into_iter().for_each(|adding| adding.join().unwrap());
        assert_eq!(*mutex.lock().unwrap(), 100_000);
    });
}
