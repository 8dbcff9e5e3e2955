//! `task::Pool`, `map`, `join_all`, `as_completed`.

use pirn::sync::Event;
use pirn::task::{Pool, as_completed, imap_unordered, join_all, map};
use pirn::time::{Duration, timeout};
use pirn::{Builder, thread};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

fn everywhere(test: fn()) {
    test();
    for workers in [1, 2] {
        Builder::new().workers(workers).build().unwrap().run(test);
    }
}

/// Counts who runs, and the most at a time.
#[derive(Default)]
struct Meter(AtomicUsize, AtomicUsize);

impl Meter {
    fn pass(&self) {
        let now = self.0.fetch_add(1, Ordering::SeqCst) + 1;
        self.1.fetch_max(now, Ordering::SeqCst);
        thread::sleep(Duration::from_micros(200));
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[test]
fn no_more_than_its_size_run() {
    everywhere(|| {
        let (pool, meter) = (Pool::new(3), Arc::new(Meter::default()));
        for _ in 0..20 {
            let meter = meter.clone();
            drop(pool.spawn(move || meter.pass()));
        }
        pool.join();
        assert_eq!(pool.free(), 3);
        assert_eq!(meter.0.load(Ordering::SeqCst), 0);
        assert!(meter.1.load(Ordering::SeqCst) <= 3);
        // And as many do: they wait for each other.
        let barrier = Arc::new(pirn::sync::Barrier::new(3));
        let meet = || {
            let barrier = barrier.clone();
            pool.spawn(move || barrier.wait().is_leader())
        };
        let leaders = join_all([meet(), meet(), meet()]).into_iter().map(Result::unwrap);
        assert_eq!(leaders.filter(|leader| *leader).count(), 1);
    });
}

#[test]
fn a_full_pool_gives_the_closure_back() {
    everywhere(|| {
        let pool = Pool::new(1);
        let long = pool.spawn(thread::park);
        let refused = pool.try_spawn(|| 5).unwrap_err();
        long.thread().unpark();
        long.join().unwrap();
        assert_eq!(pool.spawn(refused).join().unwrap(), 5);
        // One that panics, or is cancelled, gives its place back.
        assert!(pool.spawn(|| std::panic::resume_unwind(Box::new(()))).join().is_err());
        let parked = pool.spawn(thread::park);
        parked.cancel();
        assert!(parked.join().is_err());
        pool.join();
    });
}

/// Whoever has joined the pool finds its coroutines finished; whoever has joined a coroutine finds its
/// place free.
#[test]
fn an_empty_pool_has_nobody_left() {
    everywhere(|| {
        let pool = Pool::new(4);
        for _ in 0..50 {
            let handles: Vec<_> = (0..6).map(|n| pool.spawn(move || n)).collect();
            pool.join();
            assert!(handles.iter().all(|handle| handle.is_finished()));
            pool.spawn(|| ()).join().unwrap();
            assert_eq!(pool.free(), 4);
        }
    });
}

/// A result that nobody claims is part of its coroutine, and may need a place itself.
#[test]
fn a_pool_is_joined_with_the_results_of_its_coroutines() {
    struct Slow(Pool, Arc<Event>, Arc<Event>);
    impl Drop for Slow {
        fn drop(&mut self) {
            self.1.set();
            self.2.wait();
            self.0.spawn(|| ()).join().unwrap();
        }
    }

    everywhere(|| {
        let pool = Pool::new(1);
        let (left, gate) = (Arc::new(Event::new()), Arc::new(Event::new()));
        let slow = Slow(pool.clone(), left.clone(), gate.clone());
        let unclaimed = Arc::new(Event::new());
        let theirs = unclaimed.clone();
        drop(pool.spawn(move || {
            theirs.wait();
            slow
        }));
        unclaimed.set();
        left.wait();
        assert_eq!(pool.free(), 1);
        // The wait for it can be cancelled, and another one waits then.
        assert!(timeout(Duration::from_millis(1), || pool.join()).is_err());
        let theirs = pool.clone();
        let joined = pirn::spawn(move || theirs.join());
        assert!(!joined.is_finished());
        gate.set();
        pool.join();
        joined.join().unwrap();
    });
}

#[test]
fn maps_keep_their_order_and_their_bound() {
    everywhere(|| {
        let meter = Arc::new(Meter::default());
        let theirs = meter.clone();
        let doubled = map(4, 0..40, move |n| {
            theirs.pass();
            2 * n
        });
        assert_eq!(doubled, (0..40).map(|n| 2 * n).collect::<Vec<_>>());
        assert!(meter.1.load(Ordering::SeqCst) <= 4);
        assert_eq!(map(1, [(); 0], |()| ()), []);
    });
}

#[test]
fn results_come_as_they_end() {
    everywhere(|| {
        // Each of them ends when the one after it in this order has been returned.
        let order = [1, 2, 0];
        let gates: Arc<[Event; 3]> = Arc::new([Event::new(), Event::new(), Event::new()]);
        let theirs = gates.clone();
        let calls = imap_unordered(3, 0..3, move |n: usize| {
            theirs[n].wait();
            n
        });
        gates[order[0]].set();
        let mut next = order.iter().skip(1);
        let came: Vec<_> =
            calls.inspect(|_| next.next().into_iter().for_each(|&n| gates[n].set())).collect();
        assert_eq!(came, order);

        let gates: Arc<[Event; 3]> = Arc::new([Event::new(), Event::new(), Event::new()]);
        let handles = [0, 1, 2].map(|n: usize| {
            let theirs = gates.clone();
            pirn::spawn(move || theirs[n].wait())
        });
        let mut completed = as_completed(handles);
        for n in order {
            gates[n].set();
            let (number, result) = completed.next().unwrap();
            assert!(number == n && result.is_ok());
        }
        assert!(completed.next().is_none());
    });
}

/// Items are not taken ahead of time.
#[test]
fn an_endless_iterator_is_taken_from_as_needed() {
    everywhere(|| {
        let taken = Arc::new(AtomicUsize::new(0));
        let counter = taken.clone();
        let items = std::iter::from_fn(move || Some(counter.fetch_add(1, Ordering::SeqCst)));
        let sum: usize = imap_unordered(2, items, |n| n).take(10).sum();
        assert!(sum >= 45);
        assert!(taken.load(Ordering::SeqCst) <= 13);
    });
}

/// There is nothing left to be done, so there is nothing to wait for.
#[test]
fn an_end_needs_no_place() {
    everywhere(|| {
        let pool = Pool::new(1);
        let mut results = pool.imap_unordered([1], |n| n);
        assert_eq!(results.next(), Some(1));
        let parked = pool.spawn(thread::park);
        assert_eq!(results.next(), None);
        assert_eq!(pool.map([(); 0], |()| ()), []);
        parked.thread().unpark();
        parked.join().unwrap();
    });
}

#[test]
fn a_panic_in_a_map_ends_the_rest() {
    everywhere(|| {
        let ended = Arc::new(AtomicUsize::new(0));
        struct Ends(Arc<AtomicUsize>);
        impl Drop for Ends {
            fn drop(&mut self) {
                self.0.fetch_add(1, Ordering::SeqCst);
            }
        }
        let theirs = ended.clone();
        let caught = catch_unwind(move || {
            map(4, 0..4, move |n| {
                let _ends = Ends(theirs.clone());
                if n == 3 {
                    std::panic::resume_unwind(Box::new(n));
                }
                thread::park();
            })
        });
        assert_eq!(*caught.unwrap_err().downcast::<i32>().unwrap(), 3);
        // Those that had begun have ended; the others never began.
        let count = ended.load(Ordering::SeqCst);
        assert!((1..=4).contains(&count), "{count}");
    });
}

/// Those that were given up have told of their ends, which are nobody's any more.
#[test]
fn what_comes_after_a_panic_in_a_map_is_not_waited_for_in_vain() {
    everywhere(|| {
        for _ in 0..20 {
            let barrier = Arc::new(pirn::sync::Barrier::new(6));
            let mut calls = imap_unordered(6, 0..8, move |n| {
                if n < 6 {
                    barrier.wait();
                }
                if n == 0 {
                    std::panic::resume_unwind(Box::new(n));
                }
                n
            });
            let mut panics = 0;
            let mut last = None;
            loop {
                match catch_unwind(AssertUnwindSafe(|| calls.next())) {
                    Ok(Some(n)) => last = Some(n),
                    Ok(None) => break,
                    Err(_) => panics += 1,
                }
            }
            assert_eq!(panics, 1);
            assert!(last.is_some_and(|last| last != 0), "{last:?}");
        }
    });
}

#[test]
fn a_map_ends_with_a_timeout() {
    everywhere(|| {
        let result = timeout(Duration::from_millis(2), || map(2, 0..10, |_| thread::park()));
        assert!(result.is_err());
    });
}

#[test]
fn many_handles() {
    everywhere(|| {
        let handles: Vec<_> = (0..5_000_usize).map(|n| pirn::spawn(move || n)).collect();
        let mut seen = vec![false; 5_000];
        for (number, result) in as_completed(handles) {
            assert_eq!(result.unwrap(), number);
            assert!(!std::mem::replace(&mut seen[number], true));
        }
        assert!(seen.into_iter().all(|seen| seen));
        let results = join_all((0..100).map(|n| pirn::spawn(move || n)));
        assert_eq!(results.into_iter().map(Result::unwrap).sum::<i32>(), 4950);
    });
}
