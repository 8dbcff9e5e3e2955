//! [`Parker`] and [`Unparker`].

#![expect(unsafe_code, reason = "gives handles away as raw pointers, as crossbeam's does")]

use crate::sync::Notify;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Parks a coroutine or a thread until its [`Unparker`] is used: crossbeam's `Parker`.
///
/// Unlike [`thread::park`](crate::thread::park), its token is nobody else's.
///
/// # Examples
///
/// ```
/// use pirn::sync::Parker;
///
/// let parker = Parker::new();
/// let unparker = parker.unparker().clone();
/// pirn::spawn(move || unparker.unpark());
/// parker.park();
/// ```
pub struct Parker {
    unparker: Unparker,
    /// One at a time parks.
    _not_sync: PhantomData<*const ()>,
}

// SAFETY: it is not `Sync` so that one at a time parks; whoever has it may be anywhere.
unsafe impl Send for Parker {}

/// Ends the parking of its [`Parker`].
pub struct Unparker {
    token: Arc<Notify>,
}

impl Parker {
    /// A parker without a token.
    #[must_use]
    pub fn new() -> Parker {
        Parker { unparker: Unparker { token: Arc::new(Notify::new()) }, _not_sync: PhantomData }
    }

    /// Waits for the token and takes it.
    pub fn park(&self) {
        self.unparker.token.notified();
    }

    /// Waits for the token, but for no longer than `timeout`.
    pub fn park_timeout(&self, timeout: Duration) {
        self.unparker.token.notified_timeout(timeout);
    }

    /// Waits for the token, but not beyond `deadline`.
    pub fn park_deadline(&self, deadline: Instant) {
        self.unparker.token.notified_deadline(deadline);
    }

    /// What ends its parking.
    #[must_use]
    pub fn unparker(&self) -> &Unparker {
        &self.unparker
    }

    /// Turns it into a pointer, to be given back to [`from_raw`](Parker::from_raw).
    #[must_use]
    pub fn into_raw(this: Parker) -> *const () {
        Unparker::into_raw(this.unparker)
    }

    /// # Safety
    ///
    /// The pointer came from [`into_raw`](Parker::into_raw), and is used here once.
    #[must_use]
    pub unsafe fn from_raw(pointer: *const ()) -> Parker {
        // SAFETY: the caller's promise.
        Parker { unparker: unsafe { Unparker::from_raw(pointer) }, _not_sync: PhantomData }
    }
}

impl Default for Parker {
    fn default() -> Parker {
        Parker::new()
    }
}

impl fmt::Debug for Parker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("Parker { .. }")
    }
}

impl Unparker {
    /// Gives the token, if it is not there already, and ends the parking that waits for it.
    pub fn unpark(&self) {
        self.token.notify_one();
    }

    /// Turns it into a pointer, to be given back to [`from_raw`](Unparker::from_raw).
    #[must_use]
    pub fn into_raw(this: Unparker) -> *const () {
        Arc::into_raw(this.token).cast()
    }

    /// # Safety
    ///
    /// The pointer came from [`into_raw`](Unparker::into_raw), and is used here once.
    #[must_use]
    pub unsafe fn from_raw(pointer: *const ()) -> Unparker {
        // SAFETY: the caller's promise.
        Unparker { token: unsafe { Arc::from_raw(pointer.cast()) } }
    }
}

impl Clone for Unparker {
    fn clone(&self) -> Unparker {
        Unparker { token: self.token.clone() }
    }
}

impl fmt::Debug for Unparker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("Unparker { .. }")
    }
}
