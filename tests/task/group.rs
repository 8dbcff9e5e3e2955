//! `task::Group`: who ends whom, and that nobody is left.

use pirn::task::{Failure, Group};
use pirn::time::{Duration, timeout};
use pirn::{Builder, thread};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const LONG: Duration = Duration::from_secs(600);

/// How many are there.
#[derive(Clone, Default)]
struct Alive(Arc<AtomicUsize>);

struct Here(Arc<AtomicUsize>);

impl Alive {
    fn enter(&self) -> Here {
        self.0.fetch_add(1, Ordering::SeqCst);
        Here(self.0.clone())
    }

    fn get(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

impl Drop for Here {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// In a coroutine of one and of two workers, and on a thread.
fn everywhere(test: fn()) {
    test();
    for workers in [1, 2] {
        Builder::new().workers(workers).build().unwrap().run(test);
    }
}

fn sleeper<T, E>(alive: &Alive) -> impl FnOnce() -> Result<T, E> + Send + use<T, E> {
    let here = alive.enter();
    move || {
        let _here = here;
        loop {
            thread::sleep(LONG);
        }
    }
}

#[test]
fn the_first_failure_ends_all() {
    everywhere(|| {
        let alive = Alive::default();
        let mut group = Group::<u32, &str>::fail_fast();
        for _ in 0..20 {
            group.spawn(sleeper(&alive));
        }
        group.spawn(|| Ok(1));
        group.spawn(|| Err("one"));
        assert_eq!(group.join(), Err(Failure::Error("one")));
        assert_eq!(alive.get(), 0);
    });
}

/// Also before anybody joins, so that who spawns is told nothing and what he spawns never begins.
#[test]
fn a_group_that_has_failed_begins_nothing() {
    everywhere(|| {
        let alive = Alive::default();
        let mut group = Group::<(), &str>::fail_fast();
        group.spawn(sleeper(&alive));
        group.spawn(|| Err("failed"));
        while group.running() > 0 {
            thread::sleep(Duration::from_micros(100));
        }
        assert_eq!(alive.get(), 0);
        let here = alive.enter();
        group.spawn(move || {
            let _here = here;
            unreachable!("the group has failed");
        });
        assert_eq!(group.join(), Err(Failure::Error("failed")));
        assert_eq!(alive.get(), 0);
    });
}

#[test]
fn the_first_success_ends_all() {
    everywhere(|| {
        let alive = Alive::default();
        let mut group = Group::<u32, u32>::first_ok();
        group.spawn(sleeper(&alive));
        group.spawn(|| Err(1));
        group.spawn(sleeper(&alive));
        group.spawn(|| Ok(2));
        assert_eq!(group.join(), Ok(2));
        assert_eq!(alive.get(), 0);

        let mut group = Group::<u32, u32>::first_ok();
        (0..3).for_each(|n| group.spawn(move || Err(n)));
        let failures: Vec<_> = (0..3).map(Failure::Error).collect();
        assert_eq!(group.join(), Err(failures));
        assert_eq!(Group::<u32, u32>::first_ok().join(), Err(vec![]));
    });
}

#[test]
fn all_ends_are_collected() {
    everywhere(|| {
        let mut group = Group::collect();
        for n in 0..10 {
            group.spawn(move || {
                thread::sleep(Duration::from_micros(100 * (10 - n)));
                if n % 2 == 0 { Ok(n) } else { Err(n) }
            });
        }
        for (n, result) in (0..10).zip(group.join()) {
            assert_eq!(result, if n % 2 == 0 { Ok(n) } else { Err(Failure::Error(n)) });
        }
    });
}

#[test]
fn a_panic_ends_all_and_comes_out_once() {
    everywhere(|| {
        let alive = Alive::default();
        let mut group = Group::<(), ()>::collect();
        group.spawn(sleeper(&alive));
        group.spawn(|| std::panic::resume_unwind(Box::new(7_u8)));
        group.spawn(sleeper(&alive));
        let caught = catch_unwind(AssertUnwindSafe(|| group.join()));
        assert_eq!(*caught.unwrap_err().downcast::<u8>().unwrap(), 7);
        assert_eq!(alive.get(), 0);
    });
}

#[test]
fn who_drops_a_group_ends_it() {
    everywhere(|| {
        let alive = Alive::default();
        let mut group = Group::<(), ()>::collect();
        (0..50).for_each(|_| group.spawn(sleeper(&alive)));
        drop(group);
        assert_eq!(alive.get(), 0);
    });
}

#[test]
fn who_is_cancelled_in_a_group_ends_it() {
    everywhere(|| {
        let alive = Alive::default();
        let result = timeout(Duration::from_millis(2), || {
            let mut group = Group::<(), ()>::collect();
            (0..50).for_each(|_| group.spawn(sleeper(&alive)));
            group.join()
        });
        assert!(result.is_err());
        assert_eq!(alive.get(), 0);
    });
}

#[test]
fn cancelled_members_are_failures() {
    everywhere(|| {
        let alive = Alive::default();
        let mut group = Group::<(), ()>::collect();
        group.spawn(|| Ok(()));
        group.spawn(sleeper(&alive));
        assert_eq!(group.next(), Some((0, Ok(()))));
        group.cancel();
        assert_eq!(group.next(), Some((1, Err(Failure::Cancelled))));
        assert_eq!(group.next(), None);
        assert_eq!(group.join(), vec![]);
    });
}

#[test]
fn members_inherit_a_deadline_where_asked_for() {
    everywhere(|| {
        let alive = Alive::default();
        let ended = timeout(Duration::from_millis(2), || {
            pirn::shield(|| {
                // A shield hides the deadline as well.
                assert_eq!(pirn::time::deadline(), None);
            });
            let mut group = Group::<(), ()>::collect().inherit_deadline();
            group.spawn(sleeper(&alive));
            pirn::shield(|| group.join())
        });
        // The members ended by themselves.
        assert_eq!(ended.unwrap(), vec![Err(Failure::Cancelled)]);
        assert_eq!(alive.get(), 0);
    });
}

/// A group that lives for long keeps nothing of what was taken from it.
#[test]
fn members_come_and_go() {
    everywhere(|| {
        let mut group = Group::<usize, ()>::collect();
        let mut sum = 0;
        for n in 0..500 {
            group.spawn(move || Ok(n));
            if n % 5 == 4 {
                while let Some((number, value)) = group.next() {
                    assert_eq!(value, Ok(number));
                    sum += number;
                }
            }
        }
        assert_eq!(sum, 499 * 500 / 2);
    });
}

/// Failures that race with spawns and with a cancellation from outside leave nobody.
#[test]
fn races_leave_nobody() {
    for workers in [1, 2, 4] {
        let runtime = Builder::new().workers(workers).build().unwrap();
        runtime.run(|| {
            for round in 0..200_u64 {
                let alive = Alive::default();
                let limit = Duration::from_micros(round * 3);
                let ended = timeout(limit, || {
                    let mut group = Group::<(), u64>::fail_fast();
                    for n in 0..10 {
                        if n == round % 10 {
                            group.spawn(move || Err(n));
                        }
                        group.spawn(sleeper(&alive));
                    }
                    group.join()
                });
                assert_eq!(alive.get(), 0);
                if let Ok(result) = ended {
                    assert_eq!(result, Err(Failure::Error(round % 10)));
                }
            }
        });
    }
}
