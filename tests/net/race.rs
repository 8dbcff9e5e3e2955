//! Connecting to one of several addresses.

use crate::support::{PATIENCE, World, bind, everywhere, guarded, own_addr, runtime, wait_until};
use crate::timeouts::busy;
use pirn::net::{SocketBuilder, TcpListener, TcpStream};
use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Nothing in a test waits for so long unless it is wrong.
const NEVER: Duration = Duration::from_secs(1000);
const SHORT: Duration = Duration::from_millis(20);

fn localhost() -> (TcpListener, SocketAddr) {
    bind(([127, 0, 0, 1], 0).into())
}

/// Where nobody listens.
fn refused() -> SocketAddr {
    let (listener, addr) = bind(own_addr());
    drop(listener);
    addr
}

/// That both ends are those of one connection.
#[track_caller]
fn talk(mut client: TcpStream, listener: &TcpListener) {
    client.write_all(b"me").unwrap();
    drop(client);
    let mut said = Vec::new();
    while said != b"me" {
        // Whoever has lost a race may have been accepted too.
        said.clear();
        listener.accept().unwrap().0.read_to_end(&mut said).unwrap();
    }
}

#[test]
fn an_address_that_does_not_answer_is_overtaken() {
    everywhere(|_world| {
        let (busy, busy_too) = (busy(), busy());
        let (listener, addr) = localhost();
        let start = Instant::now();
        let addrs = [busy.addr, busy_too.addr, addr, busy.addr];
        let client = SocketBuilder::new().attempt_delay(SHORT).connect(&addrs[..]).unwrap();
        assert_eq!(client.peer_addr().unwrap(), addr);
        assert!(start.elapsed() >= 2 * SHORT, "{:?}", start.elapsed());
        talk(client, &listener);
    });
}

/// With the delay that the standard recommends.
#[test]
fn a_stream_connects_so_too() {
    guarded("a stream connects so too", || {
        let busy = busy();
        let (listener, addr) = localhost();
        let start = Instant::now();
        let client = TcpStream::connect(&[busy.addr, addr][..]).unwrap();
        assert_eq!(client.peer_addr().unwrap(), addr);
        assert!(start.elapsed() >= Duration::from_millis(250), "{:?}", start.elapsed());
        talk(client, &listener);
    });
}

#[test]
fn after_a_refusal_the_next_is_tried_at_once() {
    everywhere(|_world| {
        let (listener, addr) = localhost();
        let patient = SocketBuilder::new().attempt_delay(NEVER);
        let client = patient.connect(&[refused(), refused(), addr][..]).unwrap();
        assert_eq!(client.peer_addr().unwrap(), addr);
        talk(client, &listener);
    });
}

/// The one that has not answered is still in the race after others have been refused.
#[test]
fn the_first_wins_if_it_answers_after_all() {
    guarded("the first wins if it answers after all", || {
        for world in [World::Threads, World::Runtime(Arc::new(runtime(2)))] {
            let busy = busy();
            let addrs = [busy.addr, refused()];
            let patient = SocketBuilder::new().attempt_delay(SHORT);
            let client = world.spawn(move || patient.connect(&addrs[..]).unwrap());
            wait_until(|| busy.under_way() > 0);
            let addr = busy.addr;
            let listener = busy.make_room();
            // The one that was in the way.
            drop(listener.accept().unwrap());
            let client = client.join();
            assert_eq!(client.peer_addr().unwrap(), addr);
            talk(client, &listener);
        }
    });
}

#[test]
fn the_families_take_turns() {
    everywhere(|_world| {
        let busy = busy();
        let (listener, addr) = bind((std::net::Ipv6Addr::LOCALHOST, 0).into());
        // The third of the list is the second to be tried, and the other would be waited for.
        let addrs = [refused(), busy.addr, addr];
        let client = SocketBuilder::new().attempt_delay(NEVER).connect(&addrs[..]).unwrap();
        assert_eq!(client.peer_addr().unwrap(), addr);
        talk(client, &listener);
    });
}

/// The error is std's, in whatever order the addresses are.
#[test]
fn if_all_fail_the_error_is_that_of_the_last() {
    everywhere(|_world| {
        let broadcast = SocketAddr::from(([255, 255, 255, 255], 1));
        let nobody = refused();
        // There is one address for all here: the port is kept, so that nobody else listens there.
        let v6 = socket2::Domain::IPV6;
        let kept = socket2::Socket::new(v6, socket2::Type::STREAM, None).unwrap();
        kept.bind(&SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, 0)).into()).unwrap();
        let nobody_v6 = kept.local_addr().unwrap().as_socket().unwrap();
        for addrs in [
            vec![nobody, broadcast],
            vec![broadcast, nobody],
            vec![nobody, broadcast, nobody_v6],
            vec![nobody, nobody_v6, broadcast],
            vec![nobody_v6, nobody, broadcast],
            vec![nobody, nobody, nobody_v6, broadcast, nobody],
        ] {
            let std = std::net::TcpStream::connect(&addrs[..]).unwrap_err();
            let ours = TcpStream::connect(&addrs[..]).unwrap_err();
            let face = |error: &std::io::Error| (error.raw_os_error(), error.to_string());
            assert_eq!(face(&std), face(&ours), "{addrs:?}");
        }
    });
}

#[test]
fn a_timeout_is_for_all_of_it() {
    everywhere(|_world| {
        let (busy, busy_too) = (busy(), busy());
        let addrs = [busy.addr, busy_too.addr, refused()];
        for delay in [Duration::from_millis(10), NEVER] {
            let start = Instant::now();
            let options = SocketBuilder::new().attempt_delay(delay);
            let error = options.connect_timeout(&addrs[..], SHORT).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::TimedOut);
            assert_eq!(error.to_string(), "connection timed out");
            assert!(start.elapsed() >= SHORT && start.elapsed() < PATIENCE);
        }
        let one = SocketBuilder::new().connect_timeout(busy.addr, SHORT).unwrap_err();
        assert_eq!(one.kind(), ErrorKind::TimedOut);
        let zero = SocketBuilder::new().connect_timeout(busy.addr, Duration::ZERO).unwrap_err();
        assert_eq!(zero.kind(), ErrorKind::InvalidInput);
        let (listener, addr) = localhost();
        talk(SocketBuilder::new().connect_timeout(addr, Duration::MAX).unwrap(), &listener);
    });
}

#[test]
fn names_can_be_connected_to_within_a_time() {
    everywhere(|_world| {
        let (listener, addr) = localhost();
        let name = ("localhost", addr.port());
        // The name may stand for both families.
        let client = SocketBuilder::new().v4().connect_timeout(name, PATIENCE).unwrap();
        talk(client, &listener);
        let late = pirn::net::lookup_host_timeout("127.0.0.1:80", Duration::ZERO).unwrap();
        assert!(late.eq([([127, 0, 0, 1], 80).into()]));
    });
}

/// Attempts that have lost are closed at once.
#[test]
fn losers_are_closed() {
    everywhere(|_world| {
        let busy = busy();
        let (listener, addr) = localhost();
        let quick = SocketBuilder::new().attempt_delay(SHORT);
        let client = quick.connect(&[busy.addr, busy.addr, addr][..]).unwrap();
        wait_until(|| busy.under_way() == 0);
        talk(client, &listener);
    });
}

#[test]
fn a_runtime_that_ends_in_the_middle_of_a_race_closes_all_attempts() {
    guarded("a runtime that ends in the middle of a race", || {
        for workers in [1, 2] {
            let runtime = runtime(workers);
            let busy = busy();
            let addrs = [busy.addr; 5];
            let quick = SocketBuilder::new().attempt_delay(Duration::from_millis(10));
            let racers: Vec<_> = (0..3)
                .map(|_| {
                    let quick = quick.clone();
                    runtime.spawn(move || quick.connect(&addrs[..]).map(drop))
                })
                .collect();
            wait_until(|| busy.under_way() == 15);
            drop(runtime);
            wait_until(|| busy.under_way() == 0);
            racers.into_iter().for_each(|racer| assert!(racer.join().is_err()));
        }
    });
}

/// Hundreds at once, and nobody gets another's connection.
#[test]
fn many_races_at_once() {
    everywhere(|world| {
        let busy = busy();
        let (listener, addr) = localhost();
        let clients: Vec<_> = (0..20_u8)
            .map(|number| {
                let addrs = [busy.addr, addr];
                world.spawn(move || {
                    let quick = SocketBuilder::new().attempt_delay(Duration::from_millis(10));
                    let mut client = quick.connect(&addrs[..]).unwrap();
                    client.write_all(&[number]).unwrap();
                })
            })
            .collect();
        let mut seen: Vec<u8> = (0..20)
            .map(|_| {
                let mut byte = [0];
                listener.accept().unwrap().0.read_exact(&mut byte).unwrap();
                byte[0]
            })
            .collect();
        seen.sort_unstable();
        assert!(seen.into_iter().eq(0..20));
        clients.into_iter().for_each(|client| client.join());
    });
}
