#![doc = include_str!("../../docs/cancellation.md")]

mod token;

pub(crate) use token::WeakToken;
pub use token::{CancelCallback, CancelCause, CancelGuard, CancelToken};

use crate::park;

/// What to say where nothing can be unwound.
pub(crate) const UNSUPPORTED: &str = "cancellation needs a build with panic = \"unwind\"";

/// Runs `f` with cancellations and deadlines from outside of it kept off: its waits are not ended,
/// and what came meanwhile is met by the first wait after it.
///
/// Timeouts and tokens inside of `f` work as ever. For what must be done as a whole, and for calls
/// through frames that no unwinding may cross, such as those of C.
///
/// # Examples
///
/// ```
/// use pirn::{sync::mpsc, thread};
/// use std::time::Duration;
///
/// let (started, starts) = mpsc::channel();
/// let worker = pirn::spawn(move || {
///     pirn::shield(|| {
///         started.send(()).unwrap();
///         thread::sleep(Duration::from_millis(2)); // goes on to its end
///     });
///     thread::park(); // ends here
/// });
/// starts.recv().unwrap();
/// worker.cancel();
/// assert!(worker.join().unwrap_err().is::<pirn::Cancelled>());
/// ```
pub fn shield<F, R>(f: F) -> R
where
    F: FnOnce() -> R,
{
    park::shielded(f)
}
