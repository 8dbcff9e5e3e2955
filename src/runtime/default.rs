//! The runtime that the first spawn starts.

use crate::runtime::Builder;
use crate::sched::{self, Shared};
use once_cell::sync::OnceCell;
use std::io;
use std::sync::Arc;

static DEFAULT: OnceCell<Arc<Shared>> = OnceCell::new();

/// The runtime of the calling coroutine, or else the default one, which this starts if need be.
///
/// # Errors
///
/// The system refuses its threads or memory. The next call tries again.
pub(crate) fn current_or_default() -> io::Result<Arc<Shared>> {
    if let Some(current) = sched::current_shared() {
        return Ok(current);
    }
    DEFAULT.get_or_try_init(|| Builder::new().build_shared()).cloned()
}
