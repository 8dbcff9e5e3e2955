//! A signal to the thread that polls ends the poll, without events and without an error.

#![expect(unsafe_code, reason = "signals")]

mod common;

use std::os::unix::thread::JoinHandleExt;
use std::thread;
use std::time::Instant;

use common::{LONG, poll};
use netpoll::Poller;

extern "C" fn ignore(_signal: libc::c_int) {}

#[test]
fn a_signal_ends_the_poll() {
    let handler = ignore as extern "C" fn(libc::c_int) as libc::sighandler_t;
    // SAFETY: the handler does nothing.
    unsafe { libc::signal(libc::SIGUSR1, handler) };

    let start = Instant::now();
    let thread = thread::spawn(|| poll(&Poller::new().unwrap(), LONG));
    // A signal that comes before the poll is missed, so there is more than one.
    while !thread.is_finished() {
        // SAFETY: the thread has not been joined, so its id is its own.
        unsafe { libc::pthread_kill(thread.as_pthread_t(), libc::SIGUSR1) };
        thread::yield_now();
    }
    assert!(thread.join().unwrap().is_empty());
    assert!(start.elapsed() < LONG);
}
