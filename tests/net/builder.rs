//! Options of sockets, read back from the system, or seen in what they do.

use crate::support::{everywhere, own_addr};
use pirn::net::{SocketBuilder, TcpListener, TcpStream};
use socket2::SockRef;
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const V4: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
const V6: SocketAddr = SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), 0);

const MINUTE: Duration = Duration::from_secs(60);

/// A client with these options, and the other end, whose listener had them too.
fn both_ends(options: &SocketBuilder, addr: SocketAddr) -> (TcpStream, TcpStream) {
    let listener = options.listen(addr).unwrap();
    let client = options.connect(listener.local_addr().unwrap()).unwrap();
    let (server, peer) = listener.accept().unwrap();
    assert_eq!(peer, client.local_addr().unwrap());
    (client, server)
}

/// Checks an option of what listens, what connects, and what is accepted.
#[track_caller]
fn each(options: &SocketBuilder, addr: SocketAddr, check: impl Fn(SockRef<'_>)) {
    let listener = options.listen(addr).unwrap();
    check(SockRef::from(&listener));
    let (client, server) = both_ends(options, addr);
    check(SockRef::from(&client));
    if cfg!(target_os = "linux") {
        check(SockRef::from(&server));
    }
}

#[test]
fn without_options_sockets_are_as_ever() {
    let options = SocketBuilder::default();
    let (ours, std) = (options.listen(V4).unwrap(), TcpListener::bind(V4).unwrap());
    let (ours_client, std_client) = (
        options.connect(ours.local_addr().unwrap()).unwrap(),
        std::net::TcpStream::connect(std.local_addr().unwrap()).unwrap(),
    );
    let listeners = [SockRef::from(&ours), SockRef::from(&std)];
    let clients = [SockRef::from(&ours_client), SockRef::from(&std_client)];
    for [ours, std] in [listeners, clients] {
        assert_eq!(ours.reuse_address().unwrap(), std.reuse_address().unwrap());
        assert_eq!(ours.reuse_port().unwrap(), std.reuse_port().unwrap());
        assert_eq!(ours.keepalive().unwrap(), std.keepalive().unwrap());
        assert_eq!(ours.tcp_nodelay().unwrap(), std.tcp_nodelay().unwrap());
        assert_eq!(ours.linger().unwrap(), std.linger().unwrap());
        assert_eq!(ours.ttl_v4().unwrap(), std.ttl_v4().unwrap());
        assert_eq!(ours.tos_v4().unwrap(), std.tos_v4().unwrap());
    }
    assert_eq!(
        SockRef::from(&ours).recv_buffer_size().unwrap(),
        SockRef::from(&std).recv_buffer_size().unwrap()
    );
}

#[test]
fn keepalive() {
    let options = SocketBuilder::new()
        .keepalive(MINUTE)
        .keepalive_interval(Duration::from_secs(7))
        .keepalive_count(3);
    each(&options, V4, |socket| {
        assert!(socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), MINUTE);
        assert_eq!(socket.tcp_keepalive_interval().unwrap(), Duration::from_secs(7));
        assert_eq!(socket.tcp_keepalive_retries().unwrap(), 3);
    });
    let error = SocketBuilder::new().keepalive(Duration::ZERO).listen(V4).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}

#[test]
fn buffers_and_the_rest_of_what_is_inherited() {
    let options = SocketBuilder::new()
        .recv_buffer_size(20_000)
        .send_buffer_size(30_000)
        .nodelay(true)
        .linger(Duration::ZERO)
        .ttl(9)
        .tos(0x10);
    each(&options, V4, |socket| {
        // Linux doubles them.
        assert!([20_000, 40_000].contains(&socket.recv_buffer_size().unwrap()));
        assert!([30_000, 60_000].contains(&socket.send_buffer_size().unwrap()));
        assert!(socket.tcp_nodelay().unwrap());
        assert_eq!(socket.linger().unwrap(), Some(Duration::ZERO));
        assert_eq!(socket.ttl_v4().unwrap(), 9);
        assert_eq!(socket.tos_v4().unwrap(), 0x10);
    });
}

#[test]
fn hops_and_class_of_ipv6() {
    let options = SocketBuilder::new().ttl(9).tos(0x20);
    let listener = options.listen(V6).unwrap();
    let client = options.connect(listener.local_addr().unwrap()).unwrap();
    for socket in [SockRef::from(&listener), SockRef::from(&client)] {
        assert_eq!(socket.unicast_hops_v6().unwrap(), 9);
        assert_eq!(socket.tclass_v6().unwrap(), 0x20);
    }
}

/// The same builder for both, and `only_v6` means nothing to the one.
#[test]
fn a_family_is_chosen_from_addresses_of_both() {
    everywhere(|_world| {
        let both = [V4, V6];
        for (options, is_v6) in [
            (SocketBuilder::new(), false),
            (SocketBuilder::new().v4().only_v6(true), false),
            (SocketBuilder::new().v6(), true),
        ] {
            let listener = options.listen(&both[..]).unwrap();
            let addr = listener.local_addr().unwrap();
            assert_eq!(addr.is_ipv6(), is_v6);
            let all = both.map(|mut each| {
                each.set_port(addr.port());
                each
            });
            let client = options.connect(&all[..]).unwrap();
            assert_eq!(client.peer_addr().unwrap(), addr);
        }
        for error in [
            SocketBuilder::new().v6().listen(V4).map(drop),
            SocketBuilder::new().v4().connect(V6).map(drop),
            SocketBuilder::new().local(V4).connect(V6).map(drop),
        ] {
            let none: &[SocketAddr] = &[];
            let std = std::net::TcpStream::connect(none).unwrap_err();
            let error = error.unwrap_err();
            assert_eq!(error.kind(), std.kind());
            assert_eq!(error.to_string(), std.to_string());
        }
    });
}

#[test]
fn a_listener_for_ipv6_may_leave_the_other_family_alone() {
    let any = SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), 0);
    for only_v6 in [true, false] {
        let listener = SocketBuilder::new().only_v6(only_v6).listen(any).unwrap();
        assert_eq!(SockRef::from(&listener).only_v6().unwrap(), only_v6);
        // Of the other family's addresses one where nobody else can have that port.
        let addr = SocketAddr::new(own_addr().ip(), listener.local_addr().unwrap().port());
        assert_eq!(TcpStream::connect(addr).is_err(), only_v6);
    }
}

#[test]
fn a_connection_from_an_address_of_its_own() {
    everywhere(|_world| {
        let listener = TcpListener::bind(V4).unwrap();
        let local = SocketAddr::from((own_addr().ip(), 0));
        let client =
            SocketBuilder::new().local(local).connect(listener.local_addr().unwrap()).unwrap();
        assert_eq!(listener.accept().unwrap().1.ip(), local.ip());
        assert_eq!(client.local_addr().unwrap().ip(), local.ip());
    });
}

#[test]
fn an_address_is_shared_by_those_who_say_so() {
    let shared = SocketBuilder::new().reuse_port(true);
    let first = shared.listen(V4).unwrap();
    let addr = first.local_addr().unwrap();
    let second = shared.listen(addr).unwrap();
    assert_eq!(second.local_addr().unwrap(), addr);
    let alone = SocketBuilder::new().listen(addr).unwrap_err();
    assert_eq!(alone.kind(), ErrorKind::AddrInUse);
}

#[test]
fn reuse_of_an_address_can_be_turned_off() {
    let listener = SocketBuilder::new().reuse_addr(false).listen(V4).unwrap();
    assert!(!SockRef::from(&listener).reuse_address().unwrap());
    let client = SocketBuilder::new().reuse_addr(true);
    let client = client.connect(listener.local_addr().unwrap()).unwrap();
    assert!(SockRef::from(&client).reuse_address().unwrap());
}

/// Linux lets in one more than it is told.
#[test]
#[cfg(target_os = "linux")]
fn the_backlog_bounds_who_waits_to_be_accepted() {
    let listener = SocketBuilder::new().backlog(16).listen(V4).unwrap();
    let addr = listener.local_addr().unwrap();
    let queued: Vec<_> = (0..17).map(|_| TcpStream::connect(addr).unwrap()).collect();
    let late = TcpStream::connect_timeout(&addr, Duration::from_millis(50)).unwrap_err();
    assert_eq!(late.kind(), ErrorKind::TimedOut);
    drop(queued);
}

#[test]
fn a_group_shares_one_address_and_all_connections() {
    everywhere(|world| {
        // Nobody else listens there once these have ended.
        let group = SocketBuilder::new().nodelay(true).listen_group(own_addr(), 4).unwrap();
        let addr = group[0].local_addr().unwrap();
        for listener in &group {
            assert_eq!(listener.local_addr().unwrap(), addr);
            assert!(SockRef::from(listener).tcp_nodelay().unwrap());
        }
        let ended = Arc::new(AtomicUsize::new(0));
        let acceptors: Vec<_> = group
            .into_iter()
            .map(|listener| {
                let ended = ended.clone();
                world.spawn(move || {
                    let mut served = 0;
                    for stream in listener.incoming() {
                        let mut stream = stream.unwrap();
                        let mut byte = [0];
                        stream.read_exact(&mut byte).unwrap();
                        if byte == *b"x" {
                            break;
                        }
                        stream.write_all(&byte).unwrap();
                        served += 1;
                    }
                    drop(listener);
                    ended.fetch_add(1, Ordering::Release);
                    served
                })
            })
            .collect();
        for _ in 0..100 {
            let mut client = TcpStream::connect(addr).unwrap();
            client.write_all(b"a").unwrap();
            client.read_exact(&mut [0]).unwrap();
        }
        // Each ends once it is told to. One that is ending may be sent a connection, which is lost.
        while ended.load(Ordering::Acquire) < 4 {
            let tell = |mut client: TcpStream| {
                client.write_all(b"x")?;
                client.read_exact(&mut [0])
            };
            let _lost = TcpStream::connect(addr).and_then(tell);
        }
        let served: usize = acceptors.into_iter().map(|acceptor| acceptor.join()).sum();
        assert_eq!(served, 100);
    });
    let error = SocketBuilder::new().listen_group(V4, 0).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}

#[cfg(target_os = "linux")]
mod linux {
    use super::*;

    #[test]
    fn a_device() {
        let options = SocketBuilder::new().bind_device("lo");
        each(&options, V4, |socket| {
            assert_eq!(socket.device().unwrap().as_deref(), Some(&b"lo"[..]));
        });
        let error = SocketBuilder::new().bind_device("no-such-device").listen(V4).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENODEV));
    }

    /// The mark needs a privilege, and says so.
    #[test]
    fn a_mark() {
        let options = SocketBuilder::new().mark(7);
        match options.listen(V4) {
            Ok(_) => each(&options, V4, |socket| assert_eq!(socket.mark().unwrap(), 7)),
            Err(error) => assert_eq!(error.kind(), ErrorKind::PermissionDenied),
        }
    }

    /// Where the system does not allow it, connections are made as ever.
    #[test]
    fn fast_open() {
        everywhere(|_world| {
            let options = SocketBuilder::new().fastopen(16).fastopen_connect(true);
            let listener = options.listen(V4).unwrap();
            // From the second on, the client may have what the server wants to see first.
            for _ in 0..3 {
                let mut client = options.connect(listener.local_addr().unwrap()).unwrap();
                client.write_all(b"early").unwrap();
                let mut server = listener.accept().unwrap().0;
                let mut said = [0; 5];
                server.read_exact(&mut said).unwrap();
                assert_eq!(&said, b"early");
                server.write_all(b"answer").unwrap();
                let mut answer = [0; 6];
                client.read_exact(&mut answer).unwrap();
                assert_eq!(&answer, b"answer");
            }
        });
    }
}
