//! Everything at once, with seeds: `PIRN_STRESS_ROUNDS` and `PIRN_STRESS_SEED`, as in the crate's
//! other stress tests.

use crate::support::{Counted, runtime};
use pirn::channel::{Receiver, Select, Sender, bounded, select, tick, unbounded};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().unwrap())
}

fn rounds(default: u64, round: impl Fn(&pirn::Runtime, u64)) {
    let first = number("PIRN_STRESS_SEED", 0);
    for seed in first..first + number("PIRN_STRESS_ROUNDS", default) {
        for workers in [1, 2, 4, 8] {
            let (done, running) = std::sync::mpsc::channel::<()>();
            let watch = std::thread::spawn(move || {
                let outcome = running.recv_timeout(Duration::from_secs(240));
                if outcome == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
                    eprintln!("hangs: seed {seed}, {workers} workers");
                    std::process::abort();
                }
            });
            round(&runtime(workers), seed);
            drop(done);
            watch.join().unwrap();
        }
    }
}

fn pause(random: &mut StdRng) {
    match random.random_range(0..10) {
        0..2 => pirn::thread::yield_now(),
        2 => pirn::thread::sleep(Duration::from_micros(random.random_range(0..100))),
        _ => {}
    }
}

fn micros(random: &mut StdRng) -> Duration {
    Duration::from_micros(random.random_range(0..200))
}

type Message = (u64, Counted);

/// Sends `message` in one of all ways; how often it was received is what is counted.
fn send(random: &mut StdRng, s: &Sender<Message>, quiet: &Receiver<()>, mut message: Message) {
    loop {
        let id = message.0;
        match random.random_range(0..6) {
            0 | 1 => return s.send(message).unwrap(),
            2 => match s.send_timeout(message, micros(random)) {
                Ok(()) => return,
                Err(error) => message = error.into_inner(),
            },
            3 => match s.try_send(message) {
                Ok(()) => return,
                Err(error) => message = error.into_inner(),
            },
            4 => {
                let mut kept = Some(message);
                select! {
                    send(s, kept.take().unwrap()) -> sent => return sent.unwrap(),
                    recv(quiet) -> _ => unreachable!(),
                    default(micros(random)) => {}
                }
                message = kept.unwrap();
            }
            _ => {
                let mut select = Select::new();
                select.recv(quiet);
                select.send(s);
                let mut kept = Some(message);
                if let Ok(chosen) = select.select_timeout(micros(random)) {
                    return chosen.send(s, kept.take().unwrap()).unwrap();
                }
                message = kept.unwrap();
            }
        }
        assert_eq!(message.0, id);
        pause(random);
    }
}

/// Receives in one of all ways; `None`: not yet; an error: no more.
fn receive(
    random: &mut StdRng,
    r: &Receiver<Message>,
    quiet: &Receiver<()>,
) -> Result<Option<Message>, ()> {
    match random.random_range(0..7) {
        0 | 1 => r.recv().map(Some).map_err(drop),
        2 => match r.recv_timeout(micros(random)) {
            Ok(message) => Ok(Some(message)),
            Err(error) if error.is_timeout() => Ok(None),
            Err(_) => Err(()),
        },
        3 => match r.try_recv() {
            Ok(message) => Ok(Some(message)),
            Err(error) if error.is_empty() => Ok(None),
            Err(_) => Err(()),
        },
        4 => select! {
            recv(r) -> message => message.map(Some).map_err(drop),
            recv(quiet) -> _ => unreachable!(),
        },
        5 => {
            let ticker = tick(micros(random));
            select! {
                recv(ticker) -> _ => Ok(None),
                recv(r) -> message => message.map(Some).map_err(drop),
            }
        }
        _ => {
            let mut select = Select::new();
            select.recv(r);
            if select.ready_timeout(micros(random)).is_err() {
                return Ok(None);
            }
            match r.try_recv() {
                Ok(message) => Ok(Some(message)),
                Err(error) if error.is_empty() => Ok(None),
                Err(_) => Err(()),
            }
        }
    }
}

/// Coroutines and threads send and receive in every way there is.
#[test]
fn every_way_at_once() {
    rounds(6, |runtime, seed| {
        for kind in [Some(0), Some(1), Some(7), None] {
            const EACH: u64 = 60;
            let mut random = StdRng::seed_from_u64(seed);
            let (s, r) = kind.map_or_else(unbounded, bounded);
            let (keep, quiet) = bounded::<()>(0);
            let alive = Arc::new(AtomicUsize::new(0));
            let senders = (0..8).map(|part| {
                let (s, quiet, alive) = (s.clone(), quiet.clone(), alive.clone());
                let mut random = StdRng::seed_from_u64(random.random());
                move || {
                    for n in 0..EACH {
                        let message = (part * EACH + n, Counted::new(&alive));
                        send(&mut random, &s, &quiet, message);
                        pause(&mut random);
                    }
                    Vec::new()
                }
            });
            let senders: Vec<_> = senders.collect();
            let receivers: Vec<_> = (0..8)
                .map(|_| {
                    let (r, quiet) = (r.clone(), quiet.clone());
                    let mut random = StdRng::seed_from_u64(random.random());
                    move || {
                        let mut got = Vec::new();
                        while let Ok(message) = receive(&mut random, &r, &quiet) {
                            got.extend(message.map(|(id, _)| id));
                            pause(&mut random);
                        }
                        got
                    }
                })
                .collect();
            drop((s, r));
            let mut jobs: Vec<Box<dyn FnOnce() -> Vec<u64> + Send>> = Vec::new();
            senders.into_iter().for_each(|job| jobs.push(Box::new(job)));
            receivers.into_iter().for_each(|job| jobs.push(Box::new(job)));
            let (mut os, mut green) = (Vec::new(), Vec::new());
            for (n, job) in jobs.into_iter().enumerate() {
                match n % 4 {
                    0 => os.push(std::thread::spawn(job)),
                    _ => green.push(runtime.spawn(job)),
                }
            }
            let mut all: Vec<u64> = os.into_iter().flat_map(|one| one.join().unwrap()).collect();
            all.extend(green.into_iter().flat_map(|one| one.join().unwrap()));
            all.sort_unstable();
            assert!(all.into_iter().eq(0..8 * EACH), "seed {seed}, {kind:?}");
            assert_eq!(alive.load(Ordering::Relaxed), 0);
            drop(keep);
        }
    });
}

/// Handles come and go while messages do; everything ends, and is dropped.
#[test]
fn disconnection_at_any_moment() {
    rounds(15, |runtime, seed| {
        for kind in [Some(0), Some(2), None] {
            let mut random = StdRng::seed_from_u64(seed);
            let (s, r) = kind.map_or_else(unbounded, bounded);
            let alive = Arc::new(AtomicUsize::new(0));
            let mut jobs: Vec<Box<dyn FnOnce() + Send>> = Vec::new();
            for _ in 0..6 {
                let (s, alive) = (s.clone(), alive.clone());
                let mut random = StdRng::seed_from_u64(random.random());
                jobs.push(Box::new(move || {
                    for _ in 0..random.random_range(0..60) {
                        let message = Counted::new(&alive);
                        let quiet = unbounded::<()>();
                        let gone = match random.random_range(0..3) {
                            0 => s.send_timeout(message, micros(&mut random)).is_err(),
                            1 => s.send(message).is_err(),
                            _ => select! {
                                send(s, message) -> sent => sent.is_err(),
                                recv(quiet.1) -> _ => unreachable!(),
                            },
                        };
                        if gone && random.random_bool(0.3) {
                            return;
                        }
                        pause(&mut random);
                    }
                }));
                let r = r.clone();
                let mut random = StdRng::seed_from_u64(seed ^ jobs.len() as u64);
                jobs.push(Box::new(move || {
                    for _ in 0..random.random_range(0..40) {
                        let quiet = unbounded::<()>();
                        let gone = match random.random_range(0..3) {
                            0 => r.recv_timeout(micros(&mut random)).is_err(),
                            1 => r.recv().is_err(),
                            _ => select! {
                                recv(quiet.1) -> _ => unreachable!(),
                                recv(r) -> message => message.is_err(),
                            },
                        };
                        if gone && random.random_bool(0.3) {
                            return;
                        }
                        pause(&mut random);
                    }
                }));
            }
            drop((s, r));
            let (mut os, mut green) = (Vec::new(), Vec::new());
            for (n, job) in jobs.into_iter().enumerate() {
                match n % 5 {
                    0 => os.push(std::thread::spawn(job)),
                    _ => green.push(runtime.spawn(job)),
                }
            }
            os.into_iter().for_each(|one| one.join().unwrap());
            green.into_iter().for_each(|one| one.join().unwrap());
            assert_eq!(alive.load(Ordering::Relaxed), 0);
        }
    });
}

/// Runtimes are dropped under coroutines that select, send and receive.
#[test]
fn cancelled_at_any_moment() {
    rounds(12, |outer, seed| {
        let mut random = StdRng::seed_from_u64(seed);
        let channels: Vec<(Sender<Counted>, Receiver<Counted>)> = [Some(0), Some(0), Some(1), None]
            .map(|kind| kind.map_or_else(unbounded, bounded))
            .into();
        let alive = Arc::new(AtomicUsize::new(0));
        let doomed = runtime(2);
        let job = |mut random: StdRng| {
            let (channels, alive) = (channels.clone(), alive.clone());
            move || loop {
                let (s, r) = &channels[random.random_range(0..channels.len())];
                let (t, q) = &channels[random.random_range(0..channels.len())];
                let deadline = Duration::from_millis(5);
                let message = Counted::new(&alive);
                let over = match random.random_range(0..4) {
                    0 => s.send_timeout(message, deadline).is_err(),
                    1 => r.recv_timeout(deadline).is_err(),
                    2 => select! {
                        send(s, message) -> sent => sent.is_err(),
                        recv(q) -> message => message.is_err(),
                        default(deadline) => true,
                    },
                    _ => select! {
                        recv(r) -> message => message.is_err(),
                        send(t, message) -> sent => sent.is_err(),
                        send(s, Counted::new(&alive)) -> sent => sent.is_err(),
                        default(deadline) => true,
                    },
                };
                if over || random.random_bool(0.01) {
                    return;
                }
                pause(&mut random);
            }
        };
        for _ in 0..30 {
            drop(doomed.spawn(job(StdRng::seed_from_u64(random.random()))));
        }
        let others: Vec<_> =
            (0..6).map(|_| outer.spawn(job(StdRng::seed_from_u64(random.random())))).collect();
        let thread = std::thread::spawn(job(StdRng::seed_from_u64(random.random())));
        std::thread::sleep(Duration::from_micros(random.random_range(0..2000)));
        drop(doomed);
        others.into_iter().for_each(|other| other.join().unwrap());
        thread.join().unwrap();
        drop(channels);
        assert_eq!(alive.load(Ordering::Relaxed), 0);
    });
}
