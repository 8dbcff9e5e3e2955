//! There is no limit of 1024 descriptors, and a small buffer starves none of them.

use std::collections::HashSet;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use netpoll::{Events, Interest, Key, Poller, Trigger};

const PAIRS: u32 = 1_500;
const DESCRIPTORS: usize = 2 * PAIRS as usize;

/// Registers all the descriptors, every one of which is ready to be written to.
fn registered(poller: &Poller, trigger: Trigger) -> Vec<UnixStream> {
    let streams: Vec<_> =
        (0..PAIRS).flat_map(|_| <[_; 2]>::from(UnixStream::pair().unwrap())).collect();
    for (index, stream) in streams.iter().enumerate() {
        poller.add(stream.as_fd(), Key::new(index as u32, 0), Interest::WRITABLE, trigger).unwrap();
    }
    streams
}

/// The indices that this many polls report.
fn reported(poller: &Poller, polls: usize, events: &mut Events) -> Vec<u32> {
    let mut indices = Vec::new();
    for _ in 0..polls {
        poller.poll(events, Some(Duration::ZERO)).unwrap();
        indices.extend(events.iter().map(|event| event.key().index()));
    }
    indices
}

#[test]
fn edges_are_reported_once_each() {
    let poller = Poller::new().unwrap();
    let _streams = registered(&poller, Trigger::Edge);
    let mut events = Events::with_capacity(64);
    let indices = reported(&poller, DESCRIPTORS / 64 + 2, &mut events);
    assert_eq!(indices.len(), DESCRIPTORS);
    assert_eq!(indices.iter().collect::<HashSet<_>>().len(), DESCRIPTORS);
    assert!(reported(&poller, 1, &mut events).is_empty());
}

#[test]
fn levels_take_turns() {
    let poller = Poller::new().unwrap();
    let _streams = registered(&poller, Trigger::Level);
    let mut events = Events::with_capacity(64);
    let indices = reported(&poller, DESCRIPTORS / 64 + 2, &mut events);
    assert_eq!(indices.iter().collect::<HashSet<_>>().len(), DESCRIPTORS);
}

#[test]
fn one_poll_reports_them_all() {
    let poller = Poller::new().unwrap();
    let _streams = registered(&poller, Trigger::Level);
    let mut events = Events::with_capacity(DESCRIPTORS + 1);
    let indices = reported(&poller, 1, &mut events);
    assert_eq!(indices.len(), DESCRIPTORS);
}
