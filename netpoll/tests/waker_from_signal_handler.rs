//! A signal handler may wake.

#![expect(unsafe_code, reason = "signals")]

#[path = "common/blocked.rs"]
mod blocked;
mod common;

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use blocked::while_polling;
use common::LONG;
use netpoll::{Poller, Waker};

static WAKER: OnceLock<Waker> = OnceLock::new();

extern "C" fn wake(_signal: libc::c_int) {
    WAKER.get().unwrap().wake().unwrap();
}

#[test]
fn ends_the_poll_of_another_thread() {
    let poller = Poller::new().unwrap();
    WAKER.set(poller.waker()).unwrap();
    let handler = wake as extern "C" fn(libc::c_int) as libc::sighandler_t;
    // SAFETY: the handler makes a system call and touches nothing that is not `Sync`.
    unsafe { libc::signal(libc::SIGUSR1, handler) };

    for _ in 0..100 {
        let start = Instant::now();
        let woken = AtomicBool::new(false);
        let act = || {
            woken.store(true, Ordering::SeqCst);
            // In a thread that is not the one which polls, lest it be the signal that ends the poll.
            // SAFETY: raise has no preconditions.
            thread::spawn(|| unsafe { libc::raise(libc::SIGUSR1) }).join().unwrap();
        };
        let events = while_polling(&poller, |_| woken.load(Ordering::SeqCst), act);
        assert!(events.is_empty());
        assert!(start.elapsed() < LONG);
    }
}
