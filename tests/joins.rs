//! A join that runs what it joins: but for its price it is a wait as any other.

use pirn::channel::bounded;
use pirn::sync::Mutex;
use pirn::thread::{self, Builder, yield_now};
use pirn::time::{Duration, Instant, timeout};
use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

fn on_workers(test: impl Fn(&pirn::Runtime)) {
    for workers in [1, 2, 4, 8] {
        test(&pirn::Builder::new().workers(workers).build().unwrap());
    }
}

/// Whatever is called is called in so many others, some of which have to wait in the end.
const DEPTH: usize = 100;

/// Spawns and joins, level by level, and does something at the bottom.
fn below<T: Send + 'static>(depth: usize, f: impl FnOnce() -> T + Send + 'static) -> T {
    match depth {
        0 => f(),
        _ => {
            let f: Box<dyn FnOnce() -> T + Send> = Box::new(f);
            let level = pirn::spawn(move || below(depth - 1, f));
            level.join().unwrap_or_else(|payload| panic::resume_unwind(payload))
        }
    }
}

#[test]
fn lone_joins_wake_nobody() {
    const ROUNDS: usize = 10_000;
    let runtime = pirn::Builder::new().workers(1).build().unwrap();
    runtime.run(|| {
        for n in 0..ROUNDS {
            assert_eq!(pirn::spawn(move || n).join().unwrap(), n);
        }
    });
    let wakes = runtime.metrics().total().wakes_local;
    // Each sixteenth goes through the queues, where the rest of the world has its turn.
    assert!(wakes > 0 && wakes < ROUNDS as u64 / 4, "{wakes} of {ROUNDS}");
}

#[test]
fn everything_that_waits_can_be_called() {
    on_workers(|runtime| {
        runtime.run(|| {
            for depth in [0, 1, 2, 31, 32, 33, DEPTH] {
                assert_eq!(below(depth, || 1), 1);
                below(depth, yield_now);
                below(depth, || (0..100).for_each(|_| yield_now()));
                below(depth, || thread::sleep(Duration::from_micros(50)));
                below(depth, || thread::park_timeout(Duration::from_micros(50)));
                below(depth, || {
                    thread::current().unpark();
                    thread::park();
                });
                below(depth, || {
                    let (sender, receiver) = bounded(0);
                    let peer = pirn::spawn(move || receiver.iter().sum::<usize>());
                    (0..10).for_each(|n| sender.send(n).unwrap());
                    drop(sender);
                    assert_eq!(peer.join().unwrap(), 45);
                });
                below(depth, || pirn::block_in_place(|| ()));
                below(depth, || {
                    pirn::block_in_place(|| pirn::spawn(yield_now).join().unwrap());
                });
                let waits = || timeout(Duration::from_micros(50), thread::park);
                assert!(below(depth, waits).is_err());
                let in_time = || timeout(Duration::from_secs(600), || pirn::spawn(|| 3).join());
                assert_eq!(below(depth, in_time).unwrap().unwrap(), 3);
            }
        });
    });
}

#[test]
fn each_level_waits_and_goes_on() {
    fn tree(depth: usize, waits: bool) -> usize {
        if waits {
            yield_now();
        }
        match depth {
            0 => 1,
            _ => {
                let left = pirn::spawn(move || tree(depth - 1, false)).join().unwrap();
                let right = pirn::spawn(move || tree(depth - 1, true)).join().unwrap();
                left + right
            }
        }
    }
    on_workers(|runtime| {
        assert_eq!(runtime.run(|| tree(10, false)), 1 << 10);
    });
}

#[test]
fn a_panic_ends_what_was_called_alone() {
    on_workers(|runtime| {
        runtime.run(|| {
            for _ in 0..100 {
                let error = pirn::spawn(|| panic::resume_unwind(Box::new(5))).join().unwrap_err();
                assert_eq!(error.downcast_ref::<i32>(), Some(&5));
                assert!(!thread::panicking());
            }
            // One that waits while it unwinds, in a destructor.
            struct Waits;
            impl Drop for Waits {
                fn drop(&mut self) {
                    assert!(thread::panicking());
                    yield_now();
                    assert!(thread::panicking());
                }
            }
            let child = pirn::spawn(|| {
                let _waits = Waits;
                panic::resume_unwind(Box::new(6))
            });
            assert!(child.join().is_err());
            assert!(!thread::panicking());
        });
    });
}

#[test]
fn who_unwinds_joins_one_that_does_not() {
    struct Joins(Arc<AtomicBool>);
    impl Drop for Joins {
        fn drop(&mut self) {
            let saw = self.0.clone();
            pirn::spawn(move || saw.store(!thread::panicking(), Ordering::Relaxed)).join().unwrap();
        }
    }
    on_workers(|runtime| {
        let calm = Arc::new(AtomicBool::new(false));
        let joins = Joins(calm.clone());
        runtime.run(move || {
            let unwound = panic::catch_unwind(AssertUnwindSafe(|| {
                let _joins = joins;
                panic::resume_unwind(Box::new(()));
            }));
            assert!(unwound.is_err());
        });
        assert!(calm.load(Ordering::Relaxed));
    });
}

#[test]
fn each_has_its_own_name_number_and_locals() {
    pirn::coroutine_local! {
        static MARK: Cell<u64> = const { Cell::new(0) };
    }
    on_workers(|runtime| {
        runtime.run(|| {
            MARK.with(|mark| mark.set(1));
            let here = thread::current().id();
            for n in 0..100 {
                let child = Builder::new().name(format!("child {n}")).spawn(move || {
                    let me = thread::current();
                    assert_eq!(me.name(), Some(&*format!("child {n}")));
                    assert_ne!(me.id(), here);
                    MARK.with(|mark| assert_eq!(mark.replace(2), 0));
                    me
                });
                let child = child.unwrap().join().unwrap();
                assert_ne!(child.id(), here);
                // It is another one's by now, and wakes nobody.
                child.unpark();
                assert_eq!(thread::current().id(), here);
                MARK.with(|mark| assert_eq!(mark.get(), 1));
            }
        });
    });
}

#[test]
fn one_cancelled_before_its_start_is_not_run() {
    on_workers(|runtime| {
        runtime.run(|| {
            let ran = Arc::new(AtomicUsize::new(0));
            for _ in 0..100 {
                let body = ran.clone();
                let child = pirn::spawn(move || body.fetch_add(1, Ordering::Relaxed));
                let before = child.is_finished();
                child.cancel();
                let result = child.join();
                assert!(before || result.is_ok() || result.unwrap_err().is::<pirn::Cancelled>());
            }
            assert_eq!(Arc::strong_count(&ran), 1, "the bodies were dropped");
        });
    });
}

#[test]
fn a_joiner_is_cancelled_by_what_it_joins() {
    on_workers(|runtime| {
        runtime.run(|| {
            for yields in [false, true] {
                let (sender, receiver) = bounded(1);
                let joiner = pirn::spawn(move || {
                    let own: pirn::thread::CancelHandle = receiver.recv().unwrap();
                    let result = pirn::spawn(move || {
                        own.cancel();
                        if yields {
                            yield_now();
                        }
                        7
                    });
                    let result = result.join().unwrap();
                    // It ended at once, so there was nothing to wait for: the next wait ends.
                    thread::park();
                    result
                });
                sender.send(joiner.cancel_handle()).unwrap();
                assert!(joiner.join().unwrap_err().is::<pirn::Cancelled>());
            }
        });
    });
}

#[test]
fn what_is_called_waits_for_its_joiners_lock() {
    on_workers(|runtime| {
        runtime.run(|| {
            let lock = Arc::new(Mutex::new(0));
            for n in 0..100 {
                let guard = lock.lock().unwrap();
                let theirs = lock.clone();
                let child = pirn::spawn(move || *theirs.lock().unwrap() += 1);
                let helper = pirn::spawn(move || child.join().unwrap());
                assert_eq!(*guard, n);
                drop(guard);
                helper.join().unwrap();
                assert_eq!(*lock.lock().unwrap(), n + 1);
            }
        });
    });
}

/// One that does nothing but spawn and join lets everybody else have a turn: those that are ready, what
/// was woken by threads, timers.
#[test]
fn a_loop_of_joins_starves_nobody() {
    for workers in [1, 2] {
        let runtime = pirn::Builder::new().workers(workers).build().unwrap();
        runtime.run(|| {
            let turns = Arc::new(AtomicUsize::new(0));
            let theirs = turns.clone();
            let yielder = pirn::spawn(move || {
                while theirs.fetch_add(1, Ordering::Relaxed) < 1_000 {
                    yield_now();
                }
            });
            let sleeper = pirn::spawn(|| thread::sleep(Duration::from_millis(1)));
            let (sender, receiver) = bounded::<()>(0);
            let woken = pirn::spawn(move || receiver.recv().unwrap());
            let outside = std::thread::spawn(move || sender.send(()).unwrap());
            let others = [yielder, sleeper, woken];
            let end = Instant::now() + Duration::from_secs(60);
            while !others.iter().all(|one| one.is_finished()) {
                pirn::spawn(|| ()).join().unwrap();
                assert!(Instant::now() < end, "somebody starves");
            }
            others.into_iter().for_each(|one| one.join().unwrap());
            outside.join().unwrap();
        });
    }
}

#[test]
fn others_hold_what_is_called() {
    on_workers(|runtime| {
        runtime.run(|| {
            for _ in 0..1_000 {
                let (sender, receiver) = bounded(1);
                let keeper = pirn::spawn(move || {
                    let child: thread::Thread = receiver.recv().unwrap();
                    child.unpark();
                    child
                });
                let child = pirn::spawn(move || {
                    sender.send(thread::current()).unwrap();
                    thread::park();
                    8
                });
                assert_eq!(child.join().unwrap(), 8);
                keeper.join().unwrap();
            }
        });
    });
}

#[test]
fn a_dump_shows_who_joins_whom() {
    let runtime = pirn::Builder::new().name("levels").workers(1).build().unwrap();
    // Of all runtimes of the process.
    let dump = runtime.run(|| below(3, pirn::dump));
    let ours = dump.runtimes.iter().find(|one| one.name == "levels").unwrap();
    let joins = ours.coroutines.iter().filter(|one| one.waits_for.as_deref() == Some("join"));
    assert_eq!(joins.count(), 3, "{dump}");
}

#[test]
fn the_end_of_a_runtime_reaches_those_that_were_called() {
    for workers in [1, 2, 4] {
        let runtime = pirn::Builder::new().workers(workers).build().unwrap();
        let (sender, receiver) = std::sync::mpsc::channel();
        let parked = runtime.spawn(move || {
            below(DEPTH, move || {
                sender.send(()).unwrap();
                thread::park();
            });
        });
        receiver.recv().unwrap();
        drop(runtime);
        assert!(parked.join().unwrap_err().is::<pirn::Cancelled>());
    }
}

/// What ends the process does so on the thread's own stack, where destructors may want more of it.
#[test]
fn what_was_called_ends_the_process() {
    const CHILD: &str = "PIRN_TEST_CALLED_EXIT";

    struct Spawns;
    impl Drop for Spawns {
        fn drop(&mut self) {
            // Beyond what is at hand.
            (0..1_000).for_each(|n| drop(pirn::spawn(move || n)));
            eprintln!("spawned");
        }
    }
    std::thread_local! {
        static LATE: Spawns = const { Spawns };
    }

    if std::env::var_os(CHILD).is_some() {
        let runtime = pirn::Builder::new().workers(1).build().unwrap();
        runtime.run(|| {
            let exits = pirn::spawn(|| {
                LATE.with(|_| ());
                pirn::process::exit(7)
            });
            exits.join().unwrap();
        });
    }
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "what_was_called_ends_the_process", "--nocapture"])
        .env(CHILD, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(7), "{:?} {said}", output.status);
    assert!(said.contains("spawned"), "{said}");
}

#[test]
fn who_joins_itself_panics_as_in_std() {
    // What std's thread says, which nobody can join any more.
    let (theirs, heard) = std::sync::mpsc::channel();
    let (tx, rx) = std::sync::mpsc::channel::<std::thread::JoinHandle<()>>();
    let handle = std::thread::spawn(move || {
        let me = rx.recv().unwrap();
        let panic = panic::catch_unwind(AssertUnwindSafe(|| me.join())).unwrap_err();
        theirs.send(*panic.downcast::<String>().unwrap()).unwrap();
    });
    tx.send(handle).unwrap();
    let text = heard.recv().unwrap();
    assert!(text.starts_with("failed to join thread"), "{text}");

    on_workers(|runtime| {
        runtime.run(|| {
            let (tx, rx) = bounded::<pirn::thread::JoinHandle<()>>(1);
            let (done, end) = bounded(1);
            tx.send(pirn::spawn(move || {
                let me = rx.recv().unwrap();
                let panic = panic::catch_unwind(AssertUnwindSafe(|| me.join())).unwrap_err();
                done.send(*panic.downcast::<String>().unwrap()).unwrap();
            }))
            .unwrap();
            assert_eq!(end.recv().unwrap(), text);
        });
    });
}
