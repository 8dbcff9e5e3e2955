//! Every primitive in destructors: of coroutines whose runtime stops, of those that panic, and of
//! threads that end. Two destructors need each other each time, and both get to their ends.

use crate::support::{Count, runtime, start, until};
use pirn::channel::{self, Select, select};
use pirn::sync::{
    Arc, Barrier, Condvar, Event, LazyLock, Mutex, Notify, Once, OnceLock, Parker, RwLock,
    Semaphore, SingleFlight, WaitGroup, mpsc,
};
use pirn::thread::yield_now;
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;

type Body = Box<dyn FnOnce() + Send>;
type Pair = (Body, Body);

fn pair(one: impl FnOnce() + Send + 'static, other: impl FnOnce() + Send + 'static) -> Pair {
    (Box::new(one), Box::new(other))
}

/// The same on both sides, which share something.
fn alike<T: Send + Sync + 'static>(shared: T, f: fn(&T)) -> Pair {
    let shared = Arc::new(shared);
    let theirs = shared.clone();
    pair(move || f(&shared), move || f(&theirs))
}

/// One who waits, and one who ends that.
fn ends<T: Send + Sync + 'static>(shared: T, waits: fn(&T), wakes: fn(&T)) -> Pair {
    let shared = Arc::new(shared);
    let theirs = shared.clone();
    pair(move || waits(&shared), move || wakes(&theirs))
}

/// Long enough for the other side to come in between.
fn linger() {
    (0..3).for_each(|_| yield_now());
}

const SHORT: Duration = Duration::from_micros(200);

fn locks() -> Vec<Pair> {
    vec![
        alike(Mutex::new(0), |mutex| {
            for _ in 0..20 {
                let mut guard = mutex.lock().unwrap();
                linger();
                *guard += 1;
            }
        }),
        alike(RwLock::new(0), |lock| {
            for round in 0..20 {
                if round % 2 == 0 {
                    let mut guard = lock.write().unwrap();
                    linger();
                    *guard += 1;
                } else {
                    let guard = lock.read().unwrap();
                    linger();
                    assert!(*guard > 0);
                }
            }
        }),
        ends(
            (Mutex::new(false), Condvar::new()),
            |shared| {
                drop(shared.1.wait_while(shared.0.lock().unwrap(), |go| !*go).unwrap());
                drop(shared.1.wait_timeout(shared.0.lock().unwrap(), SHORT).unwrap());
            },
            |shared| {
                linger();
                *shared.0.lock().unwrap() = true;
                shared.1.notify_one();
            },
        ),
        ends(
            (Once::new(), OnceLock::new()),
            |shared| {
                shared.0.wait();
                assert_eq!(shared.1.wait(), &7);
            },
            |shared| {
                linger();
                shared.0.call_once(linger);
                assert!(shared.1.set(7).is_ok());
            },
        ),
        alike((OnceLock::new(), LazyLock::new(counted)), |shared| {
            let made = shared.0.get_or_init(counted);
            assert_eq!((*made, *shared.1), (3, 3));
        }),
        alike(Barrier::new(2), |barrier| {
            for _ in 0..20 {
                barrier.wait();
            }
        }),
    ]
}

fn counted() -> usize {
    linger();
    3
}

fn signals() -> Vec<Pair> {
    let member = WaitGroup::new();
    let other_member = member.clone();
    let parker = Parker::new();
    let unparker = parker.unparker().clone();
    vec![
        ends(
            Semaphore::new(0),
            |semaphore| {
                assert!(semaphore.acquire_many_timeout(3, SHORT).is_err());
                drop(semaphore.acquire_many(2).unwrap());
            },
            |semaphore| {
                linger();
                semaphore.add_permits(2);
            },
        ),
        alike(Arc::new(Semaphore::new(1)), |semaphore| {
            for _ in 0..20 {
                let permit = semaphore.clone().acquire_owned().unwrap();
                linger();
                drop(permit);
            }
        }),
        ends(
            Event::new(),
            |event| {
                event.wait_timeout(SHORT);
                event.wait();
            },
            |event| {
                linger();
                event.set();
            },
        ),
        ends(
            (Notify::new(), Notify::new()),
            |notify| {
                for _ in 0..20 {
                    notify.0.notified();
                    notify.1.notify_one();
                }
            },
            |notify| {
                for _ in 0..20 {
                    notify.0.notify_one();
                    notify.1.notified();
                }
            },
        ),
        pair(
            move || member.wait(),
            move || {
                linger();
                drop(other_member);
            },
        ),
        pair(
            move || parker.park(),
            move || {
                linger();
                unparker.unpark();
            },
        ),
        alike(SingleFlight::new(), |flights| {
            assert_eq!(flights.run("key", counted), 3);
        }),
    ]
}

fn channels() -> Vec<Pair> {
    let (mut pairs, sent) = (Vec::new(), 20);
    for capacity in [Some(0), Some(1), None] {
        let of_capacity = || capacity.map_or_else(channel::unbounded, channel::bounded);
        let (s, r) = of_capacity();
        pairs.push(pair(
            move || assert_eq!(r.iter().count(), sent),
            move || (0..sent).for_each(|message| s.send(message).unwrap()),
        ));
        let ((s, r), (other, quiet)) = (of_capacity(), channel::bounded::<()>(0));
        pairs.push(pair(
            move || {
                for expected in 0..sent {
                    select! {
                        recv(r) -> message => assert_eq!(message, Ok(expected)),
                        recv(quiet) -> _ => unreachable!("its sender is here"),
                    }
                }
                drop(other);
                assert!(r.recv().is_err() && quiet.recv().is_err());
            },
            move || {
                for message in 0..sent {
                    let mut select = Select::new();
                    select.send(&s);
                    let chosen = select.select();
                    linger();
                    chosen.send(&s, message).unwrap();
                }
            },
        ));
    }
    let (s, r) = mpsc::channel();
    pairs.push(pair(
        move || assert_eq!(r.iter().count(), sent),
        move || (0..sent).for_each(|message| s.send(message).unwrap()),
    ));
    let (s, r) = mpsc::sync_channel(0);
    pairs.push(pair(
        move || {
            assert!(r.recv_timeout(Duration::from_secs(60)).is_ok());
            drop(r);
        },
        move || while s.send(()).is_ok() {},
    ));
    pairs
}

fn pairs() -> Vec<Pair> {
    [locks(), signals(), channels()].into_iter().flatten().collect()
}

/// Runs a body when it is dropped, and counts those that came to their ends.
struct InDrop(Option<Body>, Arc<Count>);

impl Drop for InDrop {
    fn drop(&mut self) {
        if let Some(body) = self.0.take() {
            // An assertion that fails is told by the count: a panic here would end the process.
            if catch_unwind(AssertUnwindSafe(body)).is_ok() {
                self.1.add();
            }
        }
    }
}

impl InDrop {
    fn new(body: Body, done: &Arc<Count>) -> InDrop {
        InDrop(Some(body), done.clone())
    }
}

fn swapped((one, other): Pair, swap: bool) -> Pair {
    if swap { (other, one) } else { (one, other) }
}

#[test]
fn while_the_runtime_stops() {
    for workers in [1, 2] {
        for swap in [false, true] {
            for (place, both) in pairs().into_iter().enumerate() {
                let (one, other) = swapped(both, swap);
                let (done, parked) = (Arc::new(Count::new()), Arc::new(Count::new()));
                let runtime = runtime(workers);
                let coroutines = [one, other].map(|body| {
                    let (in_drop, parked) = (InDrop::new(body, &done), parked.clone());
                    runtime.spawn(move || {
                        let _in_drop = in_drop;
                        parked.add();
                        pirn::thread::park();
                    })
                });
                until(|| parked.get() == 2);
                drop(runtime);
                for coroutine in coroutines {
                    assert!(coroutine.join().unwrap_err().is::<pirn::Cancelled>());
                }
                assert_eq!(done.get(), 2, "pair {place}");
            }
        }
    }
}

/// One of the two is a thread.
#[test]
fn while_the_runtime_stops_with_a_thread() {
    for swap in [false, true] {
        for (place, both) in pairs().into_iter().enumerate() {
            let (one, other) = swapped(both, swap);
            let (done, parked) = (Arc::new(Count::new()), Arc::new(Count::new()));
            let runtime = runtime(1);
            let (in_drop, theirs) = (InDrop::new(one, &done), parked.clone());
            drop(runtime.spawn(move || {
                let _in_drop = in_drop;
                theirs.add();
                pirn::thread::park();
            }));
            until(|| parked.get() == 1);
            let thread = std::thread::spawn(other);
            drop(runtime);
            thread.join().unwrap();
            assert_eq!(done.get(), 1, "pair {place}");
        }
    }
}

/// Both unwind, in one runtime, from panics of their own.
#[test]
fn while_they_panic() {
    for workers in [1, 2] {
        let runtime = runtime(workers);
        for (place, (one, other)) in pairs().into_iter().enumerate() {
            let done = Arc::new(Count::new());
            let coroutines = [one, other].map(|body| {
                let in_drop = InDrop::new(body, &done);
                runtime.spawn(move || {
                    let _in_drop = in_drop;
                    resume_unwind(Box::new(()));
                })
            });
            coroutines.into_iter().for_each(|coroutine| drop(coroutine.join().unwrap_err()));
            assert_eq!(done.get(), 2, "pair {place}");
        }
    }
}

/// When the destructors of its thread-locals run, a thread may have lost what it parks with.
#[test]
fn while_threads_end() {
    thread_local!(static AT_EXIT: RefCell<Vec<InDrop>> = const { RefCell::new(Vec::new()) });

    for parks_before in [false, true] {
        for (place, (one, other)) in pairs().into_iter().enumerate() {
            let done = Arc::new(Count::new());
            let threads = [one, other].map(|body| {
                let in_drop = InDrop::new(body, &done);
                std::thread::spawn(move || {
                    if parks_before {
                        pirn::thread::park_timeout(Duration::ZERO);
                        Event::new().wait_timeout(Duration::ZERO);
                    }
                    AT_EXIT.with_borrow_mut(|list| list.push(in_drop));
                    if !parks_before {
                        Event::new().wait_timeout(Duration::ZERO);
                    }
                })
            });
            threads.into_iter().for_each(|thread| thread.join().unwrap());
            assert_eq!(done.get(), 2, "pair {place}");
        }
    }
}

/// What waits for ever ends with its runtime, and leaves nothing behind that keeps others waiting.
#[test]
fn every_wait_is_cancelled() {
    cancel_every_wait(1);
    cancel_every_wait(2);
}

/// Nothing comes of a wait that is cancelled.
fn ended<T>(_never: T) {
    unreachable!("it was to wait for ever");
}

fn cancel_every_wait(workers: usize) {
    struct All {
        mutex: Mutex<()>,
        rwlock: RwLock<()>,
        condvar: Condvar,
        free: Mutex<()>,
        once: Once,
        cell: OnceLock<u8>,
        barrier: Barrier,
        semaphore: Semaphore,
        event: Event,
        notify: Notify,
        flights: SingleFlight<u8, u8>,
    }
    let all = Arc::new(All {
        mutex: Mutex::new(()),
        rwlock: RwLock::new(()),
        condvar: Condvar::new(),
        free: Mutex::new(()),
        once: Once::new(),
        cell: OnceLock::new(),
        barrier: Barrier::new(1_000),
        semaphore: Semaphore::new(0),
        event: Event::new(),
        notify: Notify::new(),
        flights: SingleFlight::new(),
    });
    let group = WaitGroup::new();
    let ((s, r), (full, _kept)) = (channel::bounded::<()>(0), mpsc::sync_channel(1));
    full.send(()).unwrap();
    let (_never_sends, of_mpsc) = mpsc::channel::<()>();
    let elsewhere = pirn::spawn(pirn::thread::park);
    let elsewhere_thread = elsewhere.thread().clone();
    let (held, writer) = (all.mutex.lock().unwrap(), all.rwlock.write().unwrap());

    let shared: Vec<fn(&All)> = vec![
        |all| ended(all.mutex.lock()),
        |all| ended(all.rwlock.read()),
        |all| ended(all.rwlock.write()),
        |all| ended(all.condvar.wait(all.free.lock().unwrap())),
        |all| ended(all.condvar.wait_timeout(all.free.lock().unwrap(), Duration::MAX)),
        |all| all.once.wait(),
        |all| ended(all.cell.wait()),
        |all| ended(all.barrier.wait()),
        |all| ended(all.semaphore.acquire()),
        |all| ended(all.semaphore.acquire_many_timeout(3, Duration::MAX)),
        |all| all.event.wait(),
        |all| ended(all.event.wait_timeout(Duration::MAX)),
        |all| all.notify.notified(),
        |all| ended(all.notify.notified_timeout(Duration::from_secs(3_600))),
        |all| ended(all.flights.run(1, || all.notify.notified_timeout(Duration::MAX).into())),
        |_| ended(channel::never::<()>().recv()),
        |_| ended(channel::after(Duration::from_secs(3_600)).recv()),
        |_| Parker::new().park(),
        |_| pirn::thread::sleep(Duration::from_secs(3_600)),
        |_| {
            pirn::thread::scope(|scope| {
                scope.spawn(pirn::thread::park);
            });
        },
    ];
    let mut bodies: Vec<Body> = Vec::new();
    for wait in shared {
        // Several in each queue.
        for _ in 0..3 {
            let all = all.clone();
            bodies.push(Box::new(move || wait(&all)));
        }
    }
    let (member, receiver, sender) = (group.clone(), r.clone(), channel::bounded::<()>(0));
    bodies.push(Box::new(move || member.wait()));
    bodies.push(Box::new(move || ended(receiver.recv())));
    bodies.push(Box::new(move || ended(sender.0.send(()))));
    let (receiver, other) = (r.clone(), channel::bounded::<()>(0));
    bodies.push(Box::new(move || {
        select! {
            recv(receiver) -> _ => {}
            send(other.0, ()) -> _ => {}
        }
    }));
    let receiver = r.clone();
    bodies.push(Box::new(move || {
        let mut select = Select::new();
        select.recv(&receiver);
        select.ready();
    }));
    bodies.push(Box::new(move || ended(full.send(()))));
    bodies.push(Box::new(move || ended(of_mpsc.recv())));
    bodies.push(Box::new(move || ended(elsewhere.join())));

    let (runtime, count, come) = (runtime(workers), bodies.len(), Arc::new(Count::new()));
    let comes = |body: Body| {
        let come = come.clone();
        runtime.spawn(move || {
            come.add();
            body();
        })
    };
    let coroutines: Vec<_> = bodies.into_iter().map(comes).collect();
    until(|| come.get() == count);
    drop(runtime);
    for (place, coroutine) in coroutines.into_iter().enumerate() {
        let ended = coroutine.join().unwrap_err();
        assert!(ended.is::<pirn::Cancelled>(), "body {place}");
    }
    drop((held, writer));
    elsewhere_thread.unpark();
    drop((all.mutex.lock().unwrap(), all.rwlock.write().unwrap(), all.free.lock().unwrap()));
    all.semaphore.add_permits(1);
    assert!(all.semaphore.try_acquire().is_ok());
    all.notify.notify_one();
    assert!(all.notify.notified_timeout(Duration::ZERO));
    assert_eq!(all.flights.run(1, || 9), 9);
    let meets = start(true, move || s.send(()).unwrap());
    r.recv().unwrap();
    meets();
    group.wait();
}

/// A scope whose children the stop cancels ends with its parent, and in a destructor by itself.
#[test]
fn scopes_end_with_the_runtime() {
    fn scoped() {
        pirn::thread::scope(|scope| {
            scope.spawn(pirn::thread::park);
        });
    }

    for workers in [1, 2] {
        let (runtime, parked, done) = (runtime(workers), Count::new(), Count::new());
        let (parked, done) = (Arc::new(parked), Arc::new(done));
        let in_drop = InDrop::new(Box::new(scoped), &done);
        let theirs = parked.clone();
        let parent = runtime.spawn(move || {
            let _in_drop = in_drop;
            theirs.add();
            scoped();
        });
        until(|| parked.get() == 1);
        drop(runtime);
        assert!(parent.join().unwrap_err().is::<pirn::Cancelled>());
        assert_eq!(done.get(), 1);
    }
}
