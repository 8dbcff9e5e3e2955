//! `Semaphore`: permits, fairness, closing, giving up.

use crate::support::{Count, both, lets_others_run, runtime, start, until};
use pirn::sync::{
    AcquireError, AcquireTimeoutError, Arc, Mutex, OwnedSemaphorePermit, Semaphore, TryAcquireError,
};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

#[test]
fn permits_are_taken_and_given_back() {
    both(|| {
        static THREE: Semaphore = Semaphore::new(3);
        let one = THREE.acquire().unwrap();
        let two = THREE.acquire_many(2).unwrap();
        assert_eq!((one.num_permits(), two.num_permits()), (1, 2));
        assert_eq!(THREE.available_permits(), 0);
        assert_eq!(THREE.try_acquire().unwrap_err(), TryAcquireError::NoPermits);
        assert_eq!(
            THREE.acquire_timeout(Duration::from_millis(1)).unwrap_err(),
            AcquireTimeoutError::Timeout
        );
        drop(two);
        assert_eq!(THREE.try_acquire_many(2).unwrap().num_permits(), 2);
        drop(one);
        assert_eq!(THREE.available_permits(), 3);
        assert_eq!(THREE.acquire_many(0).unwrap().num_permits(), 0);
    });
}

#[test]
fn permits_can_be_merged_split_and_forgotten() {
    let semaphore = Arc::new(Semaphore::new(10));
    let mut some = semaphore.acquire_many(4).unwrap();
    some.merge(semaphore.acquire_many(3).unwrap());
    assert_eq!((some.num_permits(), semaphore.available_permits()), (7, 3));
    let split = some.split(5).unwrap();
    assert!(some.split(3).is_none());
    assert!(some.split(usize::MAX).is_none());
    assert_eq!((some.num_permits(), split.num_permits()), (2, 5));
    split.forget();
    drop(some);
    assert_eq!(semaphore.available_permits(), 5);
    assert_eq!(semaphore.forget_permits(7), 5);
    semaphore.add_permits(2);
    let owned: OwnedSemaphorePermit = semaphore.clone().acquire_many_owned(2).unwrap();
    assert!(Arc::ptr_eq(owned.semaphore(), &semaphore));
    assert!(semaphore.clone().try_acquire_owned().is_err());
    std::thread::spawn(move || drop(owned)).join().unwrap();
    assert_eq!(semaphore.available_permits(), 2);
    assert_eq!(format!("{semaphore:?}"), "Semaphore { permits: 2, closed: false }");
}

#[test]
#[should_panic = "merging permits from different semaphores"]
fn permits_of_two_semaphores_do_not_merge() {
    let (one, other) = (Semaphore::new(1), Semaphore::new(1));
    one.acquire().unwrap().merge(other.acquire().unwrap());
}

/// What does not fit into one permit is given back, not lost.
#[test]
fn permits_that_do_not_merge_are_given_back() {
    let most = u32::MAX as usize;
    let semaphore = Semaphore::new(most + 1);
    let one = semaphore.acquire().unwrap();
    let mut all = semaphore.acquire_many(u32::MAX).unwrap();
    let merging = AssertUnwindSafe(|| all.merge(one));
    assert!(catch_unwind(merging).is_err());
    assert_eq!((all.num_permits(), semaphore.available_permits()), (most, 1));
    drop(all);
    assert_eq!(semaphore.available_permits(), most + 1);
}

#[test]
#[should_panic = "may not have more than"]
fn too_many_permits_are_refused() {
    let semaphore = Semaphore::new(Semaphore::MAX_PERMITS);
    semaphore.add_permits(1);
}

#[test]
fn first_come_first_served_and_nobody_overtakes() {
    runtime(1).run(|| {
        let semaphore = Arc::new(Semaphore::new(0));
        let order = Arc::new(Mutex::new(Vec::new()));
        let waiters: Vec<_> = [1, 3, 1, 2]
            .into_iter()
            .enumerate()
            .map(|(index, permits)| {
                let (semaphore, order) = (semaphore.clone(), order.clone());
                let waiter = pirn::spawn(move || {
                    semaphore.acquire_many(permits).unwrap().forget();
                    order.lock().unwrap().push(index);
                });
                // On one worker, it waits before this goes on.
                pirn::thread::yield_now();
                waiter
            })
            .collect();
        semaphore.add_permits(3);
        pirn::thread::yield_now();
        assert_eq!(*order.lock().unwrap(), [0]);
        assert_eq!(semaphore.available_permits(), 2);
        assert!(semaphore.try_acquire().is_err(), "somebody waits for them");
        for (permits, expected) in [(1, &[0, 1][..]), (1, &[0, 1, 2]), (2, &[0, 1, 2, 3])] {
            semaphore.add_permits(permits);
            pirn::thread::yield_now();
            assert_eq!(*order.lock().unwrap(), expected);
        }
        waiters.into_iter().for_each(|waiter| waiter.join().unwrap());
        assert_eq!(semaphore.available_permits(), 0);
    });
}

#[test]
fn a_large_wish_that_gives_up_makes_way() {
    both(|| {
        let semaphore = Arc::new(Semaphore::new(1));
        let theirs = semaphore.clone();
        let large = start(false, move || {
            theirs.acquire_many_timeout(2, Duration::from_millis(20)).map(drop)
        });
        let theirs = semaphore.clone();
        let small = start(true, move || theirs.acquire().map(drop));
        assert_eq!(large(), Err(AcquireTimeoutError::Timeout));
        assert_eq!(small(), Ok(()));
        assert_eq!(semaphore.available_permits(), 1);
    });
}

#[test]
fn closing_refuses_those_who_wait_and_those_who_come() {
    for thread in [false, true] {
        let runtime = runtime(2);
        runtime.run(move || {
            let semaphore = Arc::new(Semaphore::new(0));
            let came = Arc::new(Count::default());
            let waiters: Vec<_> = (0..100)
                .map(|_| {
                    let (semaphore, came) = (semaphore.clone(), came.clone());
                    start(thread, move || {
                        came.add();
                        semaphore.acquire().map(|permit| permit.forget()).is_ok()
                    })
                })
                .collect();
            until(|| came.get() == 100);
            semaphore.add_permits(10);
            semaphore.close();
            semaphore.close();
            let granted = waiters.into_iter().map(|waiter| waiter());
            let granted = granted.filter(|granted| *granted).count();
            assert_eq!(granted + semaphore.available_permits(), 10);
            assert!(semaphore.is_closed());
            assert!(semaphore.acquire().is_err());
            assert_eq!(semaphore.try_acquire().unwrap_err(), TryAcquireError::Closed);
            let late = semaphore.acquire_timeout(Duration::MAX).unwrap_err();
            assert_eq!(late, AcquireTimeoutError::Closed);
            let refused: Result<_, AcquireError> = semaphore.clone().acquire_owned();
            assert_eq!(refused.unwrap_err().to_string(), "semaphore closed");
        });
    }
}

#[test]
fn a_cancelled_waiter_makes_way() {
    let semaphore = Arc::new(Semaphore::new(1));
    let cancelled = runtime(1);
    let theirs = semaphore.clone();
    let came = Arc::new(Count::default());
    let counts = came.clone();
    let large = cancelled.spawn(move || {
        counts.add();
        theirs.acquire_many(2).map(|permit| permit.forget())
    });
    until(|| came.get() == 1 && semaphore.try_acquire().is_err());
    let theirs = semaphore.clone();
    let small = pirn::spawn(move || theirs.acquire().map(|permit| permit.num_permits()));
    drop(cancelled);
    assert!(large.join().unwrap_err().is::<pirn::Cancelled>());
    assert_eq!(small.join().unwrap(), Ok(1));
    assert_eq!(semaphore.available_permits(), 1);
}

#[test]
fn a_crowd_passes() {
    const CROWD: usize = 40_000;
    let small = pirn::Builder::new().workers(2).stack_size(64 << 10).build().unwrap();
    small.run(|| {
        let semaphore = Arc::new(Semaphore::new(0));
        let came = Arc::new(Count::default());
        let crowd: Vec<_> = (0..CROWD)
            .map(|index| {
                let (semaphore, came) = (semaphore.clone(), came.clone());
                pirn::spawn(move || {
                    came.add();
                    if index % 2 == 0 {
                        semaphore.acquire_timeout(Duration::from_millis(50)).is_ok()
                    } else {
                        semaphore.acquire().is_ok()
                    }
                })
            })
            .collect();
        until(|| came.get() == CROWD);
        semaphore.add_permits(3);
        let passed = crowd.into_iter().map(|one| one.join().unwrap());
        assert!(passed.filter(|passed| *passed).count() >= CROWD / 2);
        assert_eq!(semaphore.available_permits(), 3);
    });
}

#[test]
fn nobody_has_more_than_there_is() {
    for seed in 0..4 {
        for workers in [1, 2, 4, 8] {
            let runtime = runtime(workers);
            runtime.run(move || stress(seed));
        }
    }
}

fn stress(seed: u64) {
    const PERMITS: usize = 5;
    let semaphore = Arc::new(Semaphore::new(PERMITS));
    let used = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let users: Vec<_> = (0..40)
        .map(|index| {
            let (semaphore, used) = (semaphore.clone(), used.clone());
            start(index % 8 == 0, move || {
                let mut random = StdRng::seed_from_u64(seed * 1000 + index);
                for _ in 0..50 {
                    let wish = random.random_range(1..4_u32);
                    let permit = match random.random_range(0..3) {
                        0 => semaphore.acquire_many(wish).ok(),
                        1 => semaphore.try_acquire_many(wish).ok(),
                        _ => {
                            let patience = Duration::from_micros(random.random_range(0..300));
                            semaphore.acquire_many_timeout(wish, patience).ok()
                        }
                    };
                    let Some(permit) = permit else { continue };
                    let held = permit.num_permits();
                    let order = std::sync::atomic::Ordering::SeqCst;
                    assert!(used.fetch_add(held, order) + held <= PERMITS);
                    if random.random_range(0..2) == 0 {
                        pirn::thread::yield_now();
                    }
                    used.fetch_sub(held, order);
                }
            })
        })
        .collect();
    users.into_iter().for_each(|user| user());
    assert_eq!(semaphore.available_permits(), PERMITS);
}

#[test]
fn a_loop_of_refusals_lets_others_run() {
    let semaphore = Semaphore::new(0);
    lets_others_run("try_acquire", || assert!(semaphore.try_acquire().is_err()));
    semaphore.close();
    lets_others_run("a closed one", || assert!(semaphore.try_acquire().is_err()));
}
