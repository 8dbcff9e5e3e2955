//! `Condvar`.

use crate::support::{Count, both, lets_others_run, runtime, start, until};
use pirn::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

#[test]
fn one_is_notified_for_each_notification() {
    both(|| {
        for thread in [false, true] {
            let shared = Arc::new((Mutex::new((0, 0)), Condvar::new()));
            let waiters: Vec<_> = (0..10)
                .map(|_| {
                    let shared = shared.clone();
                    start(thread, move || {
                        let mut state = shared.0.lock().unwrap();
                        state.0 += 1;
                        state = shared.1.wait_while(state, |state| state.1 == 0).unwrap();
                        state.1 -= 1;
                        state.0 -= 1;
                    })
                })
                .collect();
            until(|| shared.0.lock().unwrap().0 == 10);
            for left in (0..10).rev() {
                shared.0.lock().unwrap().1 += 1;
                shared.1.notify_one();
                until(|| shared.0.lock().unwrap().0 == left);
            }
            waiters.into_iter().for_each(|join| join());
        }
    });
}

#[test]
fn a_wait_ends_with_its_time() {
    both(|| {
        let (mutex, condvar) = (Mutex::new(()), Condvar::new());
        let timeout = Duration::from_millis(5);
        let start = Instant::now();
        let (guard, result) = condvar.wait_timeout(mutex.lock().unwrap(), timeout).unwrap();
        assert!(result.timed_out() && start.elapsed() >= timeout);
        assert!(mutex.try_lock().is_err(), "it is locked again");
        let (guard, result) = condvar.wait_timeout_while(guard, timeout, |()| true).unwrap();
        assert!(result.timed_out() && start.elapsed() >= timeout * 2);
        let (guard, result) = condvar.wait_timeout_while(guard, timeout, |()| false).unwrap();
        assert!(!result.timed_out());
        let zero = condvar.wait_timeout(guard, Duration::ZERO).unwrap();
        assert!(zero.1.timed_out());
    });
}

/// The longest durations there are do not end at once, and do end with a notification.
#[test]
fn the_longest_timeouts_wait() {
    both(|| {
        let shared = Arc::new((Mutex::new(0), Condvar::new()));
        let longest =
            [Duration::MAX, Duration::from_secs(u64::MAX), Duration::from_nanos(u64::MAX)];
        let waiters = longest.map(|timeout| {
            let shared = shared.clone();
            pirn::spawn(move || {
                let mut waiting = shared.0.lock().unwrap();
                *waiting += 1;
                shared.1.wait_timeout(waiting, timeout).unwrap().1.timed_out()
            })
        });
        until(|| *shared.0.lock().unwrap() == longest.len());
        shared.1.notify_all();
        for waiter in waiters {
            assert!(!waiter.join().unwrap());
        }
    });
}

/// Those who time out leave the queue: a notification finds who still waits.
#[test]
fn who_timed_out_gets_no_notification() {
    both(|| {
        let shared = Arc::new((Mutex::new(0), Condvar::new()));
        for _ in 0..100 {
            let waiting = shared.0.lock().unwrap();
            let short = Duration::from_micros(1);
            assert!(shared.1.wait_timeout(waiting, short).unwrap().1.timed_out());
        }
        let theirs = shared.clone();
        let waits = pirn::spawn(move || {
            let mut waiting = theirs.0.lock().unwrap();
            *waiting += 1;
            drop(theirs.1.wait(waiting).unwrap());
        });
        until(|| *shared.0.lock().unwrap() == 1);
        shared.1.notify_one();
        waits.join().unwrap();
    });
}

#[test]
fn several_mutexes_may_share_one() {
    both(|| {
        let shared = Arc::new((Mutex::new(0), Mutex::new(0), Condvar::new()));
        let theirs = shared.clone();
        let one = pirn::spawn(move || {
            *theirs.0.lock().unwrap() = 1;
            let value = theirs.2.wait_while(theirs.0.lock().unwrap(), |value| *value == 1);
            *value.unwrap()
        });
        let theirs = shared.clone();
        let other = pirn::spawn(move || {
            *theirs.1.lock().unwrap() = 1;
            let value = theirs.2.wait_while(theirs.1.lock().unwrap(), |value| *value == 1);
            *value.unwrap()
        });
        until(|| *shared.0.lock().unwrap() == 1 && *shared.1.lock().unwrap() == 1);
        *shared.0.lock().unwrap() = 2;
        *shared.1.lock().unwrap() = 3;
        shared.2.notify_all();
        assert_eq!((one.join().unwrap(), other.join().unwrap()), (2, 3));
    });
}

#[test]
fn a_wait_tells_of_poison() {
    both(|| {
        let shared = Arc::new((Mutex::new(0), Condvar::new()));
        let waiters = [false, true].map(|timed| {
            let shared = shared.clone();
            pirn::spawn(move || {
                let mut waiting = shared.0.lock().unwrap();
                *waiting += 1;
                if timed {
                    let hour = Duration::from_secs(3600);
                    let error = shared.1.wait_timeout(waiting, hour).unwrap_err();
                    assert!(!error.get_ref().1.timed_out());
                } else {
                    assert_eq!(**shared.1.wait(waiting).unwrap_err().get_ref(), 2);
                }
            })
        });
        until(|| *shared.0.lock().unwrap() == 2);
        let theirs = shared.clone();
        let poisons = pirn::spawn(move || {
            let _waiting = theirs.0.lock().unwrap();
            std::panic::resume_unwind(Box::new(()));
        });
        assert!(poisons.join().is_err());
        shared.1.notify_all();
        waiters.into_iter().for_each(|waiter| waiter.join().unwrap());
    });
}

/// A destructor may wait in the middle of a panic.
#[test]
fn a_destructor_may_wait() {
    struct Waits(Arc<(Mutex<bool>, Condvar)>, Arc<Count>);

    impl Drop for Waits {
        fn drop(&mut self) {
            self.1.add();
            drop(self.0.1.wait_while(self.0.0.lock().unwrap(), |go| !*go).unwrap());
        }
    }

    runtime(1).run(|| {
        let shared = Arc::new((Mutex::new(false), Condvar::new()));
        let waiting = Arc::new(Count::default());
        let waits = Waits(shared.clone(), waiting.clone());
        let panics = pirn::spawn(move || {
            let _waits = waits;
            std::panic::resume_unwind(Box::new(7));
        });
        until(|| waiting.get() == 1);
        assert!(!std::thread::panicking());
        *shared.0.lock().unwrap() = true;
        shared.1.notify_one();
        assert_eq!(panics.join().unwrap_err().downcast_ref(), Some(&7));
        assert!(!shared.0.is_poisoned());
    });
}

#[test]
#[expect(deprecated, reason = "it is still there")]
fn milliseconds() {
    let (mutex, condvar) = (Mutex::new(()), Condvar::new());
    assert!(!condvar.wait_timeout_ms(mutex.lock().unwrap(), 1).unwrap().1);
}

#[test]
fn a_loop_without_any_time_lets_others_run() {
    let (mutex, condvar) = (Mutex::new(()), Condvar::new());
    lets_others_run("wait_timeout", || {
        drop(condvar.wait_timeout(mutex.lock().unwrap(), Duration::ZERO).unwrap());
    });
    lets_others_run("wait_timeout_while", || {
        let guard = mutex.lock().unwrap();
        drop(condvar.wait_timeout_while(guard, Duration::ZERO, |()| true).unwrap());
    });
}
