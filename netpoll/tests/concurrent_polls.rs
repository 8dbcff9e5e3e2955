//! Several threads may poll: each edge goes to one of them, and none waits longer than it wants.

#[path = "common/blocked.rs"]
mod blocked;
mod common;

use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use blocked::while_polling;
use common::{LONG, poll};
use netpoll::{Events, Interest, Key, Poller, Trigger};

#[test]
fn each_edge_goes_to_one() {
    const PAIRS: usize = 500;
    const THREADS: usize = 3;

    let poller = Poller::new().unwrap();
    let streams: Vec<_> =
        (0..PAIRS).flat_map(|_| <[_; 2]>::from(UnixStream::pair().unwrap())).collect();
    let seen = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                let mut events = Events::with_capacity(7);
                loop {
                    poller.poll(&mut events, Some(LONG)).unwrap();
                    let mut seen = seen.lock().unwrap();
                    seen.extend(events.iter().map(|event| event.key().index()));
                    if seen.len() >= streams.len() {
                        // One wakeup ends one poll, so each thread passes it on to the next.
                        poller.waker().wake().unwrap();
                        break;
                    }
                }
            });
        }
        for (index, stream) in (0..).zip(&streams) {
            let key = Key::new(index, 0);
            poller.add(stream.as_fd(), key, Interest::WRITABLE, Trigger::Edge).unwrap();
        }
    });
    let mut seen = seen.into_inner().unwrap();
    seen.sort_unstable();
    assert!(seen.iter().copied().eq(0..streams.len() as u32));
}

#[test]
fn wakeups_end_one_poll_after_the_other() {
    const THREADS: usize = 3;

    let poller = Poller::new().unwrap();
    let start = Instant::now();
    thread::scope(|scope| {
        let (sender, receiver) = mpsc::channel();
        for _ in 0..THREADS {
            let (sender, poller) = (sender.clone(), &poller);
            scope.spawn(move || sender.send(poll(poller, LONG).len()).unwrap());
        }
        for _ in 0..THREADS {
            poller.waker().wake().unwrap();
            assert_eq!(receiver.recv().unwrap(), 0);
        }
    });
    assert!(start.elapsed() < LONG);
}

#[test]
fn nobody_waits_for_the_timeout_of_another() {
    let poller = Poller::new().unwrap();
    let woken = AtomicBool::new(false);
    let act = || {
        for timeout in [Duration::ZERO, Duration::from_millis(2)] {
            let start = Instant::now();
            assert!(poll(&poller, timeout).is_empty());
            assert!(start.elapsed() < LONG);
        }
        woken.store(true, Ordering::SeqCst);
        poller.waker().wake().unwrap();
    };
    let events = while_polling(&poller, |_| woken.load(Ordering::SeqCst), act);
    assert!(events.is_empty());
}
