#![doc = include_str!("../../docs/trace.md")]

mod chrome;
mod exit;
mod slices;

pub(crate) use exit::write_at_exit;

use crate::sched::{RuntimeRecord, Shared};
use std::fmt;
use std::io::{self, Write};
use std::sync::Arc;

/// What the workers of one or more runtimes have done of late: see [`Runtime::trace`].
///
/// [`Runtime::trace`]: crate::Runtime::trace
#[derive(Clone)]
pub struct Trace {
    runtimes: Vec<RuntimeRecord>,
}

/// Copies what the runtimes have recorded.
pub(crate) fn trace(runtimes: &[Arc<Shared>]) -> Trace {
    Trace { runtimes: runtimes.iter().filter_map(|runtime| runtime.record()).collect() }
}

impl Trace {
    /// How many events there are. None: the recorder is off, or nothing has happened.
    #[must_use]
    pub fn events(&self) -> usize {
        self.tracks().map(|track| track.events.len()).sum()
    }

    /// How many events were overwritten since the runtimes began.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.tracks().map(|track| track.lost).sum()
    }

    fn tracks(&self) -> impl Iterator<Item = &crate::sched::TrackRecord> {
        self.runtimes.iter().flat_map(|runtime| &runtime.tracks)
    }

    /// The trace in the [Trace Event Format], for <https://ui.perfetto.dev> and `chrome://tracing`.
    ///
    /// A runtime is a process there, and a worker is a thread, with
    /// - a slice for each time that a coroutine ran: its name and number, where it was spawned, and
    ///   `stopped_by`, which is `end`, `yield`, `running` at the end of the trace, or what it waits for;
    /// - slices for the poller, `poll`, and `sleep` if the worker waits in it;
    /// - tracks of their own for [blocking](crate::blocking()) work, with a slice for each job;
    /// - arrows from whoever woke or spawned a coroutine to where it ran next;
    /// - marks for starts that were stolen, timers, and runs that were
    ///   [stalls](crate::Builder::stall_after).
    ///
    /// [Trace Event Format]: https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut json = Vec::new();
        self.write_to(&mut json).expect("memory takes whatever is written");
        String::from_utf8(json).expect("JSON is text")
    }

    /// Writes what [`to_json`](Trace::to_json) returns.
    ///
    /// # Errors
    ///
    /// Those of `to`.
    pub fn write_to(&self, to: impl Write) -> io::Result<()> {
        chrome::write(&self.runtimes, to)
    }
}

impl fmt::Debug for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trace")
            .field("events", &self.events())
            .field("lost", &self.lost())
            .finish_non_exhaustive()
    }
}
