//! A token that signals cancel.

use crate::cancel::CancelToken;
use crate::signal::{SignalKind, Signals};
use crate::thread::{Builder, CancelHandle};
use std::io;

/// A token that the first signal of one of these kinds cancels: for servers that stop when they are
/// told to.
///
/// A coroutine listens from now on until the signal comes, or the token and all its clones and
/// children are gone; in the caller's runtime, or else the default one.
///
/// # Errors
///
/// Those of [`Signals::new`]; or if there is no stack to be had for the coroutine.
///
/// # Examples
///
/// ```no_run
/// use pirn::signal::{SignalKind, token_on};
///
/// let stop = token_on([SignalKind::interrupt(), SignalKind::terminate()])?;
/// let cause = stop.run(|| loop {
///     // What is to be done until then.
///     pirn::thread::sleep(std::time::Duration::from_secs(1));
/// });
/// println!("{}", cause.unwrap_err());
/// # std::io::Result::Ok(())
/// ```
pub fn token_on(kinds: impl IntoIterator<Item = SignalKind>) -> io::Result<CancelToken> {
    let (signals, token) = (Signals::new(kinds)?, CancelToken::new());
    let weak = token.downgrade();
    let listener = Builder::new().name("signal-token".into()).spawn(move || {
        if let Ok(kind) = signals.recv()
            && let Some(token) = weak.upgrade()
        {
            token.cancel_with(format!("{kind:?}"));
        }
    })?;
    // Dropped when the token is cancelled, and when it goes.
    let stops = Stops(listener.cancel_handle());
    token.on_cancel(move |_cause| drop(stops)).detach();
    Ok(token)
}

/// Ends the listener.
struct Stops(CancelHandle);

impl Drop for Stops {
    fn drop(&mut self) {
        self.0.cancel();
    }
}
