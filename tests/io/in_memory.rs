//! `duplex`.

use crate::support::{everywhere, guarded, pattern, runtime, settle};
use pirn::io::{DuplexStream, ErrorKind, Read, Write, duplex};
use pirn::net::Shutdown;
use std::sync::Arc;
use std::time::{Duration, Instant};

const CAPACITIES: [usize; 4] = [0, 1, 7, 10_000];

#[test]
fn what_is_written_is_read() {
    everywhere(|world| {
        for capacity in CAPACITIES {
            let (mut one, mut two) = duplex(capacity);
            let writing = world.spawn(move || {
                one.write_all(&pattern(20_000)).unwrap();
                one.shutdown(Shutdown::Write).unwrap();
                let mut answer = String::new();
                one.read_to_string(&mut answer).unwrap();
                answer
            });
            let mut received = Vec::new();
            two.read_to_end(&mut received).unwrap();
            assert!(received == pattern(20_000));
            two.write_all(b"thanks").unwrap();
            drop(two);
            assert_eq!(writing.join(), "thanks");
        }
    });
}

#[test]
fn a_write_takes_what_there_is_room_for() {
    let (mut one, mut two) = duplex(5);
    assert_eq!(one.write(b"abcdefgh").unwrap(), 5);
    one.set_write_deadline(Some(Instant::now() + Duration::from_millis(5)));
    assert_eq!(one.write(b"fgh").unwrap_err().kind(), ErrorKind::WouldBlock);
    one.set_write_deadline(None);
    assert_eq!(two.read(&mut [0; 2]).unwrap(), 2);
    assert_eq!(one.write(b"fgh").unwrap(), 2);
    let mut buf = [0; 9];
    assert_eq!(two.read(&mut buf).unwrap(), 5);
    assert_eq!(&buf[..5], b"cdefg");
}

/// Without a capacity, a write that returns has been read.
#[test]
fn handing_over() {
    everywhere(|world| {
        let (mut one, two) = duplex(0);
        one.set_write_deadline(Some(Instant::now() + Duration::from_millis(5)));
        assert_eq!(one.write(b"nobody reads").unwrap_err().kind(), ErrorKind::WouldBlock);
        one.set_write_deadline(None);
        // It was taken back.
        two.set_read_deadline(Some(Instant::now() + Duration::from_millis(5)));
        assert_eq!((&two).read(&mut [0; 9]).unwrap_err().kind(), ErrorKind::WouldBlock);
        two.set_read_deadline(None);

        let reading = world.spawn(move || {
            let mut buf = [0; 3];
            two.shutdown(Shutdown::Write).unwrap();
            (&two).read_exact(&mut buf).unwrap();
            buf
        });
        // The reader goes after three bytes: so many were written.
        assert_eq!(one.write(b"hello").unwrap(), 3);
        assert_eq!(&reading.join(), b"hel");
        assert_eq!(one.write(b"lo").unwrap_err().kind(), ErrorKind::BrokenPipe);
    });
}

/// What writes count is what is read, also if their deadline comes while somebody reads.
#[test]
fn what_late_writes_count_is_read() {
    const WRITES: usize = 5000;
    guarded("late", || {
        let (mut one, two) = duplex(0);
        let two = Arc::new(two);
        let read_all = |two: Arc<DuplexStream>| {
            let (mut total, mut buf) = (0, [0; 3]);
            loop {
                match (&*two).read(&mut buf).unwrap() {
                    0 => break total,
                    count => total += count,
                }
            }
        };
        let readers: Vec<_> = (0..3)
            .map(|_| {
                let two = two.clone();
                std::thread::spawn(move || read_all(two))
            })
            .collect();
        let mut counted = 0;
        for write in 0..WRITES {
            let time = Duration::from_micros(write as u64 % 64);
            one.set_write_deadline(Some(Instant::now() + time));
            match one.write(&[0; 64]) {
                Ok(count) => counted += count,
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
        }
        drop(one);
        let read: usize = readers.into_iter().map(|reader| reader.join().unwrap()).sum();
        assert_eq!(read, counted);
    });
}

#[test]
fn ends() {
    for capacity in [0, 8] {
        let (mut one, mut two) = duplex(capacity);
        one.shutdown(Shutdown::Read).unwrap();
        assert_eq!(one.read(&mut [0]).unwrap(), 0);
        assert_eq!(two.write(b"x").unwrap_err().kind(), ErrorKind::BrokenPipe);
        two.shutdown(Shutdown::Write).unwrap();
        assert_eq!(two.write(b"x").unwrap_err().kind(), ErrorKind::BrokenPipe);
        assert_eq!((two.write(b"").unwrap(), two.read(&mut []).unwrap()), (0, 0));
        one.shutdown(Shutdown::Both).unwrap();
        assert_eq!(two.read(&mut [0]).unwrap(), 0);
    }
    let (mut one, mut two) = duplex(8);
    one.write_all(b"left").unwrap();
    drop(one);
    let mut text = String::new();
    two.read_to_string(&mut text).unwrap();
    assert_eq!(text, "left");
    assert_eq!(two.write(b"x").unwrap_err().kind(), ErrorKind::BrokenPipe);
}

#[test]
fn ends_wake_whoever_waits() {
    everywhere(|world| {
        for capacity in CAPACITIES {
            let (one, two) = duplex(capacity);
            let one = Arc::new(one);
            let (reads, writes) = (one.clone(), one.clone());
            let reading = world.spawn(move || (&*reads).read(&mut [0]).unwrap());
            let writing = world.spawn(move || {
                loop {
                    if let Err(error) = (&*writes).write(&[0; 100]) {
                        break error.kind();
                    }
                }
            });
            settle();
            drop(two);
            assert_eq!(reading.join(), 0);
            assert_eq!(writing.join(), ErrorKind::BrokenPipe);

            let (one, _two) = duplex(capacity);
            let one = Arc::new(one);
            let reads = one.clone();
            let reading = world.spawn(move || (&*reads).read(&mut [0]).unwrap());
            settle();
            one.shutdown(Shutdown::Both).unwrap();
            assert_eq!(reading.join(), 0);
        }
    });
}

#[test]
fn many_share_one_end() {
    const EACH: usize = 5000;
    everywhere(|world| {
        for capacity in CAPACITIES {
            let (one, two) = duplex(capacity);
            let (one, two) = (Arc::new(one), Arc::new(two));
            let writers: Vec<_> = (0..4)
                .map(|_| {
                    let one = one.clone();
                    world.spawn(move || (&*one).write_all(&[1; EACH]).unwrap())
                })
                .collect();
            let readers: Vec<_> = (0..4)
                .map(|_| {
                    let two = two.clone();
                    world.spawn(move || {
                        let mut all = Vec::new();
                        (&*two).read_to_end(&mut all).unwrap();
                        all.len()
                    })
                })
                .collect();
            writers.into_iter().for_each(|writer| writer.join());
            drop(one);
            let total: usize = readers.into_iter().map(|reader| reader.join()).sum();
            assert_eq!(total, 4 * EACH);
        }
    });
}

/// What a cancelled writer has not handed over is not read by anybody.
#[test]
fn a_cancelled_writer_takes_back() {
    guarded("cancelled", || {
        let (one, mut two) = duplex(0);
        let one = Arc::new(one);
        let writes = one.clone();
        let runtime = runtime(2);
        runtime.spawn(move || (&*writes).write_all(b"never").unwrap());
        runtime.run(settle);
        drop(runtime);
        assert_eq!(Arc::strong_count(&one), 1);
        let reading = std::thread::spawn(move || {
            let mut text = String::new();
            two.read_to_string(&mut text).unwrap();
            text
        });
        (&*one).write_all(b"this").unwrap();
        drop(one);
        assert_eq!(reading.join().unwrap(), "this");
    });
}

/// A part that was read is a success, and the next wait ends instead.
#[test]
fn a_cancelled_writer_counts_what_was_read() {
    guarded("counted", || {
        runtime(2).run(|| {
            let (one, mut two) = duplex(0);
            let (counts, counted) = pirn::channel::bounded(1);
            let writing = pirn::spawn(move || {
                counts.send((&one).write(b"hello").unwrap()).unwrap();
                (&one).write(b"lo").unwrap()
            });
            let mut buf = [0; 3];
            two.read_exact(&mut buf).unwrap();
            assert_eq!(&buf, b"hel");
            writing.cancel();
            assert!(writing.join().unwrap_err().is::<pirn::Cancelled>());
            assert_eq!(counted.recv(), Ok(3));
            // The rest was taken back.
            assert_eq!(two.read(&mut buf).unwrap(), 0);
        });
    });
}

/// So a panic that comes next is one, and no cancellation that unwinds.
#[test]
fn a_cancelled_writer_that_goes_on_is_not_unwinding() {
    guarded("going on", || {
        runtime(2).run(|| {
            let (one, mut two) = duplex(0);
            let mutex = std::sync::Arc::new(pirn::sync::Mutex::new(()));
            let theirs = mutex.clone();
            let writing = pirn::spawn(move || {
                assert_eq!((&one).write(b"hello").unwrap(), 3);
                let _guard = theirs.lock().unwrap();
                panic!("with the guard");
            });
            two.read_exact(&mut [0; 3]).unwrap();
            writing.cancel();
            assert!(writing.join().unwrap_err().is::<&str>());
            assert!(mutex.is_poisoned());
        });
    });
}

#[test]
fn it_is_for_all_threads() {
    fn is_send_and_sync<T: Send + Sync + Unpin>() {}
    is_send_and_sync::<DuplexStream>();
    let (one, _two) = duplex(3);
    assert_eq!(format!("{one:?}"), "DuplexStream { capacity: 3, .. }");
}
