//! Flights, with a resolver whose answers wait for the test.

use super::*;
use crate::{Builder, Runtime};
use std::sync::Condvar;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

const LONG: Duration = Duration::from_secs(120);

/// A resolver that answers once it is told to.
#[derive(Default)]
struct Gate {
    asked: AtomicUsize,
    /// Questions that have not been answered.
    open: AtomicUsize,
    most_open: AtomicUsize,
    /// Answers that may be given.
    answers: Mutex<usize>,
    more: Condvar,
}

impl Gate {
    fn lookups(self: &Arc<Self>) -> Arc<Lookups> {
        let gate = self.clone();
        Arc::new(Lookups::new(move |host| gate.ask(host)))
    }

    fn ask(&self, host: &str) -> io::Result<Vec<SocketAddr>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let open = self.open.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_open.fetch_max(open, Ordering::SeqCst);
        let mut answers = self.more.wait_while(lock(&self.answers), |left| *left == 0).unwrap();
        *answers -= 1;
        self.open.fetch_sub(1, Ordering::SeqCst);
        drop(answers);
        match host {
            "nowhere" => Err(io::Error::new(io::ErrorKind::NotFound, "no such name")),
            "refused" => Err(io::Error::from_raw_os_error(libc::ECONNREFUSED)),
            _ => Ok(vec![([10, 0, 0, 1], 1).into(), ([10, 0, 0, 2], 2).into()]),
        }
    }

    fn answer(&self, times: usize) {
        *lock(&self.answers) += times;
        self.more.notify_all();
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

fn runtime(workers: usize, threads: usize) -> Runtime {
    Builder::new().workers(workers).max_blocking_threads(threads).build().unwrap()
}

/// Waits until something is so.
#[track_caller]
fn wait_until(mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + LONG;
    while !condition() {
        assert!(Instant::now() < end, "waited for something that does not happen");
        thread::yield_now();
    }
}

fn ports(addrs: vec::IntoIter<SocketAddr>) -> Vec<u16> {
    addrs.map(|addr| addr.port()).collect()
}

/// How many wait in flights for `host`, beside the table's own and the job's reference.
fn waiting_for(lookups: &Lookups, host: &str) -> usize {
    lock(&lookups.flights).get(host).map_or(0, |flight| Arc::strong_count(flight) - 2)
}

#[test]
fn those_who_ask_for_one_name_share_a_flight() {
    for workers in [1, 2] {
        let runtime = runtime(workers, 4);
        let gate = Arc::<Gate>::default();
        let lookups = gate.lookups();
        for round in 1..=3 {
            let ask = |port| {
                let lookups = lookups.clone();
                runtime.spawn(move || lookups.look_up("name", port, None).map(ports).unwrap())
            };
            let waiters: Vec<_> = (0..50).map(ask).collect();
            wait_until(|| waiting_for(&lookups, "name") == 50);
            gate.answer(1);
            for (port, waiter) in waiters.into_iter().enumerate() {
                assert_eq!(waiter.join().unwrap(), [port as u16; 2]);
            }
            assert_eq!(gate.asked(), round);
            assert!(lock(&lookups.flights).is_empty(), "an answer is kept");
        }
    }
}

#[test]
fn failures_are_shared() {
    let runtime = runtime(2, 4);
    let gate = Arc::<Gate>::default();
    let lookups = gate.lookups();
    for (round, (host, kind, code)) in [
        ("nowhere", io::ErrorKind::NotFound, None),
        ("refused", io::ErrorKind::ConnectionRefused, Some(libc::ECONNREFUSED)),
    ]
    .into_iter()
    .enumerate()
    {
        let ask = |_| {
            let lookups = lookups.clone();
            runtime.spawn(move || lookups.look_up(host, 80, None).unwrap_err())
        };
        let waiters: Vec<_> = (0..10).map(ask).collect();
        wait_until(|| waiting_for(&lookups, host) == 10);
        gate.answer(1);
        for waiter in waiters {
            let error = waiter.join().unwrap();
            assert_eq!((error.kind(), error.raw_os_error()), (kind, code));
            assert!(code.is_some() || error.to_string() == "no such name", "{error}");
        }
        assert_eq!(gate.asked(), round + 1);
    }
}

/// The one who has started a flight gives up, and those who came later get its answer.
#[test]
fn a_deadline_ends_a_wait_and_no_flight() {
    let runtime = runtime(2, 4);
    let gate = Arc::<Gate>::default();
    let lookups = gate.lookups();
    let first = lookups.clone();
    let first = move || first.look_up("name", 1, Some(Instant::now())).unwrap_err();
    assert_eq!(runtime.run(first).kind(), io::ErrorKind::TimedOut);
    let second = lookups.clone();
    let second = runtime.spawn(move || second.look_up("name", 2, None).map(ports).unwrap());
    wait_until(|| waiting_for(&lookups, "name") == 1);
    gate.answer(1);
    assert_eq!(second.join().unwrap(), [2, 2]);
    assert_eq!(gate.asked(), 1);
}

#[test]
fn a_plain_thread_has_deadlines_too() {
    let gate = Arc::<Gate>::default();
    let lookups = gate.lookups();
    let soon = Instant::now() + Duration::from_millis(20);
    let error = lookups.look_up("name", 1, Some(soon)).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    assert!(soon <= Instant::now());
    gate.answer(1);
    let late = Some(Instant::now() + LONG);
    // Of the first flight, or of one that this starts.
    gate.answer(1);
    assert_eq!(lookups.look_up("name", 2, late).map(ports).unwrap(), [2, 2]);
    assert!(gate.asked() <= 2);
    gate.answer(1);
    assert_eq!(lookups.look_up("name", 3, None).map(ports).unwrap(), [3, 3]);
}

#[test]
fn a_scope_that_ends_ends_the_wait_of_a_plain_thread() {
    let gate = Arc::<Gate>::default();
    let lookups = gate.lookups();
    let theirs = lookups.clone();
    let (tell, told) = std::sync::mpsc::channel();
    let asking = thread::spawn(move || {
        let deadline = Some(Instant::now() + Duration::from_millis(2));
        let limit = park::Limit { deadline, flag: None };
        tell.send(park::within(limit, || theirs.look_up("name", 9, None)).is_err()).unwrap();
    });
    let ended = told.recv_timeout(LONG);
    gate.answer(1);
    asking.join().unwrap();
    assert_eq!(ended, Ok(true));
    wait_until(|| lock(&lookups.flights).is_empty());
    // In none it asks for itself.
    gate.answer(1);
    assert_eq!(lookups.look_up("name", 9, None).map(ports).unwrap(), [9; 2]);
    assert_eq!(gate.asked(), 2);
}

/// Lookups that hang leave half of the pool to others.
#[test]
fn lookups_take_half_of_the_pool() {
    for (threads, share) in [(1, 1), (2, 1), (5, 3), (8, 4)] {
        let runtime = runtime(2, threads);
        let gate = Arc::<Gate>::default();
        let lookups = gate.lookups();
        let ask = |number: usize| {
            let lookups = lookups.clone();
            runtime.spawn(move || {
                lookups.look_up(&format!("name-{number}"), 1, None).map(ports).unwrap()
            })
        };
        let waiters: Vec<_> = (0..20).map(ask).collect();
        let queued = || runtime.metrics().blocking_queued;
        wait_until(|| gate.asked() == share && queued() == 20 - share);
        if threads > share {
            assert_eq!(runtime.run(|| crate::blocking(|| 42)), 42);
        }
        assert_eq!((gate.asked(), queued()), (share, 20 - share));
        gate.answer(20);
        waiters.into_iter().for_each(|waiter| assert_eq!(waiter.join().unwrap(), [1, 1]));
        assert_eq!(gate.most_open.load(Ordering::SeqCst), share);
        assert_eq!(gate.asked(), 20);
        // The share is given back.
        let again = lookups.clone();
        gate.answer(1);
        runtime.run(move || again.look_up("again", 1, None).map(drop)).unwrap();
    }
}

/// A runtime ends while its lookups hang or wait for their turn, and another's coroutine waits for
/// one of them.
#[test]
fn a_flight_of_a_runtime_that_ends_is_started_anew() {
    let (first, second) = (runtime(1, 1), runtime(1, 1));
    let gate = Arc::<Gate>::default();
    let lookups = gate.lookups();
    let ask = |runtime: &Runtime, host: &'static str| {
        let lookups = lookups.clone();
        runtime.spawn(move || lookups.look_up(host, 1, None).map(ports).unwrap())
    };
    let hangs = ask(&first, "hangs");
    wait_until(|| gate.asked() == 1);
    let waits = ask(&first, "waits");
    wait_until(|| waiting_for(&lookups, "waits") == 1);
    let other = ask(&second, "waits");
    wait_until(|| waiting_for(&lookups, "waits") == 2);
    let ended = thread::spawn(move || drop(first));
    assert!(hangs.join().is_err());
    assert!(waits.join().is_err());
    gate.answer(2);
    ended.join().unwrap();
    assert_eq!(other.join().unwrap(), [1, 1]);
    assert_eq!(gate.asked(), 2);
}
