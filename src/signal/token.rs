//! A token that signals cancel.

use crate::cancel::{CancelToken, WeakToken};
use crate::signal::{SignalKind, Signals};
use crate::thread::{Builder, CancelHandle, after_the_end};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A token that the first signal of one of these kinds cancels: for servers that stop when they are
/// told to.
///
/// A coroutine listens from now on until the signal comes, or the token and all its clones and
/// children are gone; in the caller's runtime, or else the default one. If that runtime
/// ends before, one of another runtime listens from then on.
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
    let stops = Stops::default();
    let listener = stops.0.clone();
    listen(Listens { signals, token: token.downgrade(), listener })?;
    // Dropped when the token is cancelled, and when it goes.
    token.on_cancel(move |_cause| drop(stops)).detach();
    Ok(token)
}

struct Listens {
    signals: Signals,
    token: WeakToken,
    /// Where the one that listens can be cancelled.
    listener: Arc<Mutex<Option<CancelHandle>>>,
}

fn listen(what: Listens) -> io::Result<()> {
    let (token, listener) = (what.token.clone(), what.listener.clone());
    let duty = Duty(Some(what));
    let listens = Builder::new().name("signal-token".into()).spawn(move || duty.fulfil())?;
    *lock(&listener) = Some(listens.cancel_handle());
    // It may have gone before there was something to cancel.
    if token.upgrade().is_none_or(|token| token.is_cancelled()) {
        listens.cancel();
    }
    Ok(())
}

/// The duty to listen. If it ends early, since its runtime does, another one takes it over after that;
/// what comes meanwhile is not lost.
struct Duty(Option<Listens>);

impl Duty {
    fn fulfil(mut self) {
        if let Some(listens) = &self.0
            && let Ok(kind) = listens.signals.recv()
            && let Some(token) = listens.token.upgrade()
        {
            self.0 = None;
            token.cancel_with(format!("{kind:?}"));
        }
    }
}

impl Drop for Duty {
    fn drop(&mut self) {
        let Some(listens) = self.0.take() else { return };
        after_the_end(move || {
            if listens.token.upgrade().is_some_and(|token| !token.is_cancelled()) {
                // There is nobody to be told that no coroutine can be had.
                let _listened = listen(listens);
            }
        });
    }
}

/// Ends the listener.
#[derive(Default)]
struct Stops(Arc<Mutex<Option<CancelHandle>>>);

impl Drop for Stops {
    fn drop(&mut self) {
        let listener = lock(&self.0).take();
        if let Some(listener) = listener {
            listener.cancel();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
