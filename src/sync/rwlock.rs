//! [`RwLock`].

#![expect(unsafe_code, reason = "a lock gives out what it protects")]

use crate::coroutine::unwind_cancelled;
use crate::park::{Access, Cancel, Hold, Outcome, Ticket, WaitReason, park};
use crate::protocol::raw_mutex::Entry;
use crate::protocol::raw_rwlock::{RawRwLock, Waiter, Want};
use crate::protocol::wait_word::Node;
use crate::sched;
use crate::sync::poison::{self, Watch};
use crate::sync::wait::{PATIENCE, claim, spin};
use std::cell::UnsafeCell;
use std::fmt;
use std::marker::PhantomData;
use std::mem;
use std::ops::{Deref, DerefMut};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::ptr::{self, NonNull};
use std::sync::{LockResult, PoisonError, TryLockError, TryLockResult};
use std::time::Instant;

/// [`std::sync::RwLock`], for coroutines and threads: whoever has to wait for it is parked.
///
/// It takes sixteen bytes and what it protects. A writer that waits keeps readers that come after
/// it waiting, so a coroutine or thread that reads must not ask to read once more. See the
/// [module](crate::sync) for who gets it when several want it.
///
/// It is poisoned when a writer panics, as std's; not when a writer is cancelled.
///
/// # Examples
///
/// ```
/// use pirn::sync::RwLock;
///
/// let numbers = RwLock::new(vec![1, 2]);
/// numbers.write().unwrap().push(3);
/// let (one, other) = (numbers.read().unwrap(), numbers.read().unwrap());
/// assert_eq!(one.len() + other.len(), 6);
/// ```
pub struct RwLock<T: ?Sized> {
    raw: RawRwLock<Ticket>,
    data: UnsafeCell<T>,
}

// SAFETY: whoever has the lock can take the data out, as if it were the data.
unsafe impl<T: ?Sized + Send> Send for RwLock<T> {}
// SAFETY: readers have references to the data at the same time, and a writer has it to itself,
// which is moving it between threads.
unsafe impl<T: ?Sized + Send + Sync> Sync for RwLock<T> {}

impl<T: ?Sized> UnwindSafe for RwLock<T> {}
impl<T: ?Sized> RefUnwindSafe for RwLock<T> {}

/// Shared access to what an [`RwLock`] protects, until it is dropped; see
/// [`std::sync::RwLockReadGuard`].
///
/// ```compile_fail,E0277
/// fn is_send<T: Send>() {}
/// is_send::<pirn::sync::RwLockReadGuard<'static, u8>>();
/// ```
#[must_use = "if unused the RwLock will immediately unlock"]
#[clippy::has_significant_drop]
pub struct RwLockReadGuard<'rwlock, T: ?Sized + 'rwlock> {
    /// A pointer, since a reference would claim to be good until the guard's function returns; the
    /// guard may be dropped before, and a writer come.
    data: NonNull<T>,
    raw: &'rwlock RawRwLock<Ticket>,
    _hold: Hold,
}

// SAFETY: a shared guard is a shared reference to the data.
unsafe impl<T: ?Sized + Sync> Sync for RwLockReadGuard<'_, T> {}

/// Exclusive access to what an [`RwLock`] protects, until it is dropped; see
/// [`std::sync::RwLockWriteGuard`].
///
/// ```compile_fail,E0277
/// fn is_send<T: Send>() {}
/// is_send::<pirn::sync::RwLockWriteGuard<'static, u8>>();
/// ```
#[must_use = "if unused the RwLock will immediately unlock"]
#[clippy::has_significant_drop]
pub struct RwLockWriteGuard<'rwlock, T: ?Sized + 'rwlock> {
    lock: &'rwlock RwLock<T>,
    watch: Watch,
    hold: Hold,
    _not_send: PhantomData<*const ()>,
}

// SAFETY: a shared guard is a shared reference to the data.
unsafe impl<T: ?Sized + Sync> Sync for RwLockWriteGuard<'_, T> {}

impl<T> RwLock<T> {
    /// An unlocked lock.
    #[inline]
    pub const fn new(t: T) -> RwLock<T> {
        RwLock { raw: RawRwLock::new(), data: UnsafeCell::new(t) }
    }
}

impl<T: ?Sized> RwLock<T> {
    /// Waits until nobody writes or waits to write, and locks for reading.
    ///
    /// # Errors
    ///
    /// If the lock is poisoned. It is locked all the same, and the error has the guard.
    ///
    /// # Panics
    ///
    /// If there are more readers than can be counted: on 64 bits, 2^57.
    #[inline]
    #[cfg_attr(any(debug_assertions, feature = "holders"), track_caller)]
    pub fn read(&self) -> LockResult<RwLockReadGuard<'_, T>> {
        if !self.raw.try_read() {
            lock_contended(&self.raw, Want::Read);
        }
        // SAFETY: it has just been locked for reading.
        unsafe { self.read_guard() }
    }

    /// Locks for reading, if nobody writes or waits to write.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if somebody does; `Poisoned`, with the guard, if it is poisoned.
    #[inline]
    #[cfg_attr(any(debug_assertions, feature = "holders"), track_caller)]
    pub fn try_read(&self) -> TryLockResult<RwLockReadGuard<'_, T>> {
        if !self.raw.try_read() {
            sched::tried_in_vain();
            return Err(TryLockError::WouldBlock);
        }
        // SAFETY: it has just been locked for reading.
        Ok(unsafe { self.read_guard() }?)
    }

    /// Waits until nobody reads or writes, and locks for writing.
    ///
    /// To ask for this with a guard of the same lock in hand never returns.
    ///
    /// # Errors
    ///
    /// If the lock is poisoned. It is locked all the same, and the error has the guard.
    #[inline]
    #[cfg_attr(any(debug_assertions, feature = "holders"), track_caller)]
    pub fn write(&self) -> LockResult<RwLockWriteGuard<'_, T>> {
        if !self.raw.try_write() {
            lock_contended(&self.raw, Want::Write);
        }
        // SAFETY: it has just been locked for writing.
        unsafe { self.write_guard() }
    }

    /// Locks for writing, if nobody reads or writes.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if somebody does; `Poisoned`, with the guard, if it is poisoned.
    #[inline]
    #[cfg_attr(any(debug_assertions, feature = "holders"), track_caller)]
    pub fn try_write(&self) -> TryLockResult<RwLockWriteGuard<'_, T>> {
        if !self.raw.try_write() {
            sched::tried_in_vain();
            return Err(TryLockError::WouldBlock);
        }
        // SAFETY: it has just been locked for writing.
        Ok(unsafe { self.write_guard() }?)
    }

    /// Whether a writer has panicked.
    #[inline]
    pub fn is_poisoned(&self) -> bool {
        self.raw.is_poisoned()
    }

    /// Makes a poisoned lock as good as new.
    #[inline]
    pub fn clear_poison(&self) {
        self.raw.clear_poison();
    }

    /// The data.
    ///
    /// # Errors
    ///
    /// If the lock is poisoned; the error has the data.
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
    /// If the lock is poisoned; the error has the reference.
    pub fn get_mut(&mut self) -> LockResult<&mut T> {
        poison::result(self.raw.is_poisoned(), self.data.get_mut())
    }

    #[inline]
    #[cfg_attr(any(debug_assertions, feature = "holders"), track_caller)]
    fn hold(&self, access: Access) -> Hold {
        Hold::begin(ptr::from_ref(&self.raw).addr(), access)
    }

    /// # Safety
    ///
    /// The caller has locked for reading, and gives the lock to the guard.
    #[inline]
    #[cfg_attr(any(debug_assertions, feature = "holders"), track_caller)]
    unsafe fn read_guard(&self) -> LockResult<RwLockReadGuard<'_, T>> {
        let data = NonNull::new(self.data.get()).expect("a field has an address");
        poison::result(
            self.raw.is_poisoned(),
            RwLockReadGuard { data, raw: &self.raw, _hold: self.hold(Access::Shared) },
        )
    }

    /// # Safety
    ///
    /// The caller has locked for writing, and gives the lock to the guard.
    #[inline]
    #[cfg_attr(any(debug_assertions, feature = "holders"), track_caller)]
    unsafe fn write_guard(&self) -> LockResult<RwLockWriteGuard<'_, T>> {
        let guard = RwLockWriteGuard {
            lock: self,
            watch: Watch::begin(),
            hold: self.hold(Access::Exclusive),
            _not_send: PhantomData,
        };
        poison::result(self.raw.is_poisoned(), guard)
    }
}

/// Waits for a lock that was not to be had.
#[cold]
fn lock_contended(raw: &RawRwLock<Ticket>, want: Want) {
    let try_lock = || match want {
        Want::Read => raw.try_read(),
        Want::Write => raw.try_write(),
    };
    spin(|| raw.is_worth_spinning(want));
    if try_lock() {
        return;
    }
    let address = ptr::from_ref(raw).addr();
    let reason = match want {
        Want::Read => WaitReason::RwLockRead(address),
        Want::Write => WaitReason::RwLockWrite(address),
    };
    let since = Instant::now();
    let mut entry = Entry::First;
    loop {
        let (mut node, mut acquired) = (None, false);
        let outcome = park(reason, None, Cancel::Deliver, |waiter| {
            let node = NonNull::from(node.insert(Node::new(Waiter { want, waiter })));
            // SAFETY: the node is in the frame of this wait, and leaves the queue below unless a
            // waker has taken it off.
            let joined = unsafe { raw.enter(node, want, entry) };
            if !joined {
                // Whoever has joined may run already, elsewhere: then this frame is not ours.
                acquired = true;
            }
            joined
        });
        // Whatever ended the wait: it is over, and the lock is ours.
        if acquired {
            return;
        }
        if outcome == Outcome::Woken {
            if node.is_some_and(|node| node.is_granted()) || raw.try_write_woken() {
                return;
            }
            entry = Entry::Again { reserve: since.elapsed() > PATIENCE };
            continue;
        }
        if let Some(node) = &node {
            // SAFETY: the node is alive, and in this queue if in any.
            unsafe { raw.leave(NonNull::from(node)) };
        } else if entry != Entry::First {
            raw.abandon();
        }
        entry = Entry::First;
        settle(raw);
        if outcome == Outcome::Cancelled {
            unwind_cancelled();
        }
    }
}

/// Lets those go on that can.
#[cold]
fn settle(raw: &RawRwLock<Ticket>) {
    raw.settle(claim, drop);
}

impl<'rwlock, T: ?Sized> RwLockWriteGuard<'rwlock, T> {
    /// Makes a writer a reader: no other writer comes in between, but readers that wait do.
    #[cfg_attr(any(debug_assertions, feature = "holders"), track_caller)]
    pub fn downgrade(s: Self) -> RwLockReadGuard<'rwlock, T> {
        let lock = s.lock;
        let s = mem::ManuallyDrop::new(s);
        // SAFETY: the guard is not dropped, and not used after this.
        drop(unsafe { ptr::read(&raw const s.hold) });
        if lock.raw.downgrade() {
            settle(&lock.raw);
        }
        // SAFETY: what was locked for writing is now locked for reading.
        unsafe { lock.read_guard() }.unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: ?Sized> Drop for RwLockReadGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        if self.raw.unlock_read() {
            settle(self.raw);
        }
    }
}

impl<T: ?Sized> Drop for RwLockWriteGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        if self.watch.sees_panic() {
            self.lock.raw.poison();
        }
        if self.lock.raw.unlock_write() {
            settle(&self.lock.raw);
        }
    }
}

impl<T: ?Sized> Deref for RwLockReadGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: the guard has the lock, for reading.
        unsafe { self.data.as_ref() }
    }
}

impl<T: ?Sized> Deref for RwLockWriteGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: the guard has the lock.
        unsafe { &*self.lock.data.get() }
    }
}

impl<T: ?Sized> DerefMut for RwLockWriteGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the guard has the lock, and is borrowed exclusively.
        unsafe { &mut *self.lock.data.get() }
    }
}

impl<T> From<T> for RwLock<T> {
    fn from(t: T) -> Self {
        RwLock::new(t)
    }
}

impl<T: Default> Default for RwLock<T> {
    fn default() -> RwLock<T> {
        RwLock::new(T::default())
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for RwLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("RwLock");
        match self.try_read() {
            Ok(guard) => debug.field("data", &&*guard),
            Err(TryLockError::Poisoned(poisoned)) => debug.field("data", &&**poisoned.get_ref()),
            Err(TryLockError::WouldBlock) => debug.field("data", &format_args!("<locked>")),
        };
        debug.field("poisoned", &self.is_poisoned());
        debug.finish_non_exhaustive()
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for RwLockReadGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: ?Sized + fmt::Display> fmt::Display for RwLockReadGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for RwLockWriteGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: ?Sized + fmt::Display> fmt::Display for RwLockWriteGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
