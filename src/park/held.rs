//! Guards that are held across a wait: a check of debug builds.
//!
//! To hold a lock of pirn's while waiting for something else is allowed, and often an oversight:
//! whoever wants the lock waits for that as well. A debug build counts the guards that each
//! coroutine holds and tells
//! [`Builder::on_held_guard`](crate::Builder::on_held_guard) of such a wait. A release build counts
//! nothing, and a [`Hold`] is nothing, unless the feature `holders` has dumps know who holds what.

use std::panic::Location;
use std::thread::Thread;

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

/// Whoever can hold a lock, and wait for one.
#[derive(Clone, Debug)]
#[cfg_attr(
    not(any(debug_assertions, feature = "holders")),
    expect(dead_code, reason = "other builds do not keep track")
)]
pub(crate) enum Party {
    Coroutine(u64),
    Thread(Thread),
}

/// One guard, to those who ask for the holders of its lock.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    pub(crate) by: Party,
    pub(crate) locked_at: &'static Location<'static>,
}

#[cfg(any(debug_assertions, feature = "holders"))]
impl Party {
    pub(super) fn current() -> Party {
        let coroutine = crate::sched::current_id();
        coroutine.map_or_else(|| Party::Thread(std::thread::current()), Party::Coroutine)
    }

    pub(super) fn is(&self, other: &Party) -> bool {
        match (self, other) {
            (Party::Coroutine(one), Party::Coroutine(other)) => one == other,
            (Party::Thread(one), Party::Thread(other)) => one.id() == other.id(),
            _ => false,
        }
    }
}

/// The guards of the lock at that address, where builds keep track of them.
pub(crate) fn holders_of(_lock: usize) -> Vec<Held> {
    #[cfg(any(debug_assertions, feature = "holders"))]
    return super::holders::of(_lock);
    #[cfg(not(any(debug_assertions, feature = "holders")))]
    Vec::new()
}

/// How a guard holds its lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// As one of several, perhaps.
    Shared,
    /// Alone.
    Exclusive,
}

/// The part of a guard that is counted, and that dumps know of.
pub(crate) struct Hold {
    #[cfg(any(debug_assertions, feature = "holders"))]
    listed: super::holders::Listed,
    #[cfg(debug_assertions)]
    _counted: super::held_check::Counted,
}

impl Hold {
    /// Of a guard that has just been made, for the lock at that address.
    #[inline]
    #[cfg_attr(any(debug_assertions, feature = "holders"), track_caller)]
    pub(crate) fn begin(_lock: usize, _access: Access) -> Hold {
        Hold {
            #[cfg(any(debug_assertions, feature = "holders"))]
            listed: super::holders::Listed::begin(_lock, _access),
            #[cfg(debug_assertions)]
            _counted: super::held_check::Counted::begin(),
        }
    }

    /// Calls `f`, which unlocks, waits and locks again behind the guard's back.
    #[inline]
    pub(crate) fn suspended<R>(&self, f: impl FnOnce() -> R) -> R {
        #[cfg(any(debug_assertions, feature = "holders"))]
        let _listed_again = self.listed.suspend();
        f()
    }
}
