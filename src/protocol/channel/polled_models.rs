//! Futures of channels against the other side, against each other, and against their own end.

#![expect(unsafe_code, reason = "polls what stays in the frame")]

use super::models::{One, Thread, check, kinds, select};
use super::*;
use std::cell::UnsafeCell;

/// A future that receives, on an executor that polls it when it was woken.
fn receive(host: &Thread, r: &ReceiverHalf<u32, Thread>) -> Result<u32, ReceiveStop> {
    let mut polled = Polled::new();
    loop {
        // SAFETY: it stays in this frame to its end, and its host longer than the model's threads.
        match unsafe { r.poll_receive(host, &mut polled, host.begin(), || {}) } {
            Some(done) => return done,
            None => host.0.resumed.wait(),
        }
    }
}

/// A future that is polled once and then dropped.
fn try_to_receive(host: &Thread, r: &ReceiverHalf<u32, Thread>) -> Option<u32> {
    let mut polled = Polled::new();
    // SAFETY: as above.
    let received = unsafe { r.poll_receive(host, &mut polled, host.begin(), || {}) };
    r.forget(&mut polled);
    received.and_then(Result::ok)
}

/// A future that sends.
fn send(host: &Thread, s: &SenderHalf<u32, Thread>, message: u32) -> Result<(), SendStop<u32>> {
    let mut polled = Polled::new();
    let message = UnsafeCell::new(Some(message));
    loop {
        // SAFETY: as above.
        match unsafe { s.poll_send(&mut polled, &message, host.begin(), || {}) } {
            Some(done) => return done,
            None => host.0.resumed.wait(),
        }
    }
}

/// A future that is polled once and then dropped. Whether its message has gone.
fn try_to_send(host: &Thread, s: &SenderHalf<u32, Thread>, message: u32) -> bool {
    let mut polled = Polled::new();
    let message = UnsafeCell::new(Some(message));
    // SAFETY: as above.
    let sent = unsafe { s.poll_send(&mut polled, &message, host.begin(), || {}) };
    s.forget(&mut polled);
    matches!(sent, Some(Ok(()))) || (sent.is_none() && message.into_inner().is_none())
}

/// The hosts of a model, which outlive all wakes.
fn hosts<const N: usize>() -> [Thread; N] {
    std::array::from_fn(|_| Thread::new())
}

#[test]
fn a_receiving_future_against_a_sender() {
    for new in kinds() {
        check(4, move || {
            let [host] = hosts();
            let (s, r) = new();
            let sender = loom::thread::spawn(move || {
                assert_eq!(s.send(&Thread::new(), 1, None), Ok(()));
                assert_eq!(s.send(&Thread::new(), 2, None), Ok(()));
            });
            assert_eq!(receive(&host, &r), Ok(1));
            assert_eq!(receive(&host, &r), Ok(2));
            assert_eq!(receive(&host, &r), Err(ReceiveStop::Disconnected));
            sender.join().unwrap();
        });
    }
}

#[test]
fn a_sending_future_against_a_receiver() {
    for new in kinds() {
        check(4, move || {
            let [host] = hosts();
            let (s, r) = new();
            let receiver = loom::thread::spawn(move || {
                assert_eq!(r.receive(&Thread::new(), None), Ok(1));
                assert_eq!(r.receive(&Thread::new(), None), Ok(2));
            });
            assert_eq!(send(&host, &s, 1), Ok(()));
            assert_eq!(send(&host, &s, 2), Ok(()));
            receiver.join().unwrap();
        });
    }
}

#[test]
fn two_futures_meet() {
    for new in kinds() {
        check(4, move || {
            let [host, theirs] = hosts();
            let (s, r) = new();
            let kept = theirs.clone();
            let sender = loom::thread::spawn(move || send(&theirs, &s, 1));
            assert_eq!(receive(&host, &r), Ok(1));
            assert_eq!(sender.join().unwrap(), Ok(()));
            drop(kept);
        });
    }
}

/// A future is dropped as it is woken: another receiver gets the message.
fn a_dropped_future(wait: fn(&Thread, &ReceiverHalf<u32, Thread>) -> Result<u32, ReceiveStop>) {
    for new in kinds() {
        check(3, move || {
            let [quitting, waiting] = hosts();
            let kept = (quitting.clone(), waiting.clone());
            let (s, r) = new();
            let q = r.clone();
            let quitter = loom::thread::spawn(move || try_to_receive(&quitting, &q));
            let patient = loom::thread::spawn(move || wait(&waiting, &r));
            assert_eq!(s.send(&Thread::new(), 1, None), Ok(()));
            // The end of the senders would wake as well, so it comes only if nothing else does.
            match quitter.join().unwrap() {
                Some(message) => {
                    drop(s);
                    assert_eq!(message, 1);
                    assert_eq!(patient.join().unwrap(), Err(ReceiveStop::Disconnected));
                }
                None => assert_eq!(patient.join().unwrap(), Ok(1)),
            }
            drop(kept);
        });
    }
}

#[test]
fn a_dropped_future_wakes_another() {
    a_dropped_future(receive);
}

#[test]
fn a_dropped_future_wakes_who_is_parked() {
    a_dropped_future(|host, r| r.receive(host, None));
}

/// A future that sends is dropped as its turn comes: what it has not sent leaves room for another.
#[test]
fn a_dropped_sender_takes_no_room_along() {
    check(3, || {
        let [quitting] = hosts();
        let kept = quitting.clone();
        let (s, r) = new_bounded::<u32, Thread>(1);
        assert_eq!(s.try_send(1), Ok(()));
        let (q, p) = (s.clone(), s);
        let quitter = loom::thread::spawn(move || try_to_send(&quitting, &q, 2));
        let patient = loom::thread::spawn(move || p.send(&Thread::new(), 4, None));
        let host = Thread::new();
        let mut sum = 0;
        while let Ok(message) = r.receive(&host, None) {
            sum += message;
        }
        assert_eq!(patient.join().unwrap(), Ok(()));
        assert_eq!(sum, if quitter.join().unwrap() { 7 } else { 5 });
        drop(kept);
    });
}

/// Without a buffer, either the message is received or the future still has it.
#[test]
fn a_dropped_sender_has_sent_or_not() {
    check(4, || {
        let [quitting] = hosts();
        let kept = quitting.clone();
        let (s, r) = new_bounded::<u32, Thread>(0);
        let quitter = loom::thread::spawn(move || try_to_send(&quitting, &s, 1));
        let received = r.receive(&Thread::new(), None);
        assert_eq!(received.is_ok(), quitter.join().unwrap());
        drop(kept);
    });
}

/// A select meets a future that receives, on its way out or not: what it sends is received by
/// somebody, or fails for want of receivers.
#[test]
fn a_select_that_sends_against_a_future() {
    check(3, || {
        let [host] = hosts();
        let kept = host.clone();
        let (s, r) = new_bounded::<u32, Thread>(0);
        let receiver = loom::thread::spawn(move || match try_to_receive(&host, &r) {
            Some(message) => Ok(message),
            None => receive(&host, &r),
        });
        let (_, token) = select(&Thread::new(), &[One(&s)], Limit::Never).unwrap();
        assert_eq!(s.complete(token, 1), Ok(()));
        assert_eq!(receiver.join().unwrap(), Ok(1));
        drop(kept);
    });
}

/// A select that gives up lets the future that it met wait on.
#[test]
fn a_select_that_gives_up_leaves_a_future_waiting() {
    check(3, || {
        let [host] = hosts();
        let kept = host.clone();
        let (s, r) = new_bounded::<u32, Thread>(0);
        let receiver = loom::thread::spawn(move || receive(&host, &r));
        let (_, token) = select(&Thread::new(), &[One(&s)], Limit::Never).unwrap();
        s.abandon(token);
        assert_eq!(s.send(&Thread::new(), 2, None), Ok(()));
        assert_eq!(receiver.join().unwrap(), Ok(2));
        drop(kept);
    });
}

/// A select meets a future that sends: the message is the select's at once, or still the future's.
#[test]
fn a_select_that_receives_against_a_future() {
    check(4, || {
        let [host] = hosts();
        let kept = host.clone();
        let (s, r) = new_bounded::<u32, Thread>(0);
        let sender = loom::thread::spawn(move || try_to_send(&host, &s, 1));
        let select_host = Thread::new();
        let (_, token) = select(&select_host, &[One(&r)], Limit::Never).unwrap();
        let received = r.complete(&select_host, token);
        assert_eq!(received.is_ok(), sender.join().unwrap());
        drop(kept);
    });
}

/// Who watches is told of a future, and of what a dropped one leaves behind.
#[test]
fn a_watcher_against_futures() {
    check(3, || {
        let [quitting] = hosts();
        let kept = quitting.clone();
        let (s, r) = new_bounded::<u32, Thread>(0);
        let q = r.clone();
        let quitter = loom::thread::spawn(move || {
            // Another handle keeps the message, if there is one.
            (try_to_receive(&quitting, &q), q)
        });
        let sender = loom::thread::spawn(move || s.send(&Thread::new(), 1, None));
        let (quick, _q) = quitter.join().unwrap();
        if quick.is_none() {
            let host = Thread::new();
            assert_eq!(select::ready(&host, &[One(&r)], Limit::Never).unwrap(), Some(0));
            assert_eq!(r.receive(&host, None), Ok(1));
        }
        assert_eq!(sender.join().unwrap(), Ok(()));
        drop(kept);
    });
}
