//! The one shim between the standard library and loom.
//!
//! The lock-free protocols in [`crate::protocol`] name their atomics, locks and fences through this
//! module alone, so that `--cfg loom` hands each of them to the model checker unchanged.

mod asymmetric;
#[cfg(not(loom))]
mod prefetch;

#[cfg(all(loom, test))]
pub(crate) use asymmetric::{heavy_fence, light_fence};
#[cfg(not(loom))]
pub(crate) use asymmetric::{heavy_fence, light_fence, prepare_fences};
#[cfg(not(loom))]
pub(crate) use prefetch::prefetch;

#[cfg(not(loom))]
pub(crate) mod sync {
    pub(crate) use std::sync::{Condvar, Mutex};
    pub(crate) mod atomic {
        pub(crate) use std::sync::atomic::{
            AtomicBool, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence,
        };
    }
}

#[cfg(loom)]
pub(crate) mod sync {
    pub(crate) use loom::sync::{Condvar, Mutex};
    pub(crate) mod atomic {
        pub(crate) use loom::sync::atomic::{
            AtomicBool, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence,
        };
    }
}

/// How many locks guard the queues of everything in `pirn::sync`.
#[cfg(not(loom))]
const STRIPES: usize = 128;

/// The lock of the wait queue of whatever is at `address`.
///
/// Queues are short-lived and their critical sections are a few instructions, so objects share
/// locks instead of having one each.
#[cfg(not(loom))]
pub(crate) fn stripe(address: usize) -> &'static sync::Mutex<()> {
    use crossbeam_utils::CachePadded;

    static TABLE: [CachePadded<sync::Mutex<()>>; STRIPES] =
        [const { CachePadded::new(sync::Mutex::new(())) }; STRIPES];
    // Fibonacci hashing: the highest bits of the product depend on all of the address.
    let hash = (address as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    &TABLE[(hash >> (u64::BITS - STRIPES.ilog2())) as usize]
}

#[cfg(loom)]
pub(crate) fn stripe(_address: usize) -> &'static sync::Mutex<()> {
    loom::lazy_static! {
        static ref ONE: sync::Mutex<()> = sync::Mutex::new(());
    }
    &ONE
}

/// A constructor that is `const`, but for the model checker, whose atomics are made at run time.
macro_rules! const_unless_loom {
    ($(#[$attribute:meta])* $visibility:vis fn $($rest:tt)*) => {
        #[cfg(not(loom))]
        $(#[$attribute])* $visibility const fn $($rest)*
        #[cfg(loom)]
        $(#[$attribute])* $visibility fn $($rest)*
    };
}
pub(crate) use const_unless_loom;

/// Lets the other threads of a model run.
#[cfg(loom)]
pub(crate) fn yield_to_others() {
    loom::thread::yield_now();
}

/// Looks for something that is about to come, first in short and then in longer intervals: a few
/// microseconds in all. Whether it came.
///
/// It gives its processor to nobody: where more threads want to run than can, who yields comes after
/// all the others, while who sleeps and is called runs soon.
#[cfg(not(loom))]
pub(crate) fn back_off(mut came: impl FnMut() -> bool) -> bool {
    /// The longest row of pauses is two to the power of this.
    const SPINS: u32 = 6;

    (0..=SPINS).any(|turn| {
        let came = came();
        if !came {
            (0..1 << turn).for_each(|_| std::hint::spin_loop());
        }
        came
    }) || came()
}

/// One look: a model needs no patience.
#[cfg(loom)]
pub(crate) fn back_off(mut came: impl FnMut() -> bool) -> bool {
    came()
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
