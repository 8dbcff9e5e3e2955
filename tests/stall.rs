//! The stall watch: who holds a worker, and who waits for it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

const LIMIT: Duration = Duration::from_millis(50);
/// Long enough for any machine: a test that gets there has failed.
const PATIENCE: Duration = Duration::from_secs(120);

fn watched(workers: usize) -> (pirn::Runtime, mpsc::Receiver<pirn::Stall>) {
    let (sent, received) = mpsc::channel();
    let sent = Mutex::new(sent);
    let runtime = pirn::Builder::new()
        .workers(workers)
        .stall_after(LIMIT)
        .on_stall(move |stall| drop(sent.lock().unwrap().send(stall.clone())))
        .build()
        .unwrap();
    (runtime, received)
}

/// The next report like that. Others may come before it: of whoever runs when the system takes the
/// processor away for long, or of a time at which nobody waited yet. They are repeated.
#[track_caller]
fn report(reports: &mpsc::Receiver<pirn::Stall>, is: impl Fn(&pirn::Stall) -> bool) -> pirn::Stall {
    loop {
        let stall = reports.recv_timeout(PATIENCE).expect("no report came");
        if is(&stall) {
            return stall;
        }
    }
}

/// Spins until it is told to end.
fn hog(stop: &AtomicBool) {
    while !stop.load(Ordering::Acquire) {
        std::hint::spin_loop();
    }
}

#[test]
fn a_stalled_worker_is_reported_with_its_coroutine() {
    for workers in [1, 2, 4] {
        let (runtime, reports) = watched(workers);
        let stop = Arc::new(AtomicBool::new(false));
        let theirs = stop.clone();
        let (line, hogging) = runtime.run(|| {
            let builder = pirn::thread::Builder::new().name("the hog".into());
            (line!() + 1, builder.spawn(move || hog(&theirs)).unwrap())
        });
        let stall = report(&reports, |stall| stall.name.as_deref() == Some("the hog"));
        stop.store(true, Ordering::Release);
        assert_eq!(stall.spawned_at.file(), file!());
        assert!(stall.spawned_at.line().abs_diff(line) <= 1, "{stall:?}");
        let id = format!("ThreadId({})", stall.coroutine);
        assert_eq!(format!("{:?}", hogging.thread().id()), id);
        assert!(stall.running_for >= LIMIT, "{stall:?}");
        assert!(!stall.block_in_place);
        let known = runtime.metrics().workers.iter().any(|worker| worker.number == stall.worker);
        assert!(known, "{stall:?}");
        hogging.join().unwrap();
    }
}

#[test]
fn residents_that_wait_are_counted() {
    let (runtime, reports) = watched(1);
    let stop = Arc::new(AtomicBool::new(false));
    let theirs = stop.clone();
    runtime.run(|| {
        let residents: Vec<_> =
            (0..5).map(|_| pirn::thread::spawn_local(pirn::thread::park)).collect();
        pirn::thread::yield_now();
        let hogging = pirn::thread::spawn_local(move || hog(&theirs));
        residents.iter().for_each(|resident| resident.thread().unpark());
        let helper = std::thread::spawn(move || {
            let stall = report(&reports, |stall| stall.waiting > 0);
            stop.store(true, Ordering::Release);
            stall
        });
        hogging.join().unwrap();
        residents.into_iter().for_each(|resident| resident.join().unwrap());
        let stall = pirn::blocking(|| helper.join().unwrap());
        assert_eq!(stall.name, None);
    });
}

/// Woken from elsewhere while their home is stuck: they wait in its inbox.
#[test]
fn residents_woken_from_elsewhere_are_counted() {
    let (runtime, reports) = watched(1);
    let stop = Arc::new(AtomicBool::new(false));
    let (sent, received) = mpsc::channel();
    let resident = runtime.spawn(move || {
        sent.send(()).unwrap();
        pirn::thread::park();
    });
    received.recv().unwrap();
    let (sent, received) = mpsc::channel();
    let theirs = stop.clone();
    let hogging = runtime.spawn(move || {
        sent.send(()).unwrap();
        hog(&theirs);
    });
    received.recv().unwrap();
    resident.thread().unpark();
    report(&reports, |stall| stall.waiting > 0);
    stop.store(true, Ordering::Release);
    hogging.join().unwrap();
    resident.join().unwrap();
}

#[test]
fn reports_repeat_as_the_stall_doubles() {
    let (runtime, reports) = watched(2);
    let stop = Arc::new(AtomicBool::new(false));
    let theirs = stop.clone();
    let hogging = runtime.spawn(move || hog(&theirs));
    let first = reports.recv_timeout(PATIENCE).expect("no report came");
    let second = reports.recv_timeout(PATIENCE).expect("no second report came");
    stop.store(true, Ordering::Release);
    assert!(second.running_for >= first.running_for * 2, "{first:?} {second:?}");
    assert_eq!(first.coroutine, second.coroutine);
    hogging.join().unwrap();
}

#[test]
fn a_blocked_worker_is_reported_as_such() {
    let (runtime, reports) = watched(1);
    let (open, gate) = mpsc::channel::<()>();
    let blocked = runtime.spawn(move || pirn::block_in_place(|| gate.recv()).is_ok());
    report(&reports, |stall| stall.block_in_place);
    drop(open);
    blocked.join().unwrap();
}

/// Parks and yields are scheduling: whoever does either in time is not reported.
#[test]
fn a_runtime_that_schedules_is_not_reported() {
    let (runtime, reports) = {
        let (sent, received) = mpsc::channel();
        let sent = Mutex::new(sent);
        let runtime = pirn::Builder::new()
            .workers(2)
            // More than the machine's other load delays a worker by.
            .stall_after(Duration::from_secs(1))
            .on_stall(move |stall| drop(sent.lock().unwrap().send(stall.clone())))
            .build()
            .unwrap();
        (runtime, received)
    };
    runtime.run(|| {
        let sleeper = pirn::spawn(|| pirn::thread::sleep(Duration::from_millis(3500)));
        while !sleeper.is_finished() {
            pirn::thread::yield_now();
        }
    });
    drop(runtime);
    assert!(reports.try_iter().next().is_none());
}
