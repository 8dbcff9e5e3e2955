//! A waker whose poller is gone has no effect, and harms nobody.

use netpoll::Poller;

#[test]
fn waking_is_without_effect() {
    let poller = Poller::new().unwrap();
    let waker = poller.waker();
    drop(poller);
    for _ in 0..100_000 {
        waker.wake().unwrap();
    }
}
