//! What known programs leave behind.

use crate::json::Json;
use crate::reading::{Mark, Trace};
use pirn::{Builder, Runtime, thread};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

fn runtime(events: usize) -> Runtime {
    Builder::new().workers(1).trace(events).build().unwrap()
}

/// Looks until the worker has recorded what is expected: it does so in its own time.
#[track_caller]
fn trace_until(runtime: &Runtime, expected: impl Fn(&Trace) -> bool) -> Trace {
    let end = Instant::now() + Duration::from_secs(120);
    loop {
        let trace = Trace::read(&runtime.trace().to_json());
        if expected(&trace) {
            return trace;
        }
        assert!(Instant::now() < end, "{trace:#?}");
        std::thread::yield_now();
    }
}

/// The first run by that name has come to its end.
fn has_ended(trace: &Trace, name: &str) -> bool {
    trace.runs().any(|run| run.name == name && run.stopped_by() == "end")
}

fn named(name: &str) -> thread::Builder {
    thread::Builder::new().name(name.into())
}

#[test]
fn a_known_program_leaves_its_slices_and_arrows() {
    let runtime = Builder::new().workers(1).name("known").trace(1000).build().unwrap();
    let line = line!() + 3;
    runtime.run(|| {
        let parent = || {
            let child = named("child").spawn(thread::park).unwrap();
            thread::yield_now();
            child.thread().unpark();
            child.join().unwrap();
        };
        named("parent").spawn(parent).unwrap().join().unwrap();
    });
    let trace = trace_until(&runtime, |trace| {
        trace
            .runs()
            .last()
            .is_some_and(|last| last.name.starts_with("coroutine") && last.stopped_by() == "end")
    });
    assert_eq!(trace.lost, 0);
    assert_eq!(trace.tracks.values().collect::<Vec<_>>(), ["known-0"]);
    let runs: Vec<_> = trace.runs().map(|run| (run.name.as_str(), run.stopped_by())).collect();
    let main = runs[0].0;
    assert_eq!(
        runs,
        [
            (main, "join"),
            ("parent", "yield"),
            ("child", "park"),
            ("parent", "join"),
            ("child", "end"),
            ("parent", "end"),
            (main, "end"),
        ]
    );
    let child = trace.runs().find(|run| run.name == "child").unwrap();
    let spawned_at = child.args.get("spawned_at").unwrap().text();
    assert!(spawned_at.starts_with(&format!("{}:{line}:", file!())), "{spawned_at}");
    // Among the slices there are the poller's, so the runs are told by what number of run they are.
    let runs: Vec<_> = (0..trace.slices.len()).filter(|&n| trace.slices[n].cat == "run").collect();
    let run = |slice: usize| runs.iter().position(|&one| one == slice).unwrap();
    let mut arrows: Vec<_> = trace
        .arrows
        .iter()
        .map(|arrow| (run(arrow.from), run(arrow.to), arrow.name.as_str()))
        .collect();
    arrows.sort_unstable();
    let expected =
        [(0, 1, "spawn"), (1, 2, "spawn"), (3, 4, "wake"), (4, 5, "wake"), (5, 6, "wake")];
    assert_eq!(arrows, expected);
}

#[test]
fn a_sleep_ends_by_a_timer() {
    // On a busy machine the time may be over before the wait begins, or before the worker comes to
    // sleep: then it is told again with more.
    let (nap, trace) = (0..)
        .find_map(|attempt| {
            let nap = Duration::from_millis(50 << attempt);
            let runtime = runtime(1000);
            runtime.run(|| {
                let sleeper = named("sleeper").spawn(move || thread::sleep(nap)).unwrap();
                sleeper.join().unwrap();
            });
            let trace = trace_until(&runtime, |trace| has_ended(trace, "sleeper"));
            let in_time = |[slept, ended]: [&crate::reading::Slice; 2]| {
                let rests = |one: &&crate::reading::Slice| one.name == "sleep";
                let mut rests = trace.slices.iter().filter(rests);
                rests.any(|rest| slept.end <= rest.start && rest.start < ended.start)
            };
            let runs: Vec<_> = trace.runs().filter(|run| run.name == "sleeper").collect();
            <[_; 2]>::try_from(runs).is_ok_and(in_time).then_some((nap, trace))
        })
        .expect("some attempt is in time");
    let runs: Vec<_> = trace.runs().filter(|run| run.name == "sleeper").collect();
    let [slept, ended] = runs[..] else { panic!("{trace:#?}") };
    assert_eq!(slept.stopped_by(), "sleep");
    // It began after the run did. The trace has a clock of its own.
    let least = nap - Duration::from_millis(1);
    assert!(u128::from(ended.start - slept.start) >= least.as_nanos(), "{trace:#?}");
    let number = slept.args.get("coroutine").unwrap().number();
    let timer = trace.marks.iter().find(|mark| mark.name == "timer").unwrap();
    assert_eq!(timer.args.get("coroutine").unwrap().number(), number);
    // Meanwhile the worker slept in its poller.
    let waited = |slice: &&crate::reading::Slice| slice.name == "sleep" && slice.start >= slept.end;
    assert!(trace.slices.iter().find(waited).unwrap().end <= ended.start);
}

#[test]
fn the_oldest_is_overwritten_and_counted() {
    let runtime = runtime(7);
    runtime.run(|| (0..100).for_each(|_| thread::yield_now()));
    // What is overwritten while it is copied is left out, which may be all of it.
    let end = Instant::now() + Duration::from_secs(120);
    let trace = loop {
        let trace = runtime.trace();
        assert!(trace.events() <= 7 && trace.lost() >= 93, "{trace:?}");
        if trace.events() >= 6 {
            break trace;
        }
        assert!(Instant::now() < end, "{trace:?}");
    };
    let read = Trace::read(&trace.to_json());
    assert_eq!(read.lost, trace.lost());
    assert!(!read.slices.is_empty());
}

/// Sets its flag when it goes.
struct Release(Arc<AtomicBool>);

impl Drop for Release {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_stuck_worker_shows_what_it_did() {
    let runtime = Builder::new()
        .workers(1)
        .trace(1000)
        .stall_after(Duration::from_millis(2))
        .build()
        .unwrap();
    let theirs = Arc::new(AtomicBool::new(false));
    // Also if something fails here: the runtime waits for its coroutines.
    let release = Release(theirs.clone());
    let stuck = runtime.run(move || {
        let spin = move || {
            while !theirs.load(Ordering::Relaxed) {
                std::hint::spin_loop();
            }
        };
        named("stuck").spawn(spin).unwrap()
    });
    // Its worker will say nothing more until it is released.
    // Any run is a stall in whose middle the system takes the thread's processor away for so long.
    let stalled = |trace: &Trace| {
        let number = |args: &Json| args.get("coroutine").unwrap().number();
        let stuck = trace.runs().find(|run| run.name == "stuck").map(|run| number(&run.args));
        let of_it = |mark: &Mark| mark.name == "stall" && Some(number(&mark.args)) == stuck;
        trace.marks.iter().any(of_it)
    };
    let trace = trace_until(&runtime, stalled);
    let last = trace.runs().find(|run| run.name == "stuck").unwrap();
    assert_eq!(last.stopped_by(), "running");
    assert!(last.end - last.start > 2_000_000);
    drop(release);
    stuck.join().unwrap();
    let trace = trace_until(&runtime, |trace| has_ended(trace, "stuck"));
    assert_eq!(trace.runs().filter(|run| run.name == "stuck").count(), 1);
}

#[test]
fn a_runtime_that_does_not_record_has_an_empty_trace() {
    let runtime = Builder::new().workers(1).build().unwrap();
    runtime.run(|| pirn::spawn(thread::yield_now).join().unwrap());
    let trace = runtime.trace();
    assert_eq!((trace.events(), trace.lost()), (0, 0));
    let read = Trace::read(&trace.to_json());
    assert!(read.slices.is_empty() && read.tracks.is_empty());
}

#[test]
fn a_number_of_events_out_of_range_is_refused() {
    for events in [0, 1 << 24] {
        let error = Builder::new().workers(1).trace(events).build().unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    }
}

#[test]
fn blocking_work_is_on_tracks_of_its_own() {
    let runtime = Builder::new().workers(1).name("jobs").trace(1000).build().unwrap();
    // The runtimes of other tests are in a dump, too.
    let waits = |dump: &pirn::Dump| {
        let ours = dump.runtimes.iter().filter(|one| one.name == "jobs");
        let mut ours = ours.flat_map(|one| &one.coroutines);
        ours.any(|one| one.waits_for.as_deref() == Some("blocking work"))
    };
    let work = move || while !waits(&pirn::dump()) {};
    let waiting = runtime.run(|| {
        // One after the other, which takes one track.
        (0..3).for_each(|_| pirn::blocking(work));
        let waiting = named("waiting").spawn(move || pirn::blocking(work)).unwrap();
        let id = waiting.thread().id();
        waiting.join().unwrap();
        format!("{id:?}")
    });
    let of = |job: &crate::reading::Slice| {
        format!("ThreadId({})", job.args.get("coroutine").unwrap().number())
    };
    let jobs = |trace: &Trace| -> Vec<usize> {
        let is_job = |&n: &usize| trace.slices[n].cat == "job";
        (0..trace.slices.len()).filter(is_job).collect()
    };
    let trace =
        trace_until(&runtime, |trace| has_ended(trace, "waiting") && jobs(trace).len() == 4);
    let jobs = jobs(&trace);
    let job = *jobs.last().unwrap();
    assert!(jobs.iter().all(|&job| trace.slices[job].name == "blocking work"));
    assert_eq!(of(&trace.slices[job]), waiting);
    assert_eq!(trace.tracks.values().collect::<Vec<_>>(), ["jobs-0", "jobs-blocking-0"]);
    let woken = trace.arrows.iter().find(|arrow| arrow.from == job).unwrap();
    assert_eq!((woken.name.as_str(), trace.slices[woken.to].name.as_str()), ("wake", "waiting"));
}

#[test]
fn each_of_several_jobs_has_a_track() {
    let runtime = Builder::new().workers(1).name("several").trace(1000).build().unwrap();
    let all = Arc::new(std::sync::Barrier::new(5));
    runtime.run(|| {
        let job = |_| {
            let all = all.clone();
            pirn::spawn(move || pirn::blocking(move || all.wait()).is_leader())
        };
        let all: Vec<_> = (0..5).map(job).collect();
        let leaders = all.into_iter().filter_map(|one| one.join().unwrap().then_some(()));
        assert_eq!(leaders.count(), 1);
    });
    let jobs = |trace: &Trace| trace.slices.iter().filter(|slice| slice.cat == "job").count();
    let trace = trace_until(&runtime, |trace| jobs(trace) == 5);
    let tracks = trace.tracks.values().filter(|name| name.starts_with("several-blocking-"));
    assert_eq!(tracks.count(), 5);
}
