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
#[inline]
pub(crate) fn with_current_or_default<R>(
    f: impl FnOnce(&Arc<Shared>) -> io::Result<R>,
) -> io::Result<R> {
    sched::with_shared_or(default, f)
}

#[cold]
fn default() -> io::Result<&'static Arc<Shared>> {
    DEFAULT.get_or_try_init(|| Builder::new().build_shared())
}
