//! Guards that are held across a wait: a check of debug builds.
//!
//! To hold a lock of pirn's while waiting for something else is allowed, and often an oversight:
//! whoever wants the lock waits for that as well. A debug build counts the guards that each
//! coroutine holds and tells
//! [`Builder::on_held_guard`](crate::Builder::on_held_guard) of such a wait. A release build counts
//! nothing, and a [`Hold`] is nothing.

use std::panic::Location;

/// A wait with a guard held, as told to
/// [`Builder::on_held_guard`](crate::Builder::on_held_guard).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct HeldGuard {
    /// The coroutine's number.
    pub coroutine: u64,
    /// Its name, if it has one.
    pub name: Option<String>,
    /// Where it was spawned.
    pub spawned_at: &'static Location<'static>,
    /// How many guards it holds.
    pub guards: u32,
    /// Where the latest of them was made.
    pub locked_at: &'static Location<'static>,
    /// What it is about to wait for.
    pub waits_for: String,
}

/// The part of a guard that is counted.
pub(crate) struct Hold {
    #[cfg(debug_assertions)]
    pub(super) counted: bool,
}

#[cfg(not(debug_assertions))]
impl Hold {
    #[inline]
    pub(crate) fn begin() -> Hold {
        Hold {}
    }
}
