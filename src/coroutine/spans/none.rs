//! Without the feature `tracing`: no coroutine has a span.

use std::panic::Location;

/// The spans in which a coroutine is: none, and nothing is done about them.
pub(crate) struct Spans;

impl Spans {
    #[inline]
    pub(crate) fn at_spawn(
        _name: Option<&str>,
        _spawned_at: &'static Location<'static>,
        _number: impl FnOnce() -> u64,
    ) -> Spans {
        Spans
    }

    #[inline]
    pub(crate) fn number(&self) -> Option<u64> {
        None
    }

    #[inline]
    pub(crate) fn begin(&self) {}

    #[inline]
    pub(crate) fn are_used(&self) -> bool {
        false
    }

    #[inline]
    pub(crate) fn end(&self) {}

    #[inline]
    pub(crate) fn are_entered(&self) -> bool {
        false
    }

    #[inline]
    pub(crate) fn left_for(&self, switch: impl FnOnce() -> bool) -> bool {
        switch()
    }
}
