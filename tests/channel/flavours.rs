//! Sending and receiving, with and without a buffer.

use crate::support::{everywhere, ms, runtime};
use pirn::channel::{
    Receiver, RecvError, RecvTimeoutError, Select, SendError, SendTimeoutError, Sender,
    TryRecvError, TrySendError, after, bounded, never, select, tick, unbounded,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const KINDS: [Option<usize>; 4] = [Some(0), Some(1), Some(3), None];

fn new<T>(capacity: Option<usize>) -> (Sender<T>, Receiver<T>) {
    capacity.map_or_else(unbounded, bounded)
}

#[test]
fn messages_arrive_in_order() {
    everywhere(|place| {
        for kind in KINDS {
            let (s, r) = new(kind);
            let sender = place.go(move || (0..500).for_each(|n| s.send(n).unwrap()));
            assert!(r.iter().eq(0..500));
            assert_eq!(r.recv(), Err(RecvError));
            sender.join();
        }
    });
}

#[test]
fn each_message_goes_to_one_receiver() {
    everywhere(|place| {
        for kind in KINDS {
            let (s, r) = new(kind);
            let receivers: Vec<_> = (0..4)
                .map(|_| {
                    let r = r.clone();
                    place.go(move || r.iter().collect::<Vec<u32>>())
                })
                .collect();
            let senders: Vec<_> = (0..4)
                .map(|part| {
                    let s = s.clone();
                    place.go(move || {
                        (part * 300..(part + 1) * 300).for_each(|n| s.send(n).unwrap());
                    })
                })
                .collect();
            drop((s, r));
            senders.into_iter().for_each(|sender| sender.join());
            let mut all = Vec::new();
            for receiver in receivers {
                let received = receiver.join();
                for part in 0..4 {
                    let of_part = received.iter().filter(|&n| n / 300 == part);
                    assert!(of_part.is_sorted(), "one sender's messages keep their order");
                }
                all.extend(received);
            }
            all.sort_unstable();
            assert!(all.into_iter().eq(0..1200));
        }
    });
}

#[test]
fn what_is_there_is_received_after_the_last_sender_has_gone() {
    for kind in [Some(3), None] {
        let (s, r) = new(kind);
        (0..3).for_each(|n| s.send(n).unwrap());
        drop(s);
        assert_eq!(r.len(), 3);
        assert_eq!(r.recv(), Ok(0));
        assert_eq!(r.try_recv(), Ok(1));
        assert_eq!(r.recv_timeout(ms(0)), Ok(2));
        assert_eq!(r.recv(), Err(RecvError));
        assert_eq!(r.try_recv(), Err(TryRecvError::Disconnected));
        assert_eq!(r.recv_timeout(ms(1000)), Err(RecvTimeoutError::Disconnected));
    }
}

#[test]
fn messages_come_back_when_the_last_receiver_has_gone() {
    for kind in KINDS {
        let (s, r) = new(kind);
        drop(r.clone());
        assert_ne!(s.try_send(0), Err(TrySendError::Disconnected(0)));
        drop(r);
        assert_eq!(s.send(1), Err(SendError(1)));
        assert_eq!(s.try_send(2), Err(TrySendError::Disconnected(2)));
        assert_eq!(s.send_timeout(3, ms(1000)), Err(SendTimeoutError::Disconnected(3)));
    }
}

#[test]
fn who_waits_is_woken_by_disconnection() {
    everywhere(|place| {
        for kind in KINDS {
            let (s, r) = new::<u32>(kind);
            let receivers: Vec<_> = (0..6)
                .map(|_| {
                    let r = r.clone();
                    place.go(move || r.recv())
                })
                .collect();
            std::thread::yield_now();
            drop(s);
            for receiver in receivers {
                assert_eq!(receiver.join(), Err(RecvError));
            }
        }
        for capacity in [0, 1, 3] {
            let (s, r) = bounded(capacity);
            (0..capacity).for_each(|n| s.send(n).unwrap());
            let senders: Vec<_> = (0..6)
                .map(|n| {
                    let s = s.clone();
                    place.go(move || s.send(n))
                })
                .collect();
            std::thread::yield_now();
            drop(r);
            for (n, sender) in senders.into_iter().enumerate() {
                assert_eq!(sender.join(), Err(SendError(n)));
            }
        }
    });
}

#[test]
fn lengths_and_capacities() {
    let (s, r) = bounded(0);
    assert_eq!((s.len(), s.capacity(), s.is_empty(), s.is_full()), (0, Some(0), true, true));
    assert_eq!((r.len(), r.capacity(), r.is_empty(), r.is_full()), (0, Some(0), true, true));
    assert_eq!(s.try_send(1), Err(TrySendError::Full(1)));
    assert_eq!(r.try_recv(), Err(TryRecvError::Empty));

    let (s, r) = bounded(2);
    assert_eq!((s.len(), s.capacity(), s.is_empty(), s.is_full()), (0, Some(2), true, false));
    s.send(1).unwrap();
    assert_eq!((r.len(), r.capacity(), r.is_empty(), r.is_full()), (1, Some(2), false, false));
    s.send(2).unwrap();
    assert_eq!((s.len(), s.is_empty(), s.is_full()), (2, false, true));
    assert_eq!(s.try_send(3), Err(TrySendError::Full(3)));
    assert_eq!(r.recv(), Ok(1));
    assert_eq!(s.try_send(3), Ok(()));
    assert_eq!(r.try_iter().collect::<Vec<_>>(), [2, 3]);

    let (s, r) = unbounded();
    (0..1000).for_each(|n| s.try_send(n).unwrap());
    assert_eq!((r.len(), r.capacity(), r.is_empty(), r.is_full()), (1000, None, false, false));
    assert!(r.try_iter().eq(0..1000));
    assert!(s.is_empty());
}

#[test]
fn a_send_without_a_buffer_returns_when_its_message_has_been_taken() {
    everywhere(|place| {
        let (s, r) = bounded(0);
        let (told, tell) = unbounded();
        let sender = place.go(move || {
            s.send(1).unwrap();
            told.send(()).unwrap();
        });
        assert_eq!(tell.recv_timeout(ms(5)), Err(RecvTimeoutError::Timeout));
        assert_eq!(r.recv(), Ok(1));
        assert_eq!(tell.recv(), Ok(()));
        sender.join();
    });
}

#[test]
fn times_run_out() {
    everywhere(|_| {
        for kind in KINDS {
            let (s, r) = new(kind);
            let start = Instant::now();
            assert_eq!(r.recv_timeout(ms(5)), Err(RecvTimeoutError::Timeout));
            assert!(start.elapsed() >= ms(5));
            let deadline = Instant::now() + ms(5);
            assert_eq!(r.recv_deadline(deadline), Err(RecvTimeoutError::Timeout));
            assert!(Instant::now() >= deadline);
            assert_eq!(r.recv_deadline(start), Err(RecvTimeoutError::Timeout));
            (0..kind.unwrap_or(0)).for_each(|n| s.send(n).unwrap());
            if kind.is_some() {
                let start = Instant::now();
                assert_eq!(s.send_timeout(9, ms(5)), Err(SendTimeoutError::Timeout(9)));
                assert!(start.elapsed() >= ms(5));
                assert_eq!(s.send_deadline(9, start), Err(SendTimeoutError::Timeout(9)));
            }
        }
    });
}

#[test]
fn the_longest_timeout_is_without_limit() {
    everywhere(|place| {
        let (s, r) = bounded(0);
        let receiver = place.go(move || r.recv_timeout(Duration::MAX));
        assert_eq!(s.send_timeout(1, Duration::MAX), Ok(()));
        assert_eq!(receiver.join(), Ok(1));
    });
}

/// A waiter that timed out has left the queue, and takes no wake with it.
#[test]
fn a_timeout_leaves_the_queue_in_order() {
    runtime(1).run(|| {
        let (s, r) = bounded(0);
        let quitter = {
            let r = r.clone();
            pirn::spawn(move || r.recv_timeout(ms(1)))
        };
        let patient = pirn::spawn(move || r.recv());
        assert_eq!(quitter.join().unwrap(), Err(RecvTimeoutError::Timeout));
        s.send(7).unwrap();
        assert_eq!(patient.join().unwrap(), Ok(7));
    });
}

#[test]
fn receivers_are_served_in_the_order_in_which_they_came() {
    runtime(1).run(|| {
        for kind in KINDS {
            let (s, r) = new(kind);
            let receivers: Vec<_> = (0..20)
                .map(|_| {
                    let r = r.clone();
                    let receiver = pirn::spawn(move || r.recv());
                    pirn::thread::yield_now();
                    receiver
                })
                .collect();
            for n in 0..20 {
                s.send(n).unwrap();
                pirn::thread::yield_now();
            }
            for (n, receiver) in receivers.into_iter().enumerate() {
                assert_eq!(receiver.join().unwrap(), Ok(n));
            }
        }
    });
}

/// Operations that never wait let others run all the same.
#[test]
fn a_loop_that_never_waits_lets_others_run() {
    runtime(1).run(|| {
        let (s, r) = unbounded();
        let (stop, stopped) = unbounded();
        let hog = pirn::spawn(move || {
            while stopped.is_empty() {
                s.send(()).unwrap();
                r.recv().unwrap();
            }
        });
        let other = pirn::spawn(move || stop.send(()).unwrap());
        other.join().unwrap();
        hog.join().unwrap();
    });
}

/// Operations that fail at once, or for which there is no time, let others run as well: those whose
/// other side has gone, and those of channels for which nobody can wait.
#[test]
fn a_loop_that_always_fails_lets_others_run() {
    let (closed, gone) = unbounded::<u32>();
    let (nobody, receiver) = bounded(1);
    let (_open, empty) = bounded::<u32>(0);
    drop(closed);
    drop(receiver);
    let (never, late) = (never::<u32>(), after(Duration::from_secs(3600)));
    let ticks = tick(Duration::from_secs(3600));
    let at_once = Duration::ZERO;
    let attempts: [(&str, &(dyn Fn() -> bool + Sync)); 16] = [
        ("try_recv", &|| gone.try_recv().is_err()),
        ("try_iter", &|| gone.try_iter().next().is_none()),
        ("recv", &|| gone.recv().is_err()),
        ("recv_timeout", &|| gone.recv_timeout(Duration::MAX).is_err()),
        ("try_send", &|| nobody.try_send(1).is_err()),
        ("send", &|| nobody.send(1).is_err()),
        ("send_timeout", &|| nobody.send_timeout(1, Duration::MAX).is_err()),
        ("never", &|| never.recv_timeout(at_once).is_err()),
        ("after", &|| late.recv_timeout(at_once).is_err()),
        ("tick", &|| ticks.recv_timeout(at_once).is_err()),
        ("one or nothing", &|| select!(recv(gone) -> got => got.is_err(), default => false)),
        (
            "one of two or nothing",
            &|| select!(recv(gone) -> got => got.is_err(), recv(empty) -> _ => false, default => false),
        ),
        ("one of two", &|| select!(recv(gone) -> got => got.is_err(), recv(empty) -> _ => false)),
        ("select_timeout", &|| Select::new().select_timeout(at_once).is_err()),
        ("ready_timeout", &|| {
            let mut select = Select::new();
            select.recv(&empty);
            select.ready_timeout(at_once).is_err()
        }),
        ("a future", &|| pirn::block_on(gone.recv_async()).is_err()),
    ];
    for (name, fails) in attempts {
        runtime(1).run(|| {
            let ran = Arc::new(AtomicBool::new(false));
            let theirs = ran.clone();
            // It lives on this worker by the time that the attempts begin: nobody else can run it.
            let other = pirn::spawn(move || {
                pirn::thread::yield_now();
                theirs.store(true, Ordering::Relaxed);
            });
            pirn::thread::yield_now();
            let tries = (0..100_000).take_while(|_| {
                assert!(fails(), "{name}");
                !ran.load(Ordering::Relaxed)
            });
            assert!(tries.count() < 100_000, "{name} keeps others from their turn");
            other.join().unwrap();
        });
    }
}

#[test]
fn messages_without_a_size_and_big_ones() {
    for kind in KINDS {
        let (s, r) = new(kind);
        let sender = std::thread::spawn(move || (0..100).for_each(|_| s.send(()).unwrap()));
        assert_eq!(r.iter().count(), 100);
        sender.join().unwrap();
        let (s, r) = new(kind);
        let sender = std::thread::spawn(move || {
            (0..100).for_each(|n| s.send([n; 3000]).unwrap());
        });
        for n in 0..100_u64 {
            assert_eq!(r.recv(), Ok([n; 3000]));
        }
        sender.join().unwrap();
    }
}

#[test]
fn a_channel_in_a_static_outlives_runtimes() {
    static CHANNEL: std::sync::LazyLock<(Sender<u32>, Receiver<u32>)> =
        std::sync::LazyLock::new(|| bounded(0));
    for n in 0..3 {
        let runtime = runtime(1);
        let receiver = runtime.spawn(|| CHANNEL.1.recv());
        CHANNEL.0.send(n).unwrap();
        assert_eq!(receiver.join().unwrap(), Ok(n));
    }
}

#[test]
fn channels_travel_through_channels() {
    everywhere(|place| {
        let (s, r) = bounded::<Sender<Receiver<u32>>>(1);
        let peer = place.go(move || {
            let reply = r.recv().unwrap();
            let (s, r) = bounded(0);
            reply.send(r).unwrap();
            s.send(5).unwrap();
        });
        let (reply, replies) = bounded(0);
        s.send(reply).unwrap();
        assert_eq!(replies.recv().unwrap().recv(), Ok(5));
        peer.join();
    });
}
