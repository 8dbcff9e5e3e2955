//! [`Mutex`].

#![expect(unsafe_code, reason = "a lock gives out what it protects")]

use crate::park::{Access, Cancel, Hold, Ticket};
use crate::protocol::raw_mutex::RawMutex;
use crate::sched;
use crate::sync::poison::{self, Watch};
use crate::sync::wait::{lock_contended, wake_next};
use std::cell::UnsafeCell;
use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::ptr;
use std::sync::{LockResult, TryLockError, TryLockResult};

/// [`std::sync::Mutex`], for coroutines and threads: whoever has to wait for it is parked.
///
/// It takes eight bytes and what it protects. To lock and unlock it uncontended is two atomic
/// operations. See the [module](crate::sync) for who gets it when several want it.
///
/// It is poisoned when a holder panics, as std's; not when a holder is cancelled.
///
/// # Examples
///
/// ```
/// use pirn::sync::{Arc, Mutex};
///
/// let total = Arc::new(Mutex::new(0));
/// let adding: Vec<_> = (1..=10)
///     .map(|number| {
///         let total = total.clone();
///         pirn::spawn(move || *total.lock().unwrap() += number)
///     })
///     .collect();
/// for coroutine in adding {
///     coroutine.join().unwrap();
/// }
/// assert_eq!(*total.lock().unwrap(), 55);
/// ```
pub struct Mutex<T: ?Sized> {
    raw: RawMutex<Ticket>,
    data: UnsafeCell<T>,
}

// SAFETY: whoever has the mutex can take the data out, as if it were the data.
unsafe impl<T: ?Sized + Send> Send for Mutex<T> {}
// SAFETY: one at a time has access to the data, which is moving it between threads.
unsafe impl<T: ?Sized + Send> Sync for Mutex<T> {}

impl<T: ?Sized> UnwindSafe for Mutex<T> {}
impl<T: ?Sized> RefUnwindSafe for Mutex<T> {}

/// Access to what a [`Mutex`] protects, until it is dropped; see [`std::sync::MutexGuard`].
///
/// ```compile_fail,E0277
/// fn is_send<T: Send>() {}
/// is_send::<pirn::sync::MutexGuard<'static, u8>>();
/// ```
#[must_use = "if unused the Mutex will immediately unlock"]
#[clippy::has_significant_drop]
pub struct MutexGuard<'a, T: ?Sized + 'a> {
    lock: &'a Mutex<T>,
    watch: Watch,
    hold: Hold,
    _not_send: PhantomData<*const ()>,
}

// SAFETY: a shared guard is a shared reference to the data.
unsafe impl<T: ?Sized + Sync> Sync for MutexGuard<'_, T> {}

impl<T> Mutex<T> {
    /// An unlocked mutex.
    #[inline]
    pub const fn new(t: T) -> Mutex<T> {
        Mutex { raw: RawMutex::new(), data: UnsafeCell::new(t) }
    }
}

impl<T: ?Sized> Mutex<T> {
    /// Waits for the mutex and locks it.
    ///
    /// To lock it twice in the same coroutine or thread never returns.
    ///
    /// # Errors
    ///
    /// If the mutex is poisoned. It is locked all the same, and the error has the guard.
    #[inline]
    #[cfg_attr(any(debug_assertions, feature = "holders"), track_caller)]
    pub fn lock(&self) -> LockResult<MutexGuard<'_, T>> {
        if !self.raw.try_lock() {
            lock_contended(&self.raw, Cancel::Deliver);
        }
        // SAFETY: it has just been locked.
        unsafe { self.guard() }
    }

    /// Locks the mutex if nobody holds it and it is not being handed to somebody.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if it is locked; `Poisoned`, with the guard, if it is poisoned.
    #[inline]
    #[cfg_attr(any(debug_assertions, feature = "holders"), track_caller)]
    pub fn try_lock(&self) -> TryLockResult<MutexGuard<'_, T>> {
        if !self.raw.try_lock() {
            sched::tried_in_vain();
            return Err(TryLockError::WouldBlock);
        }
        // SAFETY: it has just been locked.
        Ok(unsafe { self.guard() }?)
    }

    /// Whether a holder has panicked.
    #[inline]
    pub fn is_poisoned(&self) -> bool {
        self.raw.is_poisoned()
    }

    /// Makes a poisoned mutex as good as new.
    #[inline]
    pub fn clear_poison(&self) {
        self.raw.clear_poison();
    }

    /// The data.
    ///
    /// # Errors
    ///
    /// If the mutex is poisoned; the error has the data.
    pub fn into_inner(self) -> LockResult<T>
    where
        T: Sized,
    {
        poison::result(self.raw.is_poisoned(), self.data.into_inner())
    }

    /// A reference to the data. Nobody else can have the lock.
    ///
    /// # Errors
    ///
    /// If the mutex is poisoned; the error has the reference.
    pub fn get_mut(&mut self) -> LockResult<&mut T> {
        poison::result(self.raw.is_poisoned(), self.data.get_mut())
    }

    /// # Safety
    ///
    /// The caller has locked the mutex, and gives the lock to the guard.
    #[inline]
    #[cfg_attr(any(debug_assertions, feature = "holders"), track_caller)]
    unsafe fn guard(&self) -> LockResult<MutexGuard<'_, T>> {
        let guard = MutexGuard {
            lock: self,
            watch: Watch::begin(),
            hold: Hold::begin(ptr::from_ref(&self.raw).addr(), Access::Exclusive),
            _not_send: PhantomData,
        };
        poison::result(self.raw.is_poisoned(), guard)
    }
}

impl<'a, T: ?Sized> MutexGuard<'a, T> {
    /// For a condition variable, which unlocks it and locks it again.
    pub(super) fn raw(&self) -> &'a RawMutex<Ticket> {
        &self.lock.raw
    }

    pub(super) fn hold(&self) -> &Hold {
        &self.hold
    }
}

impl<T> From<T> for Mutex<T> {
    fn from(t: T) -> Self {
        Mutex::new(t)
    }
}

impl<T: Default> Default for Mutex<T> {
    fn default() -> Mutex<T> {
        Mutex::new(T::default())
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Mutex");
        match self.try_lock() {
            Ok(guard) => debug.field("data", &&*guard),
            Err(TryLockError::Poisoned(poisoned)) => debug.field("data", &&**poisoned.get_ref()),
            Err(TryLockError::WouldBlock) => debug.field("data", &"<locked>"),
        };
        debug.field("poisoned", &self.is_poisoned());
        debug.finish_non_exhaustive()
    }
}

impl<T: ?Sized> Deref for MutexGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: the guard has the lock.
        unsafe { &*self.lock.data.get() }
    }
}

impl<T: ?Sized> DerefMut for MutexGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the guard has the lock, and is borrowed exclusively.
        unsafe { &mut *self.lock.data.get() }
    }
}

impl<T: ?Sized> Drop for MutexGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        if self.watch.sees_panic() {
            self.lock.raw.poison();
        }
        if self.lock.raw.unlock() {
            wake_next(&self.lock.raw);
        }
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for MutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: ?Sized + fmt::Display> fmt::Display for MutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
