//! `pirn::channel` with coroutines that move between threads.
#![cfg(feature = "migrating")]
#![expect(unsafe_code, reason = "migrating coroutines are spawned by an unsafe function")]

use pirn::channel::{Receiver, Select, Sender, bounded, select, unbounded};
use pirn::thread::{Builder, JoinHandle};
use std::time::Duration;

fn spawn<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    // SAFETY: what lives across the waits of this file is nobody's thread's: handles of channels,
    // selects and plain values.
    unsafe { Builder::new().migrating() }.spawn(f).unwrap()
}

type Channels = Vec<(Sender<Box<usize>>, Receiver<Box<usize>>)>;

fn channels(count: usize, capacity: usize) -> Channels {
    (0..count).map(|_| bounded(capacity)).collect()
}

/// Receives one message of any channel.
fn receive_from_any(channels: &Channels, watch: bool) -> Box<usize> {
    let mut select = Select::new();
    for channel in channels {
        select.recv(&channel.1);
    }
    if watch {
        loop {
            if let Ok(message) = channels[select.ready()].1.try_recv() {
                return message;
            }
        }
    }
    let chosen = select.select();
    let receiver = &channels[chosen.index()].1;
    chosen.recv(receiver).unwrap()
}

/// A select is chosen while it still joins the queues of its other channels, on another thread.
#[test]
fn a_select_that_is_chosen_while_it_joins_its_queues() {
    const COROUTINES: usize = 8;
    const MESSAGES: usize = 400;
    for (workers, capacity) in [(2, 0), (4, 0), (4, 1), (8, 0), (8, 2)] {
        let runtime = pirn::Builder::new().workers(workers).build().unwrap();
        runtime.run(|| {
            let channels = std::sync::Arc::new(channels(24, capacity));
            let receivers: Vec<_> = (0..COROUTINES)
                .map(|number| {
                    let channels = channels.clone();
                    let watch = number % 4 == 3 && capacity > 0;
                    spawn(move || {
                        let receive = |_| *receive_from_any(&channels, watch);
                        (0..MESSAGES).map(receive).sum::<usize>()
                    })
                })
                .collect();
            let senders: Vec<_> = (0..COROUTINES)
                .map(|number| {
                    let channels = channels.clone();
                    spawn(move || {
                        for message in 0..MESSAGES {
                            let first = number + message;
                            let mut select = Select::new();
                            for place in 0..channels.len() {
                                select.send(&channels[(first + place) % channels.len()].0);
                            }
                            let chosen = select.select();
                            let sender = &channels[(first + chosen.index()) % channels.len()].0;
                            chosen.send(sender, Box::new(message)).unwrap();
                        }
                    })
                })
                .collect();
            senders.into_iter().for_each(|sender| sender.join().unwrap());
            let sum: usize = receivers.into_iter().map(|receiver| receiver.join().unwrap()).sum();
            assert_eq!(sum, COROUTINES * MESSAGES * (MESSAGES - 1) / 2);
        });
    }
}

/// One that waits to meet tells those who watch, after it may have been met elsewhere.
#[test]
fn a_meeting_while_watchers_are_told() {
    for workers in [2, 4, 8] {
        let runtime = pirn::Builder::new().workers(workers).build().unwrap();
        runtime.run(|| {
            let ends: Vec<_> = (0..400)
                .map(|round| {
                    let (s, r) = bounded::<Box<u32>>(0);
                    let watching = r.clone();
                    let (found, finds) = unbounded();
                    spawn(move || {
                        let mut select = Select::new();
                        select.recv(&watching);
                        select.ready();
                        found.send(()).unwrap();
                    });
                    let sends = spawn(move || s.send(Box::new(round)));
                    let receives = spawn(move || r.recv_timeout(Duration::from_secs(60)));
                    (sends, receives, finds)
                })
                .collect();
            for (round, (sends, receives, finds)) in ends.into_iter().enumerate() {
                sends.join().unwrap().unwrap();
                assert_eq!(*receives.join().unwrap().unwrap() as usize, round);
                finds.recv().unwrap();
            }
        });
    }
}

/// Timeouts race with messages.
#[test]
fn timeouts_lose_no_message() {
    for workers in [2, 4] {
        let runtime = pirn::Builder::new().workers(workers).build().unwrap();
        runtime.run(|| {
            let (s, r) = bounded::<Box<usize>>(0);
            let (other, quiet) = bounded::<()>(0);
            let receives = spawn(move || {
                let (mut received, mut timeouts) = (0, 0_u32);
                loop {
                    select! {
                        recv(r) -> message => match message {
                            Ok(message) => {
                                assert_eq!(*message, received);
                                received += 1;
                            }
                            Err(_) => return received,
                        },
                        recv(quiet) -> _ => unreachable!(),
                        default(Duration::from_micros(50 + u64::from(timeouts % 50))) => {
                            timeouts += 1;
                        }
                    }
                }
            });
            let sends = spawn(move || {
                let mut sent = 0;
                while sent < 2_000 {
                    let wait = Duration::from_micros(20 + sent as u64 % 90);
                    if s.send_timeout(Box::new(sent), wait).is_ok() {
                        sent += 1;
                    }
                }
                sent
            });
            assert_eq!(sends.join().unwrap(), receives.join().unwrap());
            drop(other);
        });
    }
}
