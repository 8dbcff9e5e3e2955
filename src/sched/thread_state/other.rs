//! A machine's thread, on systems that are not asked about it: there the wall clock decides.

use std::time::Duration;

/// One thread, for others to look at.
#[derive(Debug)]
pub(crate) struct ThreadState;

impl ThreadState {
    /// The calling thread.
    pub(crate) fn of_current() -> ThreadState {
        ThreadState
    }

    /// Its number at the system's, or 0: the system is not asked.
    pub(crate) fn id(&self) -> u64 {
        0
    }

    /// How long it has run: the system is not asked.
    pub(crate) fn has_run(&self) -> Option<Duration> {
        None
    }

    /// Whether it runs or could: the system is not asked.
    pub(crate) fn is_runnable(&self) -> bool {
        false
    }
}
