//! Runtimes that are dropped with coroutines in them, and what outlives them.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

fn runtime(workers: usize) -> pirn::Runtime {
    pirn::Builder::new().workers(workers).build().unwrap()
}

fn on_workers(test: impl Fn(pirn::Runtime)) {
    for workers in [1, 2, 4, 8] {
        test(runtime(workers));
    }
}

struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn count() -> Arc<AtomicUsize> {
    Arc::default()
}

#[test]
fn parked_residents_unwind() {
    on_workers(|runtime| {
        let dropped = count();
        let parked = Arc::new(AtomicUsize::new(0));
        let coroutines: Vec<_> = (0..200)
            .map(|number| {
                let (held, parked) = (Counted(dropped.clone()), parked.clone());
                runtime.spawn(move || {
                    let _held = held;
                    parked.fetch_add(1, Ordering::Relaxed);
                    match number % 5 {
                        0 => pirn::thread::park(),
                        1 => pirn::thread::sleep(Duration::MAX),
                        2 => pirn::thread::park_timeout(Duration::MAX),
                        3 => drop(pirn::spawn(pirn::thread::park).join()),
                        _ => pirn::thread::sleep_until(Instant::now() + Duration::from_secs(9999)),
                    }
                    // The join may have ended because its child was cancelled first.
                    assert_eq!(number % 5, 3);
                    pirn::thread::park();
                    unreachable!("nobody wakes these");
                })
            })
            .collect();
        while parked.load(Ordering::Relaxed) < 200 {
            std::thread::yield_now();
        }
        drop(runtime);
        assert_eq!(dropped.load(Ordering::Relaxed), 200);
        for coroutine in coroutines {
            let payload = coroutine.join().map(|_: ()| ()).unwrap_err();
            assert!(payload.is::<pirn::Cancelled>());
        }
    });
}

#[test]
fn destructors_that_block_are_waited_for() {
    struct Slow(Arc<AtomicUsize>);

    impl Drop for Slow {
        fn drop(&mut self) {
            assert!(std::thread::panicking());
            pirn::thread::sleep(Duration::from_millis(5));
            pirn::thread::yield_now();
            assert_eq!(pirn::blocking(|| 5), 5);
            let helper = pirn::spawn(|| ());
            // Spawned while the runtime stops: cancelled before it starts, or, had it started, run.
            drop(helper.join());
            pirn::thread::scope(|scope| drop(scope.spawn(|| ()).join()));
            pirn::block_in_place(|| std::thread::sleep(Duration::from_micros(10)));
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    on_workers(|runtime| {
        let dropped = count();
        let parked = count();
        for _ in 0..50 {
            let (slow, parked) = (Slow(dropped.clone()), parked.clone());
            drop(runtime.spawn(move || {
                let _slow = slow;
                parked.fetch_add(1, Ordering::Relaxed);
                pirn::thread::park();
            }));
        }
        while parked.load(Ordering::Relaxed) < 50 {
            std::thread::yield_now();
        }
        drop(runtime);
        assert_eq!(dropped.load(Ordering::Relaxed), 50);
    });
}

/// A destructor that is parked in the middle of an ordinary panic when the stop arrives: it cannot
/// be unwound a second time, so it must be left to finish.
#[test]
fn a_destructor_that_is_already_blocking_is_left_alone() {
    struct Slow(Arc<AtomicUsize>, mpsc::Sender<()>);

    impl Drop for Slow {
        fn drop(&mut self) {
            self.1.send(()).unwrap();
            pirn::thread::sleep(Duration::from_millis(60));
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    on_workers(|runtime| {
        let dropped = count();
        let (sent, received) = mpsc::channel();
        let panicking: Vec<_> = (0..20)
            .map(|number: usize| {
                let slow = Slow(dropped.clone(), sent.clone());
                runtime.spawn(move || {
                    let _slow = slow;
                    std::panic::resume_unwind(Box::new(number));
                })
            })
            .collect();
        (0..20).for_each(|_| received.recv().unwrap());
        drop(runtime);
        assert_eq!(dropped.load(Ordering::Relaxed), 20);
        for (number, coroutine) in panicking.into_iter().enumerate() {
            let payload = coroutine.join().unwrap_err();
            assert_eq!(*payload.downcast_ref::<usize>().unwrap(), number);
        }
    });
}

/// The same, blocked in `join` instead of a sleep, for a coroutine that is cancelled itself.
#[test]
fn a_destructor_that_joins_is_left_alone() {
    struct Joins(Option<pirn::thread::JoinHandle<()>>, Arc<AtomicUsize>, mpsc::Sender<()>);

    impl Drop for Joins {
        fn drop(&mut self) {
            self.2.send(()).unwrap();
            let outcome = self.0.take().unwrap().join();
            assert!(outcome.unwrap_err().is::<pirn::Cancelled>());
            self.1.fetch_add(1, Ordering::Relaxed);
        }
    }

    on_workers(|runtime| {
        let dropped = count();
        let (sent, received) = mpsc::channel();
        for _ in 0..20 {
            let (dropped, sent) = (dropped.clone(), sent.clone());
            drop(runtime.spawn(move || {
                let parked = pirn::spawn(pirn::thread::park);
                let _joins = Joins(Some(parked), dropped, sent);
                std::panic::resume_unwind(Box::new(()));
            }));
        }
        (0..20).for_each(|_| received.recv().unwrap());
        drop(runtime);
        assert_eq!(dropped.load(Ordering::Relaxed), 20);
    });
}

#[test]
fn coroutines_that_swallow_the_cancellation_meet_it_again() {
    on_workers(|runtime| {
        let met = count();
        let (sent, received) = mpsc::channel();
        let coroutine = {
            let met = met.clone();
            runtime.spawn(move || {
                sent.send(()).unwrap();
                for _ in 0..100 {
                    let parked = catch_unwind(pirn::thread::park);
                    assert!(parked.unwrap_err().is::<pirn::Cancelled>());
                    met.fetch_add(1, Ordering::Relaxed);
                }
                "done"
            })
        };
        received.recv().unwrap();
        drop(runtime);
        assert_eq!(met.load(Ordering::Relaxed), 100);
        assert_eq!(coroutine.join().unwrap(), "done");
    });
}

#[test]
fn a_cancellation_that_lets_the_body_end_leaves_its_result() {
    on_workers(|runtime| {
        let (sent, received) = mpsc::channel();
        let coroutine = runtime.spawn(move || {
            sent.send(()).unwrap();
            catch_unwind(pirn::thread::park).is_err()
        });
        received.recv().unwrap();
        drop(runtime);
        assert!(coroutine.join().unwrap());
    });
}

#[test]
fn scope_children_keep_their_borrows_while_the_owner_is_cancelled() {
    struct Checks<'a>(&'a [AtomicUsize], usize);

    impl Drop for Checks<'_> {
        fn drop(&mut self) {
            for _ in 0..5 {
                pirn::thread::sleep(Duration::from_micros(300));
                self.0[self.1].fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    on_workers(|runtime| {
        let results: Arc<Mutex<Vec<usize>>> = Arc::default();
        let (sent, received) = mpsc::channel();
        let owner = {
            let results = results.clone();
            runtime.spawn(move || {
                struct Reports(Vec<AtomicUsize>, Arc<Mutex<Vec<usize>>>);

                impl Drop for Reports {
                    fn drop(&mut self) {
                        let counts = self.0.drain(..).map(AtomicUsize::into_inner);
                        self.1.lock().unwrap().extend(counts);
                    }
                }

                // Gone as soon as the owner's stack unwinds.
                let lent = Reports((0..10).map(|_| AtomicUsize::new(0)).collect(), results);
                pirn::thread::scope(|scope| {
                    for child in 0..10 {
                        let (lent, sent) = (&lent.0, sent.clone());
                        scope.spawn(move || {
                            let _checks = Checks(lent, child);
                            sent.send(()).unwrap();
                            if child % 2 == 0 {
                                pirn::thread::park();
                            }
                            pirn::thread::sleep(Duration::MAX);
                        });
                    }
                    pirn::thread::park();
                });
            })
        };
        (0..10).for_each(|_| received.recv().unwrap());
        drop(runtime);
        assert_eq!(*results.lock().unwrap(), [5; 10]);
        assert!(owner.join().unwrap_err().is::<pirn::Cancelled>());
    });
}

#[test]
fn a_borrowing_run_is_waited_for_although_its_caller_is_cancelled() {
    // `run` lends to another runtime's coroutine; the caller's own runtime is dropped meanwhile.
    on_workers(|outer| {
        let inner = Arc::new(runtime(2));
        let (sent, received) = mpsc::channel();
        let finished = Arc::new(AtomicBool::new(false));
        let release = Arc::new(AtomicBool::new(false));
        let caller = {
            let (inner, finished, release) = (inner.clone(), finished.clone(), release.clone());
            outer.spawn(move || {
                let mut lent = [0_u8; 64];
                let mut work = || {
                    sent.send(()).unwrap();
                    while !release.load(Ordering::Acquire) {
                        pirn::thread::sleep(Duration::from_micros(100));
                        lent.iter_mut().for_each(|byte| *byte = byte.wrapping_add(1));
                    }
                };
                // It is told of the cancellation, and takes its time.
                inner.run(|| pirn::shield(&mut work));
                finished.store(true, Ordering::Release);
                assert!(lent.iter().all(|byte| *byte == lent[0]));
                pirn::thread::park();
            })
        };
        received.recv().unwrap();
        let stopper = std::thread::spawn(move || drop(outer));
        for _ in 0..20 {
            std::thread::sleep(Duration::from_millis(1));
            assert!(!finished.load(Ordering::Acquire));
            assert!(!stopper.is_finished());
        }
        release.store(true, Ordering::Release);
        stopper.join().unwrap();
        assert!(finished.load(Ordering::Acquire));
        assert!(caller.join().unwrap_err().is::<pirn::Cancelled>());
    });
}

#[test]
fn dropped_from_its_own_coroutine_a_runtime_panics_and_runs_on() {
    on_workers(|runtime| {
        let runtime = Arc::new(Mutex::new(Some(runtime)));
        let (sent, received) = mpsc::channel();
        let (done, finished) = mpsc::channel();
        let peer_alive = Arc::new(AtomicBool::new(false));
        let taken = runtime.clone();
        let alive = peer_alive.clone();
        let coroutine = runtime.lock().unwrap().as_ref().unwrap().spawn(move || {
            received.recv().unwrap();
            let peer = pirn::spawn(move || {
                pirn::thread::park();
                alive.store(true, Ordering::Relaxed);
            });
            pirn::thread::yield_now();
            let own = taken.lock().unwrap().take().unwrap();
            let panic = catch_unwind(AssertUnwindSafe(move || drop(own))).unwrap_err();
            let text = panic.downcast_ref::<&str>().copied().unwrap_or_default().to_owned();
            // Nothing was cancelled, and parking works as before.
            pirn::thread::sleep(Duration::from_millis(2));
            peer.thread().unpark();
            peer.join().unwrap();
            done.send(()).unwrap();
            text
        });
        sent.send(()).unwrap();
        finished.recv().unwrap();
        let text = coroutine.join().unwrap();
        assert!(text.contains("own coroutines"), "{text:?}");
        assert!(peer_alive.load(Ordering::Relaxed));
    });
}

#[test]
fn shut_down_from_its_own_coroutine_a_runtime_panics_and_runs_on() {
    let own = Arc::new(Mutex::new(Some(runtime(2))));
    let taken = own.clone();
    let coroutine = own.lock().unwrap().as_ref().unwrap().spawn(move || {
        let own = loop {
            if let Ok(Some(own)) = taken.try_lock().map(|mut own| own.take()) {
                break own;
            }
            pirn::thread::yield_now();
        };
        let ended = catch_unwind(AssertUnwindSafe(|| own.shutdown(Duration::from_secs(1))));
        assert!(ended.is_err());
        pirn::thread::sleep(Duration::from_millis(1));
    });
    coroutine.join().unwrap();
}

#[test]
fn dropped_while_its_own_coroutine_unwinds_a_runtime_runs_on() {
    let own = Arc::new(Mutex::new(Some(runtime(2))));
    let taken = own.clone();
    let (sent, received) = mpsc::channel();
    let parked = own.lock().unwrap().as_ref().unwrap().spawn(pirn::thread::park);
    let coroutine = own.lock().unwrap().as_ref().unwrap().spawn(move || {
        received.recv().unwrap();
        let _own = taken.lock().unwrap().take().unwrap();
        std::panic::resume_unwind(Box::new("unwinds over its runtime"));
    });
    sent.send(()).unwrap();
    let payload = coroutine.join().unwrap_err();
    assert_eq!(*payload.downcast_ref::<&str>().unwrap(), "unwinds over its runtime");
    parked.thread().unpark();
    parked.join().unwrap();
}

#[test]
fn a_runtime_dropped_from_a_coroutine_of_another_ends_as_ever() {
    on_workers(|outer| {
        let dropped = count();
        for _ in 0..5 {
            let inner = runtime(2);
            let held = Counted(dropped.clone());
            let (sent, received) = mpsc::channel();
            drop(inner.spawn(move || {
                let _held = held;
                sent.send(()).unwrap();
                pirn::thread::park();
            }));
            received.recv().unwrap();
            outer.run(move || drop(inner));
        }
        assert_eq!(dropped.load(Ordering::Relaxed), 5);
    });
}

#[test]
fn handles_outlive_their_runtime() {
    on_workers(|runtime| {
        let finished = runtime.spawn(|| vec![1, 2, 3]);
        while !finished.is_finished() {
            std::thread::yield_now();
        }
        let (sent, received) = mpsc::channel();
        let parked = runtime.spawn(move || {
            sent.send(()).unwrap();
            pirn::thread::park();
        });
        received.recv().unwrap();
        let named = pirn::thread::Builder::new().name("outlives".into());
        let thread = runtime.run(|| named.spawn(pirn::thread::current).unwrap().join().unwrap());
        let clones: Vec<_> = (0..10).map(|_| parked.thread().clone()).collect();
        drop(runtime);
        for clone in &clones {
            clone.unpark();
            clone.unpark();
        }
        assert_eq!(thread.name(), Some("outlives"));
        assert!(format!("{thread:?}").contains("outlives"));
        thread.unpark();
        assert!(parked.is_finished());
        assert_eq!(clones[0].id(), parked.thread().id());
        assert!(parked.join().unwrap_err().is::<pirn::Cancelled>());
        assert_eq!(finished.join().unwrap(), [1, 2, 3]);
        clones[3].unpark();
    });
}

#[test]
fn unpark_after_completion_does_nothing() {
    on_workers(|runtime| {
        runtime.run(|| {
            let threads: Vec<_> = (0..100)
                .map(|_| {
                    let coroutine = pirn::spawn(|| ());
                    let thread = coroutine.thread().clone();
                    coroutine.join().unwrap();
                    thread
                })
                .collect();
            // Their memory may have been used again by these.
            let others: Vec<_> = (0..100).map(|_| pirn::spawn(pirn::thread::park)).collect();
            threads.iter().for_each(pirn::thread::Thread::unpark);
            others.iter().for_each(|other| other.thread().unpark());
            others.into_iter().for_each(|other| other.join().unwrap());
        });
    });
}

/// Threads unpark coroutines at every moment of the runtime's end.
#[test]
fn unpark_races_the_end() {
    for round in 0..60 {
        let runtime = runtime([1, 2, 4, 8][round % 4]);
        let coroutines: Vec<_> = (0..16)
            .map(|_| {
                runtime.spawn(|| {
                    loop {
                        pirn::thread::park();
                    }
                })
            })
            .collect();
        let threads: Vec<_> = coroutines.iter().map(|c| c.thread().clone()).collect();
        let stop = Arc::new(AtomicBool::new(false));
        let unparkers: Vec<_> = (0..2)
            .map(|_| {
                let (threads, stop) = (threads.clone(), stop.clone());
                std::thread::spawn(move || {
                    while !stop.load(Ordering::Relaxed) {
                        threads.iter().for_each(pirn::thread::Thread::unpark);
                    }
                    threads.iter().for_each(pirn::thread::Thread::unpark);
                })
            })
            .collect();
        drop(runtime);
        stop.store(true, Ordering::Relaxed);
        unparkers.into_iter().for_each(|unparker| unparker.join().unwrap());
        for coroutine in coroutines {
            let payload = coroutine.join().unwrap_err();
            assert!(payload.is::<pirn::Cancelled>());
        }
    }
}

#[test]
fn threads_and_other_runtimes_join() {
    on_workers(|first| {
        let second = runtime(2);
        let park = |number| {
            first.spawn(move || {
                pirn::thread::park();
                number
            })
        };
        let parked: Vec<_> = (0..20).map(park).collect();
        let threads: Vec<_> = parked.iter().map(|coroutine| coroutine.thread().clone()).collect();
        let mut joiners = Vec::new();
        let mut far = Vec::new();
        for (number, coroutine) in parked.into_iter().enumerate() {
            if number % 2 == 0 {
                joiners.push(std::thread::spawn(move || coroutine.join().unwrap()));
            } else {
                far.push(second.spawn(move || coroutine.join().unwrap()));
            }
        }
        threads.iter().for_each(pirn::thread::Thread::unpark);
        let mut all: Vec<i32> = joiners.into_iter().map(|joiner| joiner.join().unwrap()).collect();
        all.extend(far.into_iter().map(|joiner| joiner.join().unwrap()));
        all.sort_unstable();
        assert_eq!(all, (0..20).collect::<Vec<_>>());
    });
}

#[test]
fn a_join_from_another_runtime_ends_when_either_does() {
    for first_dropped in [true, false] {
        for workers in [1, 2, 4, 8] {
            let (first, second) = (runtime(workers), runtime(workers));
            let (sent, received) = mpsc::channel();
            let parked = first.spawn(pirn::thread::park);
            let thread = parked.thread().clone();
            let joiner = second.spawn(move || {
                sent.send(()).unwrap();
                let outcome = parked.join();
                outcome.is_err_and(|payload| payload.is::<pirn::Cancelled>())
            });
            received.recv().unwrap();
            if first_dropped {
                drop(first);
                assert!(joiner.join().unwrap());
            } else {
                drop(second);
                assert!(joiner.join().unwrap_err().is::<pirn::Cancelled>());
                thread.unpark();
                drop(first);
            }
        }
    }
}

#[test]
fn runtimes_live_side_by_side() {
    let runtimes: Vec<_> = [1, 2, 4, 8, 1, 2].into_iter().map(runtime).collect();
    let total = Arc::new(AtomicUsize::new(0));
    let mut all = Vec::new();
    for (number, runtime) in runtimes.iter().enumerate() {
        for _ in 0..50 {
            let total = total.clone();
            all.push(runtime.spawn(move || {
                // Children stay in their parent's runtime.
                let workers = pirn::current_metrics().unwrap().workers.len();
                let child = pirn::spawn(move || {
                    pirn::thread::sleep(Duration::from_micros(100));
                    pirn::current_metrics().unwrap().workers.iter().filter(|w| !w.surplus).count()
                });
                let regular = [1, 2, 4, 8, 1, 2][number];
                assert!(workers >= regular);
                assert_eq!(child.join().unwrap(), regular);
                total.fetch_add(1, Ordering::Relaxed);
            }));
        }
    }
    all.into_iter().for_each(|coroutine| coroutine.join().unwrap());
    assert_eq!(total.load(Ordering::Relaxed), 300);
    // Dropped in another order than made, and one by the coroutine of another.
    let mut runtimes = runtimes;
    drop(runtimes.remove(2));
    let last = runtimes.pop().unwrap();
    runtimes[0].run(move || drop(last));
    drop(runtimes);
}

/// One worker, blocked in place for a coroutine that has not started when the runtime stops: its
/// closure must be dropped for the wait to end.
#[test]
fn a_stop_reaches_what_a_blocked_worker_waits_for() {
    for workers in [1, 2] {
        let runtime = runtime(workers);
        let (started, starting) = mpsc::channel();
        for _ in 0..workers {
            let started = started.clone();
            drop(runtime.spawn(move || {
                let (sent, received) = mpsc::channel::<()>();
                pirn::block_in_place(|| {
                    // Nobody can have started this yet: spawned and waited for in one breath.
                    drop(pirn::spawn(move || {
                        pirn::thread::park();
                        drop(sent);
                    }));
                    started.send(()).unwrap();
                    assert!(received.recv().is_err());
                });
            }));
        }
        (0..workers).for_each(|_| starting.recv().unwrap());
        let (done, ended) = mpsc::channel();
        std::thread::spawn(move || {
            drop(runtime);
            done.send(()).unwrap();
        });
        ended.recv_timeout(Duration::from_secs(120)).expect("the drop hangs");
    }
}

#[test]
fn a_runtime_dropped_on_its_own_blocking_pool_does_not_wait_for_itself() {
    let own = Arc::new(Mutex::new(Some(runtime(2))));
    let taken = own.clone();
    let (done, ended) = mpsc::channel();
    let guard = own.lock().unwrap();
    let coroutine = guard.as_ref().unwrap().spawn(move || {
        pirn::blocking(move || {
            let own = taken.lock().unwrap().take().unwrap();
            let outcome = catch_unwind(AssertUnwindSafe(move || drop(own)));
            done.send(outcome.is_err()).unwrap();
        });
    });
    drop(guard);
    let outcome = ended.recv_timeout(Duration::from_secs(120));
    assert!(outcome.is_ok(), "a runtime dropped on its own pool waits for itself for ever");
    drop(coroutine.join());
}
