//! Whom a message wakes, and what crowds cost.

use crate::support::{ms, runtime};
use pirn::channel::{Select, Sender, bounded, unbounded};
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Jobs that hold their workers, as many as there are: the next is woken where it can run.
#[test]
fn jobs_through_one_channel_reach_every_idle_worker() {
    const ROUNDS: usize = 24;

    struct Job {
        running: Arc<AtomicUsize>,
        done: Sender<bool>,
    }

    impl Job {
        /// Holds its worker until all jobs of the round do, or for a while.
        fn run(self, workers: usize) {
            self.running.fetch_add(1, Ordering::Relaxed);
            let start = Instant::now();
            let together = loop {
                if self.running.load(Ordering::Relaxed) == workers {
                    break true;
                }
                if start.elapsed() > ms(100) {
                    break false;
                }
                std::thread::yield_now();
            };
            self.done.send(together).unwrap();
        }
    }

    for workers in [2, 4] {
        for capacity in [Some(64), None] {
            let rounds_together = runtime(workers).run(|| {
                let (s, r) = capacity.map_or_else(unbounded::<Job>, bounded);
                let (told, tell) = unbounded();
                for _ in 0..workers * 8 {
                    let (r, told) = (r.clone(), told.clone());
                    drop(pirn::spawn(move || {
                        told.send(std::thread::current().id()).unwrap();
                        r.iter().for_each(|job| job.run(workers));
                    }));
                }
                let homes: HashSet<_> = tell.iter().take(workers * 8).collect();
                assert_eq!(homes.len(), workers, "consumers live everywhere");
                let round = |_: &usize| {
                    let running = Arc::new(AtomicUsize::new(0));
                    let (done, all_done) = unbounded();
                    for _ in 0..workers {
                        let job = Job { running: running.clone(), done: done.clone() };
                        s.send(job).ok().unwrap();
                    }
                    drop(done);
                    all_done.iter().fold(true, |all, together| all & together)
                };
                (0..ROUNDS).filter(round).count()
            });
            // A worker that becomes idle between two looks is missed now and then.
            assert!(rounds_together * 4 >= ROUNDS * 3, "{rounds_together} of {ROUNDS}");
        }
    }
}

/// Time for `n` coroutines to wait on one channel and to be woken, each once.
fn crowd(n: usize, wake: impl Fn(usize) -> Duration) -> Duration {
    // The best of a few: others run beside this.
    (0..3).map(|_| wake(n)).min().unwrap()
}

fn grows_linearly(wake: impl Fn(usize) -> Duration) {
    let small = crowd(5_000, &wake);
    let large = crowd(40_000, &wake);
    assert!(large < small * 8 * 6, "{small:?} for 5,000, {large:?} for 40,000");
}

#[test]
fn crowds_are_woken_in_linear_time() {
    for capacity in [0, 1] {
        grows_linearly(|n| {
            runtime(2).run(|| {
                let (s, r) = bounded(capacity);
                let waiting: Vec<_> = (0..n)
                    .map(|_| {
                        let r = r.clone();
                        pirn::spawn(move || r.recv().unwrap())
                    })
                    .collect();
                let start = Instant::now();
                (0..n).for_each(|_| s.send(()).unwrap());
                waiting.into_iter().for_each(|one| one.join().unwrap());
                start.elapsed()
            })
        });
    }
}

#[test]
fn crowds_leave_in_linear_time() {
    grows_linearly(|n| {
        runtime(2).run(|| {
            let (_s, r) = bounded::<()>(0);
            let start = Instant::now();
            let waiting: Vec<_> = (0..n)
                .map(|_| {
                    let r = r.clone();
                    pirn::spawn(move || r.recv_timeout(ms(20)).unwrap_err())
                })
                .collect();
            waiting.into_iter().for_each(|one| drop(one.join()));
            start.elapsed().saturating_sub(ms(20))
        })
    });
}

#[test]
fn crowds_of_selects_are_told_in_linear_time() {
    grows_linearly(|n| {
        runtime(2).run(|| {
            let (s, r) = bounded::<()>(0);
            let (_t, q) = bounded::<()>(0);
            let waiting: Vec<_> = (0..n)
                .map(|_| {
                    let (r, q) = (r.clone(), q.clone());
                    pirn::spawn(move || {
                        let mut select = Select::new();
                        select.recv(&q);
                        select.recv(&r);
                        assert!(select.select().recv(&r).is_err());
                    })
                })
                .collect();
            let start = Instant::now();
            drop(s);
            waiting.into_iter().for_each(|one| one.join().unwrap());
            start.elapsed()
        })
    });
}
