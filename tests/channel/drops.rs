//! Each message is dropped once, when it should be, and with nothing locked.

use crate::support::{Counted, everywhere, ms};
use pirn::channel::{Receiver, Sender, bounded, never, select, unbounded};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const KINDS: [Option<usize>; 3] = [Some(0), Some(4), None];

#[test]
fn what_nobody_can_receive_is_dropped_when_the_last_receiver_goes() {
    everywhere(|_| {
        for kind in [Some(100), None] {
            let (s, r) = kind.map_or_else(unbounded, bounded);
            let alive = Arc::new(AtomicUsize::new(0));
            for _ in 0..100 {
                s.send(Counted::new(&alive)).unwrap();
            }
            drop(r.recv().unwrap());
            let other = r.clone();
            drop(r);
            assert_eq!(alive.load(Ordering::Relaxed), 99);
            drop(other);
            assert_eq!(alive.load(Ordering::Relaxed), 0);
            assert!(s.send(Counted::new(&alive)).is_err());
            assert_eq!(alive.load(Ordering::Relaxed), 0);
        }
    });
}

#[test]
fn every_message_is_received_or_dropped_once() {
    everywhere(|place| {
        for kind in KINDS {
            let alive = Arc::new(AtomicUsize::new(0));
            let (s, r) = kind.map_or_else(unbounded, bounded);
            let senders: Vec<_> = (0..4)
                .map(|_| {
                    let (s, alive) = (s.clone(), alive.clone());
                    place.go(move || {
                        (0..200).take_while(|_| s.send(Counted::new(&alive)).is_ok()).count()
                    })
                })
                .collect();
            let receivers: Vec<_> = (0..3)
                .map(|part| {
                    let r = r.clone();
                    place.go(move || r.iter().take(100 + part).count())
                })
                .collect();
            drop((s, r));
            let received: usize = receivers.into_iter().map(|one| one.join()).sum();
            let sent: usize = senders.into_iter().map(|one| one.join()).sum();
            assert!(received <= sent);
            assert_eq!(alive.load(Ordering::Relaxed), 0);
        }
    });
}

/// Its destructor uses the channel that drops it.
struct Recursive(Option<Sender<Recursive>>, Arc<AtomicUsize>);

impl Drop for Recursive {
    fn drop(&mut self) {
        self.1.fetch_add(1, Ordering::Relaxed);
        if let Some(sender) = self.0.take() {
            assert!(sender.is_empty());
            assert!(sender.try_send(Recursive(None, self.1.clone())).is_err());
        }
    }
}

#[test]
fn destructors_of_messages_may_use_their_channel() {
    for kind in [Some(10), None] {
        let (s, r) = kind.map_or_else(unbounded, bounded);
        let dropped = Arc::new(AtomicUsize::new(0));
        for _ in 0..10 {
            s.send(Recursive(Some(s.clone()), dropped.clone())).unwrap();
        }
        drop(r);
        // Each of the ten tries to send another one, which comes back.
        assert_eq!(dropped.load(Ordering::Relaxed), 20);
    }
}

#[test]
fn channels_work_in_destructors_that_run_in_a_panic() {
    struct Meets(Sender<u32>, Receiver<u32>);

    impl Drop for Meets {
        fn drop(&mut self) {
            assert!(std::thread::panicking());
            self.0.send(1).unwrap();
            assert_eq!(self.1.recv(), Ok(2));
            select! {
                recv(self.1) -> message => assert_eq!(message, Ok(3)),
                recv(never::<()>()) -> _ => unreachable!(),
            }
            assert!(self.1.recv_timeout(ms(1)).is_err());
        }
    }

    everywhere(|place| {
        for capacity in [0, 1] {
            let (s, there) = bounded(capacity);
            let (back, r) = bounded(capacity);
            let (done, finished) = bounded::<()>(0);
            let peer = place.go(move || {
                assert_eq!(there.recv(), Ok(1));
                back.send(2).unwrap();
                back.send(3).unwrap();
                assert!(finished.recv().is_err());
                drop((there, back));
            });
            let outcome = catch_unwind(AssertUnwindSafe(|| {
                let _meets = Meets(s, r);
                std::panic::resume_unwind(Box::new(()));
            }));
            assert!(outcome.is_err());
            drop(done);
            peer.join();
        }
    });
}

#[test]
fn a_message_that_panics_when_it_is_dropped_ends_nothing_else() {
    struct Bomb(Arc<AtomicUsize>);

    impl Drop for Bomb {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::Relaxed);
            std::panic::resume_unwind(Box::new("bomb"));
        }
    }

    let dropped = Arc::new(AtomicUsize::new(0));
    for kind in [Some(3), None] {
        let (s, r) = kind.map_or_else(unbounded, bounded);
        for _ in 0..3 {
            assert!(s.send(Bomb(dropped.clone())).is_ok());
        }
        let waiting = s.clone();
        let waiter = std::thread::spawn(move || {
            waiting.send(Bomb(Arc::default())).map_err(std::mem::forget).is_ok()
        });
        let before = dropped.load(Ordering::Relaxed);
        assert!(catch_unwind(AssertUnwindSafe(|| drop(r))).is_err());
        assert_eq!(dropped.load(Ordering::Relaxed), before + 1, "the others are leaked");
        let sent = waiter.join().unwrap();
        assert!(!sent || kind.is_none());
        std::mem::forget(s);
    }
}
