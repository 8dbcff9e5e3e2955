//! An end that is said, and one that is not.

use crate::support::*;
use pirn::net::Shutdown;
use pirn_interop::tls;
use std::io::{ErrorKind, Read, Write};

#[test]
fn an_end_that_is_said_is_an_end() {
    on_workers(|| {
        let (mut server, mut client) = pair();
        let reader = pirn::spawn(move || {
            let mut heard = Vec::new();
            server.read_to_end(&mut heard).unwrap();
            // The other direction is still open.
            server.write_all(b"goodbye").unwrap();
            end(&mut server).unwrap();
            heard
        });
        client.write_all(b"all of it").unwrap();
        end(&mut client).unwrap();
        assert_eq!(reader.join().unwrap(), b"all of it");
        let mut heard = Vec::new();
        client.read_to_end(&mut heard).unwrap();
        assert_eq!(heard, b"goodbye");
    });
}

#[test]
fn an_end_that_is_not_said_is_an_error() {
    on_workers(|| {
        let (mut server, mut client) = pair();
        let reader = pirn::spawn(move || {
            let mut heard = Vec::new();
            let error = server.read_to_end(&mut heard).unwrap_err();
            (heard, error.kind())
        });
        client.write_all(b"not all of it").unwrap();
        client.sock.shutdown(Shutdown::Write).unwrap();
        assert_eq!(reader.join().unwrap(), (b"not all of it".to_vec(), ErrorKind::UnexpectedEof));
    });
}

#[test]
fn halves_tell_the_two_apart() {
    for says_so in [true, false] {
        on_workers(|| {
            let (server, client) = pair();
            let reader = pirn::spawn(move || {
                let (mut from, _to) = tls::split(server).unwrap();
                let mut heard = Vec::new();
                let read = from.read_to_end(&mut heard).map_err(|error| error.kind());
                // It stays so.
                assert_eq!(from.read(&mut [0]).map_err(|error| error.kind()).err(), read.err());
                (heard, read)
            });
            let (_from, mut to) = tls::split(client).unwrap();
            to.write_all(b"something").unwrap();
            if says_so {
                to.finish().unwrap();
            } else {
                to.socket().shutdown(Shutdown::Write).unwrap();
            }
            let (heard, read) = reader.join().unwrap();
            assert_eq!(heard, b"something");
            assert_eq!(read, if says_so { Ok(9) } else { Err(ErrorKind::UnexpectedEof) });
        });
    }
}

#[test]
fn a_handshake_that_is_cut_is_an_error() {
    on_workers(|| {
        let (mut server, mut client) = pair();
        let mut hello = Vec::new();
        client.conn.write_tls(&mut hello).unwrap();
        client.sock.write_all(&hello[..hello.len() / 2]).unwrap();
        drop(client);
        let error = server.read(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnexpectedEof, "{error}");
    });
}
