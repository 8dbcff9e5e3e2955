//! No wakeup is lost when many threads make them.

mod common;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use common::{LONG, poll};
use netpoll::Poller;

const THREADS: usize = 4;
const ROUNDS: usize = 2_000;

#[test]
fn every_wakeup_is_answered() {
    let poller = Poller::new().unwrap();
    let requests = [const { AtomicBool::new(false) }; THREADS];
    let finished = AtomicUsize::new(0);
    thread::scope(|scope| {
        for request in &requests {
            let (waker, finished) = (poller.waker(), &finished);
            scope.spawn(move || {
                for _ in 0..ROUNDS {
                    request.store(true, Ordering::Relaxed);
                    waker.wake().unwrap();
                    while request.load(Ordering::Relaxed) {
                        thread::yield_now();
                    }
                }
                finished.fetch_add(1, Ordering::Relaxed);
                waker.wake().unwrap();
            });
        }
        while finished.load(Ordering::Relaxed) < THREADS {
            let start = Instant::now();
            assert!(poll(&poller, LONG).is_empty());
            assert!(start.elapsed() < LONG, "a wakeup was lost");
            for request in &requests {
                request.store(false, Ordering::Relaxed);
            }
        }
    });
}
