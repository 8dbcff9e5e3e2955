//! Runtimes: where scheduler, poller, stacks and pool are put together.

mod builder;
mod default;
mod metrics;

pub use builder::Builder;
pub(crate) use default::{some_driver, with_current_or_default};
pub use metrics::{GuardKind, Metrics, StackClassMetrics, WorkerMetrics, WorkerState};

use crate::blocking::blocking_apart;
use crate::dump::{self, Dump};
use crate::inspect::Inspector;
use crate::park::{self, WaitReason};
use crate::sched::{self, Shared};
use crate::thread::{self, JoinHandle};
use crate::trace::{self, Trace};
use std::fmt;
use std::mem;
use std::sync::Arc;
use std::time::Duration;

/// A scheduler with its own worker threads.
///
/// Most programs need none: the first [`spawn`](crate::spawn) starts a default runtime that lasts
/// as long as the process. A runtime of one's own can be dropped, and several can live side by
/// side. Sockets and other things made in one work in another.
///
/// # Dropping
///
/// Dropping a runtime cancels its coroutines: each one that is parked unwinds, its destructors run
/// (and may block), and those that have not started are dropped. The drop waits for them; a
/// coroutine that never parks again is waited for until it ends. [`shutdown`](Runtime::shutdown)
/// bounds the wait. Afterwards no thread, descriptor or mapping of the runtime is left.
///
/// A coroutine of another runtime that drops one parks meanwhile, and its cancellation is met at its
/// next wait.
///
/// # Panics
///
/// Dropping a runtime from one of its own coroutines, or from a [`blocking`](crate::blocking) job or
/// a stall report of its own, panics before anything has been done, since the wait could never end; while unwinding, it lets the runtime run on instead.
///
/// # Examples
///
/// ```
/// let runtime = pirn::Builder::new().workers(2).build()?;
/// let sum = runtime.run(|| {
///     let parts: Vec<_> = (0..10).map(|n| pirn::spawn(move || n * n)).collect();
///     parts.into_iter().map(|part| part.join().unwrap()).sum::<u32>()
/// });
/// assert_eq!(sum, 285);
/// # std::io::Result::Ok(())
/// ```
pub struct Runtime {
    shared: Option<Arc<Shared>>,
    /// Where the process can be inspected for as long as this lasts.
    inspector: Option<Arc<Inspector>>,
}

/// What was still running when [`Runtime::shutdown`] ran out of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShutdownTimeout {
    coroutines: u64,
}

impl ShutdownTimeout {
    /// How many coroutines had not ended. Their threads stay with them.
    pub fn coroutines(&self) -> u64 {
        self.coroutines
    }
}

impl fmt::Display for ShutdownTimeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.coroutines {
            0 => write!(f, "threads of the runtime"),
            count => write!(f, "{count} coroutines"),
        }?;
        write!(f, " had not ended when the time for shutdown was over")
    }
}

impl std::error::Error for ShutdownTimeout {}

impl Runtime {
    fn from_parts(shared: Arc<Shared>, inspector: Option<Arc<Inspector>>) -> Runtime {
        Runtime { shared: Some(shared), inspector }
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        self.shared.as_ref().expect("a runtime has its scheduler until it is dropped")
    }

    /// Runs `f` as a coroutine of this runtime and waits for its result.
    ///
    /// # Panics
    ///
    /// A panic of `f` comes out here. Panics if no coroutine can be spawned.
    ///
    /// # Cancellation
    ///
    /// If the calling coroutine is cancelled, or a [`timeout`](crate::time::timeout) or
    /// [token](crate::CancelToken) around the call ends, `f` is cancelled too, and waited for; then the
    /// caller unwinds.
    #[track_caller]
    pub fn run<F, T>(&self, f: F) -> T
    where
        F: FnOnce() -> T + Send,
        T: Send,
    {
        thread::run_to_end(self.shared(), f)
    }

    /// Spawns a coroutine in this runtime, wherever the caller is.
    ///
    /// # Panics
    ///
    /// Panics if no coroutine can be spawned.
    #[track_caller]
    pub fn spawn<F, T>(&self, f: F) -> JoinHandle<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        thread::Builder::new().spawn_in(self.shared(), f).expect("failed to spawn coroutine")
    }

    /// What the runtime is doing and has done.
    pub fn metrics(&self) -> Metrics {
        Metrics::of(self.shared())
    }

    /// What each coroutine of the runtime is doing.
    ///
    /// Each worker is asked, and answers when it comes to it. One that does not for a tenth of a
    /// second is in a coroutine that neither parks nor yields, and [is left
    /// out](crate::WorkerDump::answered).
    ///
    /// ```
    /// let runtime = pirn::Builder::new().workers(1).build()?;
    /// runtime.spawn(pirn::thread::park);
    /// println!("{}", runtime.dump());
    /// # std::io::Result::Ok(())
    /// ```
    #[must_use]
    pub fn dump(&self) -> Dump {
        dump::dump(vec![self.shared().clone()])
    }

    /// What the workers have done of late, if the runtime was built to [record](crate::Builder::trace)
    /// that; empty otherwise.
    ///
    /// The workers are not asked and not stopped: one that is stuck shows what it did before.
    ///
    /// ```
    /// let runtime = pirn::Builder::new().workers(1).trace(1000).build()?;
    /// runtime.run(|| pirn::spawn(pirn::thread::yield_now).join().unwrap());
    /// let trace = runtime.trace();
    /// assert!(trace.events() > 0 && trace.lost() == 0);
    /// assert!(trace.to_json().contains(r#""stopped_by":"join""#));
    /// # std::io::Result::Ok(())
    /// ```
    #[must_use]
    pub fn trace(&self) -> Trace {
        trace::trace(std::slice::from_ref(self.shared()))
    }

    /// Cancels all coroutines and waits for them, but not longer than `timeout`.
    ///
    /// # Errors
    ///
    /// If some had not ended by then, or a job or report on one of the runtime's threads, or the destructor
    /// of a thread-local there. Those keep their threads, and all that they use, for as long as they last;
    /// nothing is freed under them.
    ///
    /// # Panics
    ///
    /// Panics if called from one of the runtime's own coroutines.
    pub fn shutdown(mut self, timeout: Duration) -> Result<(), ShutdownTimeout> {
        self.refuse_own();
        let shared = self.shared.take().expect("only drop and shutdown take it");
        let deadline = park::deadline_after(timeout);
        shared.stop();
        let ending = shared.clone();
        let ended = blocking_apart(WaitReason::Shutdown, move || {
            ending.join(deadline) && ending.config.blocking.close(deadline)
        });
        shared.go_on_elsewhere();
        if ended { Ok(()) } else { Err(ShutdownTimeout { coroutines: shared.live() }) }
    }

    /// Whether the caller is a coroutine of this runtime, or a job or report on one of its threads.
    fn is_own(&self) -> bool {
        let Some(ours) = &self.shared else { return false };
        sched::current_shared().is_some_and(|current| Arc::ptr_eq(&current, ours))
            || ours.is_own_thread()
            || ours.config.blocking.is_own_thread()
    }

    fn refuse_own(&self) {
        assert!(
            !self.is_own(),
            "a runtime cannot be shut down from one of its own coroutines or threads"
        );
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        if self.shared.is_none() {
            return;
        }
        if self.is_own() {
            // It runs on either way, and can be inspected as before.
            mem::forget(self.inspector.take());
            if std::thread::panicking() {
                return;
            }
            self.refuse_own();
        }
        let Some(shared) = self.shared.take() else { return };
        shared.stop();
        let inspector = self.inspector.take();
        let ending = shared.clone();
        // A coroutine of another runtime parks: those that it waits for may wait for what lives at its home.
        blocking_apart(WaitReason::Shutdown, move || {
            ending.join(None);
            ending.config.blocking.close(None);
            drop(inspector);
        });
        shared.go_on_elsewhere();
    }
}

impl fmt::Debug for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runtime").field("name", &self.shared().config.name).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    /// A worker that is in no coroutine is waited for, though it takes longer than a busy one is.
    #[test]
    fn a_slow_worker_is_no_busy_one() {
        let runtime = Builder::new().workers(1).build().unwrap();
        let parked = runtime.spawn(crate::thread::park);
        runtime.run(|| ());
        // It is in what ran until that is counted out.
        while runtime.metrics().live != 1 {
            std::thread::yield_now();
        }
        let dump = loop {
            let holder = dump::hold_up(runtime.shared(), 3 * dump::PATIENCE);
            let begun = Instant::now();
            let dump = runtime.dump();
            let took = begun.elapsed();
            holder.join().unwrap();
            if dump.runtimes[0].workers[0].answered {
                break dump;
            }
            // It was kept from running for longer than anybody waits.
            assert!(took >= dump::MORE_PATIENCE, "{took:?}");
        };
        assert_eq!(dump.runtimes[0].coroutines.len(), 1, "{dump}");
        parked.thread().unpark();
        parked.join().unwrap();
    }
}
