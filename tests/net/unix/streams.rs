//! Streams: who waits, and who wakes whom.

use crate::support::{Flag, Peer, everywhere, guarded, runtime, wait_until};
use crate::unix::Place;
use pirn::os::unix::net::{UnixListener, UnixStream};
use std::io::{ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::net::Shutdown;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

#[test]
fn an_echo() {
    everywhere(|world| {
        let place = Place::new();
        let listener = UnixListener::bind(&place).unwrap();
        let server = world.spawn(move || {
            for stream in listener.incoming().take(3) {
                let mut stream = stream.unwrap();
                let mut buf = [0; 1000];
                loop {
                    match stream.read(&mut buf).unwrap() {
                        0 => break,
                        count => stream.write_all(&buf[..count]).unwrap(),
                    }
                }
            }
        });
        for size in [1, 1000, 1_000_000] {
            let client = UnixStream::connect(&place).unwrap();
            let sent: Vec<_> = (0..size).map(|at| (at % 251) as u8).collect();
            let writes = (client.try_clone().unwrap(), sent.clone());
            let writer = world.spawn(move || {
                (&writes.0).write_all(&writes.1).unwrap();
                writes.0.shutdown(Shutdown::Write).unwrap();
            });
            let mut echo = Vec::new();
            (&client).read_to_end(&mut echo).unwrap();
            assert!(echo == sent, "an echo of {size} bytes is wrong");
            writer.join();
        }
        server.join();
    });
}

#[test]
fn vectored_and_peeked() {
    everywhere(|world| {
        let (mut one, mut two) = UnixStream::pair().unwrap();
        let waits = Flag::default();
        let waiting = waits.clone();
        let reader = world.spawn(move || {
            let (mut a, mut b) = ([0; 3], [0; 10]);
            waiting.set();
            assert_eq!(two.peek(&mut a).unwrap(), 3);
            let bufs = &mut [IoSliceMut::new(&mut a), IoSliceMut::new(&mut b)];
            assert_eq!(two.read_vectored(bufs).unwrap(), 6);
            (a, b[..3].to_vec())
        });
        waits.wait_and_settle();
        let bufs = [IoSlice::new(b"ab"), IoSlice::new(b""), IoSlice::new(b"cdef")];
        assert_eq!(one.write_vectored(&bufs).unwrap(), 6);
        assert_eq!(reader.join(), (*b"abc", b"def".to_vec()));
    });
}

#[test]
fn ten_readers_get_a_byte_each() {
    everywhere(|world| {
        let (mut one, two) = UnixStream::pair().unwrap();
        let two = Arc::new(two);
        let reading = Arc::new(AtomicUsize::new(0));
        let readers: Vec<_> = (0..10)
            .map(|_| {
                let (two, reading) = (two.clone(), reading.clone());
                world.spawn(move || {
                    reading.fetch_add(1, Ordering::Release);
                    let mut buf = [0; 1];
                    (&*two).read_exact(&mut buf).unwrap();
                    usize::from(buf[0])
                })
            })
            .collect();
        wait_until(|| reading.load(Ordering::Acquire) == 10);
        one.write_all(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]).unwrap();
        assert_eq!(readers.into_iter().map(Peer::join).sum::<usize>(), 45);
    });
}

#[test]
fn the_other_end_leaves() {
    everywhere(|world| {
        // A reader sees the end, a writer that nobody reads.
        for shut in [true, false] {
            let (one, two) = UnixStream::pair().unwrap();
            let waits = Flag::default();
            let (waiting, reader) = (waits.clone(), one.try_clone().unwrap());
            let reader = world.spawn(move || {
                waiting.set();
                (&reader).read(&mut [0; 8]).unwrap()
            });
            let writer = world.spawn(move || {
                let chunk = [0; 10_000];
                loop {
                    if let Err(error) = (&one).write(&chunk) {
                        return error.kind();
                    }
                }
            });
            waits.wait_and_settle();
            if shut {
                two.shutdown(Shutdown::Both).unwrap();
            } else {
                drop(two);
            }
            let kind = writer.join();
            if shut {
                assert_eq!(kind, ErrorKind::BrokenPipe);
                assert_eq!(reader.join(), 0);
            } else {
                // With bytes that were never read, Linux calls the end a reset: to the reader, and
                // to a writer whom it meets in the middle of a write.
                let kinds = [ErrorKind::BrokenPipe, ErrorKind::ConnectionReset];
                assert!(kinds.contains(&kind), "{kind:?}");
                drop(reader);
            }
        }
    });
}

#[test]
fn timeouts_and_deadlines() {
    everywhere(|_world| {
        let (one, two) = UnixStream::pair().unwrap();
        let short = Duration::from_millis(20);
        let start = Instant::now();
        one.set_read_timeout(Some(short)).unwrap();
        assert_eq!((&one).read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
        assert_eq!(one.peek(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
        assert_eq!(one.recv_fds(&mut [0], 1).unwrap_err().kind(), ErrorKind::WouldBlock);
        assert!(start.elapsed() >= 3 * short);
        let deadline = Instant::now() + short;
        one.set_write_deadline(Some(deadline));
        let chunk = [0; 100_000];
        let error = loop {
            if let Err(error) = (&one).write(&chunk) {
                break error;
            }
        };
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        assert!(Instant::now() >= deadline);
        two.set_read_deadline(Some(Instant::now()));
        assert_eq!((&two).read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
    });
}

#[test]
fn a_runtime_that_ends_takes_its_waiters_along_and_leaves_the_sockets() {
    guarded("a runtime that ends", || {
        let place = Place::new();
        let listener = Arc::new(UnixListener::bind(&place).unwrap());
        let (one, two) = UnixStream::pair().unwrap();
        let one = Arc::new(one);
        for workers in [1, 2] {
            let ended = runtime(workers);
            let (reads, accepts) = (Flag::default(), Flag::default());
            let (reader, reading) = (one.clone(), reads.clone());
            drop(ended.spawn(move || {
                reading.set();
                let _read = (&*reader).read(&mut [0; 8]);
                unreachable!("nothing was written");
            }));
            let (acceptor, accepting) = (listener.clone(), accepts.clone());
            drop(ended.spawn(move || {
                accepting.set();
                let _accepted = acceptor.accept();
                unreachable!("nobody has connected");
            }));
            reads.wait_and_settle();
            accepts.wait_and_settle();
            drop(ended);
            (&two).write_all(b"x").unwrap();
            assert_eq!((&*one).read(&mut [0; 8]).unwrap(), 1);
            runtime(1).run(|| {
                let place = place.0.clone();
                let client = pirn::spawn(move || UnixStream::connect(place).unwrap());
                drop(listener.accept().unwrap());
                client.join().unwrap();
            });
        }
    });
}
