//! What is bound to a thread and lives on a coroutine's stack across parks: thread-locals, their
//! borrows, `!Send` values, guards of std's locks.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::cell::{Cell, RefCell};
use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::ThreadId;
use std::time::Duration;

const WORKERS: [usize; 4] = [1, 2, 4, 8];

fn on_workers(test: impl Fn(&pirn::Runtime)) {
    for workers in WORKERS {
        test(&pirn::Builder::new().workers(workers).build().unwrap());
    }
}

fn os_thread() -> ThreadId {
    std::thread::current().id()
}

/// One of the ways to leave the stack for a while, chosen by a number.
fn leave(way: usize) {
    match way % 6 {
        0 => pirn::thread::yield_now(),
        1 => pirn::thread::sleep(Duration::from_micros(50)),
        2 => pirn::thread::park_timeout(Duration::from_micros(20)),
        3 => drop(pirn::spawn(|| ()).join()),
        4 => pirn::thread::scope(|scope| drop(scope.spawn(pirn::thread::yield_now))),
        _ => pirn::blocking(|| ()),
    }
}

thread_local! {
    static CELLS: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
    static COUNT: Cell<usize> = const { Cell::new(0) };
}

#[test]
fn a_coroutine_stays_on_the_thread_where_it_began() {
    on_workers(|runtime| {
        runtime.run(|| {
            let coroutines: Vec<_> = (0..200)
                .map(|number| {
                    pirn::spawn(move || {
                        let home = os_thread();
                        let mut random = StdRng::seed_from_u64(number);
                        let address = COUNT.with(|count| std::ptr::from_ref(count).addr());
                        for _ in 0..20 {
                            leave(random.random_range(0..6));
                            assert_eq!(os_thread(), home);
                            assert_eq!(
                                COUNT.with(|count| std::ptr::from_ref(count).addr()),
                                address
                            );
                        }
                    })
                })
                .collect();
            coroutines.into_iter().for_each(|coroutine| coroutine.join().unwrap());
        });
    });
}

#[test]
fn a_counter_per_thread_counts_every_coroutine_where_it_lives() {
    on_workers(|runtime| {
        let homes = runtime.run(|| {
            let coroutines: Vec<_> = (0..200)
                .map(|_| {
                    pirn::spawn(|| {
                        COUNT.with(|count| {
                            // Read, leave, write: right if only coroutines of this thread that
                            // run between the two change it, and those add one each.
                            let before = count.get();
                            pirn::thread::yield_now();
                            assert!(count.get() >= before);
                            count.set(count.get() + 1);
                        });
                        pirn::thread::yield_now();
                        (os_thread(), COUNT.get())
                    })
                })
                .collect();
            coroutines.into_iter().map(|c| c.join().unwrap()).collect::<Vec<_>>()
        });
        let mut last = std::collections::HashMap::new();
        for (home, seen) in &homes {
            let last = last.entry(*home).or_insert(0);
            *last = (*seen).max(*last);
        }
        assert_eq!(last.values().sum::<usize>(), 200);
    });
}

#[test]
fn a_shared_borrow_of_a_thread_local_lasts_across_parks() {
    on_workers(|runtime| {
        runtime.run(|| {
            let readers: Vec<_> = (0..64)
                .map(|number: usize| {
                    pirn::spawn(move || {
                        CELLS.with(|cells| {
                            let borrowed = cells.borrow();
                            let len = borrowed.len();
                            for way in 0..12 {
                                leave(number + way);
                                assert_eq!(borrowed.len(), len);
                                // Whoever runs in between at this home sees the borrow.
                                assert!(cells.try_borrow_mut().is_err());
                            }
                        });
                    })
                })
                .collect();
            readers.into_iter().for_each(|reader| reader.join().unwrap());
        });
    });
}

/// The claim from the other side: coroutines of other homes do not see a borrow, those of the same
/// home do.
#[test]
fn a_mutable_borrow_is_seen_at_its_home_alone() {
    on_workers(|runtime| {
        runtime.run(|| {
            let holder_home = Arc::new(Mutex::new(None));
            let release = Arc::new(AtomicBool::new(false));
            let holder = {
                let (home, release) = (holder_home.clone(), release.clone());
                pirn::spawn(move || {
                    CELLS.with(|cells| {
                        let mut mine = cells.borrow_mut();
                        *home.lock().unwrap() = Some(os_thread());
                        while !release.load(Ordering::Acquire) {
                            mine.push(0);
                            pirn::thread::sleep(Duration::from_micros(100));
                        }
                        mine.clear();
                    });
                })
            };
            while holder_home.lock().unwrap().is_none() {
                pirn::thread::sleep(Duration::from_micros(50));
            }
            let home = holder_home.lock().unwrap().unwrap();
            let probes: Vec<_> = (0..100)
                .map(|_| {
                    pirn::spawn(move || {
                        pirn::thread::yield_now();
                        let borrowed = CELLS.with(|cells| cells.try_borrow().is_err());
                        assert_eq!(borrowed, os_thread() == home);
                    })
                })
                .collect();
            probes.into_iter().for_each(|probe| probe.join().unwrap());
            release.store(true, Ordering::Release);
            holder.join().unwrap();
        });
    });
}

#[test]
fn the_thread_rng_is_held_across_parks() {
    on_workers(|runtime| {
        runtime.run(|| {
            let users: Vec<_> = (0..100)
                .map(|number: usize| {
                    pirn::spawn(move || {
                        // An `Rc` of a thread-local generator inside.
                        let mut random = rand::rng();
                        let mut sum = 0_u64;
                        for way in 0..24 {
                            sum = sum.wrapping_add(random.random::<u64>());
                            let clone = random.clone();
                            leave(number + way);
                            drop(clone);
                        }
                        sum
                    })
                })
                .collect();
            let sums: Vec<_> = users.into_iter().map(|user| user.join().unwrap()).collect();
            let distinct: std::collections::HashSet<_> = sums.iter().collect();
            assert_eq!(distinct.len(), sums.len());
        });
    });
}

thread_local! {
    static SHARED: Rc<RefCell<u64>> = Rc::new(RefCell::new(0));
}

#[test]
fn clones_of_one_rc_in_many_coroutines_count_rightly() {
    on_workers(|runtime| {
        let totals = runtime.run(|| {
            let coroutines: Vec<_> = (0..128)
                .map(|number: usize| {
                    pirn::spawn(move || {
                        let mine = SHARED.with(Rc::clone);
                        for way in 0..10 {
                            let another = mine.clone();
                            leave(number + way);
                            *another.borrow_mut() += 1;
                        }
                        let clones = Rc::strong_count(&mine);
                        let total = *mine.borrow();
                        (os_thread(), total, clones)
                    })
                })
                .collect();
            let mut totals = std::collections::HashMap::new();
            for coroutine in coroutines {
                let (home, total, clones) = coroutine.join().unwrap();
                let (most, fewest) = totals.entry(home).or_insert((0, usize::MAX));
                *most = total.max(*most);
                *fewest = clones.min(*fewest);
            }
            totals
        });
        // The last one of each home has seen all of that home, and no clone but its own and the
        // thread-local's.
        assert_eq!(totals.values().map(|(total, _)| total).sum::<u64>(), 1280);
        assert!(totals.values().all(|(_, clones)| *clones == 2), "{totals:?}");
    });
}

#[test]
fn values_that_are_not_send_live_on_stacks() {
    struct Bound {
        home: ThreadId,
        dropped: Arc<AtomicUsize>,
        _not_send: PhantomData<*mut ()>,
    }

    impl Drop for Bound {
        fn drop(&mut self) {
            assert_eq!(os_thread(), self.home);
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    on_workers(|runtime| {
        let dropped = Arc::new(AtomicUsize::new(0));
        runtime.run(|| {
            let coroutines: Vec<_> = (0..100)
                .map(|number: usize| {
                    let dropped = dropped.clone();
                    pirn::spawn(move || {
                        let _bound = Bound { home: os_thread(), dropped, _not_send: PhantomData };
                        (0..6).for_each(|way| leave(number + way));
                        assert!(!number.is_multiple_of(10), "unwinds over the bound value");
                    })
                })
                .collect();
            let panics = coroutines.into_iter().map(|c| c.join().is_err());
            assert_eq!(panics.filter(|&panicked| panicked).count(), 10);
        });
        assert_eq!(dropped.load(Ordering::Relaxed), 100);
    });
}

#[test]
fn a_std_guard_held_across_yields_excludes_and_is_released_at_home() {
    on_workers(|runtime| {
        let lock = Arc::new(Mutex::new(0_u64));
        runtime.run(|| {
            let coroutines: Vec<_> = (0..64)
                .map(|_| {
                    let lock = lock.clone();
                    pirn::spawn(move || {
                        for _ in 0..20 {
                            // A blocking `lock` here would block the home of the holder: that is
                            // in the docs. `try_lock` is what works.
                            let mut guard = loop {
                                match lock.try_lock() {
                                    Ok(guard) => break guard,
                                    Err(_) => pirn::thread::yield_now(),
                                }
                            };
                            let before = *guard;
                            pirn::thread::yield_now();
                            assert_eq!(*guard, before, "nobody else got in");
                            *guard = before + 1;
                        }
                    })
                })
                .collect();
            coroutines.into_iter().for_each(|coroutine| coroutine.join().unwrap());
        });
        assert_eq!(*lock.lock().unwrap(), 64 * 20);
    });
}

#[test]
fn spawn_local_takes_what_is_not_send_and_stays() {
    on_workers(|runtime| {
        runtime.run(|| {
            let groups: Vec<_> = (0..32)
                .map(|_| {
                    pirn::spawn(|| {
                        let home = os_thread();
                        let shared = Rc::new(Cell::new(0));
                        let children: Vec<_> = (0..32)
                            .map(|way| {
                                let shared = shared.clone();
                                pirn::thread::spawn_local(move || {
                                    assert_eq!(os_thread(), home);
                                    leave(way);
                                    assert_eq!(os_thread(), home);
                                    shared.set(shared.get() + 1);
                                    shared
                                })
                            })
                            .collect();
                        for child in children {
                            let theirs = child.join().unwrap();
                            assert!(Rc::ptr_eq(&theirs, &shared));
                        }
                        assert_eq!(shared.get(), 32);
                        assert_eq!(Rc::strong_count(&shared), 1);
                    })
                })
                .collect();
            groups.into_iter().for_each(|group| group.join().unwrap());
        });
    });
}

#[test]
fn spawn_local_children_that_nobody_joins_drop_what_they_hold_at_home() {
    struct Watched(ThreadId, Rc<Cell<usize>>);

    impl Drop for Watched {
        fn drop(&mut self) {
            assert_eq!(os_thread(), self.0);
            self.1.set(self.1.get() + 1);
        }
    }

    on_workers(|runtime| {
        runtime.run(|| {
            let dropped = Rc::new(Cell::new(0));
            for way in 0..50 {
                let held = Watched(os_thread(), dropped.clone());
                drop(pirn::thread::spawn_local(move || {
                    leave(way);
                    held
                }));
            }
            while dropped.get() < 50 {
                pirn::thread::yield_now();
            }
        });
    });
}

#[test]
fn spawn_local_needs_a_coroutine() {
    let outside = std::panic::catch_unwind(|| pirn::thread::spawn_local(|| ()));
    let message = outside.expect_err("there is no machine here");
    let text = message.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| message.downcast_ref::<&str>().copied()).unwrap();
    assert!(text.contains("spawn_local called outside of a coroutine"), "{text}");
}

/// The lock of stdout is re-entrant per thread, so coroutines of one home share it, and a thread
/// gets it when the last of them has released it, in whatever order they do.
#[test]
fn the_lock_of_stdout_is_held_across_yields() {
    on_workers(|runtime| {
        runtime.run(|| {
            let first = std::io::stdout().lock();
            let (locked, release) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
            let others: Vec<_> = (1..=3)
                .map(|turn| {
                    let (locked, release) = (locked.clone(), release.clone());
                    pirn::thread::spawn_local(move || {
                        // A blocking lock: at another home this would never return.
                        let _shared = std::io::stdout().lock();
                        locked.set(locked.get() + 1);
                        while release.get() < turn {
                            leave(turn);
                            pirn::thread::yield_now();
                        }
                    })
                })
                .collect();
            while locked.get() < 3 {
                pirn::thread::yield_now();
            }
            let (asks, has) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
            let theirs = (asks.clone(), has.clone());
            let outsider = std::thread::spawn(move || {
                theirs.0.store(true, Ordering::Release);
                let _lock = std::io::stdout().lock();
                theirs.1.store(true, Ordering::Release);
            });
            while !asks.load(Ordering::Acquire) {
                pirn::thread::yield_now();
            }
            // The one that locked first releases first, and so on: no stack would do that.
            drop(first);
            for (turn, other) in (1..).zip(others) {
                pirn::thread::sleep(Duration::from_millis(1));
                assert!(!has.load(Ordering::Acquire), "turn {turn}: a home still holds the lock");
                release.set(turn);
                other.join().unwrap();
            }
            pirn::blocking(|| outsider.join()).unwrap();
            assert!(has.load(Ordering::Acquire));
        });
    });
}

/// What a thread-local holds may be borrowed by a coroutine that is parked, and is gone before the process
/// is: nobody of that worker may run again.
mod exit {
    use super::*;

    const CHILD: &str = "PIRN_TEST_EXITS_WITH_A_BORROW";
    const CODE: i32 = 7;

    static GONE: AtomicBool = AtomicBool::new(false);

    struct Held;

    impl Drop for Held {
        fn drop(&mut self) {
            GONE.store(true, Ordering::Relaxed);
        }
    }

    thread_local! {
        static HELD: Held = const { Held };
    }

    /// Ends the process if somebody has run again.
    fn borrow_until_gone() {
        HELD.with(|_held| {
            while !GONE.load(Ordering::Relaxed) {
                pirn::thread::yield_now();
            }
            std::process::abort();
        });
    }

    /// Has a test run in a process of its own, which ends by an exit of `in_child`'s.
    fn exits(name: &str, in_child: impl FnOnce() + Send) {
        if std::env::var_os(CHILD).is_some() {
            return pirn::Builder::new().workers(1).build().unwrap().run(in_child);
        }
        let status = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", name, "--nocapture"])
            .env(CHILD, "1")
            .status()
            .unwrap();
        assert_eq!(status.code(), Some(CODE), "{status}");
    }

    #[test]
    fn no_destructor_lets_others_run() {
        /// Would let others run, in a coroutine.
        struct Yields;

        impl Drop for Yields {
            fn drop(&mut self) {
                assert!(GONE.load(Ordering::Relaxed), "the later one goes first");
                (0..100).for_each(|_| pirn::thread::yield_now());
                pirn::thread::sleep(Duration::from_millis(1));
            }
        }

        thread_local! {
            static YIELDS: Cell<Option<Yields>> = const { Cell::new(None) };
        }

        exits("exit::no_destructor_lets_others_run", || {
            YIELDS.set(Some(Yields));
            drop(pirn::spawn(borrow_until_gone));
            pirn::thread::yield_now();
            pirn::process::exit(CODE);
        });
    }

    /// Also in std's exit, which runs it on the coroutine's stack. Who fails often enough in a row lets
    /// others run, elsewhere.
    #[test]
    fn the_flush_of_stdout_lets_nobody_run() {
        exits("exit::the_flush_of_stdout_lets_nobody_run", || {
            drop(pirn::spawn(|| {
                let _out = pirn::io::stdout().lock();
                borrow_until_gone();
            }));
            pirn::thread::yield_now();
            let lock = pirn::sync::Mutex::new(());
            let _guard = lock.lock().unwrap();
            (0..63).for_each(|_| assert!(lock.try_lock().is_err()));
            std::process::exit(CODE);
        });
    }
}
