//! Questions to the machines of a runtime: who lives where, and in what state.
//!
//! What a coroutine waits for is its home's to read. So a [`Survey`] is posted to each machine, and
//! each answers it between two switches, on its own stack. The post uses what is there: the flag by
//! which sysmon asks a busy machine to poll, which each schedule looks at anyway, and the interrupt
//! that ends a sleep. A machine that is not asked does nothing for it.
//!
//! A machine that is in a coroutine which neither parks nor yields does not answer. Whoever asks
//! must not wait for ever.
//!
//! A survey of a moment, as a dump is, sees all residents at once, and they wait that long. One that
//! [walks](Survey::walks) sees some at a time, and the machine goes on with its work in between, so
//! that the program does not notice how often it is looked at.

use crate::coroutine::Header;
use crate::park::WaitReason;
use crate::sched::machine::Machine;
use crate::sched::processor::Processor;
use std::mem;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

/// Something to be asked of every machine.
pub(crate) trait Survey: Send + Sync {
    /// Called by a machine between two switches, on its own stack: it must not park, panic or run
    /// user code.
    fn visit(&self, residence: &Residence<'_>) -> Visit;

    /// Whether it looks at residents by [`Residence::next_residents`]. One such survey after the other
    /// is answered.
    fn walks(&self) -> bool {
        false
    }
}

/// What comes of a visit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Visit {
    Done,
    /// There are more residents to look at when others have had their turn: a survey that walks.
    Unfinished,
}

/// A machine that is being asked.
pub(crate) struct Residence<'a> {
    pub(super) machine: &'a Machine,
    /// It is about to end.
    pub(super) retiring: bool,
}

/// A coroutine that was found at a machine.
pub(crate) struct Sighting<'a> {
    /// For what anyone may read.
    pub(crate) header: &'a Header,
    pub(crate) standing: Standing,
}

/// What a coroutine does that does not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Nobody has started it yet.
    Unstarted,
    /// It will run as soon as its home is free.
    Ready,
    /// It waits.
    Parked {
        reason: WaitReason,
        /// When that ends by itself, in the runtime's nanoseconds; `u64::MAX` for never.
        deadline: u64,
    },
}

/// What a machine has been asked and has not answered.
pub(crate) struct Surveys(Mutex<Posted>);

struct Posted {
    posted: Vec<Arc<dyn Survey>>,
    /// The machine has ended and answers nothing any more.
    closed: bool,
}

impl Surveys {
    pub(super) fn new() -> Surveys {
        Surveys(Mutex::new(Posted { posted: Vec::new(), closed: false }))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Posted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was posted since the last call.
    pub(super) fn take(&self) -> Vec<Arc<dyn Survey>> {
        mem::take(&mut self.lock().posted)
    }

    /// The last of what was posted.
    pub(super) fn close(&self) -> Vec<Arc<dyn Survey>> {
        let mut state = self.lock();
        state.closed = true;
        mem::take(&mut state.posted)
    }
}

impl Processor {
    /// Asks the machine. `false`: it has ended.
    pub(crate) fn ask(&self, survey: Arc<dyn Survey>) -> bool {
        {
            let mut state = self.watch.surveys.lock();
            if state.closed {
                return false;
            }
            state.posted.push(survey);
        }
        // After the push: a machine that clears the flag looks at what was posted after that.
        self.watch.nudge.store(true, Ordering::Relaxed);
        self.driver.interrupt();
        true
    }
}
