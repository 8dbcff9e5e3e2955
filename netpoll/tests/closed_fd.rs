//! Descriptors that are closed, before they are added or while they are registered.

#![expect(unsafe_code, reason = "a BorrowedFd of a descriptor that is closed")]

use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use netpoll::{Events, Interest, Key, Poller, Trigger};

const KEY: Key = Key::new(0, 0);

#[test]
fn a_closed_descriptor_is_refused() {
    let poller = Poller::new().unwrap();
    // SAFETY: nobody owns this number, and nothing but its refusal is asked for. It is beyond what
    // a limit of descriptors allows, so that nobody gets it in the meantime.
    let closed = unsafe { BorrowedFd::borrow_raw(i32::MAX) };
    let error = poller.add(closed, KEY, Interest::READABLE, Trigger::Level).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EBADF));
}

/// Against the contract, but nobody should pay for it with a poller that spins.
#[test]
fn one_that_was_closed_without_being_deleted_is_forgotten() {
    let poller = Poller::new().unwrap();
    let (a, b) = UnixStream::pair().unwrap();
    poller.add(a.as_fd(), KEY, Interest::BOTH, Trigger::Level).unwrap();
    drop((a, b));
    let timeout = Duration::from_millis(2);
    let start = Instant::now();
    let mut events = Events::with_capacity(1);
    assert_eq!(poller.poll(&mut events, Some(timeout)).unwrap(), 0);
    assert!(start.elapsed() >= timeout);
}
