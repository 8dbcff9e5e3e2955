//! Where and when closures and results are dropped: at home, in coroutine context, before
//! completion can be seen; or by the handle that owns them.

use pirn::thread::ThreadId as CoroutineId;
use std::panic::resume_unwind;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Wake, Waker};
use std::thread::ThreadId;
use std::time::Duration;

fn on_workers(test: impl Fn(pirn::Runtime)) {
    for workers in [1, 2, 4, 8] {
        test(pirn::Builder::new().workers(workers).build().unwrap());
    }
}

type Where = (ThreadId, CoroutineId);

fn here() -> Where {
    (std::thread::current().id(), pirn::thread::current().id())
}

/// Says where it was dropped; its destructor parks.
struct Probe(Arc<Mutex<Vec<Where>>>);

impl Drop for Probe {
    fn drop(&mut self) {
        let before = here();
        pirn::thread::yield_now();
        pirn::thread::sleep(Duration::from_micros(100));
        assert_eq!(here(), before);
        self.0.lock().unwrap().push(before);
    }
}

fn drops() -> Arc<Mutex<Vec<Where>>> {
    Arc::default()
}

#[test]
fn an_unclaimed_result_is_dropped_by_its_own_coroutine() {
    on_workers(|runtime| {
        let dropped = drops();
        let ran_at = drops();
        runtime.run(|| {
            for _ in 0..100 {
                let (dropped, ran_at) = (dropped.clone(), ran_at.clone());
                let unclaimed = Arc::new(AtomicBool::new(false));
                let go = unclaimed.clone();
                drop(pirn::spawn(move || {
                    while !go.load(Ordering::Acquire) {
                        pirn::thread::yield_now();
                    }
                    ran_at.lock().unwrap().push(here());
                    Probe(dropped)
                }));
                unclaimed.store(true, Ordering::Release);
            }
            while dropped.lock().unwrap().len() < 100 {
                pirn::thread::yield_now();
            }
        });
        let (mut dropped, mut ran_at) =
            (dropped.lock().unwrap().clone(), ran_at.lock().unwrap().clone());
        let key = |at: &Where| format!("{at:?}");
        dropped.sort_by_key(key);
        ran_at.sort_by_key(key);
        assert_eq!(dropped, ran_at);
    });
}

#[test]
fn an_unclaimed_result_is_gone_before_completion_shows() {
    // A scope sees completion as its count going down. The destructor reads what the scope lends.
    on_workers(|runtime| {
        struct Reads<'a>(&'a AtomicUsize);

        impl Drop for Reads<'_> {
            fn drop(&mut self) {
                pirn::thread::sleep(Duration::from_micros(200));
                self.0.fetch_add(1, Ordering::Relaxed);
            }
        }

        for _ in 0..50 {
            let count = AtomicUsize::new(0);
            runtime.run(|| {
                pirn::thread::scope(|scope| {
                    for _ in 0..8 {
                        drop(scope.spawn(|| Reads(&count)));
                    }
                });
                assert_eq!(count.load(Ordering::Relaxed), 8);
            });
        }
    });
}

#[test]
fn what_a_closure_captured_is_gone_before_join_returns() {
    on_workers(|runtime| {
        let dropped = drops();
        for round in 1..=50 {
            let probe = Probe(dropped.clone());
            let coroutine = runtime.spawn(move || {
                let _used = &probe;
                here()
            });
            let at = coroutine.join().unwrap();
            let dropped = dropped.lock().unwrap();
            assert_eq!(dropped.len(), round);
            assert_eq!(dropped[round - 1], at);
        }
    });
}

#[test]
fn what_a_panicking_closure_captured_is_gone_before_join_returns() {
    on_workers(|runtime| {
        let dropped = drops();
        for round in 1..=50 {
            let probe = Probe(dropped.clone());
            let coroutine = runtime.spawn(move || {
                let _used = &probe;
                std::panic::resume_unwind(Box::new(here()));
            });
            let at = *coroutine.join().unwrap_err().downcast::<Where>().unwrap();
            let dropped = dropped.lock().unwrap();
            assert_eq!(dropped.len(), round);
            assert_eq!(dropped[round - 1], at);
        }
    });
}

#[test]
fn a_handle_that_is_dropped_after_completion_drops_the_result_itself() {
    on_workers(|runtime| {
        let dropped = drops();
        let probe = Probe(dropped.clone());
        let coroutine = runtime.spawn(move || probe);
        while !coroutine.is_finished() {
            std::thread::yield_now();
        }
        assert!(dropped.lock().unwrap().is_empty());
        drop(coroutine);
        assert_eq!(*dropped.lock().unwrap(), [here()]);
        // And from a coroutine that lives elsewhere.
        let probe = Probe(dropped.clone());
        let at = runtime.run(|| {
            let coroutine = pirn::spawn(move || probe);
            while !coroutine.is_finished() {
                pirn::thread::yield_now();
            }
            drop(coroutine);
            here()
        });
        assert_eq!(dropped.lock().unwrap()[1..], [at]);
    });
}

#[test]
fn a_handle_dropped_while_its_coroutine_completes_leaves_one_drop() {
    struct Counted(Arc<AtomicUsize>);

    impl Drop for Counted {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    on_workers(|runtime| {
        let dropped = Arc::new(AtomicUsize::new(0));
        let captured = Arc::new(AtomicUsize::new(0));
        for round in 0..5000_u32 {
            let (result, held) = (Counted(dropped.clone()), Counted(captured.clone()));
            let coroutine = runtime.spawn(move || {
                let _held = held;
                result
            });
            for _ in 0..round % 128 {
                std::hint::spin_loop();
            }
            drop(coroutine);
        }
        drop(runtime);
        assert_eq!(dropped.load(Ordering::Relaxed), 5000);
        assert_eq!(captured.load(Ordering::Relaxed), 5000);
    });
}

/// Spawns coroutines when it is dropped.
struct SpawnsLate {
    dropped: Arc<Mutex<Vec<Where>>>,
    spawned: Arc<Mutex<Vec<CoroutineId>>>,
    ran: Arc<AtomicBool>,
}

impl Drop for SpawnsLate {
    fn drop(&mut self) {
        for round in 0..20 {
            let (ran, probe) = (self.ran.clone(), Probe(self.dropped.clone()));
            let body = move || {
                let _used = &probe;
                ran.store(true, Ordering::Relaxed);
            };
            let id = if round % 2 == 0 {
                pirn::spawn(body).thread().id()
            } else {
                pirn::thread::spawn_local(body).thread().id()
            };
            self.spawned.lock().unwrap().push(id);
        }
    }
}

#[test]
fn spawned_while_the_runtime_stops_a_coroutine_only_drops_its_closure() {
    on_workers(|runtime| {
        let (dropped, spawned, ran) = (drops(), Arc::default(), Arc::new(AtomicBool::new(false)));
        let late = SpawnsLate {
            dropped: dropped.clone(),
            spawned: Arc::clone(&spawned),
            ran: ran.clone(),
        };
        let parked = runtime.spawn(move || {
            let _late = late;
            pirn::thread::park();
        });
        drop(runtime);
        assert!(parked.join().unwrap_err().is::<pirn::Cancelled>());
        assert!(!ran.load(Ordering::Relaxed));
        let mut dropped: Vec<_> = dropped.lock().unwrap().iter().map(|at| at.1).collect();
        let mut spawned = spawned.lock().unwrap().clone();
        let key = |id: &CoroutineId| format!("{id:?}");
        dropped.sort_by_key(key);
        spawned.sort_by_key(key);
        assert_eq!(dropped, spawned, "each closure is dropped in the context of its coroutine");
    });
}

#[test]
fn cancelled_before_it_starts_a_coroutine_only_drops_its_closure() {
    /// Says when its coroutine unwinds: the runtime has begun to stop.
    struct Witness(Arc<AtomicBool>);

    impl Drop for Witness {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Release);
        }
    }

    for workers in [2, 4, 8] {
        let runtime = pirn::Builder::new().workers(workers).build().unwrap();
        let (dropped, ran) = (drops(), Arc::new(AtomicBool::new(false)));
        let (stops, waiting) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let holder = {
            let (dropped, ran) = (dropped.clone(), ran.clone());
            let (stops, waiting) = (stops.clone(), waiting.clone());
            runtime.spawn(move || {
                // Somebody who lives elsewhere and is woken by the stop.
                let homes = Arc::new(Mutex::new(Vec::new()));
                let mine = std::thread::current().id();
                while !homes.lock().unwrap().iter().any(|home| *home != mine) {
                    let (homes, witness) = (homes.clone(), stops.clone());
                    let spread = pirn::thread::Placement::Spread;
                    let builder = pirn::thread::Builder::new().placement(spread);
                    let spawned = builder.spawn(move || {
                        let home = std::thread::current().id();
                        let witness = (home != mine).then(|| Witness(witness));
                        homes.lock().unwrap().push(home);
                        pirn::thread::park();
                        drop(witness);
                    });
                    drop(spawned.unwrap());
                    pirn::thread::yield_now();
                }
                let victims: Vec<_> = (0..20)
                    .map(|_| {
                        let (ran, probe) = (ran.clone(), Probe(dropped.clone()));
                        pirn::thread::spawn_local(move || {
                            let _used = &probe;
                            ran.store(true, Ordering::Relaxed);
                        })
                    })
                    .collect();
                let ids: Vec<_> = victims.iter().map(|victim| victim.thread().id()).collect();
                waiting.store(true, Ordering::Release);
                // Nothing else starts here meanwhile, and local coroutines start nowhere else.
                while !stops.load(Ordering::Acquire) {
                    std::hint::spin_loop();
                }
                drop(victims);
                ids
            })
        };
        while !waiting.load(Ordering::Acquire) {
            std::thread::yield_now();
        }
        drop(runtime);
        let mut ids = holder.join().unwrap();
        assert!(!ran.load(Ordering::Relaxed));
        let mut dropped: Vec<_> = dropped.lock().unwrap().iter().map(|at| at.1).collect();
        let key = |id: &CoroutineId| format!("{id:?}");
        dropped.sort_by_key(key);
        ids.sort_by_key(key);
        assert_eq!(dropped, ids);
    }
}

#[test]
fn thread_handles_keep_neither_closure_nor_result() {
    on_workers(|runtime| {
        let kept = Arc::new(());
        let (captured, result) = (kept.clone(), kept.clone());
        let coroutine = runtime.spawn(move || {
            let _captured = captured;
            result
        });
        let thread = coroutine.thread().clone();
        drop(coroutine.join().unwrap());
        assert_eq!(Arc::strong_count(&kept), 1);
        drop(runtime);
        thread.unpark();
        assert_eq!(thread.name(), None);
    });
}

#[test]
fn a_forgotten_handle_leaks_its_result_and_nothing_else() {
    on_workers(|runtime| {
        let kept = Arc::new(());
        let result = kept.clone();
        let coroutine = runtime.spawn(move || result);
        while !coroutine.is_finished() {
            std::thread::yield_now();
        }
        std::mem::forget(coroutine);
        drop(runtime);
        assert_eq!(Arc::strong_count(&kept), 2);
    });
}

/// A task that has polled the handle leaves a waker there, which may do anything when it is dropped.
#[test]
fn a_waker_that_panics_when_it_is_dropped_leaves_the_result_to_its_coroutine() {
    struct Panics;

    impl Wake for Panics {
        fn wake(self: Arc<Self>) {}
    }

    impl Drop for Panics {
        fn drop(&mut self) {
            resume_unwind(Box::new("of a waker"));
        }
    }

    on_workers(|runtime| {
        let (dropped, ran_at) = (drops(), drops());
        let (theirs, probe) = (ran_at.clone(), Probe(dropped.clone()));
        let mut coroutine = runtime.spawn(move || {
            theirs.lock().unwrap().push(here());
            pirn::thread::park();
            probe
        });
        while ran_at.lock().unwrap().is_empty() {
            std::thread::yield_now();
        }
        let thread = coroutine.thread().clone();
        let waker = Waker::from(Arc::new(Panics));
        let polled = Pin::new(&mut coroutine).poll(&mut Context::from_waker(&waker));
        assert!(polled.is_pending());
        drop(waker);
        drop(coroutine);
        thread.unpark();
        while dropped.lock().unwrap().is_empty() {
            std::thread::yield_now();
        }
        assert_eq!(*dropped.lock().unwrap(), *ran_at.lock().unwrap());
    });
}

#[test]
fn a_failed_spawn_drops_its_closure_where_it_was_called() {
    on_workers(|runtime| {
        let dropped = drops();
        let probe = Probe(dropped.clone());
        let at = runtime.run(|| {
            let refused = pirn::thread::Builder::new()
                .stack_size(usize::MAX)
                .spawn(move || drop(probe))
                .map(drop);
            refused.unwrap_err();
            here()
        });
        assert_eq!(*dropped.lock().unwrap(), [at]);
    });
}

/// The runtime stops while the destructor of an unclaimed result is parked: it runs to its end,
/// since there is nobody to whom it could unwind.
#[test]
fn a_stop_does_not_cut_the_drop_of_a_result_short() {
    struct Slow(std::sync::mpsc::Sender<()>, Arc<AtomicUsize>);

    impl Drop for Slow {
        fn drop(&mut self) {
            self.0.send(()).unwrap();
            pirn::thread::sleep(Duration::from_millis(30));
            pirn::thread::sleep(Duration::from_millis(1));
            self.1.fetch_add(1, Ordering::Relaxed);
        }
    }

    on_workers(|runtime| {
        let count = Arc::new(AtomicUsize::new(0));
        let (sent, received) = std::sync::mpsc::channel();
        for round in 0..20 {
            let (slow, unclaimed) = (Slow(sent.clone(), count.clone()), AtomicBool::new(false));
            let unclaimed = Arc::new(unclaimed);
            let go = unclaimed.clone();
            let coroutine = runtime.spawn(move || {
                while !go.load(Ordering::Acquire) {
                    pirn::thread::yield_now();
                }
                slow
            });
            if round % 2 == 0 {
                drop(coroutine);
                unclaimed.store(true, Ordering::Release);
            } else {
                // The handle has the result, and is dropped by a coroutine.
                unclaimed.store(true, Ordering::Release);
                drop(runtime.spawn(move || {
                    while !coroutine.is_finished() {
                        pirn::thread::yield_now();
                    }
                    drop(coroutine);
                }));
            }
        }
        (0..20).for_each(|_| received.recv().unwrap());
        drop(runtime);
        assert_eq!(count.load(Ordering::Relaxed), 20);
    });
}
