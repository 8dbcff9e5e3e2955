//! Destructors that park, yield or join while their coroutine unwinds: nobody else notices.

use std::io::{ErrorKind, Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::panicking;
use std::time::Duration;

fn on_workers(test: impl Fn(pirn::Runtime)) {
    for workers in [1, 2, 4, 8] {
        test(pirn::Builder::new().workers(workers).build().unwrap());
    }
}

/// Calls its closure when it is dropped in the middle of a panic.
struct WhileUnwinding<F: FnMut()>(F);

impl<F: FnMut()> Drop for WhileUnwinding<F> {
    fn drop(&mut self) {
        assert!(panicking());
        let home = std::thread::current().id();
        (self.0)();
        assert!(panicking(), "the panic came back with its coroutine");
        assert_eq!(std::thread::current().id(), home);
    }
}

/// Unwinds over a guard that calls `f`, without the panic hook.
fn unwind_over(f: impl FnMut()) {
    let _guard = WhileUnwinding(f);
    resume_unwind(Box::new("unwinds"));
}

fn assert_unwound(outcome: pirn::thread::Result<()>) {
    assert_eq!(*outcome.unwrap_err().downcast_ref::<&str>().unwrap(), "unwinds");
}

#[test]
fn others_at_the_same_home_do_not_panic() {
    on_workers(|runtime| {
        runtime.run(|| {
            let looks = Arc::new(AtomicUsize::new(0));
            let parked: Vec<_> = (0..10)
                .map(|_| {
                    let looks = looks.clone();
                    pirn::thread::spawn_local(move || {
                        unwind_over(|| {
                            let enough = looks.load(Ordering::Relaxed) + 50;
                            while looks.load(Ordering::Relaxed) < enough {
                                pirn::thread::yield_now();
                                pirn::thread::sleep(Duration::from_micros(50));
                            }
                        });
                    })
                })
                .collect();
            while parked.iter().any(|parked| !parked.is_finished()) {
                assert!(!panicking());
                // Nor does anyone who starts here meanwhile.
                pirn::thread::spawn_local(|| assert!(!panicking())).join().unwrap();
                looks.fetch_add(1, Ordering::Relaxed);
                pirn::thread::yield_now();
            }
            parked.into_iter().for_each(|parked| assert_unwound(parked.join()));
        });
    });
}

#[test]
fn no_lock_of_others_is_poisoned() {
    on_workers(|runtime| {
        runtime.run(|| {
            let lock = Arc::new(Mutex::new(0));
            let done = Arc::new(AtomicBool::new(false));
            let theirs = (lock.clone(), done.clone());
            let peer = pirn::thread::spawn_local(move || {
                while !theirs.1.load(Ordering::Relaxed) {
                    // Locked and released while the other one is parked in its destructor.
                    *theirs.0.lock().unwrap() += 1;
                    pirn::thread::yield_now();
                }
            });
            let seen = lock.clone();
            let unwinds = pirn::thread::spawn_local(move || {
                unwind_over(|| {
                    let first = *seen.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
                    while *seen.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) < first + 20
                    {
                        pirn::thread::yield_now();
                    }
                });
            });
            assert_unwound(unwinds.join());
            done.store(true, Ordering::Relaxed);
            peer.join().unwrap();
            assert!(!lock.is_poisoned());
        });
    });
}

/// The other way round: a guard taken before the panic is poisoned although its holder parked.
#[test]
fn a_lock_of_its_own_is_poisoned_all_the_same() {
    on_workers(|runtime| {
        let lock = Arc::new(Mutex::new(()));
        let held = lock.clone();
        let coroutine = runtime.spawn(move || {
            let _held = held.lock().unwrap();
            unwind_over(|| pirn::thread::sleep(Duration::from_millis(1)));
        });
        assert_unwound(coroutine.join());
        assert!(lock.is_poisoned());
    });
}

#[test]
fn every_way_to_wait_works_in_a_destructor() {
    on_workers(|runtime| {
        let runs = Arc::new(AtomicUsize::new(0));
        for _ in 0..20 {
            let runs = runs.clone();
            let coroutine = runtime.spawn(move || {
                unwind_over(|| {
                    pirn::thread::yield_now();
                    pirn::thread::sleep(Duration::from_micros(200));
                    pirn::thread::park_timeout(Duration::from_micros(200));
                    assert_eq!(pirn::spawn(|| 7).join().unwrap(), 7);
                    let local = pirn::thread::spawn_local(|| !panicking());
                    assert!(local.join().unwrap());
                    let sum = pirn::thread::scope(|scope| {
                        let parts = [1, 2, 3].map(|n| scope.spawn(move || n));
                        parts.into_iter().map(|part| part.join().unwrap()).sum::<i32>()
                    });
                    assert_eq!(sum, 6);
                    assert_eq!(pirn::blocking(|| 8), 8);
                    assert_eq!(pirn::block_in_place(|| 9), 9);
                    runs.fetch_add(1, Ordering::Relaxed);
                });
            });
            assert_unwound(coroutine.join());
        }
        assert_eq!(runs.load(Ordering::Relaxed), 20);
    });
}

#[test]
fn a_destructor_waits_for_a_coroutine_at_the_same_home() {
    on_workers(|runtime| {
        runtime.run(|| {
            for _ in 0..50 {
                let coroutine = pirn::thread::spawn_local(|| {
                    let me = pirn::thread::current();
                    unwind_over(|| {
                        let me = me.clone();
                        let turn = Arc::new(AtomicBool::new(false));
                        let theirs = turn.clone();
                        let waker = pirn::thread::spawn_local(move || {
                            pirn::thread::yield_now();
                            theirs.store(true, Ordering::Release);
                            me.unpark();
                        });
                        while !turn.load(Ordering::Acquire) {
                            pirn::thread::park();
                        }
                        waker.join().unwrap();
                    });
                });
                assert_unwound(coroutine.join());
            }
        });
    });
}

#[test]
fn panics_inside_a_destructor_are_caught_inside() {
    on_workers(|runtime| {
        let inner = Arc::new(AtomicUsize::new(0));
        for _ in 0..20 {
            let inner = inner.clone();
            let coroutine = runtime.spawn(move || {
                unwind_over(|| {
                    pirn::thread::yield_now();
                    // Three panics on one stack, parked at each depth.
                    let caught = catch_unwind(AssertUnwindSafe(|| {
                        unwind_over(|| {
                            pirn::thread::sleep(Duration::from_micros(100));
                            let caught = catch_unwind(AssertUnwindSafe(|| {
                                unwind_over(pirn::thread::yield_now);
                            }));
                            assert!(caught.is_err());
                            pirn::thread::yield_now();
                            inner.fetch_add(1, Ordering::Relaxed);
                        });
                    }));
                    assert!(caught.is_err());
                    pirn::thread::sleep(Duration::from_micros(100));
                });
            });
            assert_unwound(coroutine.join());
        }
        runtime.run(|| assert!(!panicking()));
        assert_eq!(inner.load(Ordering::Relaxed), 20);
    });
}

#[test]
fn a_thousand_at_once() {
    on_workers(|runtime| {
        let (sent, received) = mpsc::channel();
        let release = Arc::new(AtomicBool::new(false));
        let coroutines: Vec<_> = (0..1000)
            .map(|_| {
                let (sent, release) = (sent.clone(), release.clone());
                runtime.spawn(move || {
                    unwind_over(|| {
                        sent.send(pirn::thread::current()).unwrap();
                        while !release.load(Ordering::Acquire) {
                            pirn::thread::park();
                        }
                    });
                })
            })
            .collect();
        let parked: Vec<_> = (0..1000).map(|_| received.recv().unwrap()).collect();
        runtime.run(|| {
            assert!(!panicking());
            let peers: Vec<_> = (0..100).map(|_| pirn::spawn(panicking)).collect();
            assert!(peers.into_iter().all(|peer| !peer.join().unwrap()));
        });
        release.store(true, Ordering::Release);
        parked.iter().rev().for_each(pirn::thread::Thread::unpark);
        coroutines.into_iter().for_each(|coroutine| assert_unwound(coroutine.join()));
        runtime.run(|| assert!(!panicking()));
    });
}

#[test]
fn while_the_runtime_is_dropped() {
    on_workers(|runtime| {
        let count = Arc::new(AtomicUsize::new(0));
        let (sent, received) = mpsc::channel();
        for _ in 0..300 {
            let (count, sent) = (count.clone(), sent.clone());
            drop(runtime.spawn(move || {
                let _guard = WhileUnwinding(|| {
                    for _ in 0..5 {
                        pirn::thread::yield_now();
                        pirn::thread::sleep(Duration::from_micros(100));
                    }
                    count.fetch_add(1, Ordering::Relaxed);
                });
                sent.send(()).unwrap();
                pirn::thread::park();
            }));
        }
        (0..300).for_each(|_| received.recv().unwrap());
        drop(runtime);
        assert_eq!(count.load(Ordering::Relaxed), 300);
        assert!(!panicking());
    });
}

/// Two ends of a connection, and a thread that answers each byte with the next one, once it is told
/// to.
fn answered() -> (pirn::net::TcpStream, mpsc::Sender<()>, std::thread::JoinHandle<()>) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let (go, told) = mpsc::channel();
    let peer = std::thread::spawn(move || {
        let mut stream = listener.accept().unwrap().0;
        let mut byte = [0];
        while stream.read(&mut byte).unwrap() == 1 {
            told.recv().unwrap();
            stream.write_all(&[byte[0] + 1]).unwrap();
        }
    });
    (pirn::net::TcpStream::connect(addr).unwrap(), go, peer)
}

/// The stop finds coroutines whose destructors wait for a socket: in the middle of a panic, and
/// while they drop a result that nobody claimed. It must interrupt none of them, and those that
/// begin to unwind because of it can use sockets as well.
#[test]
fn sockets_in_destructors_outlast_the_stop() {
    /// Asks over its connection when it is dropped.
    struct Asks(pirn::net::TcpStream, mpsc::Sender<()>, Arc<AtomicUsize>);

    impl Drop for Asks {
        fn drop(&mut self) {
            let mut byte = [1];
            self.1.send(()).unwrap();
            for expected in [2, 3, 4] {
                self.0.write_all(&byte).unwrap();
                self.0.read_exact(&mut byte).unwrap();
                assert_eq!(byte, [expected]);
            }
            // Nobody answers this time: a timeout is one here, too.
            self.0.set_read_timeout(Some(Duration::from_millis(2))).unwrap();
            assert_eq!(self.0.read(&mut byte).unwrap_err().kind(), ErrorKind::WouldBlock);
            self.2.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Tells of the stop: the first thing that its coroutine does when it is cancelled.
    struct Witness(mpsc::Sender<()>);

    impl Drop for Witness {
        fn drop(&mut self) {
            self.0.send(()).unwrap();
        }
    }

    on_workers(|runtime| {
        let count = Arc::new(AtomicUsize::new(0));
        let (sent, asking) = mpsc::channel();
        let mut peers = Vec::new();
        for number in 0..12 {
            let (stream, go, peer) = answered();
            peers.push((go, peer));
            let asks = Asks(stream, sent.clone(), count.clone());
            let (ready, unclaimed) = (sent.clone(), Arc::new(AtomicBool::new(false)));
            let given_up = unclaimed.clone();
            drop(runtime.spawn(move || match number % 3 {
                0 => {
                    let _asks = asks;
                    resume_unwind(Box::new("asks in an ordinary panic"))
                }
                1 => {
                    while !given_up.load(Ordering::Acquire) {
                        pirn::thread::yield_now();
                    }
                    Some(asks)
                }
                _ => {
                    ready.send(()).unwrap();
                    pirn::thread::park();
                    drop(asks);
                    None
                }
            }));
            unclaimed.store(true, Ordering::Release);
        }
        // Eight wait for an answer in a destructor, four are parked and will be cancelled.
        (0..12).for_each(|_| asking.recv().unwrap());
        let (stops, stopping) = mpsc::channel();
        let mut witnesses = Vec::new();
        for _ in 0..16 {
            let stops = stops.clone();
            let spread = pirn::thread::Placement::Spread;
            let (started, starts) = mpsc::channel();
            runtime.run(|| {
                let builder = pirn::thread::Builder::new().placement(spread);
                let witness = builder.spawn(move || {
                    let _witness = Witness(stops);
                    started.send(()).unwrap();
                    pirn::thread::park();
                });
                witnesses.push(witness.unwrap());
            });
            starts.recv().unwrap();
        }
        let stopper = std::thread::spawn(move || drop(runtime));
        // Wherever they live, somebody there has been cancelled: then the others have been, too.
        (0..16).for_each(|_| stopping.recv().unwrap());
        for (go, _) in &peers {
            (0..3).for_each(|_| go.send(()).unwrap());
        }
        stopper.join().unwrap();
        assert_eq!(count.load(Ordering::Relaxed), 12);
        drop(witnesses);
        peers.into_iter().for_each(|(_, peer)| peer.join().unwrap());
    });
}

/// `exit` and a panic with the hook, both over a destructor that parks.
#[test]
fn exit_unwinds_over_destructors_that_park() {
    on_workers(|runtime| {
        let ran = Arc::new(AtomicBool::new(false));
        let theirs = ran.clone();
        let coroutine = runtime.spawn(move || {
            let _guard = WhileUnwinding(|| {
                pirn::thread::sleep(Duration::from_micros(500));
                theirs.store(true, Ordering::Relaxed);
            });
            pirn::thread::exit();
        });
        assert!(coroutine.join().unwrap_err().is::<pirn::thread::Exited>());
        assert!(ran.load(Ordering::Relaxed));
    });
}

/// After all this std still counts rightly: a second panic is a first one.
#[test]
fn counts_are_right_afterwards() {
    on_workers(|runtime| {
        for _ in 0..100 {
            let coroutines: Vec<_> =
                (0..8).map(|_| runtime.spawn(|| unwind_over(pirn::thread::yield_now))).collect();
            coroutines.into_iter().for_each(|coroutine| assert_unwound(coroutine.join()));
        }
        runtime.run(|| {
            for _ in 0..16 {
                pirn::spawn(|| {
                    assert!(!panicking());
                    assert!(catch_unwind(|| resume_unwind(Box::new(()))).is_err());
                    assert!(!panicking());
                })
                .join()
                .unwrap();
            }
        });
        drop(runtime);
        assert!(!panicking());
        assert!(std::thread::spawn(panicking).join().is_ok_and(|panicking| !panicking));
    });
}
