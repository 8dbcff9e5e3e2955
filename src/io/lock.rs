//! The locks of the standard streams.
//!
//! They are held across waits on purpose, and are neither poisoned nor counted among the guards
//! that a debug build warns of.

#![expect(unsafe_code, reason = "locks give out what they protect")]

use crate::sync::Semaphore;
use crate::thread;
use std::cell::UnsafeCell;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::atomic::{AtomicU64, Ordering};

const NEVER_CLOSED: &str = "nobody closes it";

/// One at a time; who wants it waits.
pub(super) struct Lock<T> {
    free: Semaphore,
    data: UnsafeCell<T>,
}

/// What a [`Lock`] protects, until it is dropped.
pub(super) struct LockGuard<'a, T> {
    lock: &'a Lock<T>,
    _not_send: PhantomData<*const ()>,
}

// SAFETY: one at a time has access to the data, which is moving it between threads.
unsafe impl<T: Send> Sync for Lock<T> {}
// SAFETY: a shared guard is a shared reference to the data.
unsafe impl<T: Sync> Sync for LockGuard<'_, T> {}

// Whoever panics with it leaves what it protects as it was between two calls, as in std.
impl<T> UnwindSafe for Lock<T> {}
impl<T> RefUnwindSafe for Lock<T> {}

impl<T> Lock<T> {
    pub(super) fn new(data: T) -> Lock<T> {
        Lock { free: Semaphore::new(1), data: UnsafeCell::new(data) }
    }

    pub(super) fn lock(&self) -> LockGuard<'_, T> {
        self.free.acquire().expect(NEVER_CLOSED).forget();
        LockGuard { lock: self, _not_send: PhantomData }
    }
}

impl<T> Deref for LockGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: the guard has the only permit.
        unsafe { &*self.lock.data.get() }
    }
}

impl<T> DerefMut for LockGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the guard has the only permit, and is borrowed exclusively.
        unsafe { &mut *self.lock.data.get() }
    }
}

impl<T> Drop for LockGuard<'_, T> {
    fn drop(&mut self) {
        self.lock.free.add_permits(1);
    }
}

/// One coroutine or thread at a time, which may lock it again while it has it.
pub(super) struct ReentrantLock<T> {
    free: Semaphore,
    /// The number of whoever has it, or 0.
    owner: AtomicU64,
    /// How many guards the owner has; only the owner looks.
    depth: UnsafeCell<usize>,
    data: T,
}

/// A shared reference to what a [`ReentrantLock`] protects, until it is dropped.
pub(super) struct ReentrantGuard<'a, T> {
    lock: &'a ReentrantLock<T>,
    _not_send: PhantomData<*const ()>,
}

// SAFETY: one coroutine or thread at a time has access to the data and to the depth.
unsafe impl<T: Send> Sync for ReentrantLock<T> {}

impl<T> ReentrantLock<T> {
    pub(super) fn new(data: T) -> ReentrantLock<T> {
        let (free, owner) = (Semaphore::new(1), AtomicU64::new(0));
        ReentrantLock { free, owner, depth: UnsafeCell::new(0), data }
    }

    pub(super) fn lock(&self) -> ReentrantGuard<'_, T> {
        let me = thread::current().id().number();
        if !self.is_owned_by(me) {
            self.free.acquire().expect(NEVER_CLOSED).forget();
            self.owner.store(me, Ordering::Relaxed);
        }
        self.guard()
    }

    /// At the end of the process, perhaps in a coroutine, when the thread-locals have gone that others of
    /// its worker may have borrowed: so this lets none of them run.
    pub(super) fn lock_at_exit(&self) -> Option<ReentrantGuard<'_, T>> {
        let me = thread::current().id().number();
        if !self.is_owned_by(me) {
            if !self.free.take_one_at_exit() {
                return None;
            }
            self.owner.store(me, Ordering::Relaxed);
        }
        Some(self.guard())
    }

    /// Relaxed: only its owner ever writes its own number here.
    fn is_owned_by(&self, me: u64) -> bool {
        self.owner.load(Ordering::Relaxed) == me
    }

    /// The caller owns the lock.
    fn guard(&self) -> ReentrantGuard<'_, T> {
        // SAFETY: only the owner looks at the depth, and it is in one place at a time.
        unsafe { *self.depth.get() += 1 };
        ReentrantGuard { lock: self, _not_send: PhantomData }
    }
}

impl<T> Deref for ReentrantGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.lock.data
    }
}

impl<T> Drop for ReentrantGuard<'_, T> {
    fn drop(&mut self) {
        // SAFETY: a guard stays with the owner, who is the only one to look at the depth.
        let depth = unsafe { &mut *self.lock.depth.get() };
        *depth -= 1;
        if *depth == 0 {
            self.lock.owner.store(0, Ordering::Relaxed);
            self.lock.free.add_permits(1);
        }
    }
}
