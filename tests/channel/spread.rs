//! Whom a message wakes, and what crowds cost.

use crate::support::{ms, runtime};
use pirn::channel::{Select, Sender, bounded, unbounded};
use pirn::{WorkerMetrics, WorkerState};
use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
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
        /// Holds its worker until all jobs of the round do, or for longer than the system lets a thread
        /// wait for a processor.
        fn run(self, workers: usize) {
            self.running.fetch_add(1, Ordering::Relaxed);
            let start = Instant::now();
            let together = loop {
                if self.running.load(Ordering::Relaxed) == workers {
                    break true;
                }
                if start.elapsed() > ms(4_000) {
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
                    // A worker that is late to come to rest is none that the jobs are for.
                    while idle_workers() < workers - 1 {
                        pirn::thread::yield_now();
                    }
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

/// The regular workers that sleep.
fn idle_workers() -> usize {
    let metrics = pirn::current_metrics().expect("in a coroutine");
    let sleeps = |worker: &&WorkerMetrics| !worker.surplus && worker.state == WorkerState::Asleep;
    metrics.workers.iter().filter(sleeps).count()
}

const CROWD: usize = 40_000;

/// A crowd that waits on one channel takes about what it takes on many channels, a part on each: the
/// same coroutines, stacks and wakes, beside the same load. It would take forty times that if whoever
/// is woken or leaves had to pass those who wait.
///
/// `wake` is told how many channels to use, and gives the [`effort`] that it took.
fn grows_linearly(wake: impl Fn(usize) -> Duration) {
    // The best of a few: what else runs here has its share of caches and of the memory.
    let best = |channels| (0..3).map(|_| wake(channels)).min().unwrap();
    let (many, one) = (best(40), best(1));
    assert!(one < many * 8, "{one:?} on one channel, {many:?} on many");
}

/// The processor time of this runtime's workers so far: for how long the system keeps them from a
/// processor does not count.
fn effort() -> Duration {
    match cfg!(target_os = "linux") {
        true => pirn::current_metrics().expect("in a coroutine").total().busy,
        false => {
            static BEGAN: LazyLock<Instant> = LazyLock::new(Instant::now);
            BEGAN.elapsed()
        }
    }
}

#[test]
fn crowds_are_woken_in_linear_time() {
    for capacity in [0, 1] {
        grows_linearly(|channels| {
            runtime(2).run(|| {
                let channels: Vec<_> = (0..channels).map(|_| bounded(capacity)).collect();
                let places = || channels.iter().cycle().take(CROWD);
                let waiting: Vec<_> = places()
                    .map(|(_, r)| {
                        let r = r.clone();
                        pirn::spawn(move || r.recv().unwrap())
                    })
                    .collect();
                let start = effort();
                places().for_each(|(s, _)| s.send(()).unwrap());
                waiting.into_iter().for_each(|one| one.join().unwrap());
                effort() - start
            })
        });
    }
}

#[test]
fn crowds_leave_in_linear_time() {
    grows_linearly(|channels| {
        runtime(2).run(|| {
            let channels: Vec<_> = (0..channels).map(|_| bounded::<()>(0)).collect();
            let start = effort();
            let waiting: Vec<_> = (channels.iter().cycle().take(CROWD))
                .map(|(_, r)| {
                    let r = r.clone();
                    pirn::spawn(move || r.recv_timeout(ms(20)).unwrap_err())
                })
                .collect();
            waiting.into_iter().for_each(|one| drop(one.join()));
            effort() - start
        })
    });
}

#[test]
fn crowds_of_selects_are_told_in_linear_time() {
    grows_linearly(|channels| {
        runtime(2).run(|| {
            let pair = |_| (bounded::<()>(0), bounded::<()>(0));
            let (told, untold): (Vec<_>, Vec<_>) = (0..channels).map(pair).unzip();
            let (told, heard): (Vec<_>, Vec<_>) = told.into_iter().unzip();
            let waiting: Vec<_> = (heard.iter().zip(&untold).cycle().take(CROWD))
                .map(|(r, (_, q))| {
                    let (r, q) = (r.clone(), q.clone());
                    pirn::spawn(move || {
                        let mut select = Select::new();
                        select.recv(&q);
                        select.recv(&r);
                        assert!(select.select().recv(&r).is_err());
                    })
                })
                .collect();
            let start = effort();
            drop(told);
            waiting.into_iter().for_each(|one| one.join().unwrap());
            effort() - start
        })
    });
}
