//! The flight recorder: what each machine has done of late.
//!
//! Each machine writes into a ring of its own and asks nobody. Whoever looks copies the rings, also
//! that of a machine which is stuck. Blocking work takes a ring that nobody else writes to for as long
//! as it lasts, and leaves it to the next: as many rings as there was work at once. `docs/trace.md` has
//! the reasons.

mod event;
mod ticks;

pub(crate) use event::{Event, What};

use super::machine::Machine;
use super::processor::Processor;
use super::shared::Shared;
use crate::coroutine::Header;
use crate::park::WaitReason;
use crate::protocol::ring::{Reader, Writer, ring};
use event::{Kind, WORDS, encode, encode_location, encode_name};
use std::cell::Cell;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use ticks::{Clock, Scale};

/// Rings of machines that have ended, which are kept for those who look later.
const ENDED: usize = 8;

/// Of a ring for blocking work, how much smaller it is than a machine's.
const JOBS_SHARE: usize = 16;
/// And how many records it has at least.
const JOBS: usize = 63;

/// All recording of one runtime.
pub(crate) struct Recorder {
    records: usize,
    tracks: Mutex<Vec<Track>>,
    idle_jobs: Mutex<Vec<Pen>>,
}

struct Track {
    number: usize,
    of: TrackOf,
    reader: Reader<WORDS>,
}

/// Who writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TrackOf {
    Worker,
    SurplusWorker,
    /// Blocking work, one after the other.
    Jobs,
}

/// Blocking work that goes on, for a coroutine.
pub(crate) struct Job {
    recorder: Arc<Recorder>,
    coroutine: u64,
    /// Until it goes back.
    pen: Option<Pen>,
}

/// What a machine writes with.
pub(super) struct Pen {
    writer: Writer<WORDS>,
    clock: Clock,
    /// A thread may be moved to a processor whose clock is a little behind.
    last: Cell<u64>,
}

/// What one runtime's machines have written.
#[derive(Clone, Debug)]
pub(crate) struct RuntimeRecord {
    pub(crate) name: String,
    pub(crate) stall_after: Duration,
    /// When the copies had been made.
    pub(crate) end: u64,
    pub(crate) tracks: Vec<TrackRecord>,
}

/// What one machine has written.
#[derive(Clone, Debug)]
pub(crate) struct TrackRecord {
    pub(crate) number: usize,
    pub(crate) of: TrackOf,
    /// Records that were overwritten.
    pub(crate) lost: u64,
    /// The oldest first.
    pub(crate) events: Vec<Event>,
}

impl Recorder {
    pub(super) fn new(records: usize) -> Recorder {
        Recorder { records, tracks: Mutex::default(), idle_jobs: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Track>> {
        self.tracks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn idle_jobs(&self) -> MutexGuard<'_, Vec<Pen>> {
        self.idle_jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For a machine that begins.
    pub(super) fn pen(&self, processor: &Processor) -> Pen {
        let of = if processor.surplus { TrackOf::SurplusWorker } else { TrackOf::Worker };
        let mut tracks = self.lock();
        let ended = |track: &Track| !track.reader.is_written();
        if tracks.iter().filter(|track| ended(track)).count() >= ENDED
            && let Some(oldest) = tracks.iter().position(ended)
        {
            tracks.remove(oldest);
        }
        new_track(&mut tracks, processor.number, of, self.records)
    }

    /// Blocking work begins, for a coroutine that waits for it in that way.
    pub(crate) fn job(self: Arc<Self>, coroutine: u64, reason: WaitReason) -> Job {
        let idle = self.idle_jobs().pop();
        let pen = idle.unwrap_or_else(|| {
            let mut tracks = self.lock();
            let number = tracks.iter().filter(|track| track.of == TrackOf::Jobs).count();
            let records = (self.records / JOBS_SHARE).max(JOBS);
            new_track(&mut tracks, number, TrackOf::Jobs, records)
        });
        pen.write(Kind::Job, coroutine, reason.pack());
        Job { recorder: self, coroutine, pen: Some(pen) }
    }
}

fn new_track(tracks: &mut Vec<Track>, number: usize, of: TrackOf, records: usize) -> Pen {
    let (writer, reader) = ring(records);
    tracks.push(Track { number, of, reader });
    Pen { writer, clock: ticks::clock(), last: Cell::new(0) }
}

impl Job {
    /// It is done, and about to wake its coroutine if that waits.
    pub(crate) fn end(self, wakes: bool) {
        if let Some(pen) = self.pen.as_ref().filter(|_| wakes) {
            pen.write(Kind::Wake, self.coroutine, 0);
        }
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        if let Some(pen) = self.pen.take() {
            pen.write(Kind::End, self.coroutine, 0);
            self.recorder.idle_jobs().push(pen);
        }
    }
}

impl Shared {
    /// What the machines have done; `None` if that is not recorded.
    pub(crate) fn record(&self) -> Option<RuntimeRecord> {
        let tracks = self.recorder.as_ref()?.lock();
        let copies: Vec<_> = tracks.iter().map(|track| track.reader.copy()).collect();
        let scale = Scale::now();
        let tracks = tracks.iter().zip(copies).map(|(track, copied)| TrackRecord {
            number: track.number,
            of: track.of,
            lost: copied.lost,
            events: event::decode(&copied.records, &scale),
        });
        Some(RuntimeRecord {
            name: self.config.name.clone(),
            stall_after: self.config.stall_after,
            end: scale.end(),
            tracks: tracks.collect(),
        })
    }
}

impl Machine {
    /// Has something recorded, if anything is: one test of a word of the machine's.
    #[inline]
    pub(super) fn record(&self, write: impl FnOnce(&Pen)) {
        if let Some(pen) = &self.pen {
            write(pen);
        }
    }
}

// None of these is inlined: who does not record is to have no more than the test in his way.
impl Pen {
    #[inline]
    fn write(&self, kind: Kind, coroutine: u64, more: u64) {
        let at = self.clock.now().max(self.last.get());
        self.last.set(at);
        self.writer.push(encode(at, kind, coroutine, more));
    }

    #[cold]
    pub(super) fn run(&self, header: &Header) {
        self.write(Kind::Run, header.id, encode_location(header.spawned_at));
        if let Some(name) = header.name() {
            encode_name(name).for_each(|part| self.writer.push(part));
        }
    }

    #[cold]
    pub(super) fn park(&self, header: &Header, reason: WaitReason) {
        self.write(Kind::Park, header.id, reason.pack());
    }

    #[cold]
    pub(super) fn go_on(&self, header: &Header) {
        self.write(Kind::GoOn, header.id, 0);
    }

    #[cold]
    pub(super) fn end(&self, header: &Header) {
        self.write(Kind::End, header.id, 0);
    }

    #[cold]
    pub(super) fn wake(&self, header: &Header) {
        self.write(Kind::Wake, header.id, 0);
    }

    #[cold]
    pub(super) fn timer(&self, header: &Header) {
        self.write(Kind::Timer, header.id, 0);
    }

    #[cold]
    pub(super) fn spawn(&self, header: &Header) {
        self.write(Kind::Spawn, header.id, 0);
    }

    #[cold]
    pub(super) fn poll(&self, timeout: Option<Duration>) {
        self.write(Kind::Poll, 0, (timeout != Some(Duration::ZERO)).into());
    }

    #[cold]
    pub(super) fn polled(&self, events: u64) {
        self.write(Kind::Polled, 0, events);
    }

    #[cold]
    pub(super) fn steal(&self, header: &Header, victim: &Processor) {
        self.write(Kind::Steal, header.id, victim.number as u64);
    }
}
