//! From what a machine has written to what it did when: its slices, and what happened between.

use crate::park::WaitReason;
use crate::sched::{Event, TrackRecord, What};
use std::panic::Location;

/// What a machine did without a break. Those of one machine do not overlap.
#[derive(Debug)]
pub(super) struct Slice<'a> {
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) of: Activity<'a>,
}

#[derive(Debug)]
pub(super) enum Activity<'a> {
    Run(Run<'a>),
    Poll {
        sleeps: bool,
        /// `None`: it still waits.
        events: Option<u64>,
    },
    /// Blocking work for a coroutine, which waits for that meanwhile.
    Job {
        coroutine: u64,
        reason: WaitReason,
    },
}

#[derive(Debug)]
pub(super) struct Run<'a> {
    pub(super) coroutine: u64,
    pub(super) spawned_at: &'static Location<'static>,
    pub(super) name: Option<&'a str>,
    pub(super) stop: Stop,
}

/// Why a coroutine does not run any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    Yield,
    Wait(WaitReason),
    End,
    /// It does.
    Running,
}

/// A coroutine is made to run, by what a machine did then.
#[derive(Debug)]
pub(super) struct Cause {
    pub(super) at: u64,
    pub(super) coroutine: u64,
    pub(super) kind: CauseKind,
    /// The machine did something that is a slice: an arrow needs one to begin in.
    pub(super) in_slice: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CauseKind {
    Wake,
    Spawn,
}

/// Something without a length.
#[derive(Debug)]
pub(super) enum Mark {
    Timer { at: u64, coroutine: u64 },
    Steal { at: u64, coroutine: u64, from: u64 },
}

/// What one machine did.
#[derive(Debug, Default)]
pub(super) struct Track<'a> {
    pub(super) slices: Vec<Slice<'a>>,
    pub(super) causes: Vec<Cause>,
    pub(super) marks: Vec<Mark>,
}

impl<'a> Track<'a> {
    /// What the record says that was copied at `end`. What had begun before its first event is left
    /// out: nobody knows when.
    pub(super) fn of(record: &'a TrackRecord, end: u64) -> Track<'a> {
        let mut reading = Reading { track: Track::default(), open: None };
        for event in &record.events {
            reading.event(event);
        }
        reading.close(end, Stop::Running);
        reading.track
    }
}

/// A record that has been read so far.
struct Reading<'a> {
    track: Track<'a>,
    /// The last slice, if it has no end yet. One that waits has a preliminary one.
    open: Option<Slice<'a>>,
}

impl<'a> Reading<'a> {
    fn event(&mut self, event: &'a Event) {
        let at = event.at;
        match &event.what {
            What::Run { coroutine, spawned_at, name } => {
                let (name, stop) = (name.as_deref(), Stop::Running);
                let run = Run { coroutine: *coroutine, spawned_at, name, stop };
                self.open(at, Activity::Run(run));
            }
            What::Park { coroutine, reason } => self.stop(at, *coroutine, Stop::Wait(*reason)),
            What::GoOn { coroutine } => self.stop(at, *coroutine, Stop::Running),
            What::End { coroutine } => {
                self.stop(at, *coroutine, Stop::End);
                self.close(at, Stop::Yield);
            }
            What::Wake { coroutine } => self.cause(at, *coroutine, CauseKind::Wake),
            What::Spawn { coroutine } => self.cause(at, *coroutine, CauseKind::Spawn),
            What::Timer { coroutine } => {
                self.close(at, Stop::Yield);
                self.track.marks.push(Mark::Timer { at, coroutine: *coroutine });
            }
            What::Job { coroutine, reason } => {
                self.open(at, Activity::Job { coroutine: *coroutine, reason: *reason });
            }
            What::Poll { sleeps } => {
                self.open(at, Activity::Poll { sleeps: *sleeps, events: None });
            }
            What::Polled { events: number } => {
                if let Some(Slice { of: Activity::Poll { events, .. }, .. }) = &mut self.open {
                    *events = Some(*number);
                }
                self.close(at, Stop::Yield);
            }
            What::Steal { coroutine, from } => {
                self.close(at, Stop::Yield);
                self.track.marks.push(Mark::Steal { at, coroutine: *coroutine, from: *from });
            }
        }
    }

    fn open(&mut self, start: u64, of: Activity<'a>) {
        self.close(start, Stop::Yield);
        self.open = Some(Slice { start, end: start, of });
    }

    /// The coroutine that runs says that it is about to stop, or that it does not.
    fn stop(&mut self, at: u64, coroutine: u64, because: Stop) {
        if let Some(Slice { end, of: Activity::Run(run), .. }) = &mut self.open
            && run.coroutine == coroutine
        {
            (run.stop, *end) = (because, at);
        }
    }

    /// The machine does something else from here on. A coroutine that has not said why it stops has
    /// stopped for `unsaid`: a yield is not recorded, since whatever comes next shows it.
    fn close(&mut self, at: u64, unsaid: Stop) {
        let Some(mut slice) = self.open.take() else { return };
        match &mut slice.of {
            Activity::Run(run) if run.stop == Stop::Running => {
                (run.stop, slice.end) = (unsaid, at);
            }
            Activity::Run(_) => {}
            Activity::Poll { .. } | Activity::Job { .. } => slice.end = at,
        }
        self.track.slices.push(slice);
    }

    fn cause(&mut self, at: u64, coroutine: u64, kind: CauseKind) {
        if let Some(Slice { end, of: Activity::Run(run), .. }) = &mut self.open
            && let Stop::Wait(_) = run.stop
        {
            // To begin a wait may wake somebody, as a condition variable gives its lock up.
            *end = at;
        }
        let in_slice = self.open.is_some();
        self.track.causes.push(Cause { at, coroutine, kind, in_slice });
    }
}
