//! A trace in the format that Chrome and Perfetto read.

use super::slices::{Activity, CauseKind, Mark, Run, Slice, Stop, Track};
use crate::sched::{RuntimeRecord, TrackOf, TrackRecord};
use crate::util::json::Object;
use std::collections::HashMap;
use std::fmt;
use std::io::{self, Write};

/// Microseconds, to the nanosecond.
struct Micros(u64);

impl fmt::Display for Micros {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:03}", self.0 / 1000, self.0 % 1000)
    }
}

/// Writes one event after another.
struct Events<W> {
    to: W,
    first: bool,
    arrows: u64,
}

/// The first track of blocking work, behind those of all workers.
const FIRST_JOBS: usize = 1 << 20;

/// A track: its process and its thread.
#[derive(Clone, Copy)]
struct Place {
    pid: usize,
    tid: usize,
}

pub(super) fn write(runtimes: &[RuntimeRecord], to: impl Write) -> io::Result<()> {
    let mut events = Events { to: io::BufWriter::new(to), first: true, arrows: 0 };
    write!(events.to, "{{\"displayTimeUnit\":\"ns\",\"traceEvents\":[")?;
    for (index, runtime) in runtimes.iter().enumerate() {
        // A process of number 0 would be the idle one.
        events.runtime(index + 1, runtime)?;
    }
    let lost: u64 = runtimes.iter().flat_map(|one| &one.tracks).map(|track| track.lost).sum();
    write!(events.to, "\n],\"otherData\":{{\"lost\":{lost}}}}}")?;
    events.to.flush()
}

/// The beginning of an event of that kind.
fn event(kind: &str, at: Option<u64>, place: Place) -> Object {
    let mut object = Object::new();
    object.text("ph", Some(kind));
    object.value("pid", Some(place.pid));
    object.value("tid", Some(place.tid));
    if let Some(at) = at {
        object.value("ts", Some(Micros(at)));
    }
    object
}

fn run_args(run: &Run<'_>) -> String {
    let mut args = Object::new();
    args.value("coroutine", Some(run.coroutine));
    args.text("spawned_at", Some(run.spawned_at));
    match run.stop {
        Stop::Yield => args.text("stopped_by", Some("yield")),
        Stop::End => args.text("stopped_by", Some("end")),
        Stop::Running => args.text("stopped_by", Some("running")),
        Stop::Wait(reason) => args.text("stopped_by", Some(reason)),
    }
    args.end()
}

impl<W: Write> Events<W> {
    fn write(&mut self, event: Object) -> io::Result<()> {
        let separator = if self.first { "\n" } else { ",\n" };
        self.first = false;
        write!(self.to, "{separator}{}", event.end())
    }

    fn runtime(&mut self, pid: usize, runtime: &RuntimeRecord) -> io::Result<()> {
        self.metadata(Place { pid, tid: 0 }, "process_name", &runtime.name)?;
        let tracks: Vec<_> =
            runtime.tracks.iter().map(|record| Track::of(record, runtime.end)).collect();
        let place = |track: &TrackRecord| {
            let first = if track.of == TrackOf::Jobs { FIRST_JOBS } else { 1 };
            Place { pid, tid: first + track.number }
        };
        let places: Vec<_> = runtime.tracks.iter().map(place).collect();
        for ((record, track), &place) in runtime.tracks.iter().zip(&tracks).zip(&places) {
            let kind = match record.of {
                TrackOf::Worker => "",
                TrackOf::SurplusWorker => "surplus-",
                TrackOf::Jobs => "blocking-",
            };
            let name = format!("{}-{kind}{}", runtime.name, record.number);
            self.metadata(place, "thread_name", &name)?;
            for slice in &track.slices {
                self.slice(place, slice, runtime)?;
            }
            for mark in &track.marks {
                self.mark(place, mark)?;
            }
        }
        self.arrows(&tracks, &places)
    }

    fn metadata(&mut self, place: Place, what: &str, name: &str) -> io::Result<()> {
        let mut args = Object::new();
        args.text("name", Some(name));
        let mut object = event("M", None, place);
        object.text("name", Some(what));
        object.value("args", Some(args.end()));
        self.write(object)
    }

    fn slice(
        &mut self,
        place: Place,
        slice: &Slice<'_>,
        runtime: &RuntimeRecord,
    ) -> io::Result<()> {
        let length = slice.end - slice.start;
        let mut object = event("X", Some(slice.start), place);
        object.value("dur", Some(Micros(length)));
        match &slice.of {
            Activity::Run(run) => {
                object.text("cat", Some("run"));
                match run.name {
                    Some(name) => object.text("name", Some(name)),
                    None => object.text("name", Some(format_args!("coroutine {}", run.coroutine))),
                }
                object.value("args", Some(run_args(run)));
            }
            Activity::Poll { sleeps, events } => {
                object.text("cat", Some("poll"));
                object.text("name", Some(if *sleeps { "sleep" } else { "poll" }));
                let mut args = Object::new();
                args.value("events", *events);
                object.value("args", Some(args.end()));
            }
            Activity::Job { coroutine, reason } => {
                object.text("cat", Some("job"));
                object.text("name", Some(reason));
                let mut args = Object::new();
                args.value("coroutine", Some(coroutine));
                object.value("args", Some(args.end()));
            }
        }
        self.write(object)?;
        let limit = u64::try_from(runtime.stall_after.as_nanos()).unwrap_or(u64::MAX);
        match &slice.of {
            Activity::Run(run) if length > limit => {
                self.instant(place, slice.start + limit, "stall", run.coroutine, None)
            }
            _ => Ok(()),
        }
    }

    fn mark(&mut self, place: Place, mark: &Mark) -> io::Result<()> {
        match *mark {
            Mark::Timer { at, coroutine } => self.instant(place, at, "timer", coroutine, None),
            Mark::Steal { at, coroutine, from } => {
                self.instant(place, at, "steal", coroutine, Some(from))
            }
        }
    }

    fn instant(
        &mut self,
        place: Place,
        at: u64,
        name: &str,
        coroutine: u64,
        from: Option<u64>,
    ) -> io::Result<()> {
        let mut object = event("i", Some(at), place);
        // Of this thread.
        object.text("s", Some("t"));
        object.text("cat", Some("mark"));
        object.text("name", Some(name));
        let mut args = Object::new();
        args.value("coroutine", Some(coroutine));
        if let Some(from) = from {
            args.value("from_worker", Some(from));
        }
        object.value("args", Some(args.end()));
        self.write(object)
    }

    /// From each cause to the next run of its coroutine, wherever that is. If there are several
    /// causes before one run, as there are if runs between them were overwritten, it is the last.
    fn arrows(&mut self, tracks: &[Track<'_>], places: &[Place]) -> io::Result<()> {
        let mut runs: HashMap<u64, Vec<(u64, Place)>> = HashMap::new();
        for (track, &place) in tracks.iter().zip(places) {
            for slice in &track.slices {
                if let Activity::Run(run) = &slice.of {
                    runs.entry(run.coroutine).or_default().push((slice.start, place));
                }
            }
        }
        runs.values_mut().for_each(|runs| runs.sort_unstable_by_key(|run| run.0));
        let mut causes: Vec<_> = tracks
            .iter()
            .zip(places)
            .flat_map(|(track, &place)| track.causes.iter().map(move |cause| (cause, place)))
            .filter_map(|(cause, place)| {
                let runs = runs.get(&cause.coroutine)?;
                let next = runs.partition_point(|run| run.0 < cause.at);
                Some((cause, place, *runs.get(next)?))
            })
            .collect();
        // The last of those before the same run comes first, and is kept.
        causes.sort_unstable_by_key(|(cause, _, run)| {
            (cause.coroutine, run.0, std::cmp::Reverse(cause.at))
        });
        causes.dedup_by_key(|(cause, _, run)| (cause.coroutine, run.0));
        for (cause, from, (start, to)) in causes.into_iter().filter(|(cause, ..)| cause.in_slice) {
            let name = match cause.kind {
                CauseKind::Wake => "wake",
                CauseKind::Spawn => "spawn",
            };
            self.arrows += 1;
            for (kind, at, place) in [("s", cause.at, from), ("f", start, to)] {
                let mut object = event(kind, Some(at), place);
                object.value("id", Some(self.arrows));
                object.text("cat", Some("arrow"));
                object.text("name", Some(name));
                if kind == "f" {
                    // To the slice that begins there, not to the next one.
                    object.text("bp", Some("e"));
                }
                self.write(object)?;
            }
        }
        Ok(())
    }
}
