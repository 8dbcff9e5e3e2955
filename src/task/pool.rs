//! No more than so many at a time.

use crate::coroutine::ScopeCount;
use crate::sync::{OwnedSemaphorePermit, Semaphore};
use crate::task::handles::AsCompleted;
use crate::thread::{self, JoinHandle};
use std::fmt;
use std::iter::{Fuse, Peekable};
use std::mem;
use std::panic::resume_unwind;
use std::sync::Arc;

/// Runs no more than so many coroutines at a time: gevent's `Pool`.
///
/// A spawn waits while the pool is full. Clones are the same pool. Dropping it leaves its coroutines
/// to themselves.
///
/// # Examples
///
/// ```
/// use pirn::task::Pool;
///
/// let pool = Pool::new(2);
/// let handles: Vec<_> = (0..5).map(|n| pool.spawn(move || 10 * n)).collect();
/// pool.join();
/// assert!(handles.iter().all(|handle| handle.is_finished()));
/// ```
#[derive(Clone)]
pub struct Pool {
    slots: Arc<Semaphore>,
    size: usize,
    /// Those that have given their places back and have not completed yet.
    leaving: Arc<ScopeCount>,
    /// Held by the one who waits for them.
    last: Arc<Semaphore>,
}

/// Somebody's place in a pool.
struct Place {
    slot: Option<OwnedSemaphorePermit>,
    leaving: Arc<ScopeCount>,
}

impl Drop for Place {
    fn drop(&mut self) {
        // Before the place is free, so that whoever finds the pool empty knows of this one.
        self.leaving.one_more().hand_over();
        self.slot = None;
    }
}

impl Pool {
    /// A pool for `size` coroutines.
    ///
    /// # Panics
    ///
    /// If `size` is zero, or more than [`Semaphore::MAX_PERMITS`] or `u32::MAX`.
    #[must_use]
    #[track_caller]
    pub fn new(size: usize) -> Pool {
        assert!(size > 0, "a pool for nobody");
        assert!(u32::try_from(size).is_ok(), "a pool for more than u32::MAX");
        let slots = Arc::new(Semaphore::new(size));
        Pool { slots, size, leaving: Arc::default(), last: Arc::new(Semaphore::new(1)) }
    }

    /// How many may run.
    pub fn size(&self) -> usize {
        self.size
    }

    /// How many more could be spawned now without waiting.
    pub fn free(&self) -> usize {
        self.slots.available_permits()
    }

    /// Waits for a place, and spawns.
    ///
    /// # Panics
    ///
    /// If no coroutine can be spawned.
    #[track_caller]
    pub fn spawn<F, T>(&self, f: F) -> JoinHandle<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        self.start(self.slots.clone().acquire_owned().expect("nobody closes it"), f)
    }

    /// Spawns if there is a place.
    ///
    /// # Errors
    ///
    /// Gives `f` back if there is none.
    ///
    /// # Panics
    ///
    /// If no coroutine can be spawned.
    #[track_caller]
    pub fn try_spawn<F, T>(&self, f: F) -> Result<JoinHandle<T>, F>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        match self.slots.clone().try_acquire_owned() {
            Ok(slot) => Ok(self.start(slot, f)),
            Err(_full) => Err(f),
        }
    }

    /// Waits until the pool is empty, and those that were in it have [finished](JoinHandle::is_finished).
    /// What others spawn meanwhile waits until it is empty. One of them that calls this, in a destructor
    /// too, waits for itself.
    pub fn join(&self) {
        let size = u32::try_from(self.size).expect("checked when it was made");
        drop(self.slots.acquire_many(size).expect("nobody closes it"));
        // A place is free before its coroutine has completed, so that whoever has joined one finds its
        // place free. What destroys the result may need a place, so none is held here.
        let _last = self.last.acquire().expect("nobody closes it");
        self.leaving.wait_for_none();
    }

    /// Spawns into a place.
    #[track_caller]
    fn start<F, T>(&self, slot: OwnedSemaphorePermit, f: F) -> JoinHandle<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        /// Counts out what never was a coroutine.
        struct NotSpawned<'a>(&'a ScopeCount);

        impl Drop for NotSpawned<'_> {
            fn drop(&mut self) {
                self.0.one_finished(None);
            }
        }

        let not_spawned = NotSpawned(&self.leaving);
        let place = Place { slot: Some(slot), leaving: self.leaving.clone() };
        let run = move || {
            let _place = place;
            f()
        };
        let handle = thread::Builder::new().spawn_counted(&self.leaving, run);
        let handle = handle.expect("failed to spawn coroutine");
        mem::forget(not_spawned);
        handle
    }

    /// Calls `f` with each of the items, as many at a time as there are places, and returns what
    /// comes of them, in the order of the items.
    ///
    /// # Panics
    ///
    /// With the first panic of a call, when those that run have been cancelled and have ended.
    ///
    /// # Examples
    ///
    /// ```
    /// let squares = pirn::task::Pool::new(3).map(1..=4, |n| n * n);
    /// assert_eq!(squares, [1, 4, 9, 16]);
    /// ```
    pub fn map<I, F, T>(&self, items: I, f: F) -> Vec<T>
    where
        I: IntoIterator,
        I::Item: Send + 'static,
        F: Fn(I::Item) -> T + Send + Sync + 'static,
        T: Send + 'static,
    {
        let mut numbered = Vec::new();
        let mut calls = self.imap_unordered(items, f);
        while let Some(one) = calls.next_numbered() {
            numbered.push(one);
        }
        numbered.sort_by_key(|&(number, _)| number);
        numbered.into_iter().map(|(_, value)| value).collect()
    }

    /// Calls `f` with each of the items, as many at a time as there are places, and yields what comes
    /// of them as it comes. Items are taken while somebody asks for the next result, one more than there
    /// are places.
    ///
    /// Dropping the iterator cancels the calls that run, and waits for them.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = pirn::task::Pool::new(3);
    /// let sum: u32 = pool.imap_unordered(1..=4, |n| n * n).sum();
    /// assert_eq!(sum, 30);
    /// ```
    pub fn imap_unordered<I, F, T>(&self, items: I, f: F) -> ImapUnordered<I::IntoIter, F, T>
    where
        I: IntoIterator,
        I::Item: Send + 'static,
        F: Fn(I::Item) -> T + Send + Sync + 'static,
        T: Send + 'static,
    {
        ImapUnordered {
            pool: self.clone(),
            items: items.into_iter().fuse().peekable(),
            f: Arc::new(f),
            next: 0,
            running: AsCompleted::new(),
        }
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("size", &self.size).field("free", &self.free()).finish()
    }
}

/// The results of calls as they come; of [`Pool::imap_unordered`].
pub struct ImapUnordered<I: Iterator, F, T> {
    pool: Pool,
    items: Peekable<Fuse<I>>,
    f: Arc<F>,
    next: usize,
    running: AsCompleted<T>,
}

impl<I, F, T> ImapUnordered<I, F, T>
where
    I: Iterator,
    I::Item: Send + 'static,
    F: Fn(I::Item) -> T + Send + Sync + 'static,
    T: Send + 'static,
{
    /// The next result, with the number of its item.
    fn next_numbered(&mut self) -> Option<(usize, T)> {
        // Results that nobody has asked for take up a place, too.
        while self.running.len() < self.pool.size && self.items.peek().is_some() {
            let slots = &self.pool.slots;
            let slot = if self.running.len() == 0 {
                // Others may use the pool as well.
                slots.clone().acquire_owned().ok()
            } else {
                slots.clone().try_acquire_owned().ok()
            };
            let Some(slot) = slot else { break };
            let Some(item) = self.items.next() else { break };
            let f = self.f.clone();
            self.running.add(self.next, self.pool.start(slot, move || f(item)));
            self.next += 1;
        }
        let (number, result) = self.running.next()?;
        match result {
            Ok(value) => Some((number, value)),
            Err(payload) => {
                self.end();
                resume_unwind(payload)
            }
        }
    }
}

impl<I: Iterator, F, T> ImapUnordered<I, F, T> {
    /// Cancels what runs, and waits for it.
    fn end(&mut self) {
        let running: Vec<_> = self.running.take_waiting().collect();
        let handles: Vec<_> = running.iter().map(JoinHandle::cancel_handle).collect();
        thread::CancelHandle::cancel_all(&handles);
        crate::shield(|| running.into_iter().for_each(|handle| drop(handle.join())));
    }
}

impl<I, F, T> Iterator for ImapUnordered<I, F, T>
where
    I: Iterator,
    I::Item: Send + 'static,
    F: Fn(I::Item) -> T + Send + Sync + 'static,
    T: Send + 'static,
{
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.next_numbered().map(|(_, value)| value)
    }
}

impl<I: Iterator, F, T> Drop for ImapUnordered<I, F, T> {
    fn drop(&mut self) {
        self.end();
    }
}

impl<I: Iterator, F, T> fmt::Debug for ImapUnordered<I, F, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ImapUnordered")
            .field("pool", &self.pool)
            .field("running", &self.running)
            .finish_non_exhaustive()
    }
}

/// [`Pool::map`], in a pool of its own.
///
/// # Panics
///
/// As that, and if `size` is zero.
///
/// # Examples
///
/// ```
/// assert_eq!(pirn::task::map(2, ["a", "bb"], str::len), [1, 2]);
/// ```
pub fn map<I, F, T>(size: usize, items: I, f: F) -> Vec<T>
where
    I: IntoIterator,
    I::Item: Send + 'static,
    F: Fn(I::Item) -> T + Send + Sync + 'static,
    T: Send + 'static,
{
    Pool::new(size).map(items, f)
}

/// [`Pool::imap_unordered`], in a pool of its own.
///
/// # Panics
///
/// If `size` is zero.
///
/// # Examples
///
/// ```
/// let mut lengths: Vec<_> = pirn::task::imap_unordered(2, ["a", "bb"], str::len).collect();
/// lengths.sort();
/// assert_eq!(lengths, [1, 2]);
/// ```
pub fn imap_unordered<I, F, T>(size: usize, items: I, f: F) -> ImapUnordered<I::IntoIter, F, T>
where
    I: IntoIterator,
    I::Item: Send + 'static,
    F: Fn(I::Item) -> T + Send + Sync + 'static,
    T: Send + 'static,
{
    Pool::new(size).imap_unordered(items, f)
}
