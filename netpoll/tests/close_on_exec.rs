//! No descriptor of a poller's leaks into a program that is executed, and none into this one.

#![expect(unsafe_code, reason = "fcntl(2)")]

use std::collections::HashMap;

use netpoll::Poller;

/// The flags of every open descriptor.
fn open() -> HashMap<i32, i32> {
    let flags = |fd| {
        // SAFETY: F_GETFD takes no pointers, and a number that is not open is an error.
        unsafe { libc::fcntl(fd, libc::F_GETFD) }
    };
    (0..256).map(|fd| (fd, flags(fd))).filter(|&(_, flags)| flags != -1).collect()
}

// The one test of this file, since others would open descriptors meanwhile.
#[test]
fn every_descriptor_is_close_on_exec_and_closed() {
    let before = open();
    let poller = Poller::new().unwrap();
    let waker = poller.waker();
    let during = open();
    assert!(during.len() > before.len());
    for (fd, flags) in &during {
        assert!(before.contains_key(fd) || flags & libc::FD_CLOEXEC != 0, "{fd} is inherited");
    }
    drop(poller);
    drop(waker);
    assert_eq!(open(), before);
}
