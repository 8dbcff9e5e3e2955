//! The one shim between the standard library and loom.
//!
//! The lock-free protocols in [`crate::protocol`] name their atomics, locks and fences through this
//! module alone, so that `--cfg loom` hands each of them to the model checker unchanged.

#[cfg(not(loom))]
pub(crate) mod sync {
    pub(crate) use std::sync::Mutex;
    pub(crate) mod atomic {
        pub(crate) use std::sync::atomic::{
            AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence,
        };
    }
}

#[cfg(loom)]
pub(crate) mod sync {
    pub(crate) use loom::sync::Mutex;
    pub(crate) mod atomic {
        pub(crate) use loom::sync::atomic::{
            AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence,
        };
    }
}

/// Lets the other threads of a model run.
#[cfg(loom)]
pub(crate) fn yield_to_others() {
    loom::thread::yield_now();
}

/// Locks a mutex whose data cannot be left half-written by a panic.
///
/// The runtime's own critical sections run no user code, so poisoning carries no information here.
pub(crate) fn lock<T: ?Sized>(mutex: &sync::Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

#[cfg(not(loom))]
pub(crate) type MutexGuard<'a, T> = std::sync::MutexGuard<'a, T>;
#[cfg(loom)]
pub(crate) type MutexGuard<'a, T> = loom::sync::MutexGuard<'a, T>;
