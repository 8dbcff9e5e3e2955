//! Much data, in both directions at once.

use crate::support::*;
use pirn::time::timeout;
use pirn_interop::tls::{self, ReadHalf, WriteHalf};
use std::io::{ErrorKind, Read, Write};
use std::time::Duration;

const SHORT: Duration = Duration::from_millis(50);
/// More than the buffers of a connection hold, so that writing in turns would not end.
const MUCH: usize = 11 << 20;

fn write(mut to: WriteHalf, seed: u64, refresh: bool) {
    for part in pattern(seed, MUCH).chunks(1 << 20) {
        to.write_all(part).unwrap();
        if refresh {
            to.refresh_keys().unwrap();
        }
    }
    to.finish().unwrap();
}

fn read(mut from: ReadHalf, seed: u64) {
    let mut heard = Vec::new();
    from.read_to_end(&mut heard).unwrap();
    assert!(heard == pattern(seed, MUCH));
}

/// Nobody reads before both have begun to write.
fn both_ways(refresh: bool) {
    let (server, client) = pair();
    let server = pirn::spawn(move || tls::split(server).unwrap());
    let (client_from, client_to) = tls::split(client).unwrap();
    let (server_from, server_to) = server.join().unwrap();
    let all = [
        pirn::spawn(move || write(client_to, 1, refresh)),
        pirn::spawn(move || write(server_to, 2, refresh)),
        pirn::spawn(move || read(client_from, 2)),
        pirn::spawn(move || read(server_from, 1)),
    ];
    all.into_iter().for_each(|each| each.join().unwrap());
}

#[test]
fn both_sides_write_and_read_at_once() {
    on_workers(|| both_ways(false));
}

#[test]
fn keys_may_change_meanwhile() {
    on_workers(|| both_ways(true));
}

#[test]
fn a_coroutine_and_a_thread_may_share_a_connection() {
    let (server, client) = pair();
    let server = pirn::spawn(move || tls::split(server).unwrap());
    let (client_from, client_to) = tls::split(client).unwrap();
    let (server_from, server_to) = server.join().unwrap();
    let threads = [
        std::thread::spawn(move || write(client_to, 3, false)),
        std::thread::spawn(move || read(server_from, 3)),
    ];
    let coroutines = [
        pirn::spawn(move || write(server_to, 4, false)),
        pirn::spawn(move || read(client_from, 4)),
    ];
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    coroutines.into_iter().for_each(|coroutine| coroutine.join().unwrap());
}

/// One coroutine is enough where sides take turns.
#[test]
fn turns_need_no_halves() {
    on_workers(|| {
        let (server, mut client) = pair();
        let server = pirn::spawn(move || echo(server).unwrap());
        let said = pattern(5, 2 << 20);
        // What an echo may hold back must fit into the buffers of the sockets.
        said.chunks(32 << 10).for_each(|part| ask(&mut client, part));
        end(&mut client).unwrap();
        assert_eq!(server.join().unwrap(), 2 << 20);
    });
}

/// A write that is given up leaves records behind; they come first in the next one.
#[test]
fn a_write_that_times_out_tears_no_record() {
    on_workers(|| {
        let (server, client) = pair();
        let server = pirn::spawn(move || tls::split(server).unwrap());
        let (_client_from, mut to) = tls::split(client).unwrap();
        let (mut from, _server_to) = server.join().unwrap();
        let said = pattern(6, 24 << 20);
        let mut taken = 0;
        // Nobody reads: the sockets fill up.
        let write = |to: &mut WriteHalf, rest| timeout(SHORT, || to.write(rest));
        while let Ok(written) = write(&mut to, &said[taken..]) {
            taken += written.unwrap();
            assert!(taken < said.len(), "they never fill up");
        }
        let reader = pirn::spawn(move || {
            let mut heard = Vec::new();
            from.read_to_end(&mut heard).unwrap();
            heard
        });
        to.finish().unwrap();
        let heard = reader.join().unwrap();
        // What the write took that was given up may have been sent, too; the rest is all there.
        assert!(heard.len() >= taken && heard == said[..heard.len()]);
    });
}

#[test]
fn the_timeouts_of_the_socket_hold_for_halves() {
    on_workers(|| {
        let (server, client) = pair();
        let server = pirn::spawn(move || tls::split(server).unwrap());
        let (mut from, _to) = tls::split(client).unwrap();
        let (_server_from, mut server_to) = server.join().unwrap();
        from.socket().set_read_timeout(Some(Duration::from_millis(5))).unwrap();
        assert_eq!(from.read(&mut [0; 9]).unwrap_err().kind(), ErrorKind::WouldBlock);
        from.socket().set_read_timeout(None).unwrap();
        server_to.write_all(b"later").unwrap();
        let mut heard = [0; 5];
        from.read_exact(&mut heard).unwrap();
        assert_eq!(&heard, b"later");
    });
}
