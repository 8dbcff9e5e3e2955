//! What most tests need.

use std::time::Duration;

use netpoll::{Event, Events, Poller};

/// Longer than any wait in a test that passes.
pub(crate) const LONG: Duration = Duration::from_secs(120);

/// One poll with room for a few events.
pub(crate) fn poll(poller: &Poller, timeout: Duration) -> Vec<Event> {
    let mut events = Events::with_capacity(16);
    let count = poller.poll(&mut events, Some(timeout)).unwrap();
    assert_eq!(count, events.len());
    events.iter().collect()
}
