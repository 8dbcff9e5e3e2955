//! `std::thread` for coroutines.
//!
//! The functions here mean what their namesakes in std mean, for the calling *coroutine* where std
//! speaks of the calling thread. They can be called from plain OS threads too, and block those.

mod builder;
mod exit;
mod handle;
mod join;
mod local;
mod scope;
mod wait;

pub use crate::coroutine::{Cancelled, Exited};
pub use builder::{Builder, Placement, spawn, spawn_local};
pub use exit::{exit, on_exit};
pub use handle::{Thread, ThreadId, current};
pub use join::{CancelHandle, CancelOutcome, JoinHandle, LocalJoinHandle};
pub use local::{AccessError, LocalKey};
pub(crate) use scope::run as run_scope;
pub use scope::{Scope, ScopedJoinHandle, scope};
pub use std::thread::{Result, available_parallelism, panicking};
pub use wait::{park, park_timeout, sleep, sleep_until, yield_now};
#[expect(deprecated, reason = "std has them")]
pub use wait::{park_timeout_ms, sleep_ms};

use crate::coroutine::unwind_if_cancelled;
pub(crate) use crate::sched::after_the_end;
use crate::sched::{self, Shared, Spawn};
use join::JoinInner;
use std::panic::{Location, resume_unwind};
use std::sync::Arc;

/// Runs `f` as a coroutine of `shared` and waits for its end, whatever happens. A cancellation is passed
/// on to it.
#[track_caller]
pub(crate) fn run_to_end<F, T>(shared: &Arc<Shared>, f: F) -> T
where
    F: FnOnce() -> T + Send,
    T: Send,
{
    let spawn = Spawn {
        name: None,
        scope: None,
        spawned_at: Location::caller(),
        class: None,
        local: false,
        migrating: false,
        spread: false,
    };
    // SAFETY: closure and result are `Send`, and what they borrow outlives the join below, which
    // no cancellation ends.
    #[expect(unsafe_code, reason = "lends to a coroutine that is waited for")]
    let coroutine = unsafe { sched::spawn(shared, spawn, f) }.expect("failed to spawn coroutine");
    let result = JoinInner::<T>::new(coroutine).join_lent();
    result.unwrap_or_else(|panic| {
        if panic.is::<Cancelled>() {
            // With its caller, most likely.
            unwind_if_cancelled();
        }
        resume_unwind(panic)
    })
}
