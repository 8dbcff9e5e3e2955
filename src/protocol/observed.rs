//! What somebody is at, shown to others who may look at it while he goes on.
//!
//! A machine changes what it is at with every switch, so that has to cost no more than a store; others
//! look now and then, and then need to know that what they look at lasts. This is a hazard pointer
//! (Michael, *Hazard Pointers*, 2004) with the parts exchanged: there the many readers say what they
//! look at, and whoever frees looks for that; here the owner says what is in use, and readers, who are
//! rare, say *that* they look:
//!
//! ```text
//!   owner                              observer, one at a time, by a lock
//!   at = null                          looks = true
//!   light fence                        heavy fence
//!   looks?  then wait for the lock     at != null?  then it lasts
//!   it may go                          looks = false
//! ```
//!
//! Each writes first and reads the other's word then, with a fence in between whose price the observer
//! pays ([`crate::primitive`]): either the observer finds nothing, or the owner finds that somebody
//! looks. Who comes after the owner has waited finds nothing, by the lock.

use crate::primitive::sync::Mutex;
use crate::primitive::sync::atomic::{AtomicPtr, AtomicU32, Ordering};
use crate::primitive::{heavy_fence, light_fence, lock};
use std::ptr;

/// See the module's description.
pub(crate) struct Observed<T> {
    at: AtomicPtr<T>,
    /// 1 while somebody looks.
    looks: AtomicU32,
    one_at_a_time: Mutex<()>,
}

impl<T> Observed<T> {
    pub(crate) fn new() -> Self {
        Observed {
            at: AtomicPtr::new(ptr::null_mut()),
            looks: AtomicU32::new(0),
            one_at_a_time: Mutex::new(()),
        }
    }

    // The owner's.

    /// Shows it, until [`Observed::hide`]; it does not go before [`Observed::await_observer`].
    #[inline]
    pub(crate) fn show(&self, it: &T) {
        // Release: an observer sees it as it is now.
        self.at.store(ptr::from_ref(it).cast_mut(), Ordering::Release);
    }

    #[inline]
    pub(crate) fn hide(&self) {
        self.at.store(ptr::null_mut(), Ordering::Relaxed);
    }

    /// Waits until nobody looks at what has been hidden, which may go then.
    #[inline]
    pub(crate) fn await_observer(&self) {
        light_fence();
        // Acquire pairs with the end of a look: what was read was read before this returns.
        if self.looks.load(Ordering::Acquire) != 0 {
            self.await_lock();
        }
    }

    #[cold]
    fn await_lock(&self) {
        drop(lock(&self.one_at_a_time));
    }

    // Anybody's.

    /// Whether nothing is shown: no more than a guess, but for the owner.
    #[inline]
    pub(crate) fn is_hidden(&self) -> bool {
        self.at.load(Ordering::Relaxed).is_null()
    }

    /// Calls `look` with what is shown, if something is. What it does the owner may wait for.
    pub(crate) fn observe<R>(&self, look: impl FnOnce(&T) -> R) -> Option<R> {
        struct Looking<'a>(&'a AtomicU32);

        impl Drop for Looking<'_> {
            fn drop(&mut self) {
                self.0.store(0, Ordering::Release);
            }
        }

        let _alone = lock(&self.one_at_a_time);
        self.looks.store(1, Ordering::Relaxed);
        let _looking = Looking(&self.looks);
        heavy_fence();
        // SAFETY: the owner shows what lasts until it has hidden it and then found nobody who looks.
        // This one began to look before, or it would have found nothing here.
        #[expect(unsafe_code, reason = "follows a pointer that the protocol keeps alive")]
        let it = unsafe { self.at.load(Ordering::Acquire).as_ref() };
        it.map(look)
    }
}

#[cfg(all(test, loom))]
#[expect(unsafe_code, reason = "the models' data, which is nobody's but by the protocol")]
mod models {
    use super::*;
    use loom::cell::UnsafeCell;
    use loom::sync::Arc;

    /// What is shown; it is written to where it would be freed.
    struct Shown {
        number: UnsafeCell<u32>,
    }

    struct Shared {
        observed: Observed<Shown>,
        shown: [Shown; 2],
    }

    // SAFETY: loom finds out whether the protocol orders the accesses.
    unsafe impl Sync for Shared {}
    // SAFETY: as above.
    unsafe impl Send for Shared {}

    const GONE: u32 = 0;

    fn observe(shared: &Shared) {
        // SAFETY: the model checks that nobody writes.
        let seen = shared.observed.observe(|one| one.number.with(|number| unsafe { *number }));
        assert!(seen != Some(GONE), "it was observed after it had gone");
    }

    /// The owner shows, hides and frees one after the other while so many look.
    fn check(observers: usize, looks: usize) {
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(3);
        builder.check(move || {
            let shown = [1, 2].map(|number| Shown { number: UnsafeCell::new(number) });
            let shared = Arc::new(Shared { observed: Observed::new(), shown });
            let threads: Vec<_> = (0..observers)
                .map(|_| {
                    let shared = shared.clone();
                    loom::thread::spawn(move || (0..looks).for_each(|_| observe(&shared)))
                })
                .collect();
            for one in &shared.shown {
                shared.observed.show(one);
                shared.observed.hide();
                shared.observed.await_observer();
                // SAFETY: the model checks that nobody looks any more.
                one.number.with_mut(|number| unsafe { *number = GONE });
            }
            for thread in threads {
                thread.join().unwrap();
            }
        });
    }

    #[test]
    fn what_is_looked_at_lasts() {
        check(1, 2);
    }

    #[test]
    fn two_may_look() {
        check(2, 1);
    }

    /// The owner goes from one to the next without hiding what lasts, as from one that parks.
    #[test]
    fn one_is_shown_after_the_other() {
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(3);
        builder.check(|| {
            let shown = [1, 2].map(|number| Shown { number: UnsafeCell::new(number) });
            let shared = Arc::new(Shared { observed: Observed::new(), shown });
            let theirs = shared.clone();
            let observer = loom::thread::spawn(move || observe(&theirs));
            shared.observed.show(&shared.shown[0]);
            shared.observed.show(&shared.shown[1]);
            shared.observed.hide();
            shared.observed.await_observer();
            for one in &shared.shown {
                // SAFETY: as above.
                one.number.with_mut(|number| unsafe { *number = GONE });
            }
            observer.join().unwrap();
        });
    }
}
