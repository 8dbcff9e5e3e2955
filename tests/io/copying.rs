//! `copy` and `copy_bidirectional`.

use crate::support::{World, everywhere, guarded, pattern, runtime, settle};
use pirn::io::{
    self, CopyBidirectional, DuplexStream, ErrorKind, HalfClose, PipeReader, Read, Write, copy,
    copy_bidirectional, duplex, pipe,
};
use pirn::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (client, listener.accept().unwrap().0)
}

fn reset(stream: TcpStream) {
    socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
}

fn drained(mut reader: impl Read) -> Vec<u8> {
    let mut all = Vec::new();
    reader.read_to_end(&mut all).unwrap();
    all
}

const MUCH: usize = 3_000_000;

#[test]
fn much_goes_through() {
    everywhere(|world| {
        let ((mut from, reader), (writer, to)) = (pair(), pair());
        let writing = world.spawn(move || {
            from.write_all(&pattern(MUCH)).unwrap();
        });
        let copying = world.spawn(move || {
            let (mut reader, mut writer) = (reader, writer);
            copy(&mut reader, &mut writer).unwrap()
        });
        assert!(drained(to) == pattern(MUCH));
        writing.join();
        assert_eq!(copying.join(), MUCH as u64);
    });
}

#[test]
fn from_pipes_and_to_pipes() {
    everywhere(|world| {
        let (from_end, mut from) = pipe().unwrap();
        let (to, mut to_end) = pipe().unwrap();
        let (ours, theirs) = pair();
        let writing = world.spawn(move || from.write_all(&pattern(MUCH)).unwrap());
        let into_socket = world.spawn(move || {
            let (mut reader, mut writer) = (from_end, ours);
            copy(&mut reader, &mut writer).unwrap()
        });
        let out_of_socket = world.spawn(move || copy(&mut (&theirs), &mut to_end).unwrap());
        assert!(drained(to) == pattern(MUCH));
        writing.join();
        assert_eq!(into_socket.join(), MUCH as u64);
        assert_eq!(out_of_socket.join(), MUCH as u64);
    });
}

/// Pipes that came from elsewhere block, by their flags.
#[test]
fn from_a_foreign_pipe() {
    guarded("foreign pipe", || {
        runtime(1).run(|| {
            let (reader, mut writer) = std::io::pipe().unwrap();
            let (ours, theirs) = pair();
            let copying =
                pirn::spawn(move || copy(&mut PipeReader::from(reader), &mut (&ours)).unwrap());
            settle();
            writer.write_all(&pattern(30_000)).unwrap();
            drop(writer);
            assert!(drained(theirs) == pattern(30_000));
            assert_eq!(copying.join().unwrap(), 30_000);
        });
    });
}

#[test]
fn a_limit_is_kept() {
    everywhere(|world| {
        let (mut from, mut reader) = pair();
        let (mut writer, to) = pair();
        let writing = world.spawn(move || from.write_all(&pattern(200_000)).unwrap());
        let receiving = world.spawn(move || drained(to));
        let mut limited = Read::by_ref(&mut reader).take(123_456);
        assert_eq!(copy(&mut limited, &mut writer).unwrap(), 123_456);
        assert_eq!(limited.limit(), 0);
        assert_eq!(copy(&mut limited, &mut writer).unwrap(), 0);
        assert!(drained(reader) == pattern(200_000)[123_456..]);
        drop(writer);
        assert!(receiving.join() == pattern(200_000)[..123_456]);
        writing.join();
    });
}

/// Urgent bytes are left out, as by reads, and what comes after them is not.
#[test]
fn urgent_data_ends_nothing() {
    fn send_urgent(stream: &TcpStream) {
        assert_eq!(socket2::SockRef::from(stream).send_out_of_band(b"!").unwrap(), 1);
    }
    everywhere(|world| {
        let ((mut from, reader), (writer, mut to)) = (pair(), pair());
        let receive = |to: &mut TcpStream, expected: &[u8]| {
            let mut buf = vec![0; expected.len()];
            to.read_exact(&mut buf).unwrap();
            assert_eq!(buf, expected);
        };
        // All of it is there when the copy begins.
        from.write_all(b"one").unwrap();
        send_urgent(&from);
        from.write_all(b"two").unwrap();
        let copying = world.spawn(move || copy(&mut (&reader), &mut (&writer)));
        receive(&mut to, b"onetwo");
        // It comes while the copy waits.
        settle();
        send_urgent(&from);
        from.write_all(b"three").unwrap();
        receive(&mut to, b"three");
        // The peer ends right behind it.
        from.write_all(b"four").unwrap();
        send_urgent(&from);
        from.write_all(b"five").unwrap();
        drop(from);
        assert_eq!(drained(to), b"fourfive");
        assert_eq!(copying.join().unwrap(), 19);
    });
}

#[test]
fn a_timeout_ends_a_copy() {
    everywhere(|_| {
        let ((_from, mut reader), (mut writer, _to)) = (pair(), pair());
        reader.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
        let error = copy(&mut reader, &mut writer).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
    });
}

/// A duplicate that was given away shares its flags with the clone that is copied from or to, and blocks.
#[test]
fn a_duplicate_that_blocks_stops_no_worker() {
    guarded("from a socket", || {
        runtime(1).run(|| {
            let ((mut client, server), (mut reader, mut writer)) = (pair(), pipe().unwrap());
            let clone = server.try_clone().unwrap();
            let copying = pirn::spawn(move || copy(&mut (&clone), &mut writer).unwrap());
            settle();
            let duplicate = server.into_std().unwrap();
            for text in [b"weft", b"warp"] {
                client.write_all(text).unwrap();
                let mut buf = [0; 4];
                reader.read_exact(&mut buf).unwrap();
                assert_eq!(&buf, text);
                settle();
            }
            drop(client);
            assert_eq!(copying.join().unwrap(), 8);
            drop(duplicate);
        });
    });
    guarded("to a socket", || {
        runtime(1).run(|| {
            let ((mut client, server), (mut from_end, mut from)) = (pair(), pipe().unwrap());
            socket2::SockRef::from(&server).set_send_buffer_size(1 << 14).unwrap();
            socket2::SockRef::from(&client).set_recv_buffer_size(1 << 14).unwrap();
            let clone = server.try_clone().unwrap();
            let writing = pirn::spawn(move || from.write_all(&pattern(MUCH)).unwrap());
            let copying = pirn::spawn(move || copy(&mut from_end, &mut (&clone)).unwrap());
            let mut all = vec![0; MUCH];
            settle();
            let duplicate = server.into_std().unwrap();
            client.read_exact(&mut all[..MUCH / 2]).unwrap();
            settle();
            client.read_exact(&mut all[MUCH / 2..]).unwrap();
            assert!(all == pattern(MUCH));
            writing.join().unwrap();
            assert_eq!(copying.join().unwrap(), MUCH as u64);
            drop(duplicate);
        });
    });
}

#[test]
fn a_reset_ends_a_copy() {
    everywhere(|world| {
        // Of the reader.
        let ((from, reader), (writer, _to)) = (pair(), pair());
        let copying = world.spawn(move || copy(&mut (&reader), &mut (&writer)));
        settle();
        reset(from);
        assert_eq!(copying.join().unwrap_err().kind(), ErrorKind::ConnectionReset);

        // Of the writer, which has no room.
        let ((mut from, reader), (writer, to)) = (pair(), pair());
        let feeding = world.spawn(move || while from.write(&[1; 65536]).is_ok() {});
        let copying = world.spawn(move || copy(&mut (&reader), &mut (&writer)));
        let mut to = to;
        to.read_exact(&mut [0; 1000]).unwrap();
        settle();
        reset(to);
        let kind = copying.join().unwrap_err().kind();
        assert!(matches!(kind, ErrorKind::ConnectionReset | ErrorKind::BrokenPipe), "{kind:?}");
        feeding.join();
    });
}

#[test]
fn other_readers_and_writers_are_as_in_std() {
    everywhere(|_| {
        let mut out = Vec::new();
        assert_eq!(io::copy(&mut &b"plain"[..], &mut out).unwrap(), 5);
        assert_eq!(out, b"plain");
        let (mut ours, theirs) = pair();
        assert_eq!(io::copy(&mut &b"bytes"[..], &mut ours).unwrap(), 5);
        drop(ours);
        let mut boxed: Box<dyn Read> = Box::new(theirs);
        let mut out = Vec::new();
        assert_eq!(io::copy(&mut boxed, &mut out).unwrap(), 5);
        assert_eq!(out, b"bytes");
    });
}

/// Without a descriptor left for a pipe, it goes on by reading and writing.
#[test]
fn without_descriptors() {
    const CHILD: &str = "PIRN_IO_NO_DESCRIPTORS";
    if std::env::var_os(CHILD).is_none() {
        let mut command = std::process::Command::new(std::env::current_exe().unwrap());
        command.args(["copying::without_descriptors", "--exact", "--test-threads=1"]);
        let output = command.env(CHILD, "1").output().unwrap();
        assert!(output.status.success(), "{output:?}");
        assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"), "{output:?}");
        return;
    }
    runtime(1).run(|| {
        let ((mut from, reader), (writer, to)) = (pair(), pair());
        let (_, limit) = rlimit::Resource::NOFILE.get().unwrap();
        rlimit::Resource::NOFILE.set(64, limit).unwrap();
        // Not a limit below what is open: poll(2) refuses to look at more than that.
        let open = || std::fs::File::open("/dev/null");
        let _all: Vec<_> = std::iter::from_fn(|| open().ok()).collect();
        pipe().unwrap_err();
        let writing = pirn::spawn(move || from.write_all(&pattern(MUCH)).unwrap());
        let copying = pirn::spawn(move || {
            let (mut reader, mut writer) = (reader, writer);
            copy(&mut reader, &mut writer).unwrap()
        });
        assert!(drained(to) == pattern(MUCH));
        writing.join().unwrap();
        assert_eq!(copying.join().unwrap(), MUCH as u64);
    });
}

/// Both ends of a connection to whoever runs `copy_bidirectional` between two streams.
fn proxied(world: World) -> (TcpStream, TcpStream, crate::support::Peer<io::Result<(u64, u64)>>) {
    let ((client, one), (two, server)) = (pair(), pair());
    let proxying = world.spawn(move || copy_bidirectional(&one, &two));
    (client, server, proxying)
}

#[test]
fn both_directions_and_their_ends() {
    everywhere(|world| {
        let (mut client, mut server, proxying) = proxied(world);
        client.write_all(b"question").unwrap();
        let mut question = [0; 8];
        server.read_exact(&mut question).unwrap();
        server.write_all(b"part one, ").unwrap();
        let mut part = [0; 10];
        client.read_exact(&mut part).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        // The end has come through, and the other direction goes on.
        assert_eq!(server.read(&mut [0]).unwrap(), 0);
        settle();
        server.write_all(b"part two").unwrap();
        drop(server);
        assert_eq!(drained(client), b"part two");
        assert_eq!(proxying.join().unwrap(), (8, 18));
    });
}

#[test]
fn much_in_both_directions() {
    everywhere(|world| {
        let (client, server, proxying) = proxied(world);
        let (client, server) = (Arc::new(client), Arc::new(server));
        let peers: Vec<_> = [client, server]
            .into_iter()
            .map(|stream| {
                let writes = stream.clone();
                let writing = world.spawn(move || {
                    (&*writes).write_all(&pattern(MUCH)).unwrap();
                    writes.shutdown(Shutdown::Write).unwrap();
                });
                (writing, world.spawn(move || drained(&*stream) == pattern(MUCH)))
            })
            .collect();
        for (writing, reading) in peers {
            writing.join();
            assert!(reading.join());
        }
        assert_eq!(proxying.join().unwrap(), (MUCH as u64, MUCH as u64));
    });
}

/// In every state: nothing said, one side ended, much on its way.
#[test]
fn a_reset_ends_both_directions() {
    everywhere(|world| {
        for state in ["idle", "half closed", "busy"] {
            for from_client in [true, false] {
                let (client, server, proxying) = proxied(world);
                let (victim, other) = if from_client { (client, server) } else { (server, client) };
                let other = Arc::new(other);
                let feeding = match state {
                    "half closed" => {
                        other.shutdown(Shutdown::Write).unwrap();
                        assert_eq!((&victim).read(&mut [0]).unwrap(), 0);
                        None
                    }
                    "busy" => {
                        let feeds = other.clone();
                        let feed = move || while (&*feeds).write(&[1; 65536]).is_ok() {};
                        Some(world.spawn(feed))
                    }
                    _ => None,
                };
                settle();
                reset(victim);
                let kind = proxying.join().unwrap_err().kind();
                let expected = [ErrorKind::ConnectionReset, ErrorKind::BrokenPipe];
                assert!(expected.contains(&kind), "{state}: {kind:?}");
                // The other side is told.
                let told = (&*other).read(&mut [0]);
                assert!(matches!(told, Ok(0)) || told.is_err(), "{state}: {told:?}");
                if let Some(feeding) = feeding {
                    // A socket that was shut down opens its window no more: without this, a writer
                    // may wait until the system gives up the closed end, a minute later.
                    let _may_be_reset = other.shutdown(Shutdown::Both);
                    feeding.join();
                }
            }
        }
    });
}

/// The first error is the one that is told, not what the other direction makes of it.
#[test]
fn the_first_error_is_told() {
    struct Failing(DuplexStream);
    impl Read for &Failing {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("of its own"))
        }
    }
    impl Write for &Failing {
        fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
            (&self.0).write(buf)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    impl HalfClose for Failing {
        fn shutdown(&self, how: Shutdown) -> io::Result<()> {
            self.0.shutdown(how)
        }
    }

    everywhere(|_| {
        for failing_first in [true, false] {
            let ((mut there, one), (two, _server)) = (duplex(4), duplex(4));
            // Its other direction is in the middle of something.
            (&_server).write_all(b"full").unwrap();
            there.write_all(b"full").unwrap();
            let failing = Failing(two);
            let result = if failing_first {
                copy_bidirectional(&failing, &one)
            } else {
                copy_bidirectional(&one, &failing)
            };
            assert_eq!(result.unwrap_err().to_string(), "of its own");
        }
    });
}

#[test]
fn a_panic_of_a_stream_ends_both_directions() {
    struct Panicking;
    impl Read for &Panicking {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            panic!("on purpose")
        }
    }
    impl Write for &Panicking {
        fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
            Ok(buf.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    impl HalfClose for Panicking {
        fn shutdown(&self, _: Shutdown) -> io::Result<()> {
            Ok(())
        }
    }

    everywhere(|_| {
        for panicking_first in [true, false] {
            let (_client, one) = pair();
            let copying = std::panic::catch_unwind(|| {
                if panicking_first {
                    copy_bidirectional(&Panicking, &one).unwrap();
                } else {
                    copy_bidirectional(&one, &Panicking).unwrap();
                }
            });
            assert_eq!(*copying.unwrap_err().downcast_ref::<&str>().unwrap(), "on purpose");
        }
    });
}

#[test]
fn a_proxy_ends_with_its_runtime() {
    guarded("cancellation", || {
        let ((mut client, one), (two, server)) = (pair(), pair());
        let runtime = runtime(2);
        let returned = Arc::new(AtomicBool::new(false));
        let flag = returned.clone();
        runtime.spawn(move || {
            let _result = copy_bidirectional(&one, &two);
            flag.store(true, Ordering::Relaxed);
        });
        client.write_all(b"x").unwrap();
        (&server).read_exact(&mut [0]).unwrap();
        drop(runtime);
        assert!(!returned.load(Ordering::Relaxed));
        assert_eq!(client.read(&mut [0]).unwrap(), 0);
        assert_eq!((&server).read(&mut [0]).unwrap(), 0);
    });
}

/// Of different kinds, and with a deadline for one of them.
#[test]
fn streams_of_different_kinds() {
    everywhere(|world| {
        let ((mut client, one), (two, mut server)) = (pair(), duplex(16));
        let copying = world.spawn(move || copy_bidirectional(&one, &two));
        client.write_all(b"there").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let mut text = String::new();
        server.read_to_string(&mut text).unwrap();
        assert_eq!(text, "there");
        let writing = world.spawn(move || server.write_all(&pattern(10_000)).unwrap());
        assert!(drained(client) == pattern(10_000));
        writing.join();
        assert_eq!(copying.join().unwrap(), (5, 10_000));

        let ((_client, one), (two, _server)) = (duplex(4), duplex(4));
        one.set_read_deadline(Some(Instant::now() + Duration::from_millis(5)));
        let error = copy_bidirectional(&one, &two).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
    });
}

/// Neither bytes nor ends come from anywhere.
#[test]
fn an_idle_timeout_ends_both_directions() {
    const LIMIT: Duration = Duration::from_millis(20);
    everywhere(|world| {
        let copying = CopyBidirectional::new().idle_timeout(LIMIT);
        let start = Instant::now();
        let is_over = |result: io::Result<(u64, u64)>| {
            let error = result.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}");
            assert_eq!(error.to_string(), "nothing has moved either way for 20ms");
            assert!(start.elapsed() >= LIMIT);
        };
        let ((mut client, one), (two, mut server)) = (pair(), pair());
        is_over(copying.run(&one, &two));
        assert_eq!(client.read(&mut [0]).unwrap(), 0);
        assert_eq!(server.read(&mut [0]).unwrap(), 0);
        // Also one that has nowhere to go with what it has, while the other has ended.
        let ((client, one), (two, server)) = (pair(), pair());
        let feeding = world.spawn(move || while (&client).write(&[1; 65536]).is_ok() {});
        server.shutdown(Shutdown::Write).unwrap();
        is_over(copying.run(&one, &two));
        drop((one, two));
        feeding.join();
        // In memory.
        let ((mut client, one), (two, mut server)) = (duplex(4), duplex(4));
        is_over(copying.run(&one, &two));
        assert_eq!(client.read(&mut [0]).unwrap(), 0);
        assert_eq!(server.read(&mut [0]).unwrap(), 0);
    });
}

/// What goes one way keeps the other.
#[test]
fn one_direction_is_enough_for_an_idle_timeout() {
    // Longer than a busy system keeps one of the threads from running.
    const LIMIT: Duration = Duration::from_millis(1500);
    everywhere(|world| {
        let ((client, one), (two, server)) = (pair(), pair());
        one_way(world, client, one, two, server);
        let ((client, one), (two, server)) = (duplex(4), duplex(4));
        one_way(world, client, one, two, server);
    });

    fn one_way<S>(world: World, mut client: S, one: S, two: S, mut server: S)
    where
        S: HalfClose + Read + Write + Send + Sync + 'static,
        for<'a> &'a S: Read + Write,
    {
        let copying = CopyBidirectional::new().idle_timeout(LIMIT);
        let copying = world.spawn(move || copying.run(&one, &two));
        let (start, mut count) = (Instant::now(), 0);
        while start.elapsed() < LIMIT * 3 / 2 {
            client.write_all(b"x").unwrap();
            server.read_exact(&mut [0]).unwrap();
            count += 1;
        }
        HalfClose::shutdown(&client, Shutdown::Write).unwrap();
        HalfClose::shutdown(&server, Shutdown::Write).unwrap();
        assert_eq!(copying.join().unwrap(), (count, 0));
    }
}

#[test]
fn an_idle_timeout_is_not_zero_and_may_be_long() {
    everywhere(|world| {
        let copying = CopyBidirectional::new();
        let ((_client, one), (two, _server)) = (duplex(4), duplex(4));
        let zero = copying.clone().idle_timeout(Duration::ZERO);
        assert_eq!(zero.run(&one, &two).unwrap_err().kind(), ErrorKind::InvalidInput);
        let ((mut client, one), (two, server)) = (duplex(4), duplex(4));
        client.write_all(b"last").unwrap();
        drop(client);
        let copying = copying.idle_timeout(Duration::MAX);
        let copying = world.spawn(move || copying.run(&one, &two));
        assert_eq!(drained(&server), b"last");
        drop(server);
        assert_eq!(copying.join().unwrap(), (4, 0));
    });
}
