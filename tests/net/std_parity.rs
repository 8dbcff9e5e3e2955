//! The same calls on std's types and on ours give the same.

use crate::support::{bind, bind_by_name, everywhere, own_addr, pair};
use pirn::net::{self, TcpListener, TcpStream, ToSocketAddrs};
use pirn::os::unix::net::UnixStream;
use std::fmt::Debug;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::time::Duration;

const ANY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// What a user can tell of an error.
fn face(error: &io::Error) -> (io::ErrorKind, Option<i32>, String) {
    (error.kind(), error.raw_os_error(), error.to_string())
}

#[track_caller]
pub(crate) fn fail_alike<A: Debug, B: Debug>(std: io::Result<A>, ours: io::Result<B>) {
    assert_eq!(face(&std.unwrap_err()), face(&ours.unwrap_err()));
}

/// The auto traits that std's sockets have.
pub(crate) fn like_std<T: Send + Sync + Unpin + UnwindSafe + RefUnwindSafe + Debug + 'static>() {}

#[test]
fn auto_traits_and_sizes() {
    like_std::<std::net::TcpStream>();
    like_std::<TcpStream>();
    like_std::<std::net::TcpListener>();
    like_std::<TcpListener>();
    like_std::<std::net::Incoming<'static>>();
    like_std::<net::Incoming<'static>>();
    assert_eq!(size_of::<Option<TcpStream>>(), size_of::<TcpStream>());
}

#[test]
fn debug_text() {
    everywhere(|_world| {
        let (listener, addr) = bind(ANY);
        let fd = listener.as_raw_fd();
        assert_eq!(format!("{listener:?}"), format!("TcpListener {{ addr: {addr}, fd: {fd} }}"));
        let text = format!("Incoming {{ listener: TcpListener {{ addr: {addr}, fd: {fd} }} }}");
        assert_eq!(format!("{:?}", listener.incoming()), text);

        let stream = TcpStream::connect(addr).unwrap();
        let (local, fd) = (stream.local_addr().unwrap(), stream.as_raw_fd());
        let text = format!("TcpStream {{ addr: {local}, peer: {addr}, fd: {fd} }}");
        assert_eq!(format!("{stream:?}"), text);

        // The very text of std's, for the very descriptor.
        let (text, pretty) = (format!("{stream:?}"), format!("{stream:#?}"));
        let stream = stream.into_std().unwrap();
        assert_eq!((text, pretty), (format!("{stream:?}"), format!("{stream:#?}")));
        let (text, pretty) = (format!("{listener:?}"), format!("{listener:#?}"));
        let listener = listener.into_std().unwrap();
        assert_eq!((text, pretty), (format!("{listener:?}"), format!("{listener:#?}")));
    });
}

/// Std's stream and ours of the same kind of descriptor.
fn both(make: impl Fn() -> OwnedFd) -> (std::net::TcpStream, TcpStream) {
    (make().into(), make().into())
}

#[test]
fn a_stream_that_is_not_connected() {
    everywhere(|_world| {
        let socket = || {
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap().into()
        };
        let (mut std, mut ours) = both(socket);
        fail_alike(std.peer_addr(), ours.peer_addr());
        fail_alike(std.read(&mut [0]), ours.read(&mut [0]));
        fail_alike(std.peek(&mut [0]), ours.peek(&mut [0]));
        fail_alike(std.write(&[0]), ours.write(&[0]));
        fail_alike(std.shutdown(Shutdown::Both), ours.shutdown(Shutdown::Both));
        // Linux shuts it down all the same.
        assert_eq!(std.read(&mut [0]).unwrap(), ours.read(&mut [0]).unwrap());
        assert_eq!(std.local_addr().unwrap(), ours.local_addr().unwrap());
        let without_fd = |text: String| text.split("fd:").next().unwrap().to_owned();
        assert_eq!(without_fd(format!("{std:?}")), without_fd(format!("{ours:?}")));
    });
}

#[test]
fn a_descriptor_that_is_no_internet_socket() {
    everywhere(|_world| {
        let unix = || std::os::unix::net::UnixStream::pair().unwrap().0.into();
        let (std, ours) = both(unix);
        fail_alike(std.local_addr(), ours.local_addr());
        fail_alike(std.peer_addr(), ours.peer_addr());
        fail_alike(std.set_nodelay(true), ours.set_nodelay(true));

        let file = || std::fs::File::open("/dev/null").unwrap().into();
        let (mut std, mut ours) = both(file);
        fail_alike(std.local_addr(), ours.local_addr());
        fail_alike(std.read(&mut [0]), ours.read(&mut [0]));
        fail_alike(std.set_read_timeout(None), ours.set_read_timeout(None));
        let (std, ours): (std::net::TcpListener, TcpListener) = (file().into(), file().into());
        fail_alike(std.accept(), ours.accept());
    });
}

#[test]
fn errors_of_connect_and_bind() {
    everywhere(|_world| {
        let none: &[SocketAddr] = &[];
        fail_alike(std::net::TcpStream::connect(none), TcpStream::connect(none));
        fail_alike(std::net::TcpListener::bind(none), TcpListener::bind(none));
        for text in ["", "x", "127.0.0.1", "127.0.0.1:x", "127.0.0.1:65536", "[::1]", "a:b:c"] {
            fail_alike(std::net::TcpStream::connect(text), TcpStream::connect(text));
            fail_alike(std::net::TcpListener::bind(text), TcpListener::bind(text));
        }
        fail_alike(std::net::TcpListener::bind("1.1.1.1:0"), TcpListener::bind("1.1.1.1:0"));
        let (listener, addr) = bind(own_addr());
        fail_alike(std::net::TcpListener::bind(addr), TcpListener::bind(addr));
        drop(listener);
        fail_alike(std::net::TcpStream::connect(addr), TcpStream::connect(addr));
        let broadcast: SocketAddr = "255.255.255.255:1".parse().unwrap();
        fail_alike(std::net::TcpStream::connect(broadcast), TcpStream::connect(broadcast));
        let minute = Duration::from_secs(60);
        fail_alike(
            std::net::TcpStream::connect_timeout(&addr, minute),
            TcpStream::connect_timeout(&addr, minute),
        );
        // What fails at once does so before the timeout is looked at.
        for addr in [addr, broadcast] {
            fail_alike(
                std::net::TcpStream::connect_timeout(&addr, Duration::ZERO),
                TcpStream::connect_timeout(&addr, Duration::ZERO),
            );
        }
    });
}

#[test]
fn a_timeout_of_zero() {
    everywhere(|_world| {
        let (ours, _server) = pair();
        let (second, _server) = pair();
        let std = second.into_std().unwrap();
        let zero = Some(Duration::ZERO);
        fail_alike(std.set_read_timeout(zero), ours.set_read_timeout(zero));
        fail_alike(std.set_write_timeout(zero), ours.set_write_timeout(zero));
        assert_eq!(ours.read_timeout().unwrap(), None);
        assert_eq!(ours.write_timeout().unwrap(), None);
    });
}

#[test]
fn a_timeout_that_ends() {
    everywhere(|_world| {
        let (ours, _server) = pair();
        let (second, _server2) = pair();
        let std = second.into_std().unwrap();
        let soon = Some(Duration::from_millis(10));
        std.set_read_timeout(soon).unwrap();
        ours.set_read_timeout(soon).unwrap();
        fail_alike((&std).read(&mut [0]), (&ours).read(&mut [0]));
        std.set_nonblocking(true).unwrap();
        ours.set_nonblocking(true).unwrap();
        fail_alike((&std).read(&mut [0]), (&ours).read(&mut [0]));
        let std_listener = std::net::TcpListener::bind(ANY).unwrap();
        let our_listener = TcpListener::bind(ANY).unwrap();
        std_listener.set_nonblocking(true).unwrap();
        our_listener.set_nonblocking(true).unwrap();
        fail_alike(std_listener.accept(), our_listener.accept());
    });
}

/// Options of a new socket, as the system has them.
fn options(fd: impl AsFd) -> String {
    let socket = socket2::SockRef::from(&fd);
    let flags = [
        socket.reuse_address().unwrap(),
        socket.reuse_port().unwrap(),
        socket.keepalive().unwrap(),
        socket.tcp_nodelay().unwrap(),
    ];
    let linger = socket.linger().unwrap();
    let hops = socket.ttl_v4().unwrap();
    let kind = (socket.domain().unwrap(), socket.r#type().unwrap(), socket.protocol().unwrap());
    format!("{flags:?} {linger:?} {hops} {kind:?}")
}

#[test]
fn new_sockets_have_std_s_options() {
    everywhere(|_world| {
        for addr in [ANY, (Ipv6Addr::LOCALHOST, 0).into()] {
            let std = std::net::TcpListener::bind(addr).unwrap();
            let ours = TcpListener::bind(addr).unwrap();
            assert_eq!(options(&std), options(&ours));
            let std_client = std::net::TcpStream::connect(ours.local_addr().unwrap()).unwrap();
            let our_client = TcpStream::connect(std.local_addr().unwrap()).unwrap();
            assert_eq!(options(&std_client), options(&our_client));
            let std_server = std.accept().unwrap().0;
            let our_server = ours.accept().unwrap().0;
            assert_eq!(options(&std_server), options(&our_server));
        }
    });
}

/// As many clients get in as with std before anybody accepts.
#[test]
fn the_backlog_is_std_s() {
    fn queue_length(listener: impl AsFd) -> u32 {
        // For a listener, `tcpi_sacked` is the longest that its queue may get.
        let socket = socket2::SockRef::from(&listener);
        listen_limit(&socket)
    }
    let std = std::net::TcpListener::bind(ANY).unwrap();
    let ours = TcpListener::bind(ANY).unwrap();
    assert_eq!(queue_length(&std), queue_length(&ours));
}

#[expect(unsafe_code, reason = "getsockopt(TCP_INFO)")]
fn listen_limit(socket: &socket2::Socket) -> u32 {
    // SAFETY: zeros are a value of this plain structure.
    let mut info: libc::tcp_info = unsafe { std::mem::zeroed() };
    let mut size = size_of::<libc::tcp_info>() as libc::socklen_t;
    // SAFETY: the buffer is as large as `size` says.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            (&raw mut info).cast(),
            &raw mut size,
        )
    };
    assert_eq!(result, 0);
    info.tcpi_sacked
}

#[test]
#[expect(deprecated, reason = "std has them too")]
fn ipv6_only() {
    everywhere(|_world| {
        let addr: SocketAddr = (Ipv6Addr::LOCALHOST, 0).into();
        let std = std::net::TcpListener::bind(addr).unwrap();
        let ours = TcpListener::bind(addr).unwrap();
        assert_eq!(std.only_v6().unwrap(), ours.only_v6().unwrap());
        fail_alike(std.set_only_v6(true), ours.set_only_v6(true));
        let std = std::net::TcpListener::bind(ANY).unwrap();
        let ours = TcpListener::bind(ANY).unwrap();
        fail_alike(std.only_v6(), ours.only_v6());
    });
}

#[test]
fn a_read_into_nothing() {
    everywhere(|_world| {
        let (mut ours, mut server) = pair();
        server.write_all(&[1]).unwrap();
        ours.peek(&mut [0]).unwrap();
        assert_eq!(ours.read(&mut []).unwrap(), 0);
        assert_eq!(ours.write(&[]).unwrap(), 0);
        ours.flush().unwrap();
        assert_eq!(ours.read(&mut [0, 0]).unwrap(), 1);
    });
}

/// Std's calls with several buffers look at nothing but these, if there is no byte in them.
#[test]
fn no_bytes_in_several_buffers() {
    fn outcomes<S>(one: &S, shut_down: impl Fn(&S)) -> [usize; 6]
    where
        for<'a> &'a S: Read + Write,
    {
        let calls = |mut one: &S| {
            let empty = &mut [IoSliceMut::new(&mut []), IoSliceMut::new(&mut [])];
            [
                one.read_vectored(&mut []).unwrap(),
                one.read_vectored(empty).unwrap(),
                one.write_vectored(&[IoSlice::new(&[])]).unwrap(),
            ]
        };
        let [a, b, c] = calls(one);
        shut_down(one);
        let [d, e, f] = calls(one);
        [a, b, c, d, e, f]
    }

    everywhere(|_world| {
        let (one, _two) = pair();
        assert_eq!(outcomes(&one, |one| one.shutdown(Shutdown::Write).unwrap()), [0; 6]);
        let (std, _two) = pair();
        let std = std.into_std().unwrap();
        assert_eq!(outcomes(&std, |one| one.shutdown(Shutdown::Write).unwrap()), [0; 6]);
        let (one, _two) = UnixStream::pair().unwrap();
        assert_eq!(outcomes(&one, |one| one.shutdown(Shutdown::Write).unwrap()), [0; 6]);
    });
}

#[track_caller]
fn same_addresses<A: ToSocketAddrs + std::net::ToSocketAddrs + ?Sized>(addr: &A) {
    let ours = ToSocketAddrs::to_socket_addrs(addr).map(Vec::from_iter);
    let std = std::net::ToSocketAddrs::to_socket_addrs(addr).map(Vec::from_iter);
    assert_eq!(ours.map_err(|error| face(&error)), std.map_err(|error| face(&error)));
}

#[test]
fn addresses_of_every_type() {
    everywhere(|_world| {
        let v4 = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 1);
        let v6 = SocketAddrV6::new(Ipv6Addr::LOCALHOST, 2, 3, 4);
        same_addresses(&SocketAddr::V4(v4));
        same_addresses(&SocketAddr::V6(v6));
        same_addresses(&v4);
        same_addresses(&v6);
        same_addresses(&(IpAddr::V4(*v4.ip()), 5));
        same_addresses(&(*v4.ip(), 6));
        same_addresses(&(*v6.ip(), 7));
        same_addresses(&[SocketAddr::V4(v4), SocketAddr::V6(v6)].as_slice());
        for host in ["127.0.0.1", "::1", "localhost", "", "no such host", "nul\0"] {
            same_addresses(&(host, 8));
            same_addresses(&(host.to_owned(), 8));
            same_addresses(&&(host, 8));
        }
        for text in ["127.0.0.1:9", "[::1]:9", "localhost:9", "::1:9", "localhost", ":", ":9", ""] {
            same_addresses(text);
            same_addresses(&text);
            same_addresses(&text.to_owned());
        }
    });
}

fn connect_by_reference<A: ToSocketAddrs + ?Sized>(addr: &A) -> io::Result<TcpStream> {
    TcpStream::connect(addr)
}

#[test]
fn addresses_can_be_borrowed() {
    everywhere(|_world| {
        let (listener, addr, _kept) = bind_by_name();
        let text = format!("localhost:{}", addr.port());
        let borrowed: &str = &text;
        let streams = [
            TcpStream::connect(borrowed),
            connect_by_reference(borrowed),
            TcpStream::connect(&text),
            TcpStream::connect(text.clone()),
            TcpStream::connect(("localhost", addr.port())),
            TcpStream::connect(addr),
            connect_by_reference(&addr),
            TcpStream::connect(&[addr][..]),
        ];
        for stream in streams {
            assert_eq!(stream.unwrap().peer_addr().unwrap(), listener.local_addr().unwrap());
        }
        let addresses = net::lookup_host(borrowed).unwrap();
        assert!(addresses.into_iter().any(|found| found == addr));
    });
}
