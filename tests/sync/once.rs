//! `Once`, `OnceLock` and `LazyLock`.

use crate::support::{Count, both, runtime, start, until};
use pirn::sync::{Arc, LazyLock, Once, OnceLock};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;

/// One initialises, and parks in the middle; all others wait for it.
#[test]
fn one_initialises_and_all_wait() {
    both(|| {
        for thread in [false, true] {
            let shared = Arc::new((Once::new(), Count::default(), Count::default()));
            let calls: Vec<_> = (0..20)
                .map(|number| {
                    let shared = shared.clone();
                    start(thread, move || {
                        if number % 3 == 0 {
                            shared.0.wait();
                        } else {
                            shared.0.call_once(|| {
                                pirn::thread::sleep(Duration::from_millis(1));
                                shared.1.add();
                            });
                        }
                        assert_eq!(shared.1.get(), 1);
                        assert!(shared.0.is_completed());
                        shared.2.add();
                    })
                })
                .collect();
            calls.into_iter().for_each(|join| join());
            assert_eq!((shared.1.get(), shared.2.get()), (1, 20));
        }
    });
}

#[test]
fn a_panic_poisons_those_who_wait_too() {
    runtime(1).run(|| {
        let shared = Arc::new((Once::new(), Count::default()));
        let theirs = shared.clone();
        let panics = pirn::spawn(move || {
            theirs.0.call_once(|| {
                theirs.1.add();
                pirn::thread::park();
                resume_unwind(Box::new(()));
            });
        });
        until(|| shared.1.get() == 1);
        let spawn = |f: fn(&Once)| {
            let shared = shared.clone();
            pirn::spawn(move || f(&shared.0))
        };
        let calls = spawn(|once| once.call_once(|| ()));
        let waits = spawn(Once::wait);
        let waits_on = spawn(Once::wait_force);
        pirn::thread::yield_now();
        panics.thread().unpark();
        assert!(panics.join().is_err() && calls.join().is_err() && waits.join().is_err());
        assert!(!waits_on.is_finished() && !shared.0.is_completed());
        shared.0.call_once_force(|state| assert!(state.is_poisoned()));
        waits_on.join().unwrap();
        shared.0.call_once(|| unreachable!("it is done"));
        shared.0.wait();
    });
}

#[test]
fn a_cell_is_set_once() {
    both(|| {
        let mut cell = OnceLock::new();
        assert_eq!(cell.get(), None);
        assert_eq!(cell.set(1), Ok(()));
        assert_eq!(cell.set(2), Err(2));
        assert_eq!((cell.get(), *cell.wait(), *cell.get_or_init(|| 3)), (Some(&1), 1, 1));
        *cell.get_mut().unwrap() += 1;
        assert_eq!(cell.take(), Some(2));
        assert_eq!((cell.take(), cell.get()), (None, None));
        assert_eq!(cell.get_or_init(|| 4), &4);
        let copy = cell.clone();
        assert_eq!((copy.wait(), copy.set(5)), (&4, Err(5)));
        assert_eq!(copy.into_inner(), Some(4));
    });
}

#[test]
fn a_cell_is_not_poisoned() {
    both(|| {
        let cell = Arc::new(OnceLock::new());
        let theirs = cell.clone();
        let waits = pirn::spawn(move || *theirs.wait());
        for _ in 0..2 {
            let panics = AssertUnwindSafe(|| {
                cell.get_or_init(|| resume_unwind(Box::new(())));
            });
            assert!(catch_unwind(panics).is_err());
        }
        assert_eq!(cell.get_or_init(|| 1), &1);
        assert_eq!(waits.join().unwrap(), 1);
    });
}

/// Those who race get one value, and the others' are given back or never made.
#[test]
fn those_who_race_get_one_value() {
    both(|| {
        for thread in [false, true] {
            let shared = Arc::new((OnceLock::new(), Count::default()));
            let setters: Vec<_> = (0..20)
                .map(|number| {
                    let shared = shared.clone();
                    start(thread, move || {
                        if number % 2 == 0 {
                            if shared.0.set(number).is_ok() {
                                shared.1.add();
                            }
                        } else {
                            shared.0.get_or_init(|| {
                                pirn::thread::yield_now();
                                shared.1.add();
                                number
                            });
                        }
                        *shared.0.get().unwrap()
                    })
                })
                .collect();
            let values: Vec<usize> = setters.into_iter().map(|join| join()).collect();
            assert!(values.iter().all(|value| *value == values[0]));
            assert_eq!(shared.1.get(), 1);
        }
    });
}

#[test]
fn a_lazy_value_is_made_once() {
    both(|| {
        for thread in [false, true] {
            let made = Arc::new(Count::default());
            let makes = made.clone();
            let lazy = Arc::new(LazyLock::new(move || {
                pirn::thread::sleep(Duration::from_millis(1));
                makes.add()
            }));
            assert_eq!(LazyLock::get(&lazy), None);
            let users: Vec<_> = (0..20)
                .map(|_| {
                    let lazy = lazy.clone();
                    start(thread, move || **lazy)
                })
                .collect();
            assert!(users.into_iter().all(|join| join() == 0));
            assert_eq!(made.get(), 1);
            let mut lazy = Arc::into_inner(lazy).unwrap();
            *LazyLock::get_mut(&mut lazy).unwrap() += 1;
            *lazy += 1;
            assert_eq!(*LazyLock::force_mut(&mut lazy), 2);
            assert_eq!(LazyLock::get(&lazy), Some(&2));
        }
    });
}

/// Initialiser or value, whichever is there, is dropped, once.
#[test]
fn lazy_values_are_dropped() {
    let counted = Arc::new(());
    let lazy = |panics: bool| {
        let counted = counted.clone();
        LazyLock::new(move || match panics {
            true => resume_unwind(Box::new(())),
            false => counted,
        })
    };
    drop(lazy(false));
    assert_eq!(Arc::strong_count(&counted), 1);
    let forced = lazy(false);
    assert_eq!(Arc::strong_count(&forced), 2);
    drop(forced);
    assert_eq!(Arc::strong_count(&counted), 1);
    let mut by_mut = lazy(false);
    assert_eq!(Arc::strong_count(LazyLock::force_mut(&mut by_mut)), 2);
    drop(by_mut);
    for exclusive in [false, true] {
        let mut poisoned = lazy(true);
        for _ in 0..2 {
            let forces = AssertUnwindSafe(|| match exclusive {
                true => drop(LazyLock::force_mut(&mut poisoned).clone()),
                false => drop(LazyLock::force(&poisoned).clone()),
            });
            assert!(catch_unwind(forces).is_err());
        }
        assert!(LazyLock::get(&poisoned).is_none() && LazyLock::get_mut(&mut poisoned).is_none());
        drop(poisoned);
    }
    assert_eq!(Arc::strong_count(&counted), 1);
}
