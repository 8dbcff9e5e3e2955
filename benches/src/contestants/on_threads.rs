//! OS threads, with crossbeam's channels and std's mutex.

use super::Figures;
use crate::race::warm;
use crate::table::{millions_a_second, nanos_each};
use crossbeam_channel::{bounded, unbounded};
use std::sync::Mutex;
use std::thread;

/// Of round trips: threads take so long that this is enough.
const ONE_IN: u64 = 30;

/// However many workers: there is a thread for each.
pub(super) fn work(_workers: usize, work: &str, numbers: &[u64]) -> Figures {
    let mut numbers = numbers.to_vec();
    if matches!(work, "round-trip" | "select") {
        numbers[0] /= ONE_IN;
    }
    warm(work, &numbers, || match (work, numbers.as_slice()) {
        ("round-trip", &[rounds, capacity]) => Some(round_trips(rounds, capacity as usize)),
        ("crowd", &[producers, consumers, capacity, messages]) => {
            Some(crowd(producers, consumers, capacity, messages))
        }
        ("mutex", &[crowd, each]) => Some(mutex(crowd, each)),
        ("select", &[messages]) => Some(selected(messages)),
        _ => None,
    })
}

fn round_trips(rounds: u64, capacity: usize) -> f64 {
    let (there, here) = bounded(capacity);
    let (back, returned) = bounded(capacity);
    let echo = thread::spawn(move || here.iter().try_for_each(|n: u64| back.send(n)));
    let nanos = nanos_each(rounds, || {
        for n in 0..rounds {
            there.send(n).expect("it echoes");
            assert_eq!(returned.recv(), Ok(n));
        }
    });
    drop(there);
    echo.join().expect("it does not panic").expect("nobody has gone");
    nanos
}

fn crowd(producers: u64, consumers: u64, capacity: u64, messages: u64) -> f64 {
    let (sender, receiver) = match capacity {
        0 => unbounded(),
        capacity => bounded(capacity as usize),
    };
    millions_a_second(messages, || {
        let senders: Vec<_> = (0..producers)
            .map(|_| {
                let sender = sender.clone();
                thread::spawn(move || {
                    (0..messages / producers).for_each(|n| sender.send(n).expect("connected"));
                })
            })
            .collect();
        drop(sender);
        let receivers: Vec<_> = (0..consumers)
            .map(|_| {
                let receiver = receiver.clone();
                thread::spawn(move || receiver.iter().fold(0, |count, _| count + 1_u64))
            })
            .collect();
        senders.into_iter().for_each(|sender| sender.join().expect("it does not panic"));
        let received: u64 =
            receivers.into_iter().map(|one| one.join().expect("it does not panic")).sum();
        assert_eq!(received, messages);
    })
}

fn mutex(crowd: u64, each: u64) -> f64 {
    let mutex = Mutex::new(0_u64);
    let nanos = nanos_each(crowd * each, || {
        thread::scope(|scope| {
            for _ in 0..crowd {
                scope.spawn(|| {
                    for _ in 0..each {
                        *mutex.lock().expect("not poisoned") += 1;
                    }
                });
            }
        });
    });
    assert_eq!(mutex.into_inner().expect("not poisoned"), crowd * each);
    nanos
}

fn selected(messages: u64) -> f64 {
    let channels = [(); 4].map(|()| bounded(0));
    let [a, b, c, d] = channels.each_ref().map(|(_, receiver)| receiver);
    nanos_each(messages, || {
        thread::scope(|scope| {
            for (sender, _) in &channels {
                scope.spawn(move || {
                    (0..messages / 4).for_each(|n| sender.send(n).expect("connected"));
                });
            }
            for _ in 0..messages / 4 * 4 {
                let message = crossbeam_channel::select! {
                    recv(a) -> message => message,
                    recv(b) -> message => message,
                    recv(c) -> message => message,
                    recv(d) -> message => message,
                };
                message.expect("connected");
            }
        });
    })
}
