//! Datagrams: who waits, and who wakes whom.

use crate::support::{Flag, Peer, everywhere, guarded, runtime, wait_until};
use crate::unix::Place;
use pirn::os::unix::net::UnixDatagram;
use std::io::{self, ErrorKind};
use std::net::Shutdown;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

#[test]
fn bounds_are_kept() {
    everywhere(|world| {
        let (one, two) = UnixDatagram::pair().unwrap();
        let waits = Flag::default();
        let waiting = waits.clone();
        let receiver = world.spawn(move || {
            let mut buf = [0; 4];
            waiting.set();
            let mut next = || {
                let len = two.recv(&mut buf).unwrap();
                buf[..len].to_vec()
            };
            // The third is longer than the buffer.
            [next(), next(), next(), next()]
        });
        waits.wait_and_settle();
        for text in ["a", "", "bcdefgh", "i"] {
            assert_eq!(one.send(text.as_bytes()).unwrap(), text.len());
        }
        assert_eq!(receiver.join(), [&b"a"[..], b"", b"bcde", b"i"]);
    });
}

#[test]
fn ten_receivers_get_one_each() {
    everywhere(|world| {
        let place = Place::new();
        let socket = Arc::new(UnixDatagram::bind(&place).unwrap());
        let waiting = Arc::new(AtomicUsize::new(0));
        let receivers: Vec<_> = (0..10)
            .map(|_| {
                let (socket, waiting) = (socket.clone(), waiting.clone());
                world.spawn(move || {
                    waiting.fetch_add(1, Ordering::Release);
                    socket.recv_from(&mut [0; 16]).unwrap().0
                })
            })
            .collect();
        wait_until(|| waiting.load(Ordering::Acquire) == 10);
        let sender = UnixDatagram::unbound().unwrap();
        for len in 0..10 {
            assert_eq!(sender.send_to(&[0; 10][..len], &place).unwrap(), len);
        }
        assert_eq!(receivers.into_iter().map(Peer::join).sum::<usize>(), 45);
    });
}

type Receive = fn(&UnixDatagram) -> io::Result<usize>;

const WAYS_TO_RECEIVE: [Receive; 5] = [
    |socket| socket.recv(&mut [0; 4]),
    |socket| socket.peek(&mut [0; 4]),
    |socket| {
        socket.recv_from(&mut [0; 4]).map(|(len, from)| if from.is_unnamed() { len } else { 9 })
    },
    |socket| socket.peek_from(&mut [0; 4]).map(|(len, _)| len),
    |socket| socket.recv_fds(&mut [0; 4], 1).map(|(len, fds)| len + fds.len()),
];

/// Linux gives the end only to calls that wait, which ours do in another way.
#[test]
fn shutdown_wakes_receivers() {
    everywhere(|world| {
        for receive in WAYS_TO_RECEIVE {
            let (one, two) = UnixDatagram::pair().unwrap();
            let one = Arc::new(one);
            let (waits, went_on) = (Flag::default(), Flag::default());
            let (waiting, wakes, receiver) = (waits.clone(), went_on.clone(), one.clone());
            let receiver = world.spawn(move || {
                waiting.set();
                let first = receive(&receiver).unwrap();
                wakes.set();
                // Nobody was waiting when it was told.
                [first, receive(&receiver).unwrap(), receive(&receiver).unwrap()]
            });
            waits.wait_and_settle();
            assert!(!went_on.is_set());
            one.shutdown(Shutdown::Both).unwrap();
            assert_eq!(receiver.join(), [0; 3]);
            assert_eq!(receive(&one).unwrap(), 0);
            let refused = [one.send(b"x"), two.send(b"x")].map(|sent| sent.unwrap_err().kind());
            assert_eq!(refused, [ErrorKind::BrokenPipe; 2]);
        }
    });
}

/// With std and with us, whether or not somebody has been told of the shutdown before.
#[test]
fn who_does_not_wait_is_not_told_of_a_shutdown() {
    everywhere(|_world| {
        for receive in WAYS_TO_RECEIVE {
            let (one, _two) = UnixDatagram::pair().unwrap();
            one.shutdown(Shutdown::Read).unwrap();
            assert_eq!(receive(&one).unwrap(), 0);
            one.set_nonblocking(true).unwrap();
            assert_eq!(receive(&one).unwrap_err().kind(), ErrorKind::WouldBlock);
            let std = one.into_std().unwrap();
            assert_eq!(std.recv(&mut [0; 4]).unwrap_err().kind(), ErrorKind::WouldBlock);
        }
    });
}

/// What has arrived before is there still; then there is nothing, with std and with us.
#[test]
fn shutdown_comes_after_what_has_arrived() {
    everywhere(|_world| {
        for receive in WAYS_TO_RECEIVE {
            let (one, two) = UnixDatagram::pair().unwrap();
            one.send(b"x").unwrap();
            two.shutdown(Shutdown::Read).unwrap();
            assert_eq!(receive(&two).unwrap(), 1);
            // Peeking has left it there.
            let std = two.into_std().unwrap();
            std.set_nonblocking(true).unwrap();
            let _rest = std.recv(&mut [0; 4]);
            std.set_nonblocking(false).unwrap();
            assert_eq!(std.recv(&mut [0; 4]).unwrap(), 0);
            assert_eq!(receive(&UnixDatagram::from_std(std)).unwrap(), 0);
        }
    });
}

#[test]
fn timeouts_and_deadlines() {
    everywhere(|_world| {
        let (one, _two) = UnixDatagram::pair().unwrap();
        let short = Duration::from_millis(20);
        one.set_read_timeout(Some(short)).unwrap();
        let start = Instant::now();
        assert_eq!(one.recv(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
        assert_eq!(one.recv_from(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
        assert!(start.elapsed() >= 2 * short);
        one.set_read_timeout(None).unwrap();
        let deadline = Instant::now() + short;
        one.set_read_deadline(Some(deadline));
        assert_eq!(one.peek_from(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
        assert!(Instant::now() >= deadline);
    });
}

#[test]
fn a_runtime_that_ends_takes_its_receivers_along() {
    guarded("a runtime that ends", || {
        let (one, two) = UnixDatagram::pair().unwrap();
        let two = Arc::new(two);
        for workers in [1, 2] {
            let ended = runtime(workers);
            let waits = Flag::default();
            let (receiver, waiting) = (two.clone(), waits.clone());
            drop(ended.spawn(move || {
                waiting.set();
                let _received = receiver.recv(&mut [0; 8]);
                unreachable!("nothing was sent");
            }));
            waits.wait_and_settle();
            drop(ended);
            one.send(b"hello").unwrap();
            assert_eq!(two.recv(&mut [0; 8]).unwrap(), 5);
        }
    });
}
