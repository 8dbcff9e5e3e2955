//! `task::try_scope`: members that borrow, and the first failure.

use pirn::task::try_scope;
use pirn::{Builder, thread};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};

fn everywhere(test: fn()) {
    test();
    for workers in [1, 2] {
        Builder::new().workers(workers).build().unwrap().run(test);
    }
}

#[test]
fn members_borrow_and_succeed() {
    everywhere(|| {
        let sum = AtomicUsize::new(0);
        let result = try_scope(|scope| {
            for n in 0..10 {
                let (sum, again) = (&sum, scope.clone());
                scope.spawn(move || {
                    again.spawn(move || {
                        sum.fetch_add(n, Ordering::SeqCst);
                        Ok(())
                    });
                    Ok::<_, ()>(())
                });
            }
            Ok(5)
        });
        assert_eq!(result, Ok(5));
        assert_eq!(sum.into_inner(), 45);
    });
}

#[test]
fn the_first_failure_ends_members_and_body() {
    everywhere(|| {
        let ended = AtomicUsize::new(0);
        struct Ends<'a>(&'a AtomicUsize);
        impl Drop for Ends<'_> {
            fn drop(&mut self) {
                self.0.fetch_add(1, Ordering::SeqCst);
            }
        }
        let result = try_scope::<_, (), _>(|scope| {
            for _ in 0..5 {
                let ends = Ends(&ended);
                scope.spawn(move || {
                    let _ends = ends;
                    loop {
                        thread::park();
                    }
                });
            }
            scope.spawn(|| Err("first"));
            let _ends = Ends(&ended);
            loop {
                thread::park();
            }
        });
        assert_eq!(result, Err("first"));
        assert_eq!(ended.into_inner(), 6);
    });
}

#[test]
fn the_bodys_own_failure_ends_the_members() {
    everywhere(|| {
        let result = try_scope::<_, (), _>(|scope| {
            scope.spawn(|| {
                loop {
                    thread::park();
                }
            });
            Err(1)
        });
        assert_eq!(result, Err(1));
        let caught = catch_unwind(AssertUnwindSafe(|| {
            try_scope::<_, (), ()>(|scope| {
                scope.spawn(|| {
                    loop {
                        thread::park();
                    }
                });
                std::panic::resume_unwind(Box::new(2_u8))
            })
        }));
        assert_eq!(*caught.unwrap_err().downcast::<u8>().unwrap(), 2);
    });
}

#[test]
fn a_members_panic_comes_out() {
    everywhere(|| {
        let caught = catch_unwind(AssertUnwindSafe(|| {
            try_scope::<_, (), ()>(|scope| {
                scope.spawn(|| std::panic::resume_unwind(Box::new(3_u8)));
                loop {
                    thread::park();
                }
            })
        }));
        assert_eq!(*caught.unwrap_err().downcast::<u8>().unwrap(), 3);
    });
}

#[test]
fn a_timeout_around_ends_it_all() {
    everywhere(|| {
        let soon = std::time::Duration::from_millis(2);
        let result = pirn::time::timeout(soon, || {
            try_scope::<_, (), ()>(|scope| {
                scope.spawn(|| {
                    loop {
                        thread::park();
                    }
                });
                Ok(())
            })
        });
        assert!(result.is_err());
    });
}

/// All was done when the cancellation came, so nothing is lost; the next wait ends.
#[test]
fn a_result_that_is_there_is_not_lost_by_a_cancellation() {
    everywhere(|| {
        let (begun, begins) = std::sync::mpsc::channel();
        let (cancelled, cancels) = std::sync::mpsc::channel();
        let parent = thread::Builder::new().spawn(move || {
            let number = AtomicUsize::new(0);
            let result = try_scope(|scope| {
                scope.spawn(|| {
                    number.store(5, Ordering::SeqCst);
                    Ok::<_, ()>(())
                });
                while number.load(Ordering::SeqCst) == 0 {
                    thread::yield_now();
                }
                begun.send(()).unwrap();
                while cancels.try_recv().is_err() {
                    thread::yield_now();
                }
                Ok(number.load(Ordering::SeqCst))
            });
            assert_eq!(result, Ok(5));
            result
        });
        let parent = parent.unwrap();
        while begins.try_recv().is_err() {
            thread::yield_now();
        }
        parent.cancel();
        cancelled.send(()).unwrap();
        assert_eq!(parent.join().unwrap(), Ok(5));
    });
}

/// A destructor of one that unwinds already. Its runtime ends the members, and no wait of its own.
#[test]
fn a_scope_in_a_destructor_outlasts_the_end_of_its_members() {
    struct Scopes(mpsc::Sender<()>, Arc<AtomicBool>);

    impl Drop for Scopes {
        fn drop(&mut self) {
            let begun = self.0.clone();
            // Caught, as it would end the process.
            let result = catch_unwind(AssertUnwindSafe(|| {
                try_scope(|scope| {
                    scope.spawn(move || {
                        begun.send(()).unwrap();
                        thread::park();
                        Ok::<_, ()>(())
                    });
                    Ok(7)
                })
            }));
            self.1.store(matches!(result, Ok(Ok(7))), Ordering::SeqCst);
        }
    }

    for workers in [1, 2, 4] {
        let runtime = pirn::Builder::new().workers(workers).build().unwrap();
        let (begun, begins) = mpsc::channel();
        let ended = Arc::new(AtomicBool::new(false));
        let scopes = Scopes(begun, ended.clone());
        drop(runtime.spawn(move || {
            let _scopes = scopes;
            resume_unwind(Box::new(()));
        }));
        begins.recv().unwrap();
        drop(runtime);
        assert!(ended.load(Ordering::SeqCst));
    }
}
