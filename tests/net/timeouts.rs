//! Timeouts and deadlines of reads, writes and connects.

use crate::support::{Flag, bind, everywhere, own_addr, pair, wait_until};
use pirn::net::{TcpListener, TcpStream};
use std::collections::HashSet;
use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

const SHORT: Duration = Duration::from_millis(20);
const LONG: Duration = Duration::from_secs(3600);

#[track_caller]
fn times_out(least: Duration, operation: impl FnOnce() -> std::io::Result<usize>) {
    let start = Instant::now();
    let error = operation().unwrap_err();
    let took = start.elapsed();
    assert_eq!(error.raw_os_error(), Some(libc::EAGAIN));
    assert!(took >= least, "took {took:?}");
}

/// For writes to one who does not read: there is room for some of them.
#[track_caller]
fn times_out_when_full(least: Duration, mut operation: impl FnMut() -> std::io::Result<usize>) {
    loop {
        let start = Instant::now();
        let Err(error) = operation() else { continue };
        let took = start.elapsed();
        assert_eq!(error.raw_os_error(), Some(libc::EAGAIN));
        assert!(took >= least, "took {took:?}");
        break;
    }
}

#[test]
fn a_read_times_out() {
    everywhere(|_world| {
        let (client, mut server) = pair();
        client.set_read_timeout(Some(SHORT)).unwrap();
        times_out(SHORT, || (&client).read(&mut [0; 4]));
        times_out(SHORT, || client.peek(&mut [0; 4]));
        let mut buf = [0; 4];
        times_out(SHORT, || (&client).read_vectored(&mut [std::io::IoSliceMut::new(&mut buf)]));
        // The stream is none the worse for it.
        server.write_all(b"late").unwrap();
        (&client).read_exact(&mut buf).unwrap();
        assert_eq!(&buf, b"late");
        times_out(SHORT, || (&client).read(&mut [0; 4]));
    });
}

#[test]
fn a_write_to_one_who_never_reads_times_out() {
    everywhere(|_world| {
        let (client, server) = pair();
        client.set_write_timeout(Some(SHORT)).unwrap();
        let chunk = vec![0; 1 << 16];
        times_out_when_full(SHORT, || (&client).write(&chunk));
        let slices = [std::io::IoSlice::new(&chunk)];
        times_out_when_full(SHORT, || (&client).write_vectored(&slices));
        let error = (&client).write_all(&vec![0; 1 << 24]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        drop(server);
    });
}

#[test]
fn a_timeout_ends_with_the_bytes_that_come_in_time() {
    everywhere(|world| {
        let (client, mut server) = pair();
        client.set_read_timeout(Some(LONG)).unwrap();
        let reading = Flag::default();
        let reads = reading.clone();
        let reader = world.spawn(move || {
            reads.set();
            (&client).read(&mut [0; 4]).unwrap()
        });
        reading.wait_and_settle();
        server.write_all(&[1, 2]).unwrap();
        assert_eq!(reader.join(), 2);
    });
}

#[test]
fn each_side_has_its_timeout() {
    everywhere(|_world| {
        let (client, mut server) = pair();
        client.set_read_timeout(Some(SHORT)).unwrap();
        client.set_write_timeout(Some(LONG)).unwrap();
        (&client).write_all(&[1]).unwrap();
        server.read_exact(&mut [0]).unwrap();
        times_out(SHORT, || (&client).read(&mut [0]));
    });
}

#[test]
fn timeouts_read_back_from_every_clone() {
    everywhere(|_world| {
        let (stream, _server) = pair();
        let clone = stream.try_clone().unwrap();
        for timeout in [
            Some(Duration::from_secs(15410)),
            Some(Duration::from_nanos(1)),
            Some(Duration::MAX),
            None,
        ] {
            stream.set_read_timeout(timeout).unwrap();
            assert_eq!(clone.read_timeout().unwrap(), timeout);
            assert_eq!(clone.write_timeout().unwrap(), None);
        }
        for timeout in [Some(Duration::from_micros(1_500)), Some(Duration::MAX), None] {
            clone.set_write_timeout(timeout).unwrap();
            assert_eq!(stream.write_timeout().unwrap(), timeout);
            assert_eq!(stream.read_timeout().unwrap(), None);
        }
    });
}

#[test]
fn a_timeout_of_a_nanosecond_is_a_timeout() {
    everywhere(|_world| {
        let (client, _server) = pair();
        client.set_read_timeout(Some(Duration::from_nanos(1))).unwrap();
        times_out(Duration::from_nanos(1), || (&client).read(&mut [0]));
    });
}

#[test]
fn the_longest_timeout_is_none() {
    everywhere(|world| {
        let (client, mut server) = pair();
        client.set_read_timeout(Some(Duration::MAX)).unwrap();
        client.set_write_timeout(Some(Duration::MAX)).unwrap();
        (&client).write_all(&[1]).unwrap();
        let echo = world.spawn(move || {
            let mut buf = [0];
            server.read_exact(&mut buf).unwrap();
            server.write_all(&buf).unwrap();
        });
        assert_eq!((&client).read(&mut [0; 2]).unwrap(), 1);
        echo.join();
    });
}

#[test]
fn a_timeout_that_is_lifted_does_not_count() {
    everywhere(|world| {
        let (client, mut server) = pair();
        client.set_read_timeout(Some(SHORT)).unwrap();
        times_out(SHORT, || (&client).read(&mut [0]));
        client.set_read_timeout(None).unwrap();
        let reading = Flag::default();
        let reads = reading.clone();
        let reader = world.spawn(move || {
            reads.set();
            (&client).read(&mut [0]).unwrap()
        });
        reading.wait();
        // Longer than it was.
        let end = Instant::now() + 2 * SHORT;
        wait_until(|| Instant::now() > end);
        server.write_all(&[1]).unwrap();
        assert_eq!(reader.join(), 1);
    });
}

#[test]
fn a_deadline_counts_for_all_reads() {
    everywhere(|world| {
        let (client, mut server) = pair();
        let stop = Flag::default();
        let stopped = stop.clone();
        // Each byte comes soon enough for any timeout.
        let writer = world.spawn(move || {
            while !stopped.is_set() {
                server.write_all(&[0]).unwrap();
                pirn::thread::sleep(Duration::from_millis(1));
            }
        });
        (&client).read_exact(&mut [0]).unwrap();
        let deadline = Instant::now() + 3 * SHORT;
        client.set_read_deadline(Some(deadline));
        let error = (&client).read_to_end(&mut Vec::new()).unwrap_err();
        assert!(Instant::now() >= deadline);
        assert_eq!(error.raw_os_error(), Some(libc::EAGAIN));
        stop.set();
        writer.join();
    });
}

#[test]
fn a_deadline_that_has_passed_fails_at_once() {
    everywhere(|_world| {
        let (client, mut server) = pair();
        server.write_all(b"there").unwrap();
        client.peek(&mut [0]).unwrap();
        let now = Instant::now();
        client.try_clone().unwrap().set_read_deadline(Some(now));
        client.set_write_deadline(Some(now));
        // Whether or not there is something to read, or room to write.
        let mut buf = [0; 8];
        assert_eq!((&client).read(&mut buf).unwrap_err().raw_os_error(), Some(libc::EAGAIN));
        assert_eq!(client.peek(&mut buf).unwrap_err().raw_os_error(), Some(libc::EAGAIN));
        assert_eq!((&client).write(&buf).unwrap_err().raw_os_error(), Some(libc::EAGAIN));
        client.set_read_deadline(None);
        client.set_write_deadline(None);
        assert_eq!((&client).read(&mut buf).unwrap(), 5);
        assert_eq!((&client).write(&buf).unwrap(), 8);
    });
}

#[test]
fn of_timeout_and_deadline_the_earlier_counts() {
    everywhere(|_world| {
        let (client, server) = pair();
        let soon = || Some(Instant::now() + SHORT);
        let late = || Some(Instant::now() + LONG);
        let chunk = vec![0; 1 << 16];

        client.set_read_timeout(Some(LONG)).unwrap();
        client.set_read_deadline(soon());
        times_out(Duration::ZERO, || (&client).read(&mut [0]));
        client.set_read_timeout(Some(SHORT)).unwrap();
        client.set_read_deadline(late());
        times_out(SHORT, || (&client).read(&mut [0]));

        client.set_write_timeout(Some(LONG)).unwrap();
        client.set_write_deadline(soon());
        times_out_when_full(Duration::ZERO, || (&client).write(&chunk));
        client.set_write_timeout(Some(SHORT)).unwrap();
        client.set_write_deadline(late());
        times_out_when_full(SHORT, || (&client).write(&chunk));
        drop(server);
    });
}

#[test]
fn many_timeouts_at_once() {
    everywhere(|world| {
        let readers: Vec<_> = (0..50)
            .map(|number| {
                let (client, server) = pair();
                world.spawn(move || {
                    let timeout = Duration::from_millis(1 + number % 10);
                    client.set_read_timeout(Some(timeout)).unwrap();
                    (0..3).for_each(|_| times_out(timeout, || (&client).read(&mut [0])));
                    drop(server);
                })
            })
            .collect();
        readers.into_iter().for_each(crate::support::Peer::join);
    });
}

/// A listener whose queue is full: the system does not answer who wants to connect.
pub(crate) struct Busy {
    pub(crate) addr: SocketAddr,
    listener: socket2::Socket,
    queued: Vec<socket2::Socket>,
}

impl Busy {
    /// How many connections to it are not made yet, as the system says, beside those that keep it
    /// busy. While others come and go, it may leave some out.
    pub(crate) fn under_way(&self) -> usize {
        let SocketAddr::V4(addr) = self.addr else { unreachable!("made below") };
        // Of the machine's own byte order, in hexadecimal digits.
        let ip = u32::from_ne_bytes(addr.ip().octets());
        let remote = format!("{ip:08X}:{:04X}", addr.port());
        let connections = std::fs::read_to_string("/proc/net/tcp").unwrap();
        let local = |line: &'_ str| {
            let mut fields = line.split_whitespace().skip(1);
            let local = fields.next()?.to_owned();
            (fields.next()? == remote && fields.next()? == "02").then_some(local)
        };
        // It may also name some twice.
        let all: HashSet<String> = connections.lines().filter_map(local).collect();
        let own = |socket: &socket2::Socket| {
            let SocketAddr::V4(addr) = socket.local_addr().ok()?.as_socket()? else { return None };
            let ip = u32::from_ne_bytes(addr.ip().octets());
            Some(format!("{ip:08X}:{:04X}", addr.port()))
        };
        let own: HashSet<String> = self.queued.iter().filter_map(own).collect();
        all.difference(&own).count()
    }

    /// Lets whoever waits in.
    pub(crate) fn make_room(self) -> TcpListener {
        drop(self.queued);
        TcpListener::from_std(self.listener.into())
    }
}

pub(crate) fn busy() -> Busy {
    let listener =
        socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    listener.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    listener.listen(0).unwrap();
    let addr = listener.local_addr().unwrap();
    let mut queued = Vec::new();
    for _ in 0..8 {
        let client =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        client.set_nonblocking(true).unwrap();
        let _under_way = client.connect(&addr);
        queued.push(client);
    }
    Busy { addr: addr.as_socket().unwrap(), listener, queued }
}

#[test]
fn a_connect_times_out() {
    everywhere(|_world| {
        let busy = busy();
        let start = Instant::now();
        let error = TcpStream::connect_timeout(&busy.addr, SHORT).unwrap_err();
        assert!(start.elapsed() >= SHORT);
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert_eq!(error.to_string(), "connection timed out");
    });
}

#[test]
fn a_connect_in_time() {
    everywhere(|_world| {
        let (listener, addr) = bind(own_addr());
        for timeout in [Duration::from_secs(60), Duration::MAX] {
            let client = TcpStream::connect_timeout(&addr, timeout).unwrap();
            assert_eq!(listener.accept().unwrap().1, client.local_addr().unwrap());
            assert_eq!(client.read_timeout().unwrap(), None);
        }
        drop(listener);
        let error = TcpStream::connect_timeout(&addr, LONG).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    });
}

#[test]
fn a_waiting_connect_succeeds_once_there_is_room() {
    everywhere(|world| {
        let busy = busy();
        let addr = busy.addr;
        let connecting = Flag::default();
        let connects = connecting.clone();
        let client = world.spawn(move || {
            connects.set();
            let mut stream = TcpStream::connect(addr).unwrap();
            stream.write_all(b"me").unwrap();
        });
        connecting.wait_and_settle();
        let listener = busy.make_room();
        // Those that were queued have nothing to say.
        let is_client = |stream: std::io::Result<TcpStream>| {
            let mut said = Vec::new();
            stream.unwrap().read_to_end(&mut said).is_ok_and(|_| said == b"me")
        };
        assert!(listener.incoming().any(is_client));
        client.join();
    });
}
