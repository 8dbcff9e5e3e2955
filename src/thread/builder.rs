//! Spawning.

#![expect(unsafe_code, reason = "states what each kind of spawn guarantees")]

use crate::coroutine::{Coroutine, ScopeCount};
use crate::runtime;
use crate::sched::{self, Shared, Spawn};
use crate::stack::Class;
use crate::thread::join::{JoinHandle, JoinInner, LocalJoinHandle};
use crate::thread::scope::{Scope, ScopedJoinHandle};
use std::ffi::CString;
use std::io;
use std::panic::Location;
use std::sync::Arc;

/// Where a coroutine is to start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Placement {
    /// Near its spawner, unless that has clearly more coroutines than another worker.
    #[default]
    Near,
    /// On the worker with the fewest coroutines. For a few long-lived ones that are to use every
    /// processor.
    Spread,
}

/// Configures a coroutine; see [`std::thread::Builder`].
///
/// # Examples
///
/// ```
/// let handle = pirn::thread::Builder::new()
///     .name("parser".into())
///     .stack_size(1024 * 1024)
///     .spawn(|| "parsed")?;
/// assert_eq!(handle.join().unwrap(), "parsed");
/// # std::io::Result::Ok(())
/// ```
#[must_use = "must eventually spawn the coroutine"]
#[derive(Debug, Default)]
pub struct Builder {
    name: Option<String>,
    stack_size: Option<usize>,
    placement: Placement,
    #[cfg(feature = "migrating")]
    migrating: bool,
}

impl Builder {
    /// Everything by default.
    pub fn new() -> Builder {
        Builder::default()
    }

    /// Names the coroutine, for dumps and reports. (std's panic messages name the worker's thread.)
    ///
    /// # Panics
    ///
    /// The spawn panics if the name contains a null byte, as std's does.
    pub fn name(mut self, name: String) -> Builder {
        self.name = Some(name);
        self
    }

    /// The address space of its stack in bytes; see
    /// [`Builder::stack_size`](crate::Builder::stack_size). More than 8 MiB fails at the spawn.
    pub fn stack_size(mut self, size: usize) -> Builder {
        self.stack_size = Some(size);
        self
    }

    /// Where the coroutine is to start.
    pub fn placement(mut self, placement: Placement) -> Builder {
        self.placement = placement;
        self
    }

    /// Lets any worker resume the coroutine, not only the one where it started. Experimental.
    ///
    /// # Safety
    ///
    /// Whenever the coroutine parks or yields, in whatever function, nothing that is bound to a
    /// thread may live on its stack: no `!Send` value, no borrow of a thread-local, no guard of a
    /// std lock, and no address of a thread-local that the *compiler* keeps across the call. Debug
    /// builds hide violations of the last kind.
    ///
    /// Nor may it have a value of a [`coroutine_local!`](crate::coroutine_local) that is not `Send`, or have
    /// given such a hook to [`on_exit`](super::on_exit), in whatever function: these are not on its stack, but
    /// move with it, and are used and destroyed wherever it runs. See `docs/soundness.md`.
    #[cfg(feature = "migrating")]
    pub unsafe fn migrating(mut self) -> Builder {
        self.migrating = true;
        self
    }

    /// Spawns the coroutine in the caller's runtime, or in the default one.
    ///
    /// # Errors
    ///
    /// If there is no stack to be had, or the default runtime cannot be started. The message names
    /// the limit that was reached and how to raise it.
    ///
    /// # Panics
    ///
    /// If the name contains a null byte.
    #[track_caller]
    #[inline]
    pub fn spawn<F, T>(self, f: F) -> io::Result<JoinHandle<T>>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        // SAFETY: closure and result are `Send` and borrow nothing.
        unsafe { self.spawn_unchecked(f) }
    }

    /// Spawns in a scope; see [`Scope::spawn`].
    ///
    /// # Errors
    ///
    /// As [`spawn`](Builder::spawn).
    #[track_caller]
    pub fn spawn_scoped<'scope, 'env, F, T>(
        self,
        scope: &'scope Scope<'scope, 'env>,
        f: F,
    ) -> io::Result<ScopedJoinHandle<'scope, T>>
    where
        F: FnOnce() -> T + Send + 'scope,
        T: Send + 'scope,
    {
        let count = scope.count();
        let counted = count.one_more();
        // SAFETY: closure and result are `Send`, and the scope waits until the coroutine, which it
        // counts, has dropped what it borrows.
        let coroutine = unsafe { self.spawn_for(count, &mut Some(f)) }?;
        counted.hand_over();
        count.add(&coroutine);
        Ok(ScopedJoinHandle::new(JoinInner::new(coroutine)))
    }

    /// Spawns a coroutine that `count` is told of when it has completed.
    #[track_caller]
    pub(crate) fn spawn_counted<F, T>(
        self,
        count: &Arc<ScopeCount>,
        f: F,
    ) -> io::Result<JoinHandle<T>>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        // SAFETY: closure and result are `Send` and borrow nothing.
        let coroutine = unsafe { self.spawn_for(count, &mut Some(f)) }?;
        Ok(JoinHandle(JoinInner::new(coroutine)))
    }

    /// Spawns `f`, which is there, with `count` to be told. By reference, since a debug build copies what
    /// a closure owns wherever the closure goes.
    ///
    /// # Safety
    ///
    /// As [`spawn_unchecked`](Builder::spawn_unchecked); and both `F` and `T` may cross threads.
    #[track_caller]
    unsafe fn spawn_for<F: FnOnce() -> T, T>(
        self,
        count: &Arc<ScopeCount>,
        f: &mut Option<F>,
    ) -> io::Result<Coroutine> {
        let mut spawn = self.into_spawn(Location::caller())?;
        spawn.scope = Some(count.clone());
        runtime::with_current_or_default(|runtime| {
            let f = f.take().expect("called once");
            // SAFETY: the caller's promise.
            unsafe { sched::spawn(runtime, spawn, f) }
        })
    }

    /// Spawns a coroutine that starts and stays on the calling worker; see
    /// [the function of that name](super::spawn_local).
    ///
    /// # Errors
    ///
    /// As [`spawn`](Builder::spawn).
    ///
    /// # Panics
    ///
    /// Outside of a coroutine, or if the name contains a null byte.
    #[track_caller]
    pub fn spawn_local<F, T>(self, f: F) -> io::Result<LocalJoinHandle<T>>
    where
        F: FnOnce() -> T + 'static,
        T: 'static,
    {
        let runtime = sched::current_shared().filter(|_| sched::in_coroutine());
        let runtime = runtime.expect("spawn_local called outside of a coroutine");
        let mut spawn = self.into_spawn(Location::caller())?;
        spawn.local = true;
        spawn.migrating = false;
        // SAFETY: the coroutine starts on this thread and stays here, and so does the handle.
        let coroutine = unsafe { sched::spawn(&runtime, spawn, f) }?;
        Ok(LocalJoinHandle::new(JoinInner::new(coroutine)))
    }

    /// Spawns without asking how long closure and result live.
    ///
    /// # Errors
    ///
    /// As [`spawn`](Builder::spawn).
    ///
    /// # Safety
    ///
    /// What `F` and `T` borrow outlives the coroutine: the caller joins it, or the borrows are
    /// for ever.
    #[track_caller]
    #[inline]
    pub unsafe fn spawn_unchecked<F, T>(self, f: F) -> io::Result<JoinHandle<T>>
    where
        F: FnOnce() -> T + Send,
        T: Send,
    {
        let spawned_at = Location::caller();
        // By reference, since a debug build copies what a closure owns wherever the closure goes.
        let mut f = Some(f);
        runtime::with_current_or_default(|runtime| {
            let f = f.take().expect("called once");
            // SAFETY: the caller's promise.
            unsafe { self.spawn_at(runtime, spawned_at, f) }
        })
    }

    /// Spawns in a given runtime.
    #[track_caller]
    pub(crate) fn spawn_in<F, T>(self, runtime: &Arc<Shared>, f: F) -> io::Result<JoinHandle<T>>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        // SAFETY: closure and result are `Send` and borrow nothing.
        unsafe { self.spawn_at(runtime, Location::caller(), f) }
    }

    #[inline]
    unsafe fn spawn_at<F, T>(
        self,
        runtime: &Arc<Shared>,
        spawned_at: &'static Location<'static>,
        f: F,
    ) -> io::Result<JoinHandle<T>>
    where
        F: FnOnce() -> T + Send,
        T: Send,
    {
        let spawn = self.into_spawn(spawned_at)?;
        // SAFETY: both are `Send`; for the borrows the caller vouches.
        let coroutine = unsafe { sched::spawn(runtime, spawn, f) }?;
        Ok(JoinHandle(JoinInner::new(coroutine)))
    }

    #[inline]
    fn into_spawn(self, spawned_at: &'static Location<'static>) -> io::Result<Spawn> {
        if let Some(name) = &self.name {
            // With std's own message. The common case makes no copy.
            if name.contains('\0') {
                CString::new(name.as_str())
                    .expect("thread name may not contain interior null bytes");
            }
        }
        Ok(Spawn {
            name: self.name.map(String::into_boxed_str),
            class: self.stack_size.map(Class::for_size).transpose()?,
            #[cfg(feature = "migrating")]
            migrating: self.migrating,
            spread: self.placement == Placement::Spread,
            ..Spawn::plain(spawned_at)
        })
    }
}

/// Spawns a coroutine: [`std::thread::spawn`] for green threads.
///
/// From a coroutine it is spawned in the same runtime; from a plain thread in the default runtime,
/// which the first call starts.
///
/// # Panics
///
/// If no coroutine can be spawned; [`Builder::spawn`] returns an error instead.
///
/// # Examples
///
/// ```
/// let workers: Vec<_> = (0..100).map(|n| pirn::spawn(move || n)).collect();
/// let sum: i32 = workers.into_iter().map(|worker| worker.join().unwrap()).sum();
/// assert_eq!(sum, 4950);
/// ```
#[track_caller]
#[inline]
pub fn spawn<F, T>(f: F) -> JoinHandle<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    let spawned_at = Location::caller();
    let mut f = Some(f);
    // Not by a `Builder`: that everything is by default is known here, where it costs nothing.
    let spawned = runtime::with_current_or_default(|runtime| {
        let f = f.take().expect("called once");
        // SAFETY: closure and result are `Send` and borrow nothing.
        let coroutine = unsafe { sched::spawn(runtime, Spawn::plain(spawned_at), f) }?;
        Ok(JoinHandle(JoinInner::new(coroutine)))
    });
    spawned.expect("failed to spawn coroutine")
}

/// Spawns a coroutine on the calling worker, where it starts and stays, so that it may hold what
/// is not `Send`.
///
/// # Panics
///
/// Outside of a coroutine, and if no coroutine can be spawned.
///
/// # Examples
///
/// ```
/// use std::rc::Rc;
///
/// # let runtime = pirn::Builder::new().workers(1).build()?;
/// runtime.run(|| {
///     let shared = Rc::new(5);
///     let theirs = shared.clone();
///     let sum = pirn::thread::spawn_local(move || *theirs + 1).join().unwrap();
///     assert_eq!(sum, *shared + 1);
/// });
/// # std::io::Result::Ok(())
/// ```
#[track_caller]
pub fn spawn_local<F, T>(f: F) -> LocalJoinHandle<T>
where
    F: FnOnce() -> T + 'static,
    T: 'static,
{
    Builder::new().spawn_local(f).expect("failed to spawn coroutine")
}
