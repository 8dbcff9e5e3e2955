//! `coroutine_local!`: whose value it is, when it is made, and when it goes.

use pirn::coroutine_local;
use pirn::thread::{self, LocalKey};
use std::cell::{Cell, RefCell};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

fn one_worker() -> pirn::Runtime {
    pirn::Builder::new().workers(1).build().unwrap()
}

/// Calls a function when it is dropped.
struct OnDrop(Option<Box<dyn FnOnce()>>);

impl OnDrop {
    fn new(f: impl FnOnce() + 'static) -> OnDrop {
        OnDrop(Some(Box::new(f)))
    }
}

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.take().into_iter().for_each(|f| f());
    }
}

coroutine_local! {
    static FIRST: RefCell<Vec<OnDrop>> = const { RefCell::new(Vec::new()) };
    static SECOND: RefCell<Vec<OnDrop>> = RefCell::default();
    static COUNT: Cell<u32> = const { Cell::new(7) };
}

fn defer(key: &'static LocalKey<RefCell<Vec<OnDrop>>>, f: impl FnOnce() + 'static) {
    key.with_borrow_mut(|list| list.push(OnDrop::new(f)));
}

#[test]
fn each_coroutine_has_its_own_although_they_share_a_thread() {
    one_worker().run(|| {
        let handles: Vec<_> = (0..100)
            .map(|n| {
                pirn::spawn(move || {
                    assert_eq!(COUNT.get(), 7);
                    COUNT.set(n);
                    for _ in 0..10 {
                        thread::yield_now();
                        assert_eq!(COUNT.replace(COUNT.get() + 1), COUNT.get() - 1);
                    }
                    COUNT.take()
                })
            })
            .collect();
        assert_eq!(COUNT.get(), 7);
        for (n, handle) in handles.into_iter().enumerate() {
            assert_eq!(handle.join().unwrap(), n as u32 + 10);
        }
    });
}

#[test]
fn a_plain_thread_has_its_own_too() {
    COUNT.set(1);
    std::thread::spawn(|| assert_eq!(COUNT.get(), 7)).join().unwrap();
    pirn::spawn(|| assert_eq!(COUNT.get(), 7)).join().unwrap();
    assert_eq!(COUNT.get(), 1);
}

#[test]
fn an_initialiser_runs_once_for_each_and_not_before_a_set() {
    static RUNS: AtomicUsize = AtomicUsize::new(0);
    coroutine_local! {
        static LAZY: Cell<usize> = Cell::new(RUNS.fetch_add(1, Ordering::Relaxed) + 100);
    }
    let set = pirn::spawn(|| {
        LAZY.set(5);
        LAZY.get()
    });
    assert_eq!(set.join().unwrap(), 5);
    assert_eq!(RUNS.load(Ordering::Relaxed), 0);
    let got = pirn::spawn(|| (LAZY.get(), LAZY.get()));
    assert_eq!(got.join().unwrap(), (100, 100));
    assert_eq!(RUNS.load(Ordering::Relaxed), 1);
}

#[test]
fn destructors_run_before_join_returns_and_may_park() {
    let done = Arc::new(AtomicUsize::new(0));
    one_worker().run({
        let done = done.clone();
        move || {
            let theirs = done.clone();
            pirn::spawn(move || {
                defer(&FIRST, move || {
                    let helper = pirn::spawn(|| 40);
                    thread::sleep(std::time::Duration::from_millis(1));
                    theirs.store(helper.join().unwrap() + 2, Ordering::Relaxed);
                });
            })
            .join()
            .unwrap();
            assert_eq!(done.load(Ordering::Relaxed), 42);
        }
    });
}

#[test]
fn a_scope_waits_for_destructors() {
    let done = AtomicUsize::new(0);
    struct Guard(*const AtomicUsize);
    impl Drop for Guard {
        fn drop(&mut self) {
            thread::yield_now();
            #[expect(unsafe_code, reason = "a borrow that outlives the scope")]
            // SAFETY: the counter outlives the scope, which waits for this.
            unsafe { &*self.0 }.fetch_add(1, Ordering::Relaxed);
        }
    }
    coroutine_local!(static GUARD: RefCell<Option<Guard>> = const { RefCell::new(None) });
    thread::scope(|scope| {
        for _ in 0..10 {
            let done = &done;
            scope.spawn(move || GUARD.set(Some(Guard(done))));
        }
    });
    assert_eq!(done.load(Ordering::Relaxed), 10);
}

#[test]
fn the_youngest_goes_first_and_sees_the_older() {
    let order = Arc::new(Mutex::new(Vec::new()));
    let seen = order.clone();
    pirn::spawn(move || {
        let first = seen.clone();
        defer(&FIRST, move || {
            assert!(SECOND.try_with(|_| ()).is_err(), "it has gone");
            assert!(FIRST.try_with(|_| ()).is_err(), "it is going");
            first.lock().unwrap().push("first");
        });
        defer(&SECOND, move || {
            assert!(FIRST.try_with(|_| ()).is_ok(), "it is still there");
            seen.lock().unwrap().push("second");
        });
    })
    .join()
    .unwrap();
    assert_eq!(*order.lock().unwrap(), ["second", "first"]);
}

#[test]
fn what_a_destructor_makes_is_destroyed_too() {
    let done = Arc::new(AtomicUsize::new(0));
    let theirs = done.clone();
    pirn::spawn(move || {
        defer(&SECOND, move || {
            defer(&FIRST, move || {
                theirs.fetch_add(1, Ordering::Relaxed);
            });
        });
    })
    .join()
    .unwrap();
    assert_eq!(done.load(Ordering::Relaxed), 1);
}

#[test]
fn a_panic_leaves_no_value_behind() {
    let done = Arc::new(AtomicUsize::new(0));
    let theirs = done.clone();
    let result = pirn::spawn(move || {
        defer(&FIRST, move || {
            theirs.fetch_add(1, Ordering::Relaxed);
        });
        std::panic::resume_unwind(Box::new("expected"));
    })
    .join();
    assert_eq!(*result.unwrap_err().downcast::<&str>().unwrap(), "expected");
    assert_eq!(done.load(Ordering::Relaxed), 1);
}

#[test]
fn a_cancelled_coroutine_destroys_its_values() {
    let done = Arc::new(AtomicUsize::new(0));
    let runtime = one_worker();
    let theirs = done.clone();
    let (began, begins) = std::sync::mpsc::channel();
    drop(runtime.spawn(move || {
        defer(&FIRST, move || {
            thread::yield_now();
            theirs.fetch_add(1, Ordering::Relaxed);
        });
        began.send(()).unwrap();
        thread::park();
    }));
    begins.recv().unwrap();
    drop(runtime);
    assert_eq!(done.load(Ordering::Relaxed), 1);
}

#[test]
fn an_unclaimed_result_may_look_at_them() {
    let done = Arc::new(AtomicUsize::new(0));
    struct Looks(Arc<AtomicUsize>);
    impl Drop for Looks {
        fn drop(&mut self) {
            self.0.store(COUNT.get() as usize, Ordering::Relaxed);
        }
    }
    let theirs = done.clone();
    one_worker().run(move || {
        drop(pirn::spawn(move || {
            COUNT.set(9);
            Looks(theirs)
        }));
        thread::yield_now();
    });
    assert_eq!(done.load(Ordering::Relaxed), 9);
}

/// Makes a value of the coroutine's when it is dropped, which says where that goes.
struct Makes(std::sync::mpsc::Sender<std::thread::ThreadId>);

impl Drop for Makes {
    fn drop(&mut self) {
        let gone = self.0.clone();
        defer(&FIRST, move || gone.send(std::thread::current().id()).unwrap());
    }
}

#[test]
fn what_an_unclaimed_result_makes_is_destroyed_by_its_coroutine() {
    let runtime = one_worker();
    let home = runtime.spawn(|| std::thread::current().id()).join().unwrap();
    let (gone, goes) = std::sync::mpsc::channel();
    let (begin, begins) = pirn::channel::bounded::<()>(1);
    let handle = runtime.spawn(move || {
        begins.recv().unwrap();
        Makes(gone)
    });
    // Keeps the coroutine's memory beyond its end, and frees it here.
    let last = handle.cancel_handle();
    drop(handle);
    begin.send(()).unwrap();
    while !last.is_finished() {
        std::thread::yield_now();
    }
    let at_its_end = goes.try_recv();
    drop(last);
    assert_eq!((at_its_end, goes.try_recv().is_ok()), (Ok(home), false));
}

/// The handle goes while the values are destroyed, so that the result goes after them.
#[test]
fn a_result_that_is_given_up_late_finds_new_values() {
    let (seen, sees) = std::sync::mpsc::channel();
    let (begun, begins) = std::sync::mpsc::channel();
    let (go_on, goes_on) = pirn::channel::bounded::<()>(1);
    struct Looks(std::sync::mpsc::Sender<u32>);
    impl Drop for Looks {
        fn drop(&mut self) {
            self.0.send(COUNT.get()).unwrap();
        }
    }
    let runtime = one_worker();
    let handle = runtime.spawn(move || {
        COUNT.set(9);
        defer(&FIRST, move || {
            begun.send(()).unwrap();
            goes_on.recv().unwrap();
        });
        Looks(seen)
    });
    begins.recv().unwrap();
    drop(handle);
    go_on.send(()).unwrap();
    assert_eq!(sees.recv(), Ok(7));
}

/// Who is told of the end runs last.
#[test]
fn what_the_waker_of_a_task_makes_is_destroyed_by_the_coroutine_that_calls_it() {
    struct Wakes(Mutex<Option<Makes>>);
    impl std::task::Wake for Wakes {
        fn wake(self: Arc<Self>) {
            drop(self.0.lock().unwrap().take());
        }
    }
    let runtime = one_worker();
    let home = runtime.spawn(|| std::thread::current().id()).join().unwrap();
    let (gone, goes) = std::sync::mpsc::channel();
    let (begin, begins) = pirn::channel::bounded::<()>(1);
    let mut handle = runtime.spawn(move || begins.recv().unwrap());
    let waker = Arc::new(Wakes(Mutex::new(Some(Makes(gone))))).into();
    let mut context = std::task::Context::from_waker(&waker);
    assert!(std::pin::Pin::new(&mut handle).poll(&mut context).is_pending());
    begin.send(()).unwrap();
    // What is left of the coroutine is freed here, by its handle.
    drop(runtime);
    drop(handle);
    assert_eq!(goes.recv(), Ok(home));
}

#[test]
fn an_initialiser_that_asks_for_itself_wins() {
    coroutine_local! {
        static NESTED: Cell<u32> = Cell::new(if OUTER.replace(false) { NESTED.get() + 1 } else { 1 });
        static OUTER: Cell<bool> = const { Cell::new(true) };
    }
    let values = pirn::spawn(|| (NESTED.get(), NESTED.get())).join().unwrap();
    assert_eq!(values, (2, 2));
}

#[test]
fn access_after_destruction_panics_as_in_std() {
    coroutine_local!(static GOES: RefCell<Option<OnDrop>> = const { RefCell::new(None) });
    let message = Arc::new(Mutex::new(String::new()));
    let theirs = message.clone();
    pirn::spawn(move || {
        GOES.set(Some(OnDrop::new(move || {
            let error = std::panic::catch_unwind(|| GOES.with(|_| ())).unwrap_err();
            theirs.lock().unwrap().push_str(error.downcast_ref::<String>().unwrap());
        })));
    })
    .join()
    .unwrap();
    let expected =
        "cannot access a Thread Local Storage value during or after destruction: AccessError";
    assert_eq!(*message.lock().unwrap(), expected);
}

#[test]
fn a_destructor_that_panics_aborts_as_in_std() {
    const CHILD: &str = "PIRN_TEST_LOCAL_PANICS";
    if std::env::var_os(CHILD).is_some() {
        pirn::spawn(|| defer(&FIRST, || panic!("in a destructor"))).join().ok();
        return;
    }
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_destructor_that_panics_aborts_as_in_std", "--nocapture"])
        .env(CHILD, "1")
        .output()
        .unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("thread local panicked on drop, aborting"), "{said}");
}

mod with_names_of_their_own {
    fn init() -> u32 {
        7
    }

    macro_rules! values {
        ($($local:tt)*) => {
            $($local)*! {
                static CALLS: u32 = init();
                static LENDS: &'static Vec<u32> = const { &Vec::new() };
            }
            pub(crate) fn values() -> (u32, usize) {
                (CALLS.with(|calls| *calls), LENDS.with(|lends| lends.len()))
            }
        };
    }

    pub(crate) mod stds {
        use super::init;
        values!(std::thread_local);
    }

    pub(crate) mod ours {
        use super::init;
        values!(pirn::coroutine_local);
    }
}

#[test]
fn an_initialiser_means_what_it_means_in_thread_local() {
    use with_names_of_their_own::{ours, stds};
    assert_eq!(ours::values(), stds::values());
    assert_eq!(one_worker().run(ours::values), (7, 0));
}
