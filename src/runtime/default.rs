//! The runtime that the first spawn starts.

use crate::inspect::Inspector;
use crate::netpoller::PollDriver;
use crate::runtime::Builder;
use crate::sched::{self, Shared};
use once_cell::sync::OnceCell;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// With where the process can be inspected, for as long as it runs.
static DEFAULT: OnceCell<(Arc<Shared>, Option<Arc<Inspector>>)> = OnceCell::new();

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

static NEXT: AtomicUsize = AtomicUsize::new(0);

/// A poller of the runtime to which this thread belongs, or else of the default one, which this
/// starts if need be.
///
/// # Errors
///
/// As [`with_current_or_default`].
pub(crate) fn some_driver() -> io::Result<PollDriver> {
    with_current_or_default(|shared| {
        let processors = shared.processors();
        // From call to call another one, so that descriptors are spread.
        let regular: Vec<_> = processors.iter().filter(|processor| !processor.surplus).collect();
        let turn = NEXT.fetch_add(1, Ordering::Relaxed) % regular.len().max(1);
        let driver = regular.get(turn).and_then(|processor| PollDriver::of(processor).cloned());
        driver.ok_or_else(|| io::Error::other("the runtime has ended"))
    })
}

#[cold]
fn default() -> io::Result<&'static Arc<Shared>> {
    DEFAULT.get_or_try_init(|| Builder::new().build_parts()).map(|(shared, _)| shared)
}
