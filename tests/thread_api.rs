//! `pirn::thread` as std's: names, texts, tokens, errors, edge cases.

use pirn::thread::{self, Builder, Placement, ThreadId};
use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

fn on_workers(test: impl Fn(&pirn::Runtime)) {
    for workers in [1, 2, 4, 8] {
        test(&pirn::Builder::new().workers(workers).build().unwrap());
    }
}

fn text_of(panic: Box<dyn std::any::Any + Send>) -> String {
    match panic.downcast::<String>() {
        Ok(text) => *text,
        Err(panic) => (*panic.downcast_ref::<&str>().expect("a text")).to_owned(),
    }
}

#[test]
fn a_null_byte_in_a_name_panics_as_in_std() {
    let name = || String::from("a\0b");
    let std = catch_unwind(|| std::thread::Builder::new().name(name()).spawn(|| ())).map(drop);
    let ours = catch_unwind(|| Builder::new().name(name()).spawn(|| ())).map(drop);
    assert_eq!(text_of(ours.unwrap_err()), text_of(std.unwrap_err()));
    let scoped = AssertUnwindSafe(|| {
        thread::scope(|scope| Builder::new().name(name()).spawn_scoped(scope, || ()).map(drop))
    });
    // The panic is the closure's own, and the scope does not wait for a child it does not have.
    assert!(catch_unwind(scope_of(scoped)).is_err());
}

fn scope_of<T>(
    f: AssertUnwindSafe<impl FnOnce() -> T>,
) -> impl FnOnce() -> T + std::panic::UnwindSafe {
    AssertUnwindSafe(move || (f.0)())
}

#[test]
fn names_of_all_kinds() {
    on_workers(|runtime| {
        for name in ["", "a", "ünïcödé ☃", &"long".repeat(1000)] {
            let seen = runtime.run(|| {
                let named = Builder::new().name(name.to_owned());
                let handle = named.spawn(|| thread::current().name().map(str::to_owned)).unwrap();
                assert_eq!(handle.thread().name(), Some(name));
                handle.join().unwrap()
            });
            assert_eq!(seen.as_deref(), Some(name));
        }
        assert_eq!(runtime.spawn(|| ()).thread().name(), None);
    });
    // A plain thread has the name that std gave it.
    let plain = std::thread::Builder::new().name("plain".into());
    let name = plain.spawn(|| thread::current().name().map(str::to_owned)).unwrap();
    assert_eq!(name.join().unwrap().as_deref(), Some("plain"));
}

/// `Debug` of the type's own name and fields is std's.
#[test]
fn debug_texts() {
    let digits = |text: String| {
        let mut shape = String::new();
        for c in text.chars() {
            let c = if c.is_ascii_digit() { '#' } else { c };
            if !(c == '#' && shape.ends_with('#')) {
                shape.push(c);
            }
        }
        shape
    };
    on_workers(|runtime| {
        runtime.run(|| {
            let ours = Builder::new().name("x".into()).spawn(|| ()).unwrap();
            let std = std::thread::Builder::new().name("x".into()).spawn(|| ()).unwrap();
            let shape = |thread: String| digits(thread);
            assert_eq!(shape(format!("{:?}", ours.thread())), shape(format!("{:?}", std.thread())));
            assert_eq!(
                shape(format!("{:#?}", ours.thread())),
                shape(format!("{:#?}", std.thread()))
            );
            assert_eq!(
                shape(format!("{:?}", ours.thread().id())),
                shape(format!("{:?}", std.thread().id()))
            );
            assert_eq!(format!("{ours:?}"), format!("{std:?}"));
            assert_eq!(format!("{ours:?}"), "JoinHandle { .. }");
            assert_eq!(
                format!("{:?}", Builder::new()).split(' ').next(),
                format!("{:?}", std::thread::Builder::new()).split(' ').next()
            );
            std.join().unwrap();
            ours.join().unwrap();
            let ours = thread::scope(|scope| {
                let child = scope.spawn(|| ());
                (format!("{child:?}"), format!("{scope:?}"))
            });
            let std = std::thread::scope(|scope| {
                let child = scope.spawn(|| ());
                (format!("{child:?}"), format!("{scope:?}"))
            });
            assert_eq!(ours.0, std.0);
            // Whether the child runs still is a matter of luck, and the owners are not the same.
            let shape = |text: &str| {
                let text = text.replace("num_running_threads: 0", "num_running_threads: 1");
                let (fields, owner) = text.split_once("main_thread: Thread").expect("the owner");
                (fields.to_owned(), owner.contains("ThreadId("))
            };
            assert_eq!(shape(&ours.1), shape(&std.1));
        });
    });
}

#[test]
fn thread_ids() {
    assert_eq!(size_of::<Option<ThreadId>>(), 8);
    assert_eq!(size_of::<Option<ThreadId>>(), size_of::<Option<std::thread::ThreadId>>());
    on_workers(|runtime| {
        let ids: Vec<ThreadId> = runtime.run(|| {
            let mut ids: Vec<_> = (0..1000)
                .map(|_| {
                    let handle = pirn::spawn(|| thread::current().id());
                    let id = handle.thread().id();
                    assert_eq!(handle.join().unwrap(), id);
                    id
                })
                .collect();
            ids.push(thread::current().id());
            ids.extend(
                (0..10).map(|_| thread::spawn_local(|| thread::current().id()).join().unwrap()),
            );
            let plain = || std::thread::spawn(|| thread::current().id()).join().unwrap();
            ids.extend((0..10).map(|_| plain()));
            ids.extend((0..1000).map(|_| runtime.spawn(|| ()).thread().id()));
            ids
        });
        let distinct: HashSet<_> = ids.iter().collect();
        assert_eq!(distinct.len(), ids.len());
    });
    assert_eq!(thread::current().id(), thread::current().id());
}

#[test]
fn stack_sizes() {
    on_workers(|runtime| {
        runtime.run(|| {
            for size in [0, 1, 4096, 100_000, 1 << 20, 8 << 20] {
                let sized = Builder::new().stack_size(size).spawn(|| 5);
                assert_eq!(sized.unwrap().join().unwrap(), 5);
            }
            for size in [(8 << 20) + 1, usize::MAX / 2, usize::MAX] {
                let error = Builder::new().stack_size(size).spawn(|| ()).map(drop).unwrap_err();
                assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput, "{error}");
            }
        });
    });
}

#[test]
fn is_finished_tells_the_end_and_not_more() {
    on_workers(|runtime| {
        runtime.run(|| {
            let parked = pirn::spawn(thread::park);
            (0..10).for_each(|_| thread::yield_now());
            assert!(!parked.is_finished());
            parked.thread().unpark();
            while !parked.is_finished() {
                thread::yield_now();
            }
            let start = Instant::now();
            parked.join().unwrap();
            assert!(start.elapsed() < Duration::from_secs(120));
            let panicked = pirn::spawn(|| {
                thread::yield_now();
                std::panic::resume_unwind(Box::new(()))
            });
            let handle = panicked.cancel_handle();
            // With one worker it lives there by then, and nobody else can run it.
            thread::yield_now();
            let start = Instant::now();
            while !handle.is_finished() {
                assert!(start.elapsed() < Duration::from_secs(60), "it has no turn");
            }
            assert!(panicked.is_finished() && panicked.join().is_err());
        });
    });
}

#[test]
fn an_unpark_before_the_park_counts_once() {
    on_workers(|runtime| {
        runtime.run(|| {
            let me = thread::current();
            me.unpark();
            thread::park();
            // Many are one.
            (0..10).for_each(|_| me.unpark());
            thread::park();
            let start = Instant::now();
            thread::park_timeout(Duration::from_millis(5));
            assert!(start.elapsed() >= Duration::from_millis(5), "a second token");
            // Before it has even started.
            let started = Arc::new(AtomicBool::new(false));
            let theirs = started.clone();
            let early = thread::spawn_local(move || {
                theirs.store(true, Ordering::Relaxed);
                thread::park();
            });
            assert!(!started.load(Ordering::Relaxed));
            early.thread().unpark();
            early.join().unwrap();
        });
    });
    // The same on a plain thread, whose token is not std's.
    let me = thread::current();
    me.unpark();
    me.unpark();
    thread::park();
    std::thread::current().unpark();
    let start = Instant::now();
    thread::park_timeout(Duration::from_millis(5));
    assert!(start.elapsed() >= Duration::from_millis(5), "std's token was taken for ours");
    std::thread::park();
}

#[test]
#[expect(deprecated, reason = "std has them")]
fn milliseconds() {
    let measure = || {
        let start = Instant::now();
        thread::sleep_ms(2);
        thread::park_timeout_ms(3);
        assert!(start.elapsed() >= Duration::from_millis(5));
        thread::current().unpark();
        thread::park_timeout_ms(u32::MAX);
    };
    measure();
    on_workers(|runtime| runtime.run(measure));
}

/// Joins, sleeps, scopes and blocking work neither take a token nor leave one.
#[test]
fn other_waits_leave_the_token_alone() {
    on_workers(|runtime| {
        runtime.run(|| {
            let me = thread::current();
            for given in [false, true] {
                if given {
                    me.unpark();
                }
                thread::sleep(Duration::from_micros(100));
                thread::yield_now();
                pirn::spawn(thread::yield_now).join().unwrap();
                thread::scope(|scope| drop(scope.spawn(thread::yield_now)));
                pirn::blocking(|| ());
                pirn::block_in_place(|| ());
                let start = Instant::now();
                thread::park_timeout(if given {
                    Duration::from_secs(3600)
                } else {
                    Duration::from_millis(2)
                });
                assert!(given || start.elapsed() >= Duration::from_millis(2));
            }
        });
    });
}

#[test]
fn scopes_panic_as_in_std() {
    let std = catch_unwind(|| {
        std::thread::scope(|scope| drop(scope.spawn(|| std::panic::resume_unwind(Box::new(1)))));
    });
    let expected = text_of(std.unwrap_err());
    assert_eq!(expected, "a scoped thread panicked");
    on_workers(|runtime| {
        runtime.run(|| {
            let silent = || std::panic::resume_unwind(Box::new(1));
            let ours = catch_unwind(|| thread::scope(|scope| drop(scope.spawn(silent))));
            assert_eq!(text_of(ours.unwrap_err()), expected);
            // Joined by hand, a panic is no business of the scope's.
            thread::scope(|scope| {
                let panic = scope.spawn(silent).join().unwrap_err();
                assert_eq!(*panic.downcast_ref::<i32>().unwrap(), 1);
            });
            // The closure's own panic comes first, after all children have ended.
            let ended = AtomicUsize::new(0);
            let own = catch_unwind(AssertUnwindSafe(|| {
                thread::scope(|scope| {
                    for _ in 0..10 {
                        scope.spawn(|| {
                            thread::sleep(Duration::from_millis(1));
                            ended.fetch_add(1, Ordering::Relaxed);
                        });
                    }
                    scope.spawn(silent);
                    std::panic::resume_unwind(Box::new("mine"));
                });
            }));
            assert_eq!(*own.unwrap_err().downcast_ref::<&str>().unwrap(), "mine");
            assert_eq!(ended.load(Ordering::Relaxed), 10);
        });
    });
}

#[test]
fn scopes_on_plain_threads() {
    let mut numbers = [1, 2, 3];
    let sum: i32 = thread::scope(|scope| {
        let handles: Vec<_> =
            numbers.iter_mut().map(|n| scope.spawn(move || (*n += 1, *n).1)).collect();
        handles.into_iter().map(|handle| handle.join().unwrap()).sum()
    });
    assert_eq!((sum, numbers), (9, [2, 3, 4]));
}

/// Children may spawn siblings after the closure has returned.
#[test]
fn children_spawn_siblings() {
    on_workers(|runtime| {
        runtime.run(|| {
            let count = AtomicUsize::new(0);
            thread::scope(|scope| {
                for _ in 0..10 {
                    scope.spawn(|| {
                        thread::yield_now();
                        scope.spawn(|| {
                            thread::sleep(Duration::from_micros(100));
                            scope.spawn(|| count.fetch_add(1, Ordering::Relaxed));
                        });
                    });
                }
            });
            assert_eq!(count.load(Ordering::Relaxed), 10);
        });
    });
}

#[test]
fn exit_ends_the_coroutine_alone() {
    on_workers(|runtime| {
        struct Says(Arc<AtomicBool>);

        impl Drop for Says {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Relaxed);
            }
        }

        let dropped = Arc::new(AtomicBool::new(false));
        let says = Says(dropped.clone());
        let handle = runtime.spawn(move || {
            let _says = says;
            fn deep() -> ! {
                thread::exit()
            }
            deep()
        });
        let payload = handle.join().map(|_: ()| ()).unwrap_err();
        assert!(payload.is::<thread::Exited>());
        assert!(dropped.load(Ordering::Relaxed));
    });
    let plain = std::thread::spawn(|| thread::exit());
    assert!(plain.join().unwrap_err().is::<thread::Exited>());
}

#[test]
fn every_form_of_go() {
    let n = 20;
    assert_eq!(pirn::go!(move || n + 1).join().unwrap(), 21);
    assert_eq!(pirn::go!(|| 22).join().unwrap(), 22);
    let (a, b) = (String::from("a"), String::from("b"));
    let block = pirn::go! {
        let both = a + &b;
        both.len()
    };
    assert_eq!(block.join().unwrap(), 2);
    fn double(n: i32) -> i32 {
        2 * n
    }
    assert_eq!(pirn::go!(double(n)).join().unwrap(), 40);
    assert_eq!(pirn::go!(move || { double(n) }).join().unwrap(), 40);
    let unit: thread::JoinHandle<()> = pirn::go! {};
    unit.join().unwrap();
}

#[test]
fn go_calls_what_can_be_called() {
    mod inner {
        pub(super) fn answer() -> i32 {
            42
        }

        pub(super) fn zero<T: Default>() -> T {
            T::default()
        }
    }
    struct Work {
        f: Box<dyn FnOnce() -> i32 + Send>,
        pair: (fn() -> i32, i32),
    }
    fn generic<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> T {
        pirn::go!(f).join().unwrap()
    }
    let n = 20;
    let f = move || n + 1;
    assert_eq!(pirn::go!(f).join().unwrap(), 21);
    assert_eq!(pirn::go!(inner::answer).join().unwrap(), 42);
    assert_eq!(pirn::go!(self::text_for_go).join().unwrap(), "text");
    assert_eq!(pirn::go!(inner::zero::<u32>).join().unwrap(), 0);
    assert_eq!(pirn::go!(inner::zero::<Vec<u8>>).join().unwrap(), []);
    assert_eq!(pirn::go!(::std::string::String::new).join().unwrap(), "");
    let work = Work { f: Box::new(move || n + 2), pair: (inner::answer, 0) };
    assert_eq!(pirn::go!(work.f).join().unwrap(), 22);
    assert_eq!(pirn::go!(work.pair.0).join().unwrap(), 42);
    assert_eq!(generic(|| 23), 23);
    assert_eq!(pirn::go!(move || -> i32 { n + 4 }).join().unwrap(), 24);
    assert_eq!(pirn::go!(|| -> i64 { 25 }).join().unwrap(), 25);
}

fn text_for_go() -> &'static str {
    "text"
}

#[test]
fn go_gives_what_cannot_be_called() {
    fn generic<T: Send + 'static>(value: T) -> T {
        pirn::go!(value).join().unwrap()
    }
    fn endless(limit: i32) -> ! {
        thread::sleep(Duration::from_millis(1));
        std::panic::resume_unwind(Box::new(limit))
    }
    let (n, list) = (20, vec![1, 2]);
    assert_eq!(pirn::go!(n).join().unwrap(), 20);
    assert_eq!(pirn::go!(list).join().unwrap(), [1, 2]);
    assert_eq!(generic(3), 3);
    assert!(pirn::go! { n < 30 }.join().unwrap());
    assert!(pirn::go!(true).join().unwrap());
    let parsed: thread::JoinHandle<u32> = pirn::go! { "5".parse().unwrap() };
    assert_eq!(parsed.join().unwrap(), 5);
    let ended: thread::JoinHandle<()> = pirn::go! { return };
    ended.join().unwrap();
    let diverged = pirn::go! { endless(7) }.join().map(|_| ()).unwrap_err();
    assert_eq!(*diverged.downcast::<i32>().unwrap(), 7);
    let question: thread::JoinHandle<Result<i32, std::num::ParseIntError>> = pirn::go! {
        let parsed: i32 = "x".parse()?;
        Ok(parsed + n)
    };
    assert!(question.join().unwrap().is_err());
}

#[test]
fn panic_payloads_survive() {
    on_workers(|runtime| {
        let join = |f: fn()| runtime.spawn(f).join().unwrap_err();
        assert_eq!(text_of(join(|| panic!("plain"))), "plain");
        assert_eq!(text_of(join(|| panic!("formatted {}", 3))), "formatted 3");
        let odd = join(|| std::panic::panic_any(vec![1_u8, 2]));
        assert_eq!(*odd.downcast::<Vec<u8>>().unwrap(), [1, 2]);
        let run = catch_unwind(AssertUnwindSafe(|| runtime.run(|| panic!("out of run"))));
        assert_eq!(text_of(run.unwrap_err()), "out of run");
    });
}

#[test]
fn results_of_odd_shapes() {
    #[derive(Debug, PartialEq)]
    #[repr(align(256))]
    struct Aligned(u8);

    on_workers(|runtime| {
        runtime.run(|| {
            pirn::spawn(|| ()).join().unwrap();
            let large = pirn::spawn(|| [7_u8; 3000]).join().unwrap();
            assert!(large.iter().all(|byte| *byte == 7));
            let aligned = Aligned(9);
            let back = pirn::spawn(move || {
                assert_eq!((&raw const aligned).addr() % 256, 0);
                thread::yield_now();
                aligned
            });
            assert_eq!(back.join().unwrap(), Aligned(9));
            let captured = [3_u8; 1000];
            let sum = pirn::spawn(move || captured.iter().map(|&n| u32::from(n)).sum::<u32>());
            assert_eq!(sum.join().unwrap(), 3000);
        });
    });
}

#[test]
fn placements() {
    on_workers(|runtime| {
        runtime.run(|| {
            for placement in [Placement::Near, Placement::Spread] {
                let spawn = |n| Builder::new().placement(placement).spawn(move || n).unwrap();
                let all: Vec<_> = (0..100).map(spawn).collect();
                assert_eq!(all.into_iter().map(|each| each.join().unwrap()).sum::<i32>(), 4950);
            }
        });
    });
}

/// Everything that blocks can be called from threads that no runtime knows.
#[test]
fn plain_threads_may_call_everything() {
    let plain = std::thread::spawn(|| {
        thread::yield_now();
        thread::sleep(Duration::from_micros(10));
        thread::park_timeout(Duration::from_micros(10));
        assert_eq!(pirn::blocking(|| 1), 1);
        assert_eq!(pirn::block_in_place(|| 2), 2);
        assert_eq!(pirn::spawn(|| 3).join().unwrap(), 3);
        assert_eq!(thread::scope(|scope| scope.spawn(|| 4).join().unwrap()), 4);
        assert!(!thread::panicking());
        assert!(pirn::current_metrics().is_none());
        let me = thread::current();
        let waker = pirn::spawn(move || me.unpark());
        thread::park();
        waker.join().unwrap();
    });
    plain.join().unwrap();
}

/// In the destructor of a thread-local, on plain threads and on machines, the calls still work.
#[test]
fn destructors_of_thread_locals_may_call_everything() {
    struct Last(Arc<AtomicUsize>);

    impl Drop for Last {
        fn drop(&mut self) {
            thread::yield_now();
            thread::sleep(Duration::from_micros(10));
            assert_eq!(pirn::spawn(|| 5).join().unwrap(), 5);
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    thread_local! {
        static LAST: std::cell::RefCell<Option<Last>> = const { std::cell::RefCell::new(None) };
    }

    let dropped = Arc::new(AtomicUsize::new(0));
    let theirs = dropped.clone();
    let plain =
        std::thread::spawn(move || LAST.with(|last| *last.borrow_mut() = Some(Last(theirs))));
    plain.join().unwrap();
    assert_eq!(dropped.load(Ordering::Relaxed), 1);
    let runtime = pirn::Builder::new().workers(1).build().unwrap();
    let theirs = dropped.clone();
    runtime.run(move || LAST.with(|last| *last.borrow_mut() = Some(Last(theirs))));
    drop(runtime);
    assert_eq!(dropped.load(Ordering::Relaxed), 2);
}

/// In the destructor of a thread-local that was in use before pirn was, a thread is who it was.
#[test]
fn a_thread_parks_and_is_unparked_to_its_very_end() {
    type Act = Box<dyn FnOnce()>;
    struct Acts(Option<Act>);

    impl Drop for Acts {
        fn drop(&mut self) {
            self.0.take().into_iter().for_each(|act| act());
        }
    }

    thread_local! {
        static EARLY: std::cell::RefCell<Acts> = const { std::cell::RefCell::new(Acts(None)) };
    }

    fn at_the_end(act: impl FnOnce() + 'static) {
        EARLY.with_borrow_mut(|early| early.0 = Some(Box::new(act)));
    }

    let one = std::thread::spawn(|| {
        // Nothing of pirn's is in use before its end.
        at_the_end(|| {
            let me = thread::current();
            assert_eq!(me.id(), thread::current().id());
            let waker = pirn::spawn(move || me.unpark());
            thread::park();
            waker.join().unwrap();
        });
    });
    one.join().unwrap();
    let (send_handle, handle) = std::sync::mpsc::channel::<thread::Thread>();
    let waker = std::thread::spawn(move || handle.recv().unwrap().unpark());
    let another = std::thread::spawn(move || {
        at_the_end(|| ());
        let me = thread::current();
        let known = me.id();
        thread::current().unpark();
        at_the_end(move || {
            assert_eq!(thread::current().id(), known);
            // By the token that is there, and then by who has the handle of before.
            thread::park();
            send_handle.send(me).unwrap();
            thread::park();
        });
    });
    another.join().unwrap();
    waker.join().unwrap();
}
