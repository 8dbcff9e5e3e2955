//! The runtime that the first spawn starts.

use crate::runtime::Builder;
use crate::sched::{self, Shared};
use once_cell::sync::OnceCell;
use std::io;
use std::sync::Arc;

static DEFAULT: OnceCell<Arc<Shared>> = OnceCell::new();

/// Calls `f` with the runtime of the calling coroutine, or else with the default one, which this
/// starts if need be. `f` must not park.
///
/// # Errors
///
/// What `f` says; or the system refuses the default runtime its threads or memory, and the next
/// call tries again.
pub(crate) fn with_current_or_default<R>(
    f: impl FnOnce(&Arc<Shared>) -> io::Result<R>,
) -> io::Result<R> {
    let mut f = Some(f);
    let here = sched::with_shared(|shared| f.take().map(|f| f(shared)));
    match (here.flatten(), f) {
        (Some(result), _) => result,
        (None, Some(f)) => f(DEFAULT.get_or_try_init(|| Builder::new().build_shared())?),
        (None, None) => unreachable!("whoever took the closure has called it"),
    }
}
