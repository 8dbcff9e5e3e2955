//! tokio beside pirn, with the feature `tokio`: for clients of databases, of HTTP and the like whose
//! futures want tokio's reactor, timers and `spawn`.
//!
//! [`run`] is all that most programs need: a runtime of tokio's, on threads of its own, runs the
//! future, and the coroutine that waits for it parks as in any other wait. Futures that want no
//! runtime are better off with [`block_on`], which crosses to no other thread.
//!
//! ```
//! use std::time::Duration;
//!
//! let slept = pirn::spawn(|| {
//!     pirn::tokio::run(async {
//!         tokio::time::sleep(Duration::from_millis(2)).await;
//!         "slept"
//!     })
//! });
//! assert_eq!(slept.join().unwrap(), "slept");
//! ```

use crate::future::block_on;
use ::tokio::runtime::{Builder, Handle, Runtime};
use ::tokio::task::JoinHandle;
use once_cell::sync::OnceCell;
use std::io;
use std::panic::resume_unwind;

/// Threads of the runtime that [`run`] starts: what waits there is I/O, and what computes belongs
/// into coroutines.
const WORKERS: usize = 2;

static RUNTIME: OnceCell<Kind> = OnceCell::new();

enum Kind {
    /// Lasts as long as the process.
    Ours(Runtime),
    Given(Handle),
}

/// Runs a future on tokio and waits for it: the coroutine parks, a plain thread blocks.
///
/// The first call starts a multi-threaded runtime with two threads, unless [`use_handle`] has said
/// which to use. If the wait is cancelled or its time is over, the task is aborted: tokio drops the
/// future as soon as it is not polled any more, which is not waited for.
///
/// Not for use inside of tokio's tasks, where it blocks a thread that others need.
///
/// # Panics
///
/// A panic of the future comes out here. Panics if the runtime cannot be started, or if the one that
/// was given ends first.
pub fn run<F>(future: F) -> F::Output
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    /// Aborts what is not waited for any more.
    struct Task<T>(JoinHandle<T>);

    impl<T> Drop for Task<T> {
        fn drop(&mut self) {
            self.0.abort();
        }
    }

    let mut task = Task(handle().spawn(future));
    match block_on(&mut task.0) {
        Ok(output) => output,
        Err(error) => match error.try_into_panic() {
            Ok(payload) => resume_unwind(payload),
            Err(_cancelled) => panic!("the tokio runtime has ended"),
        },
    }
}

/// The runtime on which [`run`] runs futures, for spawning there: tasks that go on by themselves, or
/// several at a time. This starts it if need be.
///
/// Of what it offers, `enter` is not for coroutines: a park with its guard in hand leaves the
/// thread's other coroutines inside of that runtime.
///
/// # Panics
///
/// If the runtime cannot be started; [`try_handle`] says why.
///
/// # Examples
///
/// ```
/// let tasks: Vec<_> = (0..3).map(|n| pirn::tokio::handle().spawn(async move { n * n })).collect();
/// let sum: i32 = tasks.into_iter().map(|task| pirn::block_on(task).unwrap()).sum();
/// assert_eq!(sum, 5);
/// ```
pub fn handle() -> &'static Handle {
    try_handle().expect("failed to start tokio's runtime")
}

/// [`handle`], for who can do without.
///
/// # Errors
///
/// The system refuses the runtime its threads or descriptors. The next call tries again.
pub fn try_handle() -> io::Result<&'static Handle> {
    let kind = RUNTIME.get_or_try_init(|| {
        let mut builder = Builder::new_multi_thread();
        builder.worker_threads(WORKERS).thread_name("pirn-tokio").enable_all();
        builder.build().map(Kind::Ours)
    })?;
    Ok(match kind {
        Kind::Ours(runtime) => runtime.handle(),
        Kind::Given(handle) => handle,
    })
}

/// Makes [`run`] and [`handle`] use a runtime of the program's own, before they are called first.
/// It has to run by itself: a multi-threaded one, or one that some thread drives.
///
/// # Errors
///
/// If there is a runtime already; the handle comes back.
///
/// # Examples
///
/// ```
/// let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build()?;
/// pirn::tokio::use_handle(runtime.handle().clone()).unwrap();
/// assert_eq!(pirn::tokio::run(async { tokio::runtime::Handle::current().id() }), runtime.handle().id());
/// # std::io::Result::Ok(())
/// ```
pub fn use_handle(handle: Handle) -> Result<(), Handle> {
    RUNTIME.set(Kind::Given(handle)).map_err(|kind| match kind {
        Kind::Given(handle) => handle,
        Kind::Ours(_) => unreachable!("a handle was given"),
    })
}
