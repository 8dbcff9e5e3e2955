//! Spans of [`tracing`](::tracing) that follow their coroutine, with the feature `tracing`.
//!
//! A subscriber keeps the spans that are entered *per thread*. A coroutine that parks inside of one
//! would leave it to whatever runs next on its thread. Wrapped in [`Follow`], a subscriber is told of
//! an exit before each switch and of an entry after it, so each coroutine is in its own spans, and
//! the time that a span counts as busy is the time that its coroutine runs.
//!
//! ```
//! # fn main() -> std::io::Result<()> {
//! # let subscriber = tracing::subscriber::NoSubscriber::default();
//! // For example: let subscriber = tracing_subscriber::registry().with(fmt::layer());
//! tracing::subscriber::set_global_default(pirn::tracing::Follow::new(subscriber)).ok();
//! let answer = pirn::spawn(|| {
//!     let _inside = tracing::info_span!("request", id = 1).entered();
//!     pirn::thread::yield_now(); // others run here, outside of the span
//!     tracing::info!("still inside");
//!     42
//! });
//! assert_eq!(answer.join().unwrap(), 42);
//! # Ok(())
//! # }
//! ```
#![doc = include_str!("../docs/tracing-spans.md")]
#![expect(unsafe_code, reason = "answers for the types of the subscriber that it wraps")]

use crate::coroutine::{self, Follows, Told};
use ::tracing::dispatcher::Dispatch;
use ::tracing::level_filters::LevelFilter;
use ::tracing::span::{Attributes, Id, Record};
use ::tracing::subscriber::Interest;
use ::tracing::{Event, Metadata, Subscriber};
use ::tracing_core::span::Current;
use std::any::TypeId;
use std::fmt;
use std::ptr;
use std::sync::Arc;

static FOLLOWS: Follows = Follows;

/// A subscriber whose spans follow their coroutines; see the [module](self).
///
/// It has to be the outermost: a layer around it is not told of what happens at a switch.
pub struct Follow<S> {
    inner: Arc<S>,
    /// The same, for the notes of coroutines.
    told: Told,
}

impl<S: Subscriber + Send + Sync> Follow<S> {
    /// Wraps a subscriber with all of its layers.
    #[must_use]
    pub fn new(subscriber: S) -> Follow<S> {
        let inner = Arc::new(subscriber);
        Follow { told: inner.clone(), inner }
    }
}

impl<S: fmt::Debug> fmt::Debug for Follow<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Follow").field(&self.inner).finish()
    }
}

impl<S: Subscriber + Send + Sync> Subscriber for Follow<S> {
    fn on_register_dispatch(&self, subscriber: &Dispatch) {
        self.inner.on_register_dispatch(subscriber);
    }

    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        self.inner.register_callsite(metadata)
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.inner.enabled(metadata)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        self.inner.max_level_hint()
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        self.inner.new_span(span)
    }

    fn record(&self, span: &Id, values: &Record<'_>) {
        self.inner.record(span, values);
    }

    fn record_follows_from(&self, span: &Id, follows: &Id) {
        self.inner.record_follows_from(span, follows);
    }

    fn event_enabled(&self, event: &Event<'_>) -> bool {
        self.inner.event_enabled(event)
    }

    fn event(&self, event: &Event<'_>) {
        self.inner.event(event);
    }

    fn enter(&self, span: &Id) {
        coroutine::enter(&self.told, span);
    }

    fn exit(&self, span: &Id) {
        coroutine::exit(&self.told, span);
    }

    fn clone_span(&self, id: &Id) -> Id {
        self.inner.clone_span(id)
    }

    #[expect(deprecated, reason = "a subscriber may still know no other way")]
    fn drop_span(&self, id: Id) {
        self.inner.drop_span(id);
    }

    fn try_close(&self, id: Id) -> bool {
        self.inner.try_close(id)
    }

    fn current_span(&self) -> Current {
        self.inner.current_span()
    }

    unsafe fn downcast_raw(&self, id: TypeId) -> Option<*const ()> {
        if id == TypeId::of::<Self>() {
            return Some(ptr::from_ref(self).cast());
        }
        if id == TypeId::of::<Follows>() {
            return Some((&raw const FOLLOWS).cast());
        }
        // SAFETY: what the caller says of its use; the wrapped one lives as long as this one.
        unsafe { self.inner.downcast_raw(id) }
    }
}

/// Calls `f` with `dispatch` for the default dispatcher, as `tracing::dispatcher::with_default`
/// does. In a coroutine it is the default of that coroutine alone: others that run on the thread
/// while `f` waits have theirs.
///
/// ```
/// # let subscriber = tracing::subscriber::NoSubscriber::default();
/// let dispatch = tracing::Dispatch::new(pirn::tracing::Follow::new(subscriber));
/// pirn::spawn(move || {
///     pirn::tracing::with_default(&dispatch, || {
///         pirn::thread::yield_now();
///         tracing::info!("for that dispatcher");
///     });
/// }).join().unwrap();
/// ```
pub fn with_default<T>(dispatch: &Dispatch, f: impl FnOnce() -> T) -> T {
    coroutine::with_default(dispatch, f)
}
