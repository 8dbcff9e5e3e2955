//! Spawning, joining and what comes out of `join`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};

fn on_workers(test: impl Fn(&pirn::Runtime)) {
    for workers in [1, 2, 4, 8] {
        test(&pirn::Builder::new().workers(workers).build().unwrap());
    }
}

#[test]
fn results_come_out_of_join() {
    on_workers(|runtime| {
        let sum: usize = runtime.run(|| {
            let children: Vec<_> = (0..1000).map(|n| pirn::spawn(move || n)).collect();
            children.into_iter().map(|child| child.join().unwrap()).sum()
        });
        assert_eq!(sum, 499_500);
    });
}

#[test]
fn panics_come_out_of_join() {
    on_workers(|runtime| {
        let payload = runtime.run(|| pirn::spawn(|| panic!("{}", 42)).join().unwrap_err());
        assert_eq!(payload.downcast_ref::<String>().unwrap(), "42");
    });
}

#[test]
fn a_thread_joins_a_coroutine() {
    on_workers(|runtime| {
        let child = runtime.spawn(|| {
            pirn::thread::yield_now();
            "done"
        });
        assert_eq!(child.join().unwrap(), "done");
    });
}

#[test]
fn dropped_handles_let_coroutines_run_on() {
    on_workers(|runtime| {
        let ran = Arc::new(AtomicUsize::new(0));
        runtime.run(|| {
            let (sent, received) = std::sync::mpsc::channel();
            for _ in 0..100 {
                let (ran, sent) = (ran.clone(), sent.clone());
                drop(pirn::spawn(move || {
                    pirn::thread::yield_now();
                    ran.fetch_add(1, Ordering::Relaxed);
                    sent.send(()).unwrap();
                }));
            }
            drop(sent);
            pirn::block_in_place(|| while received.recv().is_ok() {});
        });
        assert_eq!(ran.load(Ordering::Relaxed), 100);
    });
}

#[test]
fn a_million_parks_and_unparks() {
    on_workers(|runtime| {
        runtime.run(|| {
            let peer = pirn::spawn(|| {
                for _ in 0..10_000 {
                    pirn::thread::park();
                }
            });
            while !peer.is_finished() {
                peer.thread().unpark();
                pirn::thread::yield_now();
            }
            peer.join().unwrap();
        });
    });
}

#[test]
fn nested_spawns() {
    fn tree(depth: usize) -> usize {
        if depth == 0 {
            return 1;
        }
        let left = pirn::spawn(move || tree(depth - 1));
        let right = pirn::spawn(move || tree(depth - 1));
        left.join().unwrap() + right.join().unwrap()
    }
    on_workers(|runtime| assert_eq!(runtime.run(|| tree(10)), 1024));
}

#[test]
fn scopes_borrow() {
    on_workers(|runtime| {
        let mut data = vec![0_u64; 64];
        runtime.run(|| {
            pirn::thread::scope(|scope| {
                for (index, slot) in data.iter_mut().enumerate() {
                    scope.spawn(move || {
                        pirn::thread::yield_now();
                        *slot = index as u64;
                    });
                }
            });
        });
        assert_eq!(data.iter().sum::<u64>(), 2016);
    });
}

/// How many coroutines of a tree are there at once, at most.
fn widest(tree: &Tree, leaves: u64) -> u64 {
    if leaves > 1 {
        let below: Vec<_> = (0..10)
            .map(|_| {
                let tree = tree.clone();
                tree.add(1);
                pirn::spawn(move || {
                    widest(&tree, leaves / 10);
                    tree.add(-1);
                })
            })
            .collect();
        below.into_iter().for_each(|child| child.join().unwrap());
    }
    tree.widest.load(Ordering::Relaxed) as u64
}

#[derive(Clone, Default)]
struct Tree {
    now: Arc<AtomicI64>,
    widest: Arc<AtomicI64>,
}

impl Tree {
    fn add(&self, n: i64) {
        let now = self.now.fetch_add(n, Ordering::Relaxed) + n;
        self.widest.fetch_max(now, Ordering::Relaxed);
    }
}

#[test]
fn a_tree_is_walked_in_depth() {
    let runtime = pirn::Builder::new().workers(1).build().unwrap();
    let widest = runtime.run(|| widest(&Tree::default(), 100_000));
    assert!(widest < 40_000, "{widest} of 111,111 were there at once");
}

#[test]
fn newer_coroutines_do_not_starve_an_older_one() {
    /// Ends when the old one has run, or with a million of these.
    fn flood(started: &Arc<AtomicI64>, old_ran: &Arc<AtomicBool>) {
        for _ in 0..2 {
            if !old_ran.load(Ordering::Relaxed)
                && started.fetch_add(1, Ordering::Relaxed) < 1_000_000
            {
                let (started, old_ran) = (started.clone(), old_ran.clone());
                drop(pirn::spawn(move || flood(&started, &old_ran)));
            }
        }
    }

    let runtime = pirn::Builder::new().workers(1).build().unwrap();
    let old_ran = Arc::new(AtomicBool::new(false));
    let started = Arc::new(AtomicI64::new(0));
    runtime.run(|| {
        // As many as the run queue has room for stand before it.
        let before: Vec<_> = (0..100)
            .map(|_| {
                let (started, old_ran) = (started.clone(), old_ran.clone());
                pirn::spawn(move || flood(&started, &old_ran))
            })
            .collect();
        let ran = old_ran.clone();
        let old = pirn::spawn(move || ran.store(true, Ordering::Relaxed));
        let after: Vec<_> = (0..100)
            .map(|_| {
                let (started, old_ran) = (started.clone(), old_ran.clone());
                pirn::spawn(move || flood(&started, &old_ran))
            })
            .collect();
        old.join().unwrap();
        before.into_iter().chain(after).for_each(|one| one.join().unwrap());
    });
    let started = started.load(Ordering::Relaxed);
    assert!(started < 1_000_000, "{started} newer ones had started first");
}
