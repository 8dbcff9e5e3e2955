//! What one operation costs.

use crate::table::contest;
use corosensei::stack::DefaultStack;
use corosensei::{Coroutine, CoroutineResult};
use std::time::Instant;

fn nanos_each(count: u64, run: impl FnOnce()) -> f64 {
    let start = Instant::now();
    run();
    start.elapsed().as_nanos() as f64 / count as f64
}

/// A switch away from a coroutine and to another one.
pub(crate) fn switch() {
    const SWITCHES: u64 = 2_000_000;
    let one = pirn::Builder::new().workers(1).build().expect("a runtime");
    contest(
        "yield between two coroutines, one worker",
        "ns a switch",
        9,
        &mut [
            ("corosensei, bare", &mut || {
                let mut pair = [(); 2].map(|()| {
                    Coroutine::<(), (), ()>::new(|yielder, ()| {
                        for _ in 0..SWITCHES / 2 {
                            yielder.suspend(());
                        }
                    })
                });
                nanos_each(SWITCHES, || {
                    while let [CoroutineResult::Yield(()), CoroutineResult::Yield(())] =
                        [pair[0].resume(()), pair[1].resume(())]
                    {}
                })
            }),
            ("pirn", &mut || {
                one.run(|| {
                    let yielding = || {
                        for _ in 0..SWITCHES / 2 {
                            pirn::thread::yield_now();
                        }
                    };
                    nanos_each(SWITCHES, || {
                        let peer = pirn::spawn(yielding);
                        yielding();
                        peer.join().expect("it does not panic");
                    })
                })
            }),
            ("pirn, park and unpark", &mut || {
                one.run(|| {
                    let main = pirn::thread::current();
                    nanos_each(SWITCHES / 4, || {
                        let peer = pirn::spawn(move || {
                            for _ in 0..SWITCHES / 8 {
                                pirn::thread::park();
                                main.unpark();
                            }
                        });
                        for _ in 0..SWITCHES / 8 {
                            peer.thread().unpark();
                            pirn::thread::park();
                        }
                        peer.join().expect("it does not panic");
                    })
                })
            }),
        ],
    );
}

/// The whole life of a coroutine that does nothing.
pub(crate) fn spawn() {
    const SPAWNS: u64 = 500_000;
    let one = pirn::Builder::new().workers(1).build().expect("a runtime");
    let all = pirn::Builder::new().workers(2).build().expect("a runtime");
    let spawns = || {
        nanos_each(SPAWNS, || {
            for _ in 0..SPAWNS {
                pirn::spawn(|| ()).join().expect("it does not panic");
            }
        })
    };
    let mut stack = Some(DefaultStack::new(64 * 1024).expect("a stack"));
    contest(
        "spawn, run, join",
        "ns each",
        9,
        &mut [
            ("corosensei, pooled stack", &mut || {
                nanos_each(SPAWNS, || {
                    for _ in 0..SPAWNS {
                        let taken = stack.take().expect("given back below");
                        let mut coroutine = Coroutine::<(), (), ()>::with_stack(taken, |_, ()| ());
                        coroutine.resume(());
                        stack = Some(coroutine.into_stack());
                    }
                })
            }),
            ("pirn, one worker", &mut || one.run(spawns)),
            ("pirn, two workers", &mut || all.run(spawns)),
        ],
    );
}

fn status(field: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap_or("0");
    line.trim_start_matches(':').trim().trim_end_matches(" kB").parse::<u64>().unwrap_or(0) * 1024
}

/// A million coroutines that all park, are released and joined.
pub(crate) fn parked() {
    const COUNT: usize = 1_000_000;
    for (name, size) in [("64 KiB", 64 << 10), ("256 KiB", 256 << 10)] {
        let runtime = pirn::Builder::new().stack_size(size).build().expect("a runtime");
        let (rss, tables) = (status("VmRSS"), status("VmPTE"));
        let start = Instant::now();
        let (parked_in, bytes, page_tables) = runtime.run(|| {
            let handles: Vec<_> = (0..COUNT).map(|_| pirn::spawn(pirn::thread::park)).collect();
            // Whoever is spawned last on each worker has parked when its neighbours have.
            while parked_count(&handles) < COUNT {
                pirn::thread::yield_now();
            }
            let parked_in = start.elapsed();
            let bytes = status("VmRSS") - rss;
            let page_tables = status("VmPTE") - tables;
            for handle in &handles {
                handle.thread().unpark();
            }
            for handle in handles {
                handle.join().expect("it does not panic");
            }
            (parked_in, bytes, page_tables)
        });
        let all = start.elapsed();
        println!(
            "\n{COUNT} coroutines at {name}: parked in {parked_in:.0?}, joined after {all:.0?}; \
             each {} B resident (with a {} B handle) and {} B of page tables",
            bytes / COUNT as u64,
            size_of::<pirn::thread::JoinHandle<()>>(),
            page_tables / COUNT as u64
        );
        let dropping = Instant::now();
        drop(runtime);
        println!(
            "dropped in {:.0?}; {} KiB resident before, {} KiB after",
            dropping.elapsed(),
            rss >> 10,
            status("VmRSS") >> 10
        );
    }
}

/// How many of them have started, by the workers' own counters.
fn parked_count(handles: &[pirn::thread::JoinHandle<()>]) -> usize {
    let metrics = pirn::current_metrics().expect("called from a coroutine");
    let residents: usize = metrics.workers.iter().map(|worker| worker.residents).sum();
    // One of the residents asks.
    (residents - 1).min(handles.len())
}
