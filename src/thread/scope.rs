//! Scopes: coroutines that borrow.

use crate::coroutine::{Failure, ScopeCount, is_cancellation, unwind_if_cancelled};
use crate::thread::join::JoinInner;
use crate::thread::{Builder, CancelHandle, CancelOutcome, Result, Thread, current};
use std::fmt;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;

/// A scope to spawn borrowing coroutines in; see [`scope`] and [`std::thread::Scope`].
pub struct Scope<'scope, 'env: 'scope> {
    count: Arc<ScopeCount>,
    main_thread: Thread,
    /// Invariant over `'scope`, as std's is, so that it cannot shrink.
    scope: PhantomData<&'scope mut &'scope ()>,
    env: PhantomData<&'env mut &'env ()>,
}

/// A claim to the result of a scoped coroutine; see [`std::thread::ScopedJoinHandle`].
pub struct ScopedJoinHandle<'scope, T> {
    inner: JoinInner<T>,
    _scope: PhantomData<&'scope mut &'scope ()>,
}

/// Creates a scope for coroutines that borrow: [`std::thread::scope`], exactly.
///
/// All coroutines spawned in the scope that have not been joined by hand are joined before this
/// returns. That a child panics does not stop the others.
///
/// # Panics
///
/// If `f` panics, with that panic; else if a coroutine that was not joined by hand panicked.
///
/// # Cancellation
///
/// If the calling coroutine is cancelled, or a [`timeout`](crate::time::timeout) or
/// [token](crate::CancelToken) around the scope ends, the scope's coroutines are cancelled too, and
/// waited for; then the caller unwinds.
///
/// # Examples
///
/// ```
/// let mut numbers = vec![1, 2, 3];
/// let total = pirn::thread::scope(|s| {
///     let sum = s.spawn(|| numbers.iter().sum::<i32>());
///     let max = s.spawn(|| numbers.iter().max().copied());
///     (sum.join().unwrap(), max.join().unwrap())
/// });
/// numbers.push(4);
/// assert_eq!(total, (6, Some(3)));
/// ```
#[track_caller]
pub fn scope<'env, F, T>(f: F) -> T
where
    F: for<'scope> FnOnce(&'scope Scope<'scope, 'env>) -> T,
{
    let (result, failure) = run(f);
    match result {
        Err(panic) => resume_unwind(panic),
        Ok(value) => {
            if let Some(failure) = failure {
                // Children that were cancelled with their parent are no reason to panic; least of
                // all in a destructor, where it would end the process.
                let cancelled_too = unwind_if_cancelled();
                if failure == Failure::Panicked || !cancelled_too {
                    panic!("a scoped thread panicked");
                }
            }
            value
        }
    }
}

/// Runs `f` with a scope, and waits for what was spawned in it: what has become of `f`, and the worst
/// end of a child that nobody has joined.
pub(crate) fn run<'env, F, T>(f: F) -> (Result<T>, Option<Failure>)
where
    F: for<'scope> FnOnce(&'scope Scope<'scope, 'env>) -> T,
{
    let scope = Scope {
        count: Arc::default(),
        main_thread: current(),
        env: PhantomData,
        scope: PhantomData,
    };
    let result = catch_unwind(AssertUnwindSafe(|| f(&scope)));
    if result.as_ref().is_err_and(|payload| is_cancellation(&**payload)) {
        scope.count.cancel();
    }
    scope.count.wait();
    (result, scope.count.failure())
}

impl<'scope> Scope<'scope, '_> {
    pub(crate) fn count(&self) -> &Arc<ScopeCount> {
        &self.count
    }

    /// Spawns a coroutine in this scope; see [`std::thread::Scope::spawn`].
    ///
    /// # Panics
    ///
    /// If no coroutine can be spawned; [`Builder::spawn_scoped`] returns an error instead.
    #[track_caller]
    pub fn spawn<F, T>(&'scope self, f: F) -> ScopedJoinHandle<'scope, T>
    where
        F: FnOnce() -> T + Send + 'scope,
        T: Send + 'scope,
    {
        Builder::new().spawn_scoped(self, f).expect("failed to spawn coroutine")
    }
}

impl<'scope, T> ScopedJoinHandle<'scope, T> {
    pub(super) fn new(inner: JoinInner<T>) -> Self {
        ScopedJoinHandle { inner, _scope: PhantomData }
    }

    /// A handle to the coroutine itself.
    #[must_use]
    pub fn thread(&self) -> &Thread {
        self.inner.thread()
    }

    /// Waits for the coroutine to end and returns its result.
    ///
    /// # Errors
    ///
    /// If the coroutine panicked, with the panic's payload.
    pub fn join(self) -> Result<T> {
        self.inner.join()
    }

    /// Whether the coroutine's body has ended.
    pub fn is_finished(&self) -> bool {
        self.inner.is_finished()
    }

    /// Cancels the coroutine; see [`JoinHandle::cancel`](super::JoinHandle::cancel). Unless it is
    /// joined by hand, its end counts as a failure of the scope.
    pub fn cancel(&self) -> CancelOutcome {
        self.inner.cancel()
    }

    /// Something to cancel the coroutine with; see
    /// [`JoinHandle::cancel_handle`](super::JoinHandle::cancel_handle).
    pub fn cancel_handle(&self) -> CancelHandle {
        self.inner.cancel_handle()
    }
}

impl fmt::Debug for Scope<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope")
            .field("num_running_threads", &self.count.running())
            .field("a_thread_panicked", &self.count.failure().is_some())
            .field("main_thread", &self.main_thread)
            .finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for ScopedJoinHandle<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScopedJoinHandle").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Builder;

    /// On one worker, whoever was the last in a scope has gone before its owner runs again.
    #[test]
    fn nothing_is_left_of_a_scope() {
        let runtime = Builder::new().workers(1).build().unwrap();
        runtime.run(|| {
            let mut count = std::sync::Weak::new();
            scope(|s| {
                count = Arc::downgrade(s.count());
                for _ in 0..3 {
                    s.spawn(|| {
                        s.spawn(|| ());
                    });
                }
                s.spawn(|| ()).join().unwrap();
            });
            assert_eq!(count.strong_count(), 0);
        });
    }
}
