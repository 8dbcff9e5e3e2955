//! `pirn::sync::mpsc`: std's laws, between coroutines, threads, and both.

use pirn::sync::mpsc::{
    Receiver, RecvError, RecvTimeoutError, SendError, Sender, SyncSender, TryRecvError,
    TrySendError, channel, sync_channel,
};
use std::fmt::Debug;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// On a plain thread, and in coroutines of one and two workers.
fn everywhere(test: impl Fn() + Sync) {
    test();
    for workers in [1, 2] {
        pirn::Builder::new().workers(workers).build().unwrap().run(&test);
    }
}

#[test]
fn many_send_and_one_receives() {
    everywhere(|| {
        for bound in [None, Some(0), Some(1), Some(5)] {
            let (numbers, sum): (usize, u64) = match bound {
                None => {
                    let (tx, rx) = channel();
                    for part in 0..8 {
                        let tx = tx.clone();
                        drop(pirn::spawn(move || {
                            (0..100).for_each(|n| tx.send(part + n).unwrap())
                        }));
                    }
                    drop(tx);
                    rx.iter().fold((0, 0), |(count, sum), n| (count + 1, sum + n))
                }
                Some(bound) => {
                    let (tx, rx) = sync_channel(bound);
                    for part in 0..8 {
                        let tx = tx.clone();
                        drop(std::thread::spawn(move || {
                            (0..100).for_each(|n| tx.send(part + n).unwrap());
                        }));
                    }
                    drop(tx);
                    rx.into_iter().fold((0, 0), |(count, sum), n| (count + 1, sum + n))
                }
            };
            assert_eq!((numbers, sum), (800, 8 * 4950 + 100 * 28));
        }
    });
}

#[test]
fn what_cannot_be_sent_or_received() {
    let (tx, rx) = channel();
    assert_eq!(rx.try_recv(), Err(TryRecvError::Empty));
    tx.send(1).unwrap();
    drop(tx);
    assert_eq!(rx.try_recv(), Ok(1));
    assert_eq!(rx.try_recv(), Err(TryRecvError::Disconnected));
    assert_eq!(rx.recv(), Err(RecvError));
    assert_eq!(rx.recv_timeout(Duration::MAX), Err(RecvTimeoutError::Disconnected));
    let (tx, rx) = channel();
    drop(rx);
    assert_eq!(tx.send(2), Err(SendError(2)));

    let (tx, rx) = sync_channel(1);
    assert_eq!(tx.try_send(1), Ok(()));
    assert_eq!(tx.try_send(2), Err(TrySendError::Full(2)));
    drop(rx);
    assert_eq!(tx.try_send(3), Err(TrySendError::Disconnected(3)));
    assert_eq!(tx.send(4), Err(SendError(4)));
    let (tx, _rx) = sync_channel(0);
    assert_eq!(tx.try_send(6), Err(TrySendError::Full(6)));
}

#[test]
fn timeouts() {
    everywhere(|| {
        let (tx, rx) = channel::<u32>();
        let start = Instant::now();
        let limit = Duration::from_millis(3);
        assert_eq!(rx.recv_timeout(limit), Err(RecvTimeoutError::Timeout));
        assert!(start.elapsed() >= limit);
        let waiting = pirn::spawn(move || rx.recv_timeout(Duration::MAX));
        tx.send(1).unwrap();
        assert_eq!(waiting.join().unwrap(), Ok(1));
        let (tx, rx) = sync_channel(0);
        let waiting = std::thread::spawn(move || rx.recv_timeout(Duration::from_secs(u64::MAX)));
        tx.send(2).unwrap();
        assert_eq!(waiting.join().unwrap(), Ok(2));
    });
}

#[test]
fn iterators() {
    let (tx, rx) = channel();
    assert_eq!(rx.try_iter().next(), None);
    (0..6).for_each(|n| tx.send(n).unwrap());
    assert!(rx.try_iter().take(2).eq(0..2));
    assert!((&rx).into_iter().take(2).eq(2..4));
    drop(tx);
    assert!(rx.into_iter().eq(4..6));
}

#[test]
fn messages_go_with_the_receiver() {
    let (tx, rx) = sync_channel::<Rc<()>>(1);
    let message = Rc::new(());
    let weak = Rc::downgrade(&message);
    tx.send(message).unwrap();
    drop(rx);
    assert!(weak.upgrade().is_none());
}

#[test]
fn a_sender_that_waits_gets_its_message_back() {
    everywhere(|| {
        let (tx, rx) = sync_channel(0);
        let senders: Vec<_> = (0..4)
            .map(|n| {
                let tx = tx.clone();
                pirn::spawn(move || tx.send(n))
            })
            .collect();
        pirn::thread::yield_now();
        drop(rx);
        for (n, sender) in senders.into_iter().enumerate() {
            assert_eq!(sender.join().unwrap(), Err(SendError(n)));
        }
    });
}

#[test]
fn traits_and_texts_are_stds() {
    fn debug(theirs: impl Debug, ours: impl Debug) {
        assert_eq!(format!("{theirs:?} {theirs:#?}"), format!("{ours:?} {ours:#?}"));
    }
    let (tx, rx) = std::sync::mpsc::channel::<u8>();
    let (our_tx, our_rx) = channel::<u8>();
    debug(&tx, &our_tx);
    debug(&rx, &our_rx);
    debug(rx.iter(), our_rx.iter());
    debug(rx.try_iter(), our_rx.try_iter());
    debug(rx.into_iter(), our_rx.into_iter());
    debug(std::sync::mpsc::sync_channel::<u8>(0).0, sync_channel::<u8>(0).0);
    fn shared<T: Send + Sync + UnwindSafe + RefUnwindSafe + Clone>() {}
    shared::<Sender<std::cell::Cell<u8>>>();
    shared::<SyncSender<std::cell::Cell<u8>>>();
    fn sent<T: Send + UnwindSafe + RefUnwindSafe>() {}
    sent::<Receiver<std::cell::Cell<u8>>>();
    // A message of std's is a message of ours: the errors are the same types.
    let _: std::sync::mpsc::SendError<u8> = SendError(1);
}
