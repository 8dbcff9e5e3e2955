//! `Select`: what is known at run time only.

use crate::support::{Counted, everywhere, ms, runtime};
use pirn::channel::{
    Receiver, RecvError, Select, SelectTimeoutError, SendError, TryReadyError, TryRecvError,
    TrySelectError, bounded, never, select, unbounded,
};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

#[test]
fn what_is_ready_is_chosen() {
    everywhere(|_| {
        let (s1, r1) = unbounded();
        let (s2, r2) = bounded(1);
        let mut select = Select::new();
        assert_eq!((select.recv(&r1), select.send(&s2)), (0, 1));
        let chosen = select.select();
        assert_eq!(chosen.index(), 1);
        assert_eq!(chosen.send(&s2, "room"), Ok(()));
        assert_eq!(select.try_select().unwrap_err(), TrySelectError);
        assert_eq!(select.select_timeout(ms(1)).unwrap_err(), SelectTimeoutError);
        s1.send(5).unwrap();
        let chosen = select.select();
        assert_eq!(chosen.index(), 0);
        assert_eq!(chosen.recv(&r1), Ok(5));
        assert_eq!(r2.recv(), Ok("room"));
    });
}

#[test]
fn a_select_is_woken_by_any_of_its_cases() {
    everywhere(|place| {
        for capacity in [0, 1] {
            let channels: Vec<_> = (0..9).map(|_| bounded(capacity)).collect();
            let (senders, receivers): (Vec<_>, Vec<_>) = channels.into_iter().unzip();
            let peer = place.go(move || {
                for (n, sender) in senders.iter().enumerate() {
                    sender.send(n).unwrap();
                }
            });
            for _ in 0..9 {
                let mut select = Select::new();
                for receiver in &receivers {
                    select.recv(receiver);
                }
                let chosen = select.select();
                let n = chosen.index();
                match chosen.recv(&receivers[n]) {
                    Ok(message) => assert_eq!(message, n),
                    // The senders go together, after the last message was sent.
                    Err(RecvError) => break,
                }
            }
            peer.join();
        }
    });
}

#[test]
fn a_select_that_waits_to_send_meets_a_receiver() {
    everywhere(|place| {
        let (s, r) = bounded(0);
        let nothing = never::<()>();
        let receiver = place.go(move || (0..50).map(|_| r.recv().unwrap()).sum::<u32>());
        for n in 0..50 {
            let mut select = Select::new();
            select.recv(&nothing);
            select.send(&s);
            assert_eq!(select.select().send(&s, n), Ok(()));
        }
        assert_eq!(receiver.join(), 49 * 50 / 2);
    });
}

#[test]
fn two_selects_meet() {
    everywhere(|place| {
        let (s1, r1) = bounded(0);
        let (s2, r2) = bounded(0);
        let peer = {
            let (s1, r2) = (s1.clone(), r2.clone());
            place.go(move || exchange(&s1, &r2))
        };
        let (sent, received) = exchange(&s2, &r1);
        let (their_sent, their_received) = peer.join();
        assert_eq!((sent, received), (their_received, their_sent));
    });

    /// Sends and receives as it comes; how many and what sum.
    fn exchange(s: &pirn::channel::Sender<u64>, r: &Receiver<u64>) -> ((u32, u64), (u32, u64)) {
        let (mut sent, mut received) = ((0, 0), (0, 0));
        while sent.0 + received.0 < 200 {
            let mut select = Select::new();
            if sent.0 < 100 {
                select.send(s);
            } else {
                select.recv(r);
            }
            let other = if sent.0 < 100 && received.0 < 100 { Some(select.recv(r)) } else { None };
            let chosen = select.select();
            if sent.0 < 100 && Some(chosen.index()) != other {
                let message = u64::from(sent.0) * 3;
                chosen.send(s, message).unwrap();
                sent = (sent.0 + 1, sent.1 + message);
            } else {
                received = (received.0 + 1, received.1 + chosen.recv(r).unwrap());
            }
        }
        (sent, received)
    }
}

#[test]
fn a_select_does_not_meet_itself() {
    everywhere(|_| {
        let (s, r) = bounded::<u32>(0);
        let mut select = Select::new();
        select.send(&s);
        select.recv(&r);
        assert!(select.try_select().is_err());
        assert!(select.select_timeout(ms(3)).is_err());
    });
}

#[test]
fn many_selects_on_one_channel_pair_up() {
    everywhere(|place| {
        let (s, r) = bounded(0);
        let peers: Vec<_> = (0..40)
            .map(|n| {
                let (s, r) = (s.clone(), r.clone());
                place.go(move || {
                    let mut select = Select::new();
                    let send = select.send(&s);
                    select.recv(&r);
                    let chosen = select.select();
                    if chosen.index() == send {
                        chosen.send(&s, n).unwrap();
                        None
                    } else {
                        Some(chosen.recv(&r).unwrap())
                    }
                })
            })
            .collect();
        let received: Vec<u32> = peers.into_iter().filter_map(|peer| peer.join()).collect();
        assert_eq!(received.len(), 20);
        let distinct: std::collections::BTreeSet<_> = received.iter().collect();
        assert_eq!(distinct.len(), 20);
    });
}

#[test]
fn disconnected_is_ready() {
    everywhere(|_| {
        for capacity in [Some(0), Some(2), None] {
            let (s, r) = capacity.map_or_else(unbounded::<u32>, bounded);
            let keep = s.clone();
            drop(s);
            let mut select = Select::new();
            select.recv(&r);
            assert_eq!(select.try_ready(), Err(TryReadyError));
            drop(keep);
            assert_eq!(select.ready(), 0);
            assert_eq!(select.select().recv(&r), Err(RecvError));

            let (s, r) = capacity.map_or_else(unbounded::<u32>, bounded);
            drop(r);
            let mut select = Select::new();
            select.send(&s);
            assert_eq!(select.try_ready(), Ok(0));
            assert_eq!(select.try_select().unwrap().send(&s, 3), Err(SendError(3)));
        }
    });
}

#[test]
fn a_waiting_select_is_woken_by_disconnection() {
    everywhere(|place| {
        let (s, r) = bounded::<u32>(0);
        let other = never::<u32>();
        let waiting = place.go(move || {
            let mut select = Select::new();
            select.recv(&other);
            select.recv(&r);
            select.select().recv(&r)
        });
        std::thread::yield_now();
        drop(s);
        assert_eq!(waiting.join(), Err(RecvError));
    });
}

#[test]
fn the_order_decides_if_it_is_biased_and_chance_if_not() {
    everywhere(|_| {
        let channels: Vec<_> = (0..4).map(|_| bounded(1)).collect();
        for (s, _) in &channels {
            s.send(()).unwrap();
        }
        let mut biased = Select::new_biased();
        let mut fair = Select::new();
        for (_, r) in &channels {
            biased.recv(r);
            fair.recv(r);
        }
        let mut counts = [0; 4];
        for _ in 0..4000 {
            assert_eq!(biased.try_ready(), Ok(0));
            let chosen = fair.select();
            let n = chosen.index();
            chosen.recv(&channels[n].1).unwrap();
            channels[n].0.send(()).unwrap();
            counts[n] += 1;
        }
        // The standard deviation is 27.
        assert!(counts.iter().all(|count| (780..1220).contains(count)), "{counts:?}");
        biased.remove(0);
        assert_eq!(biased.ready(), 1);
    });
}

#[test]
fn what_was_promised_is_nobody_elses() {
    let (s, r) = bounded(2);
    s.send(1).unwrap();
    let mut select = Select::new();
    select.recv(&r);
    let first = select.select();
    assert_eq!(r.try_recv(), Err(TryRecvError::Empty));
    let mut sending = Select::new();
    sending.send(&s);
    let room = sending.select();
    assert!(s.try_send(9).is_err());
    assert!(s.is_full());
    assert_eq!(first.recv(&r), Ok(1));
    s.send(2).unwrap();
    assert_eq!(room.send(&s, 3), Ok(()));
    assert_eq!(r.try_iter().collect::<Vec<_>>(), [2, 3]);
}

#[test]
fn an_operation_that_is_dropped_panics_and_gives_back_what_it_holds() {
    let panics = |f: &mut dyn FnMut()| {
        let payload = catch_unwind(AssertUnwindSafe(f)).unwrap_err();
        *payload.downcast_ref::<&str>().unwrap()
    };
    let complaint = "dropped `SelectedOperation` without completing the operation";
    let (s, r) = bounded(1);
    s.send(1).unwrap();
    assert_eq!(
        panics(&mut || drop({
            let mut select = Select::new();
            select.recv(&r);
            select.select()
        })),
        complaint
    );
    assert_eq!(r.try_recv(), Ok(1));
    assert_eq!(
        panics(&mut || drop({
            let mut select = Select::new();
            select.send(&s);
            select.select()
        })),
        complaint
    );
    assert_eq!(s.try_send(2), Ok(()));
}

/// A coroutine that panics between choice and completion does not take its partner along.
#[test]
fn a_partner_is_given_back_by_a_select_that_unwinds() {
    everywhere(|place| {
        let (s, r) = bounded(0);
        // A sender that waits is met and not taken.
        let sender = {
            let s = s.clone();
            place.go(move || s.send(1))
        };
        fails(|| {
            let mut select = Select::new();
            select.recv(&r);
            let _met = select.select();
            std::panic::resume_unwind(Box::new(()));
        });
        assert_eq!(r.recv(), Ok(1));
        assert_eq!(sender.join(), Ok(()));
        // A receiver that waits is met and gets nothing.
        let receiver = {
            let r = r.clone();
            place.go(move || r.recv())
        };
        fails(|| {
            let mut select = Select::new();
            select.send(&s);
            let _met = select.select();
            std::panic::resume_unwind(Box::new(()));
        });
        s.send(2).unwrap();
        assert_eq!(receiver.join(), Ok(2));
        // A select that waits was given a message, and leaves it to others.
        let alive = Arc::new(AtomicUsize::new(0));
        let (s, r) = bounded(0);
        let loser = {
            let r = r.clone();
            place.go(move || {
                fails(|| {
                    let mut select = Select::new();
                    select.recv(&r);
                    let _delivered = select.select();
                    std::panic::resume_unwind(Box::new(()));
                });
            })
        };
        let sender = {
            let message = Counted::new(&alive);
            place.go(move || s.send(message).is_ok())
        };
        loser.join();
        let message = r.recv().unwrap();
        assert!(sender.join());
        assert_eq!(alive.load(Ordering::Relaxed), 1);
        drop(message);
        assert_eq!(alive.load(Ordering::Relaxed), 0);
        assert!(r.try_recv().is_err());
    });

    fn fails(f: impl FnOnce()) {
        assert!(catch_unwind(AssertUnwindSafe(f)).is_err());
    }
}

/// Nor does it keep a select that has something else to do.
#[test]
fn a_select_goes_on_when_a_select_that_sends_to_it_unwinds() {
    everywhere(|place| {
        let (s, r) = bounded::<u32>(0);
        let (told, seen) = unbounded();
        let loser = {
            let s = s.clone();
            place.go(move || {
                let outcome = catch_unwind(AssertUnwindSafe(|| {
                    select! {
                        send(s, gives_up()) -> _ => (),
                        recv(never::<()>()) -> _ => (),
                    }
                }));
                assert!(outcome.is_err());
            })
        };
        let receiver = place.go(move || {
            let mut select = Select::new();
            select.recv(&r);
            assert_eq!(select.ready(), 0);
            let received = select! {
                recv(r) -> message => Some(message),
                recv(never::<()>()) -> _ => None,
                default => None,
            };
            told.send(received).unwrap();
        });
        assert_eq!(seen.recv_timeout(Duration::from_secs(60)), Ok(None));
        receiver.join();
        loser.join();
        drop(s);
    });

    fn gives_up() -> u32 {
        std::panic::resume_unwind(Box::new(()))
    }
}

/// A receiver waits for the message of a select that has yet to make it, however long that takes.
#[test]
fn a_message_may_be_made_late() {
    everywhere(|place| {
        let (s, r) = bounded(0);
        let nothing = never::<()>();
        let slow = place.go(move || {
            let mut select = Select::new();
            select.send(&s);
            select.recv(&nothing);
            let chosen = select.select();
            pirn::thread::sleep(ms(3));
            chosen.send(&s, 4).unwrap();
            // And once more, to change its mind.
            let outcome = catch_unwind(AssertUnwindSafe(|| {
                let mut select = Select::new();
                select.send(&s);
                let _chosen = select.select();
                std::panic::resume_unwind(Box::new(()));
            }));
            assert!(outcome.is_err());
            s.send(5).unwrap();
        });
        assert_eq!(r.recv(), Ok(4));
        assert_eq!(r.recv(), Ok(5));
        slow.join();
    });
}

#[test]
fn ready_tells_all_who_watch_and_takes_nothing() {
    everywhere(|place| {
        for capacity in [0, 1] {
            let (s, r) = bounded::<u32>(capacity);
            let (done, all_done) = unbounded();
            let watchers: Vec<_> = (0..3)
                .map(|_| {
                    let (r, done) = (r.clone(), done.clone());
                    place.go(move || {
                        let mut select = Select::new();
                        select.recv(&r);
                        assert_eq!(select.ready(), 0);
                        done.send(()).unwrap();
                    })
                })
                .collect();
            let sender = place.go(move || s.send(8).unwrap());
            (0..3).for_each(|_| all_done.recv().unwrap());
            watchers.into_iter().for_each(|watcher| watcher.join());
            assert_eq!(r.recv(), Ok(8));
            sender.join();
            let mut select = Select::new();
            select.recv(&r);
            assert_eq!(select.ready(), 0, "it is disconnected");
        }
    });
}

#[test]
fn nothing_to_select_from() {
    let start = Instant::now();
    assert!(Select::new().try_select().is_err());
    assert!(Select::new().try_ready().is_err());
    assert!(Select::new().select_timeout(ms(2)).is_err());
    assert!(Select::new().ready_deadline(start + ms(4)).is_err());
    assert!(start.elapsed() >= ms(4));
    let complaint = "no operations have been added to `Select`";
    let calls: [fn(); 4] = [
        || drop(Select::new().select()),
        || _ = Select::new().ready(),
        || drop(Select::new().select_timeout(Duration::MAX)),
        || _ = Select::new().ready_timeout(Duration::MAX),
    ];
    for call in calls {
        let payload = catch_unwind(call).unwrap_err();
        assert_eq!(payload.downcast_ref::<String>().unwrap(), complaint);
    }
}

#[test]
fn complaints() {
    let text = |f: fn()| {
        let payload = catch_unwind(f).unwrap_err();
        let owned = payload.downcast_ref::<String>().cloned();
        owned.unwrap_or_else(|| (*payload.downcast_ref::<&str>().unwrap()).to_owned())
    };
    assert_eq!(text(|| Select::new().remove(0)), "index out of bounds; 0 >= 0");
    assert_eq!(
        text(|| {
            let r = never::<()>();
            let mut select = Select::new();
            select.recv(&r);
            select.remove(0);
            select.remove(0);
        }),
        "no operation with this index"
    );
    assert_eq!(
        text(|| {
            let (s, _r) = unbounded();
            let mut select = Select::new();
            select.send(&s);
            let _sent = select.select().send(&s.clone(), ());
        }),
        "passed a sender that wasn't selected"
    );
    assert_eq!(
        text(|| {
            let (s, r) = unbounded();
            s.send(()).unwrap();
            let mut select = Select::new();
            select.recv(&r);
            let _received = select.select().recv(&r.clone());
        }),
        "passed a receiver that wasn't selected"
    );
}

#[test]
fn a_select_is_used_again_cloned_and_sent() {
    let (s, r) = unbounded();
    let mut select = Select::new();
    select.recv(&r);
    let mut clone = select.clone();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for n in 0..20 {
                assert_eq!(clone.ready(), 0);
                assert_eq!(select.select().recv(&r), Ok(n));
            }
        });
        (0..20).for_each(|n| s.send(n).unwrap());
    });
    assert_eq!(format!("{:?}", Select::default()), "Select { .. }");
}

#[test]
fn a_thousand_cases() {
    runtime(2).run(|| {
        let channels: Vec<_> = (0..1000).map(|_| bounded(0)).collect();
        let senders: Vec<_> =
            channels.iter().map(|(s, _): &(_, Receiver<u32>)| s.clone()).collect();
        let peer = pirn::spawn(move || {
            (0..1000).rev().for_each(|n| senders[n].send(n as u32).unwrap());
        });
        let mut select = Select::new();
        for (_, r) in &channels {
            select.recv(r);
        }
        for n in (0..1000).rev() {
            let chosen = select.select();
            assert_eq!(chosen.index(), n);
            assert_eq!(chosen.recv(&channels[n].1), Ok(n as u32));
        }
        peer.join().unwrap();
    });
}

/// A message goes to and fro between two channels, and to the one before it leaves the other: who does
/// not wait finds it in one of them.
#[test]
fn who_does_not_wait_looks_at_one_moment() {
    const TURNS: usize = 6_000;
    everywhere(|place| {
        let ((s1, r1), (s2, r2)) = (bounded(2), unbounded());
        // To have to look at these in between takes longer.
        let quiet: Vec<_> = (0..14).map(|_| bounded::<()>(1)).collect();
        let moves = Arc::new(AtomicBool::new(true));
        s1.send(()).unwrap();
        let mover = {
            let (s1, r1, s2, r2) = (s1.clone(), r1.clone(), s2.clone(), r2.clone());
            let moves = moves.clone();
            place.go(move || {
                for _ in 0..TURNS {
                    s2.send(()).unwrap();
                    r1.recv().unwrap();
                    s1.send(()).unwrap();
                    r2.recv().unwrap();
                }
                moves.store(false, Ordering::Relaxed);
            })
        };
        while moves.load(Ordering::Relaxed) {
            let mut select = Select::new_biased();
            select.recv(&r2);
            for (_, r) in &quiet {
                select.recv(r);
            }
            let first = select.recv(&r1);
            select.try_ready().expect("there is always one");
            let chosen = select.try_select().expect("there is always one");
            // It stays where it was.
            if chosen.index() == first {
                chosen.recv(&r1).unwrap();
                s1.send(()).unwrap();
            } else {
                chosen.recv(&r2).unwrap();
                s2.send(()).unwrap();
            }
        }
        mover.join();
    });
}
