//! `Event`, `Notify`, `WaitGroup`, `Parker`, `SingleFlight`.

use crate::support::{Count, both, runtime, start, until};
use pirn::sync::{Arc, Event, Mutex, Notify, Parker, SingleFlight, Unparker, WaitGroup};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

#[test]
fn auto_traits() {
    fn shared<T: Send + Sync>() {}
    fn unwind_safe<T: UnwindSafe + RefUnwindSafe>() {}
    shared::<Event>();
    shared::<Notify>();
    shared::<WaitGroup>();
    shared::<Unparker>();
    shared::<pirn::sync::Semaphore>();
    shared::<SingleFlight<String, u32>>();
    unwind_safe::<Event>();
    unwind_safe::<Notify>();
    unwind_safe::<WaitGroup>();
    unwind_safe::<Parker>();
    fn sent<T: Send>() {}
    sent::<Parker>();
}

#[test]
fn an_event_lets_all_pass_until_it_is_cleared() {
    both(|| {
        let event = Arc::new(Event::new());
        assert!(!event.wait_timeout(Duration::from_millis(1)));
        let waiters: Vec<_> = (0..20)
            .map(|index| {
                let event = event.clone();
                start(index % 2 == 0, move || event.wait())
            })
            .collect();
        event.set();
        waiters.into_iter().for_each(|waiter| waiter());
        assert!(event.is_set() && event.wait_timeout(Duration::ZERO));
        event.wait();
        event.clear();
        assert!(!event.is_set() && !event.wait_timeout(Duration::ZERO));
        assert_eq!(format!("{event:?}"), "Event { set: false }");
    });
}

#[test]
fn a_notification_is_kept_once() {
    both(|| {
        let notify = Notify::new();
        notify.notify_one();
        notify.notify_one();
        notify.notified();
        assert!(!notify.notified_timeout(Duration::from_millis(1)));
        notify.notify_waiters();
        assert!(!notify.notified_timeout(Duration::ZERO));
    });
}

#[test]
fn notifications_go_to_the_oldest_and_to_all_who_wait() {
    runtime(1).run(|| {
        let notify = Arc::new(Notify::new());
        let order = Arc::new(Mutex::new(Vec::new()));
        let waiters: Vec<_> = (0..4)
            .map(|index| {
                let (notify, order) = (notify.clone(), order.clone());
                let waiter = pirn::spawn(move || {
                    notify.notified();
                    order.lock().unwrap().push(index);
                });
                // On one worker, it waits before this goes on.
                pirn::thread::yield_now();
                waiter
            })
            .collect();
        for expected in [&[0][..], &[0, 1]] {
            notify.notify_one();
            pirn::thread::yield_now();
            assert_eq!(*order.lock().unwrap(), expected);
        }
        notify.notify_waiters();
        waiters.into_iter().for_each(|waiter| waiter.join().unwrap());
        assert_eq!(order.lock().unwrap().len(), 4);
        assert!(!notify.notified_timeout(Duration::ZERO));
    });
}

/// A cancellation that comes to a shielded wait makes it leave its queue and join again. What all are
/// told who wait is for this one too, also if it has not run since.
#[test]
fn a_shielded_wait_that_a_cancellation_has_touched_is_told_with_the_others() {
    /// Whether `wait` passes by `tell`, with a cancellation right before that; `release` ends it else.
    fn passes(
        wait: impl FnOnce() + Send + 'static,
        tell: impl FnOnce(),
        release: impl FnOnce(),
    ) -> bool {
        let waiter = pirn::spawn(move || pirn::shield(wait));
        // On one worker, it waits before this goes on, and does not run before this waits.
        pirn::thread::yield_now();
        waiter.cancel();
        tell();
        (0..8).for_each(|_| pirn::thread::yield_now());
        let passed = waiter.is_finished();
        release();
        drop(waiter.join());
        passed
    }

    runtime(1).run(|| {
        let notify = Arc::new(Notify::new());
        let theirs = notify.clone();
        let passed =
            passes(move || theirs.notified(), || notify.notify_waiters(), || notify.notify_one());
        assert!(passed, "a notification of all");

        let notify = Arc::new(Notify::new());
        let theirs = notify.clone();
        let passed = passes(
            move || assert!(theirs.notified_timeout(Duration::from_secs(600))),
            || notify.notify_waiters(),
            || notify.notify_one(),
        );
        assert!(passed, "a notification of all, with a deadline");

        let event = Arc::new(Event::new());
        let theirs = event.clone();
        let pulse = || {
            event.set();
            event.clear();
        };
        assert!(passes(move || theirs.wait(), pulse, || event.set()), "an event that was cleared");

        // One who was not told waits on.
        let notify = Arc::new(Notify::new());
        notify.notify_waiters();
        let theirs = notify.clone();
        let passed = passes(move || theirs.notified(), || (), || notify.notify_one());
        assert!(!passed, "it came after the notification");
    });
}

#[test]
fn as_many_pass_as_were_notified() {
    for workers in [1, 2, 4, 8] {
        runtime(workers).run(|| {
            let notify = Arc::new(Notify::new());
            let (passed, gave_up) = (Arc::new(Count::default()), Arc::new(Count::default()));
            let waiters: Vec<_> = (0..60)
                .map(|index| {
                    let (notify, passed, gave_up) =
                        (notify.clone(), passed.clone(), gave_up.clone());
                    start(index % 10 == 0, move || {
                        // Some give up and come again.
                        while !notify.notified_timeout(Duration::from_micros(200)) {
                            gave_up.add();
                        }
                        passed.add();
                    })
                })
                .collect();
            for number in 0..60 {
                notify.notify_one();
                until(|| passed.get() > number);
                assert_eq!(passed.get(), number + 1);
            }
            waiters.into_iter().for_each(|waiter| waiter());
        });
    }
}

#[test]
fn a_crowd_waits_for_one_event() {
    const CROWD: usize = 40_000;
    let small = pirn::Builder::new().workers(2).stack_size(64 << 10).build().unwrap();
    small.run(|| {
        let (event, came) = (Arc::new(Event::new()), Arc::new(Count::default()));
        let crowd: Vec<_> = (0..CROWD)
            .map(|_| {
                let (event, came) = (event.clone(), came.clone());
                pirn::spawn(move || {
                    came.add();
                    event.wait();
                })
            })
            .collect();
        until(|| came.get() == CROWD);
        event.set();
        crowd.into_iter().for_each(|one| one.join().unwrap());
    });
}

#[test]
fn a_group_is_waited_for() {
    both(|| {
        let group = WaitGroup::new();
        let done = Arc::new(Count::default());
        for index in 0..50 {
            let (member, done) = (group.clone(), done.clone());
            let _ = start(index % 5 == 0, move || {
                pirn::thread::yield_now();
                done.add();
                drop(member);
            });
        }
        assert!(format!("{group:?}").starts_with("WaitGroup { count: "));
        group.wait();
        assert_eq!(done.get(), 50);
        WaitGroup::default().wait();
    });
}

#[test]
fn members_may_wait_for_each_other() {
    both(|| {
        let group = WaitGroup::new();
        let members: Vec<_> = (0..10)
            .map(|index| {
                let member = group.clone();
                start(index % 2 == 0, move || member.wait())
            })
            .collect();
        group.wait();
        members.into_iter().for_each(|member| member());
    });
}

#[test]
fn a_parker_has_a_token_of_its_own() {
    both(|| {
        let parker = Parker::new();
        parker.unparker().unpark();
        parker.unparker().unpark();
        parker.park();
        let start = Instant::now();
        parker.park_timeout(Duration::from_millis(5));
        parker.park_deadline(start + Duration::from_millis(10));
        assert!(start.elapsed() >= Duration::from_millis(10));
        let unparker = parker.unparker().clone();
        let other = crate::support::start(true, move || unparker.unpark());
        parker.park();
        other();
        assert_eq!(format!("{parker:?} {:?}", parker.unparker()), "Parker { .. } Unparker { .. }");
    });
}

#[test]
#[expect(unsafe_code, reason = "gives handles away as pointers and takes them back")]
fn parkers_go_through_pointers() {
    let unparker = Unparker::into_raw(Parker::new().unparker().clone());
    // SAFETY: it came from `into_raw`, and is used once.
    drop(unsafe { Unparker::from_raw(unparker) });
    let parker = Parker::new();
    parker.unparker().unpark();
    let parker = Parker::into_raw(parker);
    // SAFETY: as above.
    unsafe { Parker::from_raw(parker) }.park();
}

#[test]
fn one_flight_at_a_time() {
    for workers in [1, 2, 4, 8] {
        runtime(workers).run(|| {
            let flights = Arc::new(SingleFlight::new());
            let (works, gate) = (Arc::new(Count::default()), Arc::new(Event::new()));
            let callers: Vec<_> = (0..40)
                .map(|index| {
                    let (flights, works, gate) = (flights.clone(), works.clone(), gate.clone());
                    start(index % 10 == 0, move || {
                        flights.run(index % 2, move || {
                            works.add();
                            gate.wait();
                            index % 2
                        })
                    })
                })
                .collect();
            until(|| works.get() == 2);
            gate.set();
            for (index, caller) in callers.into_iter().enumerate() {
                assert_eq!(caller() as usize, index % 2);
            }
            assert_eq!(flights.run(0, || 5), 5, "nothing is kept");
        });
    }
}

#[test]
fn a_flight_that_fails_is_taken_over() {
    let flights = Arc::new(SingleFlight::new());
    let begun = Arc::new(Event::new());
    let (theirs, started) = (flights.clone(), begun.clone());
    let (gate, fails) = (Arc::new(Event::new()), Arc::new(Event::new()));
    let let_fail = fails.clone();
    let first = pirn::spawn(move || {
        theirs.run("key", || {
            started.set();
            let_fail.wait();
            std::panic::resume_unwind(Box::new("expected"))
        })
    });
    begun.wait();
    let theirs = flights.clone();
    let waits = gate.clone();
    let second = pirn::spawn(move || {
        waits.set();
        theirs.run("key", || 7)
    });
    gate.wait();
    fails.set();
    assert!(first.join().is_err());
    assert_eq!(second.join().unwrap(), 7);
}

#[test]
fn a_forgotten_flight_is_flown_again() {
    let flights = Arc::new(SingleFlight::new());
    let (begun, gate) = (Arc::new(Event::new()), Arc::new(Event::new()));
    let (theirs, started, goes_on) = (flights.clone(), begun.clone(), gate.clone());
    let first = pirn::spawn(move || {
        theirs.run("key", || {
            started.set();
            goes_on.wait();
            1
        })
    });
    begun.wait();
    flights.forget(&"key");
    assert_eq!(flights.run("key", || 2), 2);
    gate.set();
    assert_eq!(first.join().unwrap(), 1);
}

/// A key that cannot be compared when a flight ends keeps neither those waiting who came for it,
/// nor its value for those who come later.
#[test]
fn a_flight_ends_even_if_its_key_panics() {
    static COMPARED: Count = Count::new();
    static FAILS: AtomicBool = AtomicBool::new(false);

    #[derive(Clone)]
    struct Key;

    impl std::hash::Hash for Key {
        fn hash<H: std::hash::Hasher>(&self, _: &mut H) {}
    }

    impl PartialEq for Key {
        fn eq(&self, _: &Key) -> bool {
            // Looked at before the count: what the test does once it is counted must not reach this
            // comparison any more.
            let fails = FAILS.load(Ordering::SeqCst);
            COMPARED.add();
            assert!(!fails, "expected");
            true
        }
    }

    impl Eq for Key {}

    let flights = Arc::new(SingleFlight::new());
    let (begun, goes_on) = (Arc::new(Event::new()), Arc::new(Event::new()));
    let (theirs, started, gate) = (flights.clone(), begun.clone(), goes_on.clone());
    let first = pirn::spawn(move || {
        theirs.run(Key, || {
            started.set();
            gate.wait();
            1
        })
    });
    begun.wait();
    let theirs = flights.clone();
    let second = pirn::spawn(move || theirs.run(Key, || 2));
    // It has found the flight that it is to wait for.
    until(|| COMPARED.get() == 1);
    FAILS.store(true, Ordering::SeqCst);
    goes_on.set();
    assert!(first.join().is_err());
    assert_eq!(second.join().unwrap(), 1);
    FAILS.store(false, Ordering::SeqCst);
    assert_eq!(flights.run(Key, || 3), 3);
}
