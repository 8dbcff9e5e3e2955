//! Traces that are taken while the workers run as fast as they can.

use crate::reading::Trace;
use pirn::channel::bounded;
use pirn::sync::{Condvar, Mutex};
use pirn::{Builder, thread};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Coroutines that spawn, yield, meet in channels and wait for each other, on all workers, until told
/// to stop.
fn load(stop: &Arc<AtomicBool>) {
    let turn = Arc::new((Mutex::new(0_usize), Condvar::new()));
    for player in 0..2 {
        let (stop, turn) = (stop.clone(), turn.clone());
        pirn::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                let mut now = turn.0.lock().unwrap();
                while *now % 2 != player && !stop.load(Ordering::Relaxed) {
                    now = turn.1.wait(now).unwrap();
                }
                *now += 1;
                turn.1.notify_all();
            }
        });
    }
    let workers: Vec<_> = (0..8)
        .map(|_| {
            let stop = stop.clone();
            let body = move || {
                let (sender, receiver) = bounded::<u32>(0);
                let echo = pirn::spawn(move || receiver.iter().count());
                while !stop.load(Ordering::Relaxed) {
                    sender.send(1).unwrap();
                    thread::yield_now();
                    pirn::spawn(thread::yield_now).join().unwrap();
                }
                drop(sender);
                echo.join().unwrap();
            };
            thread::Builder::new().name("a name \"with quotes\"".into()).spawn(body).unwrap()
        })
        .collect();
    workers.into_iter().for_each(|worker| worker.join().unwrap());
    turn.1.notify_all();
}

#[test]
fn each_trace_is_well_formed() {
    let runtime = Builder::new().workers(4).trace(500).build().unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let theirs = stop.clone();
    let all = runtime.spawn(move || load(&theirs));
    let (mut tracks, mut names, mut arrows) = (BTreeSet::new(), BTreeSet::new(), 0);
    let mut rounds = 0;
    while rounds < 50 || tracks.len() < 4 || names.len() < 3 || arrows < 100 {
        let trace = Trace::read(&runtime.trace().to_json());
        tracks.extend(trace.runs().map(|run| run.place));
        names.extend(trace.runs().map(|run| run.name.clone()));
        arrows += trace.arrows.len();
        rounds += 1;
        assert!(rounds < 100_000, "{tracks:?} {names:?} {arrows}");
    }
    assert!(names.contains("a name \"with quotes\""));
    stop.store(true, Ordering::Relaxed);
    all.join().unwrap();
    assert!(runtime.trace().lost() > 0);
}

#[test]
fn the_traces_of_all_runtimes_come_together() {
    let runtimes = ["left", "right"]
        .map(|name| Builder::new().workers(1).name(name).trace(100).build().unwrap());
    let line = line!() + 1;
    runtimes.iter().for_each(|runtime| runtime.run(|| assert!(pirn::trace().events() > 0)));
    let trace = Trace::read(&pirn::trace().to_json());
    let here = format!("{}:{line}:", file!());
    let ours =
        trace.runs().filter(|run| run.args.get("spawned_at").unwrap().text().starts_with(&here));
    let places: BTreeSet<_> = ours.map(|run| trace.tracks[&run.place].as_str()).collect();
    assert_eq!(places, BTreeSet::from(["left-0", "right-0"]));
}
