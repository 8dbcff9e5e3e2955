//! Which types may be sent to, and shared between, threads.

use netpoll::{Event, Events, Interest, Key, Poller, Trigger, Waker};

fn send_and_sync<T: Send + Sync>() {}

#[test]
fn everything_is_both() {
    send_and_sync::<Poller>();
    send_and_sync::<Waker>();
    send_and_sync::<Events>();
    send_and_sync::<Event>();
    send_and_sync::<Key>();
    send_and_sync::<Interest>();
    send_and_sync::<Trigger>();
}
