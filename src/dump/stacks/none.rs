//! Without the feature `dump-stacks`: nobody knows where a coroutine is.

use super::StackFrame;
use crate::sched::Sighting;
use std::fmt;

/// Where a coroutine is: the calls on its stack, the innermost first. Only with the feature
/// `dump-stacks`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct StackTrace(std::convert::Infallible);

impl StackTrace {
    /// The calls, without those of the runtime around them.
    #[must_use]
    pub fn frames(&self) -> Vec<StackFrame> {
        match self.0 {}
    }
}

impl fmt::Display for StackTrace {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {}
    }
}

/// Nothing is walked; braces, so that it is made as the other one is.
#[derive(Default)]
pub(crate) struct Walked {}

impl Walked {
    #[expect(clippy::unused_self, reason = "with the feature, it is used")]
    pub(crate) fn walk(&mut self, _: &Sighting<'_>) -> Option<StackTrace> {
        None
    }
}
