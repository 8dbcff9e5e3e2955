//! A runtime that is dropped cancels who waits: nothing is lost, and nobody is left behind.

use crate::support::{Counted, ms, runtime};
use pirn::channel::{Receiver, Select, Sender, bounded, select, unbounded};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

#[test]
fn waiting_coroutines_unwind_and_their_messages_are_dropped() {
    for capacity in [Some(0), Some(2), None] {
        let alive = Arc::new(AtomicUsize::new(0));
        let (s, r) = capacity.map_or_else(unbounded, bounded);
        let empty = bounded::<Counted>(0).1;
        let runtime = runtime(2);
        let (started, starts) = unbounded();
        for n in 0..40 {
            let (s, r, alive, started) = (s.clone(), r.clone(), alive.clone(), started.clone());
            let (quiet, empty) = (unbounded::<()>().1, empty.clone());
            drop(runtime.spawn(move || {
                let _here = Counted::new(&alive);
                started.send(()).unwrap();
                match n % 4 {
                    0 => drop(s.send(Counted::new(&alive))),
                    1 => drop(r.recv()),
                    2 => select! {
                        recv(r) -> _ => {}
                        send(s, Counted::new(&alive)) -> _ => {}
                        recv(quiet) -> _ => {}
                    },
                    _ => {
                        let mut select = Select::new();
                        select.recv(&empty);
                        let _never = select.ready_timeout(ms(3_600_000));
                    }
                }
            }));
        }
        (0..40).for_each(|_| starts.recv().unwrap());
        drop(runtime);
        drop((s, r));
        assert_eq!(alive.load(Ordering::Relaxed), 0);
    }
}

/// Coroutines are cancelled while threads send to them and receive from them: what a thread has
/// sent is received or still there, and what it has received was sent.
#[test]
fn a_cancellation_against_a_meeting_loses_nothing() {
    for round in 0..30 {
        for capacity in [0, 1] {
            let runtime = runtime(1 + round % 3);
            let (s, r): (Sender<Counted>, Receiver<Counted>) = bounded(capacity);
            let alive = Arc::new(AtomicUsize::new(0));
            let received = Arc::new(AtomicUsize::new(0));
            for n in 0..8 {
                let (r, received) = (r.clone(), received.clone());
                let quiet = unbounded::<()>();
                drop(runtime.spawn(move || {
                    loop {
                        let message = match n % 2 {
                            0 => r.recv(),
                            _ => select! {
                                recv(r) -> message => message,
                                recv(quiet.1) -> _ => unreachable!(),
                            },
                        };
                        match message {
                            Ok(_) => received.fetch_add(1, Ordering::Relaxed),
                            Err(_) => return,
                        };
                    }
                }));
            }
            let stopped = Arc::new(AtomicBool::new(false));
            let sender = {
                let (alive, stopped) = (alive.clone(), stopped.clone());
                std::thread::spawn(move || {
                    let mut sent = 0;
                    loop {
                        match s.send_timeout(Counted::new(&alive), ms(1)) {
                            Ok(()) => sent += 1,
                            Err(_) if stopped.load(Ordering::Acquire) => return sent,
                            Err(_) => {}
                        }
                    }
                })
            };
            while received.load(Ordering::Relaxed) < 20 + round {
                std::thread::yield_now();
            }
            drop(runtime);
            // Nobody receives any more: the buffer fills, and the sender gives up.
            stopped.store(true, Ordering::Release);
            let sent = sender.join().unwrap();
            let left = r.try_iter().count();
            assert_eq!(sent, received.load(Ordering::Relaxed) + left);
            assert_eq!(alive.load(Ordering::Relaxed), 0);
        }
    }
}
