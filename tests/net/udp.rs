//! UDP.

use crate::descriptors::{closes_on_exec, is_nonblocking};
use crate::std_parity::{fail_alike, like_std};
use crate::support::{
    Flag, Peer, everywhere, everywhere_each_ip, guarded, own_addr, runtime, wait_until,
};
use pirn::net::UdpSocket;
use socket2::SockRef;
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket as StdSocket};
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

pub(crate) fn bind(addr: SocketAddr) -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind(addr).unwrap();
    let addr = socket.local_addr().unwrap();
    (socket, addr)
}

pub(crate) fn local() -> (UdpSocket, SocketAddr) {
    bind(([127, 0, 0, 1], 0).into())
}

/// Two that are connected to each other.
fn pair_at(addr: SocketAddr) -> (UdpSocket, UdpSocket) {
    let ((one, to_one), (two, to_two)) = (bind(addr), bind(addr));
    one.connect(to_two).unwrap();
    two.connect(to_one).unwrap();
    (one, two)
}

#[test]
fn a_datagram_wakes_who_waits_for_it() {
    everywhere_each_ip(|world, addr| {
        let ((one, to_one), (two, to_two)) = (bind(addr), bind(addr));
        let waits = Flag::default();
        let waiting = waits.clone();
        let echo = world.spawn(move || {
            let mut buf = [0; 16];
            waiting.set();
            for _ in 0..3 {
                let (len, from) = two.recv_from(&mut buf).unwrap();
                assert_eq!(from, to_one);
                assert_eq!(two.send_to(&buf[..len], from).unwrap(), len);
            }
        });
        waits.wait_and_settle();
        for text in ["a", "bc", "def"] {
            one.send_to(text.as_bytes(), to_two).unwrap();
            let mut buf = [0; 16];
            let (len, from) = one.recv_from(&mut buf).unwrap();
            assert_eq!((&buf[..len], from), (text.as_bytes(), to_two));
        }
        echo.join();
    });
}

#[test]
fn a_connected_pair() {
    everywhere_each_ip(|world, addr| {
        let (one, two) = pair_at(addr);
        let (stranger, _) = bind(addr);
        stranger.send_to(b"not for you", two.local_addr().unwrap()).unwrap();
        let peer = world.spawn(move || {
            let mut buf = [0; 16];
            assert_eq!(two.peek(&mut buf).unwrap(), 5);
            assert_eq!(two.peek_from(&mut buf).unwrap().1, two.peer_addr().unwrap());
            let len = two.recv(&mut buf).unwrap();
            assert_eq!(&buf[..len], b"hello");
            two.send(b"").unwrap();
        });
        assert_eq!(one.send(b"hello").unwrap(), 5);
        assert_eq!(one.recv(&mut [0; 16]).unwrap(), 0);
        peer.join();
    });
}

/// A datagram of nothing is one, and not the end of anything.
#[test]
fn datagrams_of_no_bytes_and_buffers_of_none() {
    everywhere_each_ip(|_world, addr| {
        let (one, two) = pair_at(addr);
        for message in [&b""[..], b"x", b"", b"lost", b"last"] {
            one.send(message).unwrap();
        }
        let mut buf = [0; 16];
        assert_eq!(two.recv(&mut buf).unwrap(), 0);
        assert_eq!(two.recv(&mut buf).unwrap(), 1);
        assert_eq!(two.recv_from(&mut buf).unwrap(), (0, one.local_addr().unwrap()));
        // A datagram is taken, whatever becomes of its bytes.
        assert_eq!(two.recv(&mut []).unwrap(), 0);
        assert_eq!(two.recv(&mut buf[..2]).unwrap(), 2);
        assert_eq!(&buf[..2], b"la");
        two.set_nonblocking(true).unwrap();
        assert_eq!(two.recv(&mut buf).unwrap_err().kind(), ErrorKind::WouldBlock);
    });
}

#[test]
fn one_at_a_time_for_ten_receivers() {
    everywhere(|world| {
        let (socket, addr) = local();
        let socket = Arc::new(socket);
        let received = Arc::new(AtomicUsize::new(0));
        let receivers: Vec<_> = (0..10)
            .map(|_| {
                let (socket, received) = (socket.clone(), received.clone());
                world.spawn(move || {
                    let mut buf = [0; 1];
                    socket.recv(&mut buf).unwrap();
                    received.fetch_add(1, Ordering::Release);
                    buf[0]
                })
            })
            .collect();
        let sender = local().0;
        for number in 0..10 {
            sender.send_to(&[number], addr).unwrap();
            wait_until(|| received.load(Ordering::Acquire) == usize::from(number) + 1);
        }
        let mut numbers: Vec<_> = receivers.into_iter().map(Peer::join).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, (0..10).collect::<Vec<_>>());
    });
}

/// Whoever is woken wakes the next: there is one edge for all that have come at once.
#[test]
fn one_edge_serves_ten_receivers() {
    everywhere(|world| {
        let (socket, addr) = local();
        let waiting = Arc::new(AtomicUsize::new(0));
        let receivers: Vec<_> = (0..10)
            .map(|_| {
                let (socket, waiting) = (socket.try_clone().unwrap(), waiting.clone());
                world.spawn(move || {
                    waiting.fetch_add(1, Ordering::Release);
                    socket.recv_from(&mut [0; 8]).unwrap().0
                })
            })
            .collect();
        wait_until(|| waiting.load(Ordering::Acquire) == 10);
        (0..50).for_each(|_| pirn::thread::yield_now());
        let sender = local().0;
        let datagrams: Vec<_> = (0..10).map(|len| (vec![0; len % 3], addr)).collect();
        assert_eq!(sender.send_many(&datagrams).unwrap(), 10);
        let sum: usize = receivers.into_iter().map(Peer::join).sum();
        assert_eq!(sum, (0..10).map(|len| len % 3).sum());
    });
}

/// Nobody is there: the system says so to whoever waits for an answer.
#[test]
fn a_refusal_wakes_a_receiver() {
    everywhere(|world| {
        let (socket, addr) = bind(own_addr());
        drop(socket);
        let (socket, _) = local();
        socket.connect(addr).unwrap();
        let socket = Arc::new(socket);
        let waits = Flag::default();
        let (waiting, receiver) = (waits.clone(), socket.clone());
        let receiver = world.spawn(move || {
            waiting.set();
            receiver.recv(&mut [0; 16]).unwrap_err().kind()
        });
        waits.wait_and_settle();
        socket.send(b"is anybody there?").unwrap();
        assert_eq!(receiver.join(), ErrorKind::ConnectionRefused);
        // It is told once, and the socket goes on.
        assert!(socket.take_error().unwrap().is_none());
        socket.send(b"again").unwrap();
        wait_until(|| socket.take_error().unwrap().is_some());
        socket.send(b"again").unwrap();
        assert_eq!(socket.recv(&mut [0; 16]).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    });
}

/// Std's has no method for that, but its descriptor may meet one that has.
#[test]
fn shutdown_wakes_a_receiver() {
    everywhere(|world| {
        let (one, _two) = pair_at(([127, 0, 0, 1], 0).into());
        let one = Arc::new(one);
        let waits = Flag::default();
        let (waiting, receiver) = (waits.clone(), one.clone());
        let receiver = world.spawn(move || {
            waiting.set();
            receiver.recv(&mut [0; 8]).unwrap()
        });
        waits.wait_and_settle();
        SockRef::from(&one).shutdown(std::net::Shutdown::Read).unwrap();
        assert_eq!(receiver.join(), 0);
        assert_eq!(one.recv_many(&mut pirn::net::Datagrams::new(2, 8)).unwrap(), 0);
    });
}

#[test]
fn timeouts_and_deadlines() {
    everywhere(|_world| {
        let (socket, addr) = local();
        let short = Duration::from_millis(20);
        type Receive = fn(&UdpSocket) -> io::Result<usize>;
        let receives: [Receive; 5] = [
            |socket| socket.recv(&mut [0; 8]),
            |socket| socket.recv_from(&mut [0; 8]).map(|(len, _)| len),
            |socket| socket.peek(&mut [0; 8]),
            |socket| socket.peek_from(&mut [0; 8]).map(|(len, _)| len),
            |socket| socket.recv_many(&mut pirn::net::Datagrams::new(2, 8)),
        ];
        for receive in receives {
            socket.set_read_timeout(Some(short)).unwrap();
            let start = Instant::now();
            assert_eq!(receive(&socket).unwrap_err().raw_os_error(), Some(libc::EAGAIN));
            assert!(start.elapsed() >= short);
            socket.set_read_timeout(None).unwrap();

            let deadline = Instant::now() + short;
            socket.set_read_deadline(Some(deadline));
            assert_eq!(receive(&socket).unwrap_err().kind(), ErrorKind::WouldBlock);
            assert!(Instant::now() >= deadline);
            socket.send_to(b"late", addr).unwrap();
            assert_eq!(receive(&socket).unwrap_err().kind(), ErrorKind::WouldBlock);
            socket.set_read_deadline(None);
            assert!(receive(&socket).unwrap() > 0);
            // Peeking has left it there.
            socket.set_nonblocking(true).unwrap();
            while socket.recv(&mut [0; 8]).is_ok() {}
            assert_eq!(receive(&socket).unwrap_err().kind(), ErrorKind::WouldBlock);
            socket.set_nonblocking(false).unwrap();
        }
        socket.set_write_deadline(Some(Instant::now()));
        assert_eq!(socket.send_to(b"", addr).unwrap_err().kind(), ErrorKind::WouldBlock);
        assert_eq!(socket.send_many(&[(b"", addr)]).unwrap_err().kind(), ErrorKind::WouldBlock);
        let zero = Some(Duration::ZERO);
        let std = StdSocket::bind("127.0.0.1:0").unwrap();
        fail_alike(std.set_read_timeout(zero), socket.set_read_timeout(zero));
        fail_alike(std.set_write_timeout(zero), socket.set_write_timeout(zero));
    });
}

#[test]
fn a_runtime_that_ends_takes_its_receivers_along_and_leaves_the_socket() {
    guarded("a runtime that ends", || {
        let (socket, addr) = local();
        for workers in [1, 2] {
            let ended = runtime(workers);
            let waits = Flag::default();
            for _ in 0..3 {
                let (socket, waits) = (socket.try_clone().unwrap(), waits.clone());
                drop(ended.spawn(move || {
                    waits.set();
                    let _received = socket.recv_from(&mut [0; 8]);
                    unreachable!("nothing was sent");
                }));
            }
            waits.wait_and_settle();
            drop(ended);
            // From a thread, and in another runtime.
            socket.send_to(b"thread", addr).unwrap();
            assert_eq!(socket.recv(&mut [0; 8]).unwrap(), 6);
            runtime(1).run(|| {
                let sender = local().0;
                pirn::spawn(move || sender.send_to(b"runtime", addr).unwrap());
                assert_eq!(socket.recv(&mut [0; 8]).unwrap(), 7);
            });
        }
    });
}

#[test]
fn traits_sizes_and_text() {
    like_std::<StdSocket>();
    like_std::<UdpSocket>();
    assert_eq!(size_of::<Option<UdpSocket>>(), size_of::<UdpSocket>());
    everywhere_each_ip(|_world, addr| {
        let (socket, other) = pair_at(addr);
        for socket in [socket, other, bind(addr).0] {
            let (text, pretty) = (format!("{socket:?}"), format!("{socket:#?}"));
            let socket = socket.into_std().unwrap();
            assert_eq!((text, pretty), (format!("{socket:?}"), format!("{socket:#?}")));
        }
    });
}

#[test]
fn errors_are_those_of_std() {
    everywhere(|_world| {
        let none: &[SocketAddr] = &[];
        let ((ours, addr), std) = (local(), StdSocket::bind("127.0.0.1:0").unwrap());
        fail_alike(StdSocket::bind(none), UdpSocket::bind(none));
        fail_alike(StdSocket::bind(addr), UdpSocket::bind(addr));
        fail_alike(StdSocket::bind("1.1.1.1:0"), UdpSocket::bind("1.1.1.1:0"));
        for text in ["", "x", "127.0.0.1", "127.0.0.1:65536", "a:b:c"] {
            fail_alike(StdSocket::bind(text), UdpSocket::bind(text));
            fail_alike(std.connect(text), ours.connect(text));
            fail_alike(std.send_to(b"", text), ours.send_to(b"", text));
        }
        fail_alike(std.connect(none), ours.connect(none));
        fail_alike(std.send_to(b"", none), ours.send_to(b"", none));
        fail_alike(std.send(b""), ours.send(b""));
        fail_alike(std.peer_addr(), ours.peer_addr());
        let other_family = "[::1]:1";
        fail_alike(std.connect(other_family), ours.connect(other_family));
        fail_alike(std.send_to(b"", other_family), ours.send_to(b"", other_family));
        let too_long = vec![0; 70_000];
        fail_alike(std.send_to(&too_long, addr), ours.send_to(&too_long, addr));
        fail_alike(std.send_to(b"", "127.0.0.1:0"), ours.send_to(b"", "127.0.0.1:0"));
        // Not permitted without the option.
        let broadcast = "255.255.255.255:9";
        fail_alike(std.send_to(b"", broadcast), ours.send_to(b"", broadcast));

        let file = || OwnedFd::from(std::fs::File::open("/dev/null").unwrap());
        let (std, ours) = (StdSocket::from(file()), UdpSocket::from(file()));
        fail_alike(std.local_addr(), ours.local_addr());
        fail_alike(std.recv(&mut []), ours.recv(&mut []));
        fail_alike(std.recv_from(&mut []), ours.recv_from(&mut []));
        fail_alike(std.send_to(b"", addr), ours.send_to(b"", addr));
        let unix = || OwnedFd::from(std::os::unix::net::UnixDatagram::pair().unwrap().0);
        let (std, ours) = (StdSocket::from(unix()), UdpSocket::from(unix()));
        fail_alike(std.local_addr(), ours.local_addr());
        fail_alike(std.peer_addr(), ours.peer_addr());
    });
}

#[test]
fn options_are_those_of_the_descriptor() {
    everywhere(|_world| {
        let v4 = local().0;
        v4.set_broadcast(true).unwrap();
        v4.set_ttl(7).unwrap();
        v4.set_multicast_ttl_v4(3).unwrap();
        v4.set_multicast_loop_v4(false).unwrap();
        v4.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        v4.set_write_timeout(Some(Duration::from_secs(6))).unwrap();
        assert!(v4.broadcast().unwrap() && !v4.multicast_loop_v4().unwrap());
        assert_eq!((v4.ttl().unwrap(), v4.multicast_ttl_v4().unwrap()), (7, 3));
        let std = v4.into_std().unwrap();
        assert!(std.broadcast().unwrap() && !std.multicast_loop_v4().unwrap());
        assert_eq!((std.ttl().unwrap(), std.multicast_ttl_v4().unwrap()), (7, 3));
        assert_eq!(std.read_timeout().unwrap(), Some(Duration::from_secs(5)));
        let ours = UdpSocket::from_std(std);
        assert_eq!(ours.read_timeout().unwrap(), Some(Duration::from_secs(5)));
        assert_eq!(ours.write_timeout().unwrap(), Some(Duration::from_secs(6)));

        let v6 = bind((Ipv6Addr::LOCALHOST, 0).into()).0;
        v6.set_multicast_loop_v6(false).unwrap();
        assert!(!v6.multicast_loop_v6().unwrap());
        v6.set_multicast_loop_v6(true).unwrap();
        assert!(v6.multicast_loop_v6().unwrap());

        let std = StdSocket::bind("127.0.0.1:0").unwrap();
        let (group, no_group) = (Ipv4Addr::new(239, 1, 2, 3), Ipv4Addr::new(1, 2, 3, 4));
        let here = Ipv4Addr::LOCALHOST;
        fail_alike(
            std.join_multicast_v4(&no_group, &here),
            ours.join_multicast_v4(&no_group, &here),
        );
        fail_alike(std.leave_multicast_v4(&group, &here), ours.leave_multicast_v4(&group, &here));
        let no_group = Ipv6Addr::LOCALHOST;
        let std = StdSocket::bind("[::1]:0").unwrap();
        fail_alike(std.join_multicast_v6(&no_group, 0), v6.join_multicast_v6(&no_group, 0));
        fail_alike(std.leave_multicast_v6(&no_group, 1), v6.leave_multicast_v6(&no_group, 1));
    });
}

#[test]
fn a_multicast_group_on_the_loopback_interface() {
    everywhere(|_world| {
        let group = Ipv4Addr::new(239, 17, 4, 1);
        let (member, addr) = bind((Ipv4Addr::UNSPECIFIED, 0).into());
        let sender = local().0;
        SockRef::from(&sender).set_multicast_if_v4(&Ipv4Addr::LOCALHOST).unwrap();
        member.join_multicast_v4(&group, &Ipv4Addr::LOCALHOST).unwrap();
        sender.send_to(b"to all", (group, addr.port())).unwrap();
        let mut buf = [0; 16];
        assert_eq!(member.recv_from(&mut buf).unwrap(), (6, sender.local_addr().unwrap()));
        member.leave_multicast_v4(&group, &Ipv4Addr::LOCALHOST).unwrap();
    });
}

#[test]
fn descriptors_keep_their_flags() {
    everywhere(|world| {
        let (ours, addr) = local();
        assert!(closes_on_exec(ours.as_raw_fd()));
        let std = ours.into_std().unwrap();
        assert!(!is_nonblocking(&std));

        // Another handle goes on blocking, while ours waits without its thread.
        let clone = std.try_clone().unwrap();
        let socket = UdpSocket::from_std(std);
        let waits = Flag::default();
        let (waiting, receiver) = (waits.clone(), socket.try_clone().unwrap());
        let receiver = world.spawn(move || {
            waiting.set();
            receiver.recv(&mut [0; 8]).unwrap()
        });
        waits.wait_and_settle();
        assert!(!is_nonblocking(&clone));
        clone.send_to(b"hello", addr).unwrap();
        assert_eq!(receiver.join(), 5);

        // And one that does not block stays so, with us and with std.
        clone.set_nonblocking(true).unwrap();
        let socket = UdpSocket::from_std(clone);
        assert_eq!(socket.recv(&mut [0; 8]).unwrap_err().kind(), ErrorKind::WouldBlock);
        assert!(is_nonblocking(&socket));
        let socket = from_raw(socket.into_raw_fd());
        let (fd, clone) = (socket.as_raw_fd(), socket.try_clone().unwrap());
        assert_eq!(clone.as_raw_fd(), fd);
        let duplicate = OwnedFd::from(socket);
        assert!(duplicate.as_raw_fd() != fd && is_nonblocking(&duplicate));
        assert_eq!(OwnedFd::from(clone).as_raw_fd(), fd);
    });

    #[expect(unsafe_code, reason = "from_raw_fd")]
    fn from_raw(fd: i32) -> UdpSocket {
        // SAFETY: it was given away just before.
        unsafe { UdpSocket::from_raw_fd(fd) }
    }
}
