//! `pirn::sync` with coroutines that move between threads.
#![cfg(feature = "migrating")]
#![expect(unsafe_code, reason = "migrating coroutines are spawned by an unsafe function")]

use pirn::sync::{Arc, Barrier, Condvar, Mutex, RwLock};
use pirn::thread::Builder;
use std::time::Duration;

/// Notifications come while the publication of a wait still runs, on another thread.
#[test]
fn locks_conditions_and_barriers() {
    const COROUTINES: usize = 16;
    const TURNS: usize = 300;
    for workers in [2, 4, 8] {
        let runtime = pirn::Builder::new().workers(workers).build().unwrap();
        runtime.run(|| {
            struct Shared {
                turn: Mutex<usize>,
                changed: Condvar,
                total: RwLock<usize>,
                end: Barrier,
            }
            let shared = Arc::new(Shared {
                turn: Mutex::new(0),
                changed: Condvar::new(),
                total: RwLock::new(0),
                end: Barrier::new(COROUTINES),
            });
            let members: Vec<_> = (0..COROUTINES)
                .map(|number| {
                    let shared = shared.clone();
                    // SAFETY: what lives across the waits is nobody's thread's: guards of pirn's
                    // locks, which are atomics, and plain values.
                    let migrating = unsafe { Builder::new().migrating() };
                    let body = move || {
                        for round in 0..TURNS {
                            let mine = round * COROUTINES + number;
                            let mut turn = shared.turn.lock().unwrap();
                            while *turn != mine {
                                let short = Duration::from_millis(50);
                                turn = match round % 2 {
                                    0 => shared.changed.wait(turn).unwrap(),
                                    _ => shared.changed.wait_timeout(turn, short).unwrap().0,
                                };
                            }
                            *turn += 1;
                            shared.changed.notify_all();
                            drop(turn);
                            *shared.total.write().unwrap() += 1;
                        }
                        shared.end.wait();
                        assert_eq!(*shared.total.read().unwrap(), COROUTINES * TURNS);
                    };
                    migrating.spawn(body).unwrap()
                })
                .collect();
            members.into_iter().for_each(|member| member.join().unwrap());
        });
    }
}
