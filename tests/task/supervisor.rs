//! `task::Supervisor`.

use pirn::task::{Fault, Supervisor};
use pirn::thread;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

fn quick<E>() -> Supervisor<E> {
    Supervisor::new().back_off(Duration::from_micros(100)..Duration::from_micros(300))
}

#[test]
fn what_fails_is_run_again() {
    let mut runs = 0;
    let told = Arc::new(Mutex::new(Vec::new()));
    let tells = told.clone();
    // Nothing that runs for longer than the longest pause, after which the pauses begin anew.
    let pauses = Duration::from_micros(100)..Duration::from_secs(3600);
    let supervisor = Supervisor::new().back_off(pauses).on_restart(move |fault, pause| {
        tells.lock().unwrap().push((fault.to_string(), pause.as_micros()));
    });
    let result = supervisor.run(|| {
        runs += 1;
        match runs {
            1 => Err("an error"),
            2 => std::panic::resume_unwind(Box::new("a panic")),
            3 => Err("again"),
            _ => Ok(runs),
        }
    });
    assert_eq!(result.unwrap(), 4);
    let told: Vec<_> = told.lock().unwrap().drain(..).collect();
    let expected =
        [("an error", 100), ("panicked: a panic", 200), ("again", 400)].map(|(t, p)| (t.into(), p));
    assert_eq!(told, expected);
}

#[test]
fn no_pause_is_longer_than_the_longest() {
    let longest = Duration::from_micros(300);
    let told = Arc::new(Mutex::new(Vec::new()));
    let tells = told.clone();
    // The second would be too long if it doubled. After a run that took longer it is the first again.
    let shortest = longest - Duration::from_nanos(1);
    let supervisor = Supervisor::new().back_off(shortest..longest);
    let supervisor = supervisor.on_restart(move |_: &Fault<&str>, pause| {
        tells.lock().unwrap().push(pause);
    });
    let mut runs = 0;
    let result = supervisor.run(|| {
        runs += 1;
        if runs < 5 { Err("again") } else { Ok(()) }
    });
    assert!(result.is_ok());
    let told = told.lock().unwrap();
    assert!(told.len() == 4 && told.iter().all(|&pause| pause <= longest), "{told:?}");
}

#[test]
fn it_gives_up_in_the_end() {
    let mut runs = 0;
    let gave_up = quick().restarts(3, Duration::from_secs(60)).run(|| {
        runs += 1;
        Err::<(), _>(runs)
    });
    let gave_up = gave_up.unwrap_err();
    assert_eq!((gave_up.restarts, runs), (3, 4));
    assert!(matches!(gave_up.fault, Fault::Error(4)));
}

/// Failures that lie far back do not count.
#[test]
fn failures_are_forgotten() {
    let mut runs = 0;
    let result = quick().restarts(1, Duration::from_millis(1)).run(|| {
        runs += 1;
        thread::sleep(Duration::from_millis(2));
        if runs < 5 { Err("again") } else { Ok(()) }
    });
    assert!(result.is_ok());
}

#[test]
fn a_cancellation_is_no_failure() {
    let (begins, begun) = std::sync::mpsc::channel();
    let supervised = quick::<()>()
        .spawn(move || {
            begins.send(()).unwrap();
            thread::sleep(Duration::MAX);
            Ok(())
        })
        .unwrap();
    begun.recv().unwrap();
    let start = Instant::now();
    supervised.cancel();
    assert!(supervised.join().unwrap_err().is::<pirn::Cancelled>());
    assert!(begun.recv().is_err(), "it was run once");
    assert!(start.elapsed() < Duration::from_secs(120));
}

/// Whatever it runs never waits, and neither does it.
#[test]
fn one_without_a_pause_can_be_cancelled() {
    let (begins, begun) = std::sync::mpsc::channel();
    let start = Instant::now();
    let supervised = Supervisor::new()
        .back_off(Duration::ZERO..Duration::from_secs(1))
        .restarts(usize::MAX, Duration::ZERO)
        .spawn(move || {
            let _cancelled = begins.send(());
            if start.elapsed() < Duration::from_secs(20) { Err("again") } else { Ok(()) }
        })
        .unwrap();
    begun.recv().unwrap();
    supervised.cancel();
    assert!(supervised.join().unwrap_err().is::<pirn::Cancelled>());
    // Nor is a timeout kept from ending it, on a plain thread either.
    let run = || {
        let start = Instant::now();
        let supervisor = Supervisor::new().back_off(Duration::ZERO..Duration::from_secs(1));
        let supervisor = supervisor.restarts(usize::MAX, Duration::ZERO);
        pirn::time::timeout(Duration::from_millis(1), || {
            supervisor.run(|| match start.elapsed() < Duration::from_secs(20) {
                true => Err("again"),
                false => Ok(()),
            })
        })
    };
    assert!(run().is_err());
    assert!(pirn::spawn(run).join().unwrap().is_err());
}
