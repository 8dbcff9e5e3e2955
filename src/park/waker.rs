//! What a future waits by: its waker, where whoever finds the future in a queue takes it.

#![expect(unsafe_code, reason = "whoever holds the queue's lock has the cell")]

use std::cell::UnsafeCell;
use std::mem;
use std::task::Waker;

/// Where a future that waits leaves its waker: touched with the lock of the queue held in which the
/// future is.
///
/// It is boxed, so that a claim is no larger than that of a coroutine, which everybody pays for.
#[derive(Default)]
pub(crate) struct WakerCell(UnsafeCell<Option<Box<Waker>>>);

impl WakerCell {
    /// Puts another waker there, and takes the old one to be dropped without the lock.
    ///
    /// # Safety
    ///
    /// The lock is held of the queue in which this is.
    pub(crate) unsafe fn swap(&self, waker: &mut Option<Box<Waker>>) {
        // SAFETY: the caller's promise.
        mem::swap(unsafe { &mut *self.0.get() }, waker);
    }

    /// Takes the waker, unless somebody has.
    ///
    /// # Safety
    ///
    /// As [`WakerCell::swap`].
    pub(super) unsafe fn take(&self) -> Option<Box<Waker>> {
        // SAFETY: the caller's promise.
        unsafe { &mut *self.0.get() }.take()
    }
}
