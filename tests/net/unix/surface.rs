//! The same calls on std's types and on ours give the same.

use crate::descriptors::{closes_on_exec, is_nonblocking};
use crate::std_parity::{fail_alike, like_std};
use crate::support::everywhere;
use crate::unix::Place;
use pirn::os::unix::net::{Incoming, SocketAddr, UnixDatagram, UnixListener, UnixStream};
use std::fmt::Debug;
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net as std_net;
use std::path::PathBuf;
use std::time::Duration;

#[test]
fn auto_traits_and_sizes() {
    like_std::<std_net::UnixStream>();
    like_std::<UnixStream>();
    like_std::<std_net::UnixListener>();
    like_std::<UnixListener>();
    like_std::<std_net::UnixDatagram>();
    like_std::<UnixDatagram>();
    like_std::<std_net::Incoming<'static>>();
    like_std::<Incoming<'static>>();
    assert_eq!(size_of::<Option<UnixStream>>(), size_of::<UnixStream>());
}

/// What it is called, pretty or not.
fn text(value: &impl Debug) -> (String, String) {
    (format!("{value:?}"), format!("{value:#?}"))
}

#[test]
fn debug_text() {
    everywhere(|_world| {
        let place = Place::new();
        let listener = UnixListener::bind(&place).unwrap();
        let client = UnixStream::connect(&place).unwrap();
        let (server, _) = listener.accept().unwrap();
        let incoming = format!("{:?}", listener.incoming());
        assert_eq!(incoming, format!("Incoming {{ listener: {listener:?} }}"));
        for stream in [client, server, UnixStream::pair().unwrap().0] {
            let ours = text(&stream);
            assert_eq!(ours, text(&stream.into_std().unwrap()));
        }
        let ours = text(&listener);
        assert_eq!(ours, text(&listener.into_std().unwrap()));
        let socket = UnixDatagram::unbound().unwrap();
        let ours = text(&socket);
        assert_eq!(ours, text(&socket.into_std().unwrap()));
    });
}

#[test]
fn errors_are_those_of_std() {
    everywhere(|_world| {
        let (nobody, taken) = (Place::new(), Place::new());
        let _listener = UnixListener::bind(&taken).unwrap();
        let paths = [nobody.0.clone(), taken.0.clone(), "a\0b".into(), "x".repeat(200).into()];
        let ours = UnixDatagram::unbound().unwrap();
        let std = std_net::UnixDatagram::unbound().unwrap();
        for path in paths.iter().chain(&[PathBuf::new()]) {
            if path != &taken.0 {
                fail_alike(std_net::UnixStream::connect(path), UnixStream::connect(path));
            }
            fail_alike(std.connect(path), ours.connect(path));
            fail_alike(std.send_to(b"x", path), ours.send_to(b"x", path));
        }
        for path in &paths[1..] {
            fail_alike(std_net::UnixListener::bind(path), UnixListener::bind(path));
            fail_alike(std_net::UnixDatagram::bind(path), UnixDatagram::bind(path));
        }
        let address = SocketAddr::from_abstract_name("pirn: nobody").unwrap();
        let other = std_net::UnixStream::connect_addr(&address);
        fail_alike(other, UnixStream::connect_addr(&address));
        fail_alike(std.connect_addr(&address), ours.connect_addr(&address));
        fail_alike(std.send_to_addr(b"x", &address), ours.send_to_addr(b"x", &address));
        fail_alike(std.send(b"x"), ours.send(b"x"));
        fail_alike(std.peer_addr(), ours.peer_addr());
        let zero = Some(Duration::ZERO);
        fail_alike(std.set_read_timeout(zero), ours.set_read_timeout(zero));
        fail_alike(std.set_write_timeout(zero), ours.set_write_timeout(zero));

        let file = || OwnedFd::from(std::fs::File::open("/dev/null").unwrap());
        let (mut std, mut ours) = (std_net::UnixStream::from(file()), UnixStream::from(file()));
        fail_alike(std.local_addr(), ours.local_addr());
        fail_alike(std.read(&mut [0]), ours.read(&mut [0]));
        fail_alike(std.write(b"x"), ours.write(b"x"));
        fail_alike(std.shutdown(Shutdown::Both), ours.shutdown(Shutdown::Both));
        let (std, ours) = (std_net::UnixListener::from(file()), UnixListener::from(file()));
        fail_alike(std.accept(), ours.accept());
        let udp = || OwnedFd::from(std::net::UdpSocket::bind("127.0.0.1:0").unwrap());
        let (std, ours) = (std_net::UnixDatagram::from(udp()), UnixDatagram::from(udp()));
        fail_alike(std.local_addr(), ours.local_addr());
        let to = std.local_addr().is_err().then(|| socket2::SockRef::from(&ours).local_addr());
        let to = to.unwrap().unwrap().as_socket().unwrap();
        std::net::UdpSocket::bind("127.0.0.1:0").unwrap().send_to(b"x", to).unwrap();
        let error = ours.recv_from(&mut [0]).unwrap_err();
        fail_alike(std.peer_addr().and(Ok(())).or(Err(error)), ours.local_addr());
    });
}

#[test]
fn what_we_make_is_not_inherited_and_std_gets_what_it_expects() {
    everywhere(|_world| {
        let place = Place::new();
        let listener = UnixListener::bind(&place).unwrap();
        let client = UnixStream::connect(&place).unwrap();
        let server = listener.accept().unwrap().0;
        let (one, _two) = UnixStream::pair().unwrap();
        let datagram = UnixDatagram::unbound().unwrap();
        let fds = [&client, &server, &one].map(|stream| stream.as_raw_fd());
        assert!(fds.into_iter().all(closes_on_exec));
        assert!(closes_on_exec(listener.as_raw_fd()) && closes_on_exec(datagram.as_raw_fd()));
        assert!([&client, &server, &one].iter().all(|stream| !is_nonblocking(stream)));
        let blocking = [client, server, one].map(|stream| stream.into_std().unwrap());
        assert!(blocking.iter().all(|stream| !is_nonblocking(stream)));
        assert!(!is_nonblocking(listener.into_std().unwrap()));
        assert!(!is_nonblocking(datagram.into_std().unwrap()));
    });
}

#[test]
fn descriptors_come_and_go() {
    everywhere(|_world| {
        let (one, two) = std_net::UnixStream::pair().unwrap();
        one.set_read_timeout(Some(Duration::from_secs(40))).unwrap();
        two.set_nonblocking(true).unwrap();
        let (one, mut two) = (UnixStream::from_std(one), UnixStream::from_std(two));
        assert_eq!(one.read_timeout().unwrap(), Some(Duration::from_secs(40)));
        assert_eq!(one.write_timeout().unwrap(), None);
        assert!(!is_nonblocking(&one));
        assert_eq!(two.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
        two.set_nonblocking(false).unwrap();

        let (fd, clone) = (one.as_raw_fd(), one.try_clone().unwrap());
        let duplicate = OwnedFd::from(one);
        assert_ne!(duplicate.as_raw_fd(), fd);
        let mut raw = from_raw(clone.into_raw_fd());
        assert_eq!(raw.as_raw_fd(), fd);
        raw.write_all(b"a").unwrap();
        std::fs::File::from(duplicate).write_all(b"b").unwrap();
        let mut buf = [0; 2];
        two.read_exact(&mut buf).unwrap();
        assert_eq!(&buf, b"ab");

        let place = Place::new();
        let listener = UnixListener::from_std(std_net::UnixListener::bind(&place).unwrap());
        listener.set_nonblocking(true).unwrap();
        assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
        assert!(listener.take_error().unwrap().is_none());
        assert_eq!(listener.incoming().size_hint(), (usize::MAX, None));
    });

    #[expect(unsafe_code, reason = "from_raw_fd")]
    fn from_raw(fd: i32) -> UnixStream {
        // SAFETY: it was given away just before.
        unsafe { UnixStream::from_raw_fd(fd) }
    }
}

#[test]
fn addresses_of_every_kind() {
    everywhere(|_world| {
        let (place, other) = (Place::new(), Place::new());
        let name = format!("pirn/{}", other.0.display());
        let name = SocketAddr::from_abstract_name(name).unwrap();
        let receiver = UnixDatagram::bind(&place).unwrap();
        let to = receiver.local_addr().unwrap();
        assert_eq!(to.as_pathname(), Some(place.as_ref()));
        let unnamed = UnixDatagram::unbound().unwrap();
        let named = UnixDatagram::bind(&other).unwrap();
        let abstracted = UnixDatagram::bind_addr(&name).unwrap();
        for sender in [unnamed, named, abstracted] {
            let from = sender.local_addr().unwrap();
            sender.send_to_addr(b"who am I?", &to).unwrap();
            let (_, seen) = receiver.peek_from(&mut [0; 16]).unwrap();
            assert_eq!(format!("{seen:?}"), format!("{from:?}"));
            let (len, seen) = receiver.recv_from(&mut [0; 16]).unwrap();
            assert_eq!((len, format!("{seen:?}")), (9, format!("{from:?}")));
            if !seen.is_unnamed() {
                receiver.send_to_addr(b"it is you", &seen).unwrap();
                assert_eq!(sender.recv(&mut [0; 16]).unwrap(), 9);
            }
        }
        // A name that may hold anything, of any length that there is room for. It is the system's, so
        // there is something of this process in it.
        let mut longest: Vec<u8> = (0..107).rev().collect();
        longest[..4].copy_from_slice(&std::process::id().to_be_bytes());
        let longest = SocketAddr::from_abstract_name(longest).unwrap();
        let listener = UnixListener::bind_addr(&longest).unwrap();
        let client = UnixStream::connect_addr(&longest).unwrap();
        let peer = client.peer_addr().unwrap();
        assert_eq!(peer.as_abstract_name(), longest.as_abstract_name());
        assert!(listener.accept().unwrap().1.is_unnamed());
    });
}
