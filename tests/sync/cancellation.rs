//! Cancellation, as by the end of a runtime: who waits leaves, passes on what it was woken for,
//! and poisons nothing.

use crate::support::{Count, runtime, until};
use pirn::sync::{Arc, Condvar, LazyLock, Mutex, Once, OnceLock, RwLock};
use std::time::Duration;

/// Starts `f` in a runtime, waits until it has come to its wait, and drops the runtime.
fn cancel(f: impl FnOnce(&Count) + Send + 'static) {
    let (runtime, comes) = (runtime(1), Arc::new(Count::default()));
    let came = comes.clone();
    let coroutine = runtime.spawn(move || f(&comes));
    until(|| came.get() > 0);
    drop(runtime);
    assert!(coroutine.join().unwrap_err().is::<pirn::Cancelled>());
}

#[test]
fn guards_of_the_cancelled_do_not_poison() {
    let locks = Arc::new((Mutex::new(1), RwLock::new(1)));
    let theirs = locks.clone();
    cancel(move |comes| {
        let (_mutex, _rwlock) = (theirs.0.lock().unwrap(), theirs.1.write().unwrap());
        comes.add();
        pirn::thread::park();
    });
    assert_eq!((*locks.0.lock().unwrap(), *locks.1.read().unwrap()), (1, 1));
    // A panic of its own still does, in a runtime that ends as well.
    let theirs = locks.clone();
    let runtime = runtime(1);
    let panics = runtime.spawn(move || {
        let (_mutex, _rwlock) = (theirs.0.lock().unwrap(), theirs.1.write().unwrap());
        std::panic::resume_unwind(Box::new(()));
    });
    assert!(panics.join().is_err());
    drop(runtime);
    assert!(locks.0.is_poisoned() && locks.1.is_poisoned());
}

/// A real panic whose destructors are still parked when the runtime ends poisons.
#[test]
fn a_panic_poisons_even_if_a_cancellation_comes() {
    struct Parks(Arc<Count>);

    impl Drop for Parks {
        fn drop(&mut self) {
            self.0.add();
            pirn::thread::sleep(Duration::from_millis(5));
        }
    }

    let (mutex, parked) = (Arc::new(Mutex::new(())), Arc::new(Count::default()));
    let (theirs, parks) = (mutex.clone(), Parks(parked.clone()));
    let runtime = runtime(1);
    let panics = runtime.spawn(move || {
        let _guard = theirs.lock().unwrap();
        let _parks = parks;
        std::panic::resume_unwind(Box::new(()));
    });
    until(|| parked.get() == 1);
    drop(runtime);
    assert!(panics.join().is_err());
    assert!(mutex.is_poisoned());
}

#[test]
fn who_waits_for_a_lock_leaves_its_queue() {
    let locks = Arc::new((Mutex::new(1), RwLock::new(1)));
    let (mutex, rwlock) = (locks.0.lock().unwrap(), locks.1.write().unwrap());
    for which in 0..3 {
        let theirs = locks.clone();
        cancel(move |comes| {
            comes.add();
            match which {
                0 => drop(theirs.0.lock()),
                1 => drop(theirs.1.read()),
                _ => drop(theirs.1.write()),
            }
        });
    }
    drop((mutex, rwlock));
    assert!(locks.0.try_lock().is_ok() && locks.1.try_write().is_ok());
}

/// Some who wait are cancelled while the lock is handed around: nobody is forgotten.
#[test]
fn the_wake_of_the_cancelled_is_passed_on() {
    for round in 0..50 {
        let mutex = Arc::new((Mutex::new(0), Count::default()));
        let (doomed, other) = (runtime(1), runtime(1));
        let guard = mutex.0.lock().unwrap();
        let (mut those, mut doomed_ones) = (Vec::new(), Vec::new());
        for number in 0..20 {
            let mutex = mutex.clone();
            let locks = move || {
                mutex.1.add();
                let mut count = mutex.0.lock().unwrap();
                pirn::thread::yield_now();
                *count += 1;
            };
            if number % 2 == 0 {
                doomed_ones.push(doomed.spawn(locks));
            } else {
                those.push(other.spawn(locks));
            }
        }
        until(|| mutex.1.get() == 20);
        let waker = std::thread::spawn(move || drop(doomed));
        for _ in 0..round {
            std::hint::spin_loop();
        }
        drop(guard);
        waker.join().unwrap();
        those.into_iter().for_each(|one| one.join().unwrap());
        let added = doomed_ones.into_iter().filter_map(|one| one.join().ok()).count();
        assert_eq!(*mutex.0.lock().unwrap(), 10 + added);
    }
}

/// A cancelled wait for a condition has the mutex again, for the guard's drop to unlock.
#[test]
fn a_cancelled_wait_locks_again_and_unlocks() {
    struct Looks(Arc<(Mutex<u32>, Condvar)>);

    impl Drop for Looks {
        fn drop(&mut self) {
            *self.0.0.try_lock().expect("the guard was dropped before") += 1;
        }
    }

    let shared = Arc::new((Mutex::new(0), Condvar::new()));
    for timed in [false, true] {
        let theirs = shared.clone();
        cancel(move |comes| {
            let _looks = Looks(theirs.clone());
            let guard = theirs.0.lock().unwrap();
            comes.add();
            if timed {
                drop(theirs.1.wait_timeout(guard, Duration::MAX));
            } else {
                drop(theirs.1.wait(guard));
            }
        });
    }
    assert_eq!(*shared.0.lock().unwrap(), 2);
    shared.1.notify_all();
}

/// A notification goes to one who can take it.
#[test]
fn notifications_are_not_lost_with_the_cancelled() {
    for _ in 0..50 {
        let shared = Arc::new((Mutex::new((0, 0)), Condvar::new()));
        let takes = |shared: Arc<(Mutex<(u32, u32)>, Condvar)>| {
            let mut state = shared.0.lock().unwrap();
            state.0 += 1;
            state = shared.1.wait_while(state, |state| state.1 == 0).unwrap();
            state.1 -= 1;
        };
        let (doomed, other) = (runtime(1), runtime(1));
        let theirs = shared.clone();
        let cancelled = doomed.spawn(move || takes(theirs));
        let theirs = shared.clone();
        let taker = other.spawn(move || takes(theirs));
        until(|| shared.0.lock().unwrap().0 == 2);
        let dropper = std::thread::spawn(move || drop(doomed));
        shared.0.lock().unwrap().1 += 1;
        shared.1.notify_one();
        dropper.join().unwrap();
        if cancelled.join().is_ok() {
            // It came first, and took it.
            shared.0.lock().unwrap().1 += 1;
            shared.1.notify_one();
        }
        taker.join().unwrap();
        assert_eq!(shared.0.lock().unwrap().1, 0);
    }
}

/// A destructor that waits while its coroutine is cancelled waits as ever.
#[test]
fn destructors_of_the_cancelled_may_wait() {
    struct Waits(Arc<(Mutex<bool>, Condvar, Once, RwLock<()>)>);

    impl Drop for Waits {
        fn drop(&mut self) {
            let shared = &*self.0;
            drop(shared.1.wait_while(shared.0.lock().unwrap(), |go| !*go).unwrap());
            shared.2.wait();
            drop(shared.3.write().unwrap());
            drop(shared.3.read().unwrap());
        }
    }

    let shared = Arc::new((Mutex::new(false), Condvar::new(), Once::new(), RwLock::new(())));
    let theirs = shared.clone();
    let opener = shared.clone();
    let read = shared.3.read().unwrap();
    let opens = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(5));
        *opener.0.lock().unwrap() = true;
        opener.1.notify_all();
        opener.2.call_once(|| std::thread::sleep(Duration::from_millis(1)));
    });
    let (runtime, comes) = (runtime(1), Arc::new(Count::default()));
    let came = comes.clone();
    runtime.spawn(move || {
        let _waits = Waits(theirs);
        comes.add();
        pirn::thread::park();
    });
    until(|| came.get() == 1);
    let dropper = std::thread::spawn(move || drop(runtime));
    opens.join().unwrap();
    drop(read);
    dropper.join().unwrap();
    assert!(!shared.0.is_poisoned() && !shared.3.is_poisoned());
}

#[test]
fn a_cancelled_initialiser_is_as_if_not_called() {
    let shared = Arc::new((Once::new(), OnceLock::new()));
    let theirs = shared.clone();
    cancel(move |comes| {
        theirs.0.call_once(|| {
            comes.add();
            pirn::thread::park();
        });
    });
    let theirs = shared.clone();
    cancel(move |comes| {
        theirs.1.get_or_init(|| {
            comes.add();
            pirn::thread::park();
            1
        });
    });
    shared.0.call_once_force(|state| assert!(!state.is_poisoned()));
    assert_eq!(shared.1.get_or_init(|| 2), &2);
}

/// There is nothing left to call.
#[test]
fn a_cancelled_lazy_initialiser_is_used_up() {
    static COME: OnceLock<()> = OnceLock::new();
    static LAZY: LazyLock<u8> = LazyLock::new(|| {
        COME.set(()).unwrap();
        pirn::thread::park();
        1
    });

    let runtime = runtime(1);
    let forces = runtime.spawn(|| *LAZY);
    COME.wait();
    let waits = pirn::spawn(|| *LAZY);
    drop(runtime);
    assert!(forces.join().is_err() && waits.join().is_err());
    assert!(LazyLock::get(&LAZY).is_none());
}
