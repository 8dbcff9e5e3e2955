//! Dumps: every coroutine is in them, with what it does, at rest and at full load.

use pirn::channel::{bounded, unbounded};
use pirn::sync::Mutex;
use pirn::{Builder, CoroutineDump, CoroutineState, Dump, Runtime, thread};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

fn runtime(workers: usize) -> Runtime {
    Builder::new().workers(workers).build().unwrap()
}

/// Dumps until it is as expected. Fails after two minutes.
#[track_caller]
fn dump_until(runtime: &Runtime, expected: impl Fn(&Dump) -> bool) -> Dump {
    let end = Instant::now() + Duration::from_secs(120);
    loop {
        let dump = runtime.dump();
        if expected(&dump) {
            return dump;
        }
        assert!(Instant::now() < end, "{dump}");
    }
}

fn named<'a>(dump: &'a Dump, name: &str) -> Option<&'a CoroutineDump> {
    dump.coroutines().find(|one| one.name.as_deref() == Some(name))
}

fn waits(dump: &Dump, name: &str) -> bool {
    named(dump, name).is_some_and(|one| one.state == CoroutineState::Parked)
}

fn spawn(runtime: &Runtime, name: &str, f: impl FnOnce() + Send + 'static) {
    let name = name.to_owned();
    runtime.run(|| drop(thread::Builder::new().name(name).spawn(f).unwrap()));
}

#[test]
fn a_parked_coroutine_says_who_it_is_and_what_it_waits_for() {
    let runtime = runtime(2);
    let (sender, receiver) = bounded::<()>(0);
    let line = line!() + 1;
    let spawner = runtime.spawn(move || {
        let receive = move || assert!(receiver.recv().is_err());
        let child = thread::Builder::new().name("child".into()).spawn(receive).unwrap();
        drop(child);
        thread::park();
    });
    let spawner = spawner.thread().clone();
    let dump = dump_until(&runtime, |dump| waits(dump, "child"));
    let child = named(&dump, "child").unwrap();
    assert!(child.waits_for.as_ref().unwrap().starts_with("channel receive at 0x"), "{dump}");
    assert!(child.object.is_some() && child.since.is_some() && child.worker.is_some());
    assert_eq!(child.times_out_in, None);
    let parent = dump.coroutines().find(|one| Some(one.id) == child.parent).unwrap();
    assert_eq!((parent.spawned_at.file(), parent.spawned_at.line()), (file!(), line));
    let text = dump.to_string();
    let expected = format!("coroutine {} \"child\" [channel receive at 0x", child.id);
    assert!(text.contains(&expected), "{text}");
    assert!(text.contains(&format!(" by coroutine {}\n", parent.id)), "{text}");
    spawner.unpark();
    drop(sender);
}

#[test]
fn a_wait_with_a_deadline_says_when_it_ends() {
    let runtime = runtime(1);
    spawn(&runtime, "sleeper", || thread::sleep(Duration::from_secs(1000)));
    let dump = dump_until(&runtime, |dump| waits(dump, "sleeper"));
    let sleeper = named(&dump, "sleeper").unwrap();
    assert_eq!(sleeper.waits_for.as_deref(), Some("sleep"));
    let left = sleeper.times_out_in.unwrap();
    assert!(left > Duration::from_secs(900) && left <= Duration::from_secs(1000), "{left:?}");
}

/// Whoever asks is in the dump, waiting for it, but nobody has forgotten it.
#[test]
fn who_asks_is_not_among_those_parked_for_long() {
    let runtime = runtime(1);
    let (sender, receiver) = bounded::<()>(0);
    spawn(&runtime, "forgotten", move || assert!(receiver.recv().is_err()));
    dump_until(&runtime, |dump| waits(dump, "forgotten"));
    let dump = runtime.run(|| runtime.dump());
    assert_eq!(dump.coroutines().count(), 2, "{dump}");
    let parked = dump.parked_for(Duration::ZERO);
    assert_eq!(parked.len(), 1, "{dump}");
    assert_eq!(parked[0].name.as_deref(), Some("forgotten"));
    drop(sender);
}

/// The time that a dump shows is the time that has gone by, though everything sleeps meanwhile, and
/// it begins anew with each wait.
#[test]
fn time_is_counted_from_the_beginning_of_the_wait() {
    let runtime = runtime(1);
    let (sender, receiver) = bounded::<()>(0);
    spawn(&runtime, "waiter", move || while receiver.recv().is_ok() {});
    dump_until(&runtime, |dump| waits(dump, "waiter"));
    // Long enough for the watch to sleep.
    std::thread::sleep(Duration::from_millis(500));
    let since = |dump: &Dump| named(dump, "waiter").unwrap().since.unwrap();
    let dump = dump_until(&runtime, |dump| waits(dump, "waiter"));
    assert!(since(&dump) >= Duration::from_millis(450), "{dump}");
    assert_eq!(dump.parked_for(Duration::from_millis(450)).len(), 1);
    assert!(dump.parked_for(Duration::from_secs(3600)).is_empty());
    let woken = Instant::now();
    sender.send(()).unwrap();
    let dump = dump_until(&runtime, |dump| waits(dump, "waiter"));
    // The watch may be late with the clock that it keeps for the workers, but not by all of the first
    // wait.
    assert!(since(&dump) <= woken.elapsed() + Duration::from_millis(400), "{dump}");
    drop(sender);
}

#[test]
fn sockets_show_their_addresses() {
    let runtime = runtime(1);
    let listener = pirn::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let server = listener.local_addr().unwrap();
    spawn(&runtime, "server", move || {
        let (first, _) = listener.accept().unwrap();
        spawn_reader(first);
        drop(listener.accept());
    });
    fn spawn_reader(mut stream: pirn::net::TcpStream) {
        let read = move || drop(std::io::Read::read(&mut stream, &mut [0]));
        drop(thread::Builder::new().name("reader".into()).spawn(read).unwrap());
    }
    let client = std::net::TcpStream::connect(server).unwrap();
    let dump = dump_until(&runtime, |dump| waits(dump, "reader") && waits(dump, "server"));
    let waits_for = |name| named(&dump, name).unwrap().waits_for.clone().unwrap();
    let peer = client.local_addr().unwrap();
    assert_eq!(waits_for("reader"), format!("read tcp {server} <- {peer}"));
    assert_eq!(waits_for("server"), format!("accept tcp {server}"));
}

/// Lets somebody go who is busy, also if something fails: a runtime waits for its coroutines.
struct Busy(Arc<AtomicBool>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

#[test]
fn a_busy_worker_is_reported_and_not_waited_for() {
    let runtime = runtime(1);
    let busy = Busy(Arc::new(AtomicBool::new(true)));
    let theirs = busy.0.clone();
    spawn(&runtime, "parked", thread::park);
    let dump = dump_until(&runtime, |dump| waits(dump, "parked"));
    assert!(dump.runtimes[0].workers[0].answered);
    spawn(&runtime, "hog", move || while theirs.load(Ordering::Relaxed) {});
    // Until then it may be seen before it starts.
    let runs =
        |dump: &Dump| named(dump, "hog").is_some_and(|hog| hog.state == CoroutineState::Running);
    let dump = dump_until(&runtime, runs);
    assert!(named(&dump, "parked").is_none());
    let worker = &dump.runtimes[0].workers[0];
    assert!(!worker.answered && worker.residents == 2, "{dump}");
    let said = dump.to_string();
    assert!(said.contains("2 coroutines, 1 worker\n"), "{dump}");
    assert!(said.contains("worker 0 is busy: 1 of its 2 coroutines cannot be listed"), "{dump}");
    drop(busy);
    dump_until(&runtime, |dump| waits(dump, "parked"));
}

#[test]
fn what_has_not_started_is_there() {
    const COUNT: usize = 100;
    let runtime = Builder::new().workers(1).name("unstarted").build().unwrap();
    let ran = Arc::new(AtomicBool::new(false));
    let theirs = ran.clone();
    let dump = runtime.run(move || {
        for _ in 0..COUNT {
            let ran = theirs.clone();
            drop(pirn::spawn(move || ran.store(true, Ordering::Relaxed)));
        }
        // The worker answers at its next schedule, before it starts anything.
        pirn::dump()
    });
    // The runtimes of other tests are in it, too.
    let ours = dump.runtimes.iter().find(|one| one.name == "unstarted").unwrap();
    let unstarted = ours.coroutines.iter().filter(|one| one.state == CoroutineState::Unstarted);
    let unstarted: Vec<_> = unstarted.collect();
    assert_eq!(unstarted.len(), COUNT, "{dump}");
    assert!(unstarted.iter().all(|one| one.spawned_at.file() == file!()));
    // They are not lost by having been looked at.
    dump_until(&runtime, |dump| dump.coroutines().next().is_none());
    assert!(ran.load(Ordering::Relaxed));
}

#[test]
fn those_alike_are_counted() {
    let runtime = runtime(2);
    let (sender, receiver) = unbounded::<()>();
    runtime.run(|| {
        for _ in 0..1000 {
            let receiver = receiver.clone();
            drop(pirn::spawn(move || receiver.recv()));
        }
    });
    let parked = |dump: &Dump| {
        dump.coroutines().filter(|one| one.state == CoroutineState::Parked).count() == 1000
    };
    let dump = dump_until(&runtime, parked);
    let text = dump.to_string();
    assert!(text.contains("\n1000 coroutines [channel receive at 0x"), "{text}");
    assert!(text.lines().count() < 40, "{text}");
    assert!(format!("{dump:#}").lines().count() > 1000);
    drop(sender);
}

#[test]
fn a_dump_is_json() {
    let runtime = runtime(1);
    spawn(&runtime, "a \"name\"\n", thread::park);
    let dump = dump_until(&runtime, |dump| waits(dump, "a \"name\"\n"));
    let json = dump.to_json();
    assert!(json.starts_with(r#"{"runtimes":[{"name":"pirn","live":1,"workers":[{"number":0,"#));
    assert!(json.contains(r#","name":"a \"name\"\u000a","spawned_at":"tests/dump.rs:"#), "{json}");
    assert!(
        json.contains(r#""state":"parked","waits_for":"park","object":null,"held_by":[],"since":"#)
    );
}

/// Whoever takes it is in it, and may run on any worker, or on several at once.
#[test]
fn coroutines_take_dumps() {
    let runtime = Arc::new(runtime(2));
    let takers: Vec<_> = (0..20)
        .map(|_| {
            let ours = runtime.clone();
            runtime.spawn(move || {
                for _ in 0..20 {
                    let dump = ours.dump();
                    let dumps = |one: &CoroutineDump| one.waits_for.as_deref() == Some("dump");
                    let busy = dump.runtimes[0].workers.iter().any(|worker| !worker.answered);
                    assert!(busy || dump.coroutines().any(dumps), "{dump}");
                }
            })
        })
        .collect();
    takers.into_iter().for_each(|taker| taker.join().unwrap());
}

/// Nothing is lost, twice there or freed while dumps are taken from two threads in a loop.
#[test]
fn dumps_at_full_load() {
    const SEEN: usize = 100;
    let runtime = Arc::new(runtime(2));
    let over = Arc::new(AtomicBool::new(false));
    let total = Arc::new(Mutex::new(0_u64));
    let (sender, receiver) = bounded::<u64>(4);
    let mut load = Vec::new();
    for index in 0..16 {
        let (over, total) = (over.clone(), total.clone());
        let (sender, receiver) = (sender.clone(), receiver.clone());
        let sender = (index % 4 == 0).then_some(sender);
        load.push(runtime.spawn(move || {
            let mut sent = 0;
            while !over.load(Ordering::Relaxed) {
                match (index % 4, &sender) {
                    (0, Some(sender)) => sent += u64::from(sender.send(1).is_ok()),
                    (1, _) => *total.lock().unwrap() += receiver.recv().unwrap_or(0),
                    (2, _) => drop(pirn::spawn(thread::yield_now).join()),
                    _ => thread::sleep(Duration::from_micros(50)),
                }
            }
            if index % 4 == 1 {
                receiver.iter().for_each(|one| *total.lock().unwrap() += one);
            }
            sent
        }));
    }
    drop((sender, receiver));
    let dumpers: Vec<_> = (0..2)
        .map(|_| {
            let runtime = runtime.clone();
            std::thread::spawn(move || {
                for _ in 0..SEEN {
                    let dump = runtime.dump();
                    let mut ids: Vec<_> = dump.coroutines().map(|one| one.id).collect();
                    assert!(ids.iter().all(|&id| id != 0));
                    let count = ids.len();
                    ids.dedup();
                    assert_eq!(ids.len(), count, "{dump}");
                    assert!(!dump.to_string().is_empty() && !dump.to_json().is_empty());
                }
            })
        })
        .collect();
    dumpers.into_iter().for_each(|dumper| dumper.join().unwrap());
    over.store(true, Ordering::Relaxed);
    let sent: u64 = load.into_iter().map(|one| one.join().unwrap()).sum();
    assert_eq!(sent, *total.lock().unwrap());
}

/// All that is parked is in every dump, while others come and go.
#[test]
fn nobody_is_left_out() {
    let runtime = Arc::new(runtime(2));
    let parked: Vec<_> = (0..500).map(|_| runtime.spawn(thread::park)).collect();
    let all = |dump: &Dump| {
        dump.coroutines().filter(|one| one.waits_for.as_deref() == Some("park")).count() == 500
    };
    dump_until(&runtime, all);
    let over = Arc::new(AtomicBool::new(false));
    let theirs = over.clone();
    let coming = runtime.spawn(move || {
        while !theirs.load(Ordering::Relaxed) {
            pirn::spawn(|| ()).join().unwrap();
        }
    });
    for _ in 0..100 {
        let dump = runtime.dump();
        assert!(
            !dump.runtimes[0].workers.iter().all(|worker| worker.answered) || all(&dump),
            "{dump}"
        );
    }
    over.store(true, Ordering::Relaxed);
    coming.join().unwrap();
    parked.into_iter().for_each(|one| {
        one.thread().unpark();
        one.join().unwrap();
    });
}

#[cfg(any(debug_assertions, feature = "holders"))]
mod holders {
    use super::*;
    use pirn::Party;
    use pirn::sync::{Condvar, RwLock};

    /// The coroutine that holds what `name` waits for.
    fn holders(dump: &Dump, name: &str) -> Vec<Party> {
        named(dump, name).unwrap().held_by.iter().map(|held| held.by.clone()).collect()
    }

    fn party(dump: &Dump, name: &str) -> Party {
        Party::Coroutine(named(dump, name).unwrap().id)
    }

    #[test]
    fn a_mutex_knows_its_holder() {
        let runtime = runtime(2);
        let mutex = Arc::new(Mutex::new(()));
        let (theirs, line) = (mutex.clone(), line!() + 2);
        spawn(&runtime, "holder", move || {
            let _guard = theirs.lock().unwrap();
            thread::park();
        });
        dump_until(&runtime, |dump| waits(dump, "holder"));
        spawn(&runtime, "waiter", move || drop(mutex.lock().unwrap()));
        let dump = dump_until(&runtime, |dump| waits(dump, "waiter"));
        assert_eq!(holders(&dump, "waiter"), [party(&dump, "holder")]);
        let held = &named(&dump, "waiter").unwrap().held_by[0];
        assert_eq!((held.locked_at.file(), held.locked_at.line()), (file!(), line));
        let text = format!(", held by {} since tests/dump.rs:{line}:", held.by);
        assert!(dump.to_string().contains(&text), "{dump}");
        assert!(dump.lock_cycles().is_empty());
    }

    #[test]
    fn a_thread_may_hold_it() {
        let runtime = runtime(1);
        let mutex = Arc::new(Mutex::new(()));
        let guard = mutex.lock().unwrap();
        let theirs = mutex.clone();
        spawn(&runtime, "waiter", move || drop(theirs.lock().unwrap()));
        let dump = dump_until(&runtime, |dump| waits(dump, "waiter"));
        let me = std::thread::current();
        let name = me.name().map(str::to_owned);
        assert_eq!(holders(&dump, "waiter"), [Party::Thread(me.id(), name)]);
        drop(guard);
    }

    /// A writer is named. Readers are not: there may be any number of them.
    #[test]
    fn a_writer_holds_it() {
        let runtime = runtime(2);
        let lock = Arc::new(RwLock::new(()));
        let theirs = lock.clone();
        spawn(&runtime, "writer", move || {
            let _guard = theirs.write().unwrap();
            thread::park();
        });
        dump_until(&runtime, |dump| waits(dump, "writer"));
        let theirs = lock.clone();
        spawn(&runtime, "reader", move || drop(theirs.read().unwrap()));
        let dump = dump_until(&runtime, |dump| waits(dump, "reader"));
        assert_eq!(holders(&dump, "reader"), [party(&dump, "writer")]);

        let read = Arc::new(RwLock::new(()));
        let _guard = read.read().unwrap();
        let theirs = read.clone();
        spawn(&runtime, "late", move || drop(theirs.write().unwrap()));
        let dump = dump_until(&runtime, |dump| waits(dump, "late"));
        assert_eq!(holders(&dump, "late"), []);
    }

    /// A wait on a condition variable gives the mutex up.
    #[test]
    fn who_waits_for_a_condition_holds_nothing() {
        let runtime = runtime(1);
        let pair = Arc::new((Mutex::new(()), Condvar::new()));
        let theirs = pair.clone();
        spawn(&runtime, "waits", move || {
            let guard = theirs.0.lock().unwrap();
            drop(theirs.1.wait(guard).unwrap());
        });
        dump_until(&runtime, |dump| waits(dump, "waits"));
        let theirs = pair.clone();
        spawn(&runtime, "holder", move || {
            let _guard = theirs.0.lock().unwrap();
            theirs.1.notify_one();
            thread::park();
        });
        let locks = |one: &CoroutineDump| !one.held_by.is_empty();
        let dump = dump_until(&runtime, |dump| {
            named(dump, "waits").is_some_and(locks) && waits(dump, "holder")
        });
        assert_eq!(holders(&dump, "waits"), [party(&dump, "holder")]);
    }

    /// Also while others run.
    #[test]
    fn cycles_are_named() {
        let runtime = runtime(2);
        let (one, two) = (Arc::new(Mutex::new(())), Arc::new(Mutex::new(())));
        let both = Arc::new(pirn::sync::Barrier::new(2));
        for (name, first, second) in [("one", &one, &two), ("two", &two, &one)] {
            let (first, second, both) = (first.clone(), second.clone(), both.clone());
            spawn(&runtime, name, move || {
                let _first = first.lock().unwrap();
                both.wait();
                drop(second.lock().unwrap());
            });
        }
        spawn(&runtime, "bystander", move || drop(one.lock().unwrap()));
        spawn(&runtime, "runner", || {
            loop {
                thread::sleep(Duration::from_micros(10));
            }
        });
        let dump = dump_until(&runtime, |dump| !dump.lock_cycles().is_empty());
        let cycles = dump.lock_cycles();
        assert_eq!((cycles.len(), cycles[0].len()), (1, 2), "{dump}");
        let mut parties: Vec<_> = cycles[0].iter().map(|wait| wait.party.to_string()).collect();
        parties.sort();
        let mut expected = ["one", "two"].map(|name| party(&dump, name).to_string());
        expected.sort();
        assert_eq!(parties, expected);
        assert!(dump.to_string().contains("waiting for each other's locks:\n    coroutine "));
    }
}

#[cfg(feature = "dump-stacks")]
mod stacks {
    use super::*;
    use pirn::StackFrame;
    use pirn::channel::Receiver;

    #[inline(never)]
    fn waits_here(receiver: &Receiver<()>) -> bool {
        std::hint::black_box(receiver.recv()).is_ok()
    }

    #[inline(never)]
    fn calls(receiver: &Receiver<()>) -> u32 {
        u32::from(std::hint::black_box(waits_here(receiver)))
    }

    #[test]
    fn a_parked_coroutine_shows_its_stack() {
        let runtime = runtime(1);
        let (sender, receiver) = bounded::<()>(0);
        spawn(&runtime, "waiter", move || assert_eq!(calls(&receiver), 0));
        let dump = dump_until(&runtime, |dump| waits(dump, "waiter"));
        let frames = named(&dump, "waiter").unwrap().stack.as_ref().unwrap().frames();
        let names: Vec<_> = frames.iter().map(|frame| frame.function.as_str()).collect();
        // Without their paths, if the debug information has lines alone.
        let place = |name: &str| names.iter().position(|one| one.ends_with(name));
        assert!(place("waits_here") < place("calls"), "{names:?}");
        assert!(place("waits_here").is_some(), "{names:?}");
        let file = |frame: &StackFrame| frame.place.as_ref().unwrap().0.clone();
        assert!(file(&frames[place("waits_here").unwrap()]).ends_with(file!()), "{frames:?}");
        // From the channel's own function to the closure that was spawned, and no further.
        assert!(file(&frames[0]).ends_with("src/channel/receiver.rs"), "{frames:?}");
        let spawned = frames.last().unwrap();
        assert!(
            spawned.function.contains("{closure#0}") || spawned.function.contains("{{closure}}")
        );
        assert!(file(spawned).ends_with(file!()), "{frames:?}");
        drop(sender);
    }

    /// To be looked at changes nothing: each goes on where it was, also one that is unwinding.
    #[test]
    fn whoever_was_looked_at_goes_on() {
        struct ParksInDrop;
        impl Drop for ParksInDrop {
            fn drop(&mut self) {
                assert!(std::thread::panicking());
                thread::sleep(Duration::from_millis(5));
                assert!(std::thread::panicking());
            }
        }

        let runtime = Arc::new(runtime(2));
        let over = Arc::new(AtomicBool::new(false));
        let (theirs, ours) = (over.clone(), runtime.clone());
        let dumper = std::thread::spawn(move || {
            while !theirs.load(Ordering::Relaxed) {
                let dump = ours.dump();
                let stopped = |one: &&CoroutineDump| {
                    matches!(one.state, CoroutineState::Parked | CoroutineState::Ready)
                };
                for one in dump.coroutines().filter(stopped).filter(|one| one.parent.is_some()) {
                    assert!(one.stack.is_some(), "{one:?}");
                }
            }
        });
        let workers: Vec<_> = (0..50)
            .map(|index| {
                runtime.spawn(move || {
                    let mut kept = [index; 64];
                    for _ in 0..20 {
                        let child = pirn::spawn(move || {
                            let _parks = (index % 5 == 0).then(|| ParksInDrop);
                            if index % 5 == 0 {
                                std::panic::resume_unwind(Box::new(index));
                            }
                            thread::sleep(Duration::from_micros(index));
                        });
                        assert_eq!(child.join().is_err(), index % 5 == 0);
                        thread::yield_now();
                        kept = std::hint::black_box(kept);
                        assert!(kept.iter().all(|&one| one == index));
                    }
                })
            })
            .collect();
        workers.into_iter().for_each(|worker| worker.join().unwrap());
        over.store(true, Ordering::Relaxed);
        dumper.join().unwrap();
    }
}
