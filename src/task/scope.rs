//! A scope that ends at the first failure.

use crate::cancel::CancelToken;
use crate::coroutine::{is_cancellation, unwind_if_cancelled, was_cancelled};
use crate::thread::{self, Scope};
use std::any::Any;
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Mutex, PoisonError};

/// A scope to spawn members in that borrow and may fail; see [`try_scope`].
pub struct TryScope<'scope, 'env: 'scope, E> {
    scope: &'scope Scope<'scope, 'env>,
    failure: Arc<Mutex<Option<How<E>>>>,
    /// Ends the waits of the scope's own closure.
    token: CancelToken,
}

enum How<E> {
    Error(E),
    Panicked(Box<dyn Any + Send>),
}

/// A [`thread::scope`](crate::thread::scope) whose members may fail: the first one that returns an
/// error, panics or is cancelled has the others cancelled, and the waits of `f` end. When all have
/// ended, that error is returned, or that panic goes on.
///
/// What is needed after a failure is to be done in destructors, or outside.
///
/// # Errors
///
/// The first error of a member or of `f`.
///
/// # Panics
///
/// With the first panic of a member or of `f`.
///
/// # Examples
///
/// ```
/// use pirn::task::try_scope;
///
/// let words = ["1", "2", "three"];
/// let result = try_scope(|scope| {
///     for word in &words {
///         scope.spawn(move || word.parse::<u32>().map(drop));
///     }
///     Ok(words.len())
/// });
/// assert!(result.is_err());
/// ```
pub fn try_scope<'env, F, T, E>(f: F) -> Result<T, E>
where
    F: for<'scope> FnOnce(&TryScope<'scope, 'env, E>) -> Result<T, E>,
    E: Send + 'env,
{
    let failure = Arc::new(Mutex::new(None));
    let theirs = failure.clone();
    // A child that was cancelled was so by a sibling's failure or with its parent, and needs no report of
    // its own.
    let (result, cancelled) = thread::run_scope(move |scope| {
        let scope = TryScope { scope, failure: theirs, token: CancelToken::new() };
        let body = || match cfg!(panic = "abort") {
            true => Ok(f(&scope)),
            false => scope.token.run(|| f(&scope)),
        };
        match catch_unwind(AssertUnwindSafe(body)) {
            Ok(Ok(Ok(value))) => return Some(value),
            Ok(Ok(Err(error))) => scope.fail(How::Error(error)),
            // For a member's failure.
            Ok(Err(_cause)) => {}
            Err(payload) if is_cancellation(&*payload) => resume_unwind(payload),
            Err(payload) => scope.fail(How::Panicked(payload)),
        }
        None
    });
    let failure = failure.lock().unwrap_or_else(PoisonError::into_inner).take();
    if result.is_ok() && (failure.is_some() || cancelled.is_some()) {
        // The members may have been cancelled with their parent. If none has failed, the result is
        // there, however late.
        unwind_if_cancelled();
    }
    match (failure, result) {
        (Some(How::Error(error)), Ok(_)) => Err(error),
        (Some(How::Panicked(payload)), Ok(_)) => resume_unwind(payload),
        (_, Err(payload)) => resume_unwind(payload),
        (None, Ok(value)) => Ok(value.expect("a scope without a value has a failure")),
    }
}

impl<'scope, E: Send + 'scope> TryScope<'scope, '_, E> {
    /// Spawns a member. In a scope that has failed it never begins.
    ///
    /// # Panics
    ///
    /// If no coroutine can be spawned; [`try_spawn`](TryScope::try_spawn) returns an error instead.
    #[track_caller]
    pub fn spawn<F>(&self, f: F)
    where
        F: FnOnce() -> Result<(), E> + Send + 'scope,
    {
        self.try_spawn(f).expect("failed to spawn coroutine");
    }

    /// [`spawn`](TryScope::spawn), without the panic.
    ///
    /// # Errors
    ///
    /// If there is no stack to be had.
    #[track_caller]
    pub fn try_spawn<F>(&self, f: F) -> io::Result<()>
    where
        F: FnOnce() -> Result<(), E> + Send + 'scope,
    {
        let scope = self.clone();
        let body = move || match catch_unwind(AssertUnwindSafe(f)) {
            Ok(Ok(())) => {}
            Ok(Err(error)) => scope.fail(How::Error(error)),
            // For another's failure, or with the parent, which may be where nothing ends it.
            Err(payload) if is_cancellation(&*payload) && was_cancelled() => resume_unwind(payload),
            Err(payload) => scope.fail(How::Panicked(payload)),
        };
        thread::Builder::new().spawn_scoped(self.scope, body).map(drop)
    }

    /// The first failure counts, and ends all.
    fn fail(&self, how: How<E>) {
        {
            let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
            if failure.is_some() {
                // All have been told, and this may be one that came of it.
                drop(failure);
                return drop(how);
            }
            *failure = Some(how);
        }
        self.scope.count().cancel();
        self.token.cancel();
    }
}

impl<E> Clone for TryScope<'_, '_, E> {
    fn clone(&self) -> Self {
        TryScope { scope: self.scope, failure: self.failure.clone(), token: self.token.clone() }
    }
}

impl<E> fmt::Debug for TryScope<'_, '_, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TryScope").field("scope", &self.scope).finish_non_exhaustive()
    }
}
