//! When a lock is poisoned.
//!
//! As in std: when a guard is dropped by a panic that began after the guard was made. Unlike in
//! std there is a second kind of unwinding, that of a coroutine that is cancelled, and it poisons
//! nothing.

use crate::coroutine::was_cancelled;
use std::sync::{LockResult, PoisonError};
use std::thread::panicking;

/// The part of a guard that knows whether its drop is to poison.
#[derive(Debug)]
pub(super) struct Watch {
    panicking: bool,
}

impl Watch {
    #[inline]
    pub(super) fn begin() -> Watch {
        Watch { panicking: panicking() }
    }

    /// Whether the lock is to be poisoned, now that the guard is dropped.
    #[inline]
    pub(super) fn sees_panic(&self) -> bool {
        !self.panicking && panicking() && !was_cancelled()
    }
}

/// `value`, with the news whether its lock is poisoned.
#[inline]
pub(super) fn result<T>(poisoned: bool, value: T) -> LockResult<T> {
    if poisoned { Err(PoisonError::new(value)) } else { Ok(value) }
}

/// As `Result::map`, for both sides.
pub(super) fn map<T, U>(result: LockResult<T>, f: impl FnOnce(T) -> U) -> LockResult<U> {
    match result {
        Ok(value) => Ok(f(value)),
        Err(poisoned) => Err(PoisonError::new(f(poisoned.into_inner()))),
    }
}
