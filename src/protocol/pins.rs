//! Those who have handed something over, and still touch the place where it went.
//!
//! A waker pushes a coroutine to its home's inbox and then looks whether the home sleeps. As soon as
//! it has pushed, the home may run that coroutine, to its end, and find that nobody lives there any
//! more. So a waker counts itself in before it pushes, and out when it is done; and a home that leaves
//! waits until nobody is counted:
//!
//! ```text
//!   waker                          home
//!   pins += 1
//!   push                           take
//!   look whether it sleeps         run it; nobody is left
//!   pins -= 1                      pins == 0?  then it may go
//! ```
//!
//! A home that has taken something has seen the pin of whoever pushed that, by the order of the
//! inbox. Who comes with nothing to push does not come: the home lasts for as long as somebody lives
//! there.

use crate::primitive::sync::atomic::{AtomicUsize, Ordering};

/// See the module's description.
#[derive(Debug)]
pub(crate) struct Pins(AtomicUsize);

impl Pins {
    pub(crate) fn new() -> Self {
        Pins(AtomicUsize::new(0))
    }

    /// Called before what is handed over can be seen.
    #[inline]
    pub(crate) fn pin(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// The last that the caller does here.
    #[inline]
    pub(crate) fn unpin(&self) {
        self.0.fetch_sub(1, Ordering::Release);
    }

    /// Whether nobody is here of those whose things the caller has taken.
    pub(crate) fn is_free(&self) -> bool {
        self.0.load(Ordering::Acquire) == 0
    }
}

#[cfg(all(test, loom))]
#[expect(unsafe_code, reason = "loom cells are read and written through raw pointers")]
mod models {
    use super::*;
    use crate::protocol::inbox::{Inbox, testing::Item};
    use crate::protocol::sleep::Sleep;
    use loom::cell::UnsafeCell;
    use loom::sync::Arc;

    /// What stands for a home that goes: wakers look at it until they are done, and it is written
    /// to when all have been.
    struct Home {
        pins: Pins,
        inbox: Inbox<Item>,
        sleep: Sleep,
        alive: UnsafeCell<bool>,
    }

    impl Home {
        /// As the scheduler's.
        fn send(&self, item: Item) {
            self.pins.pin();
            self.inbox.push(item);
            let _signal = self.sleep.wake();
            // SAFETY: the model checks that the home has not gone meanwhile.
            self.alive.with(|alive| assert!(unsafe { *alive }));
            self.pins.unpin();
        }
    }

    fn check(wakers: usize, preemptions: Option<usize>) {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = preemptions;
        model.check(move || {
            let home = Arc::new(Home {
                pins: Pins::new(),
                inbox: Inbox::new(),
                sleep: Sleep::new(),
                alive: UnsafeCell::new(true),
            });
            let threads: Vec<_> = (0..wakers)
                .map(|value| {
                    let home = home.clone();
                    loom::thread::spawn(move || home.send(Item::new(value)))
                })
                .collect();
            let mut left = wakers;
            while left > 0 {
                match home.inbox.is_empty() {
                    true => loom::thread::yield_now(),
                    false => left -= home.inbox.take_all().count(),
                }
            }
            while !home.pins.is_free() {
                loom::thread::yield_now();
            }
            // SAFETY: the model checks that nobody looks any more.
            home.alive.with_mut(|alive| unsafe { *alive = false });
            for thread in threads {
                thread.join().unwrap();
            }
        });
    }

    #[test]
    fn a_home_outlasts_its_waker() {
        check(1, None);
    }

    #[test]
    fn a_home_outlasts_two_wakers() {
        check(2, Some(3));
    }
}
