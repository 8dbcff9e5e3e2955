//! [`WaitGroup`].

use crate::sync::Event;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Waits for all of a group: crossbeam's `WaitGroup`, for coroutines and threads.
///
/// Each member of the group holds a clone and drops it when it is done, or calls
/// [`wait`](WaitGroup::wait) itself.
///
/// # Examples
///
/// ```
/// use pirn::sync::WaitGroup;
///
/// let group = WaitGroup::new();
/// for _ in 0..4 {
///     let member = group.clone();
///     pirn::spawn(move || drop(member));
/// }
/// group.wait();
/// ```
pub struct WaitGroup {
    inner: Arc<Inner>,
}

struct Inner {
    members: AtomicUsize,
    empty: Event,
}

impl WaitGroup {
    /// A group of one: the caller's.
    #[must_use]
    pub fn new() -> WaitGroup {
        WaitGroup { inner: Arc::new(Inner { members: AtomicUsize::new(1), empty: Event::new() }) }
    }

    /// Leaves the group, and waits until all others have left it.
    pub fn wait(self) {
        let inner = self.inner.clone();
        drop(self);
        inner.empty.wait();
    }
}

impl Default for WaitGroup {
    fn default() -> WaitGroup {
        WaitGroup::new()
    }
}

impl Clone for WaitGroup {
    fn clone(&self) -> WaitGroup {
        // Whoever clones is a member, so it cannot be the first one again.
        self.inner.members.fetch_add(1, Ordering::Relaxed);
        WaitGroup { inner: self.inner.clone() }
    }
}

impl Drop for WaitGroup {
    fn drop(&mut self) {
        // What each member did is seen by those who wait for all.
        if self.inner.members.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.inner.empty.set();
        }
    }
}

impl fmt::Debug for WaitGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let members = self.inner.members.load(Ordering::Relaxed);
        f.debug_struct("WaitGroup").field("count", &members).finish()
    }
}
