//! A poll reports at most what the buffer has room for, and keeps the rest.

use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use netpoll::{Events, Interest, Key, Poller, Trigger};

#[test]
fn the_rest_comes_with_the_next_polls() {
    let poller = Poller::new().unwrap();
    let streams: Vec<_> =
        (0..4).flat_map(|_| <[_; 2]>::from(UnixStream::pair().unwrap())).collect();
    for (index, stream) in (0..).zip(&streams) {
        poller.add(stream.as_fd(), Key::new(index, 0), Interest::WRITABLE, Trigger::Edge).unwrap();
    }
    let mut events = Events::with_capacity(3);
    assert_eq!(events.capacity(), 3);
    let mut seen = Vec::new();
    for expected in [3, 3, 2, 0] {
        assert_eq!(poller.poll(&mut events, Some(Duration::ZERO)).unwrap(), expected);
        assert_eq!(events.len(), expected);
        assert_eq!(events.is_empty(), expected == 0);
        seen.extend(events.iter().map(|event| event.key().index()));
    }
    seen.sort_unstable();
    assert_eq!(seen, [0, 1, 2, 3, 4, 5, 6, 7]);
}

#[test]
#[should_panic = "capacity of at least 1"]
fn there_is_no_buffer_without_room() {
    let _ = Events::with_capacity(0);
}
