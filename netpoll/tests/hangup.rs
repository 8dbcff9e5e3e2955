//! A peer that is gone wakes both directions, whatever the interest.

mod common;

use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use common::{LONG, poll};
use netpoll::{Event, Interest, Key, Poller, Trigger};

const KEY: Key = Key::new(1, 2);

/// All that a poll says about the key. A backend may use one event for each direction.
fn all(events: &[Event], what: fn(&Event) -> bool) -> bool {
    assert!(events.iter().all(|event| event.key() == KEY));
    events.iter().any(what)
}

#[test]
fn a_closed_peer_is_readable_and_read_closed() {
    for trigger in [Trigger::Level, Trigger::Edge] {
        let poller = Poller::new().unwrap();
        let (a, b) = UnixStream::pair().unwrap();
        poller.add(a.as_fd(), KEY, Interest::BOTH, trigger).unwrap();
        while !poll(&poller, Duration::ZERO).is_empty() && trigger == Trigger::Edge {}
        drop(b);
        let events = poll(&poller, LONG);
        assert!(all(&events, Event::is_readable));
        assert!(all(&events, Event::is_writable));
        assert!(all(&events, Event::is_read_closed));
        assert!(all(&events, Event::is_write_closed));
        assert!(all(&events, Event::is_hangup));
    }
}

#[test]
fn a_closed_peer_wakes_writers_though_nobody_asked() {
    let poller = Poller::new().unwrap();
    let (a, b) = UnixStream::pair().unwrap();
    poller.add(a.as_fd(), KEY, Interest::READABLE, Trigger::Edge).unwrap();
    drop(b);
    let events = poll(&poller, LONG);
    assert!(all(&events, Event::is_readable));
    assert!(all(&events, Event::is_read_closed));
    // kqueue's filter for reading does not tell a hang-up from a peer that sends no more.
    let tells = poller.backend() != "kqueue";
    assert_eq!(all(&events, Event::is_writable), tells);
    assert_eq!(all(&events, Event::is_hangup), tells);
}

#[test]
fn a_writer_without_readers_wakes_both_directions() {
    for trigger in [Trigger::Level, Trigger::Edge] {
        let poller = Poller::new().unwrap();
        let (reader, writer) = io::pipe().unwrap();
        poller.add(writer.as_fd(), KEY, Interest::WRITABLE, trigger).unwrap();
        assert!(!all(&poll(&poller, LONG), Event::is_write_closed));
        poller.rearm(writer.as_fd(), Interest::WRITABLE).unwrap();
        drop(reader);
        let events = poll(&poller, LONG);
        assert!(all(&events, Event::is_readable));
        assert!(all(&events, Event::is_writable));
        assert!(all(&events, Event::is_write_closed));
    }
}

#[test]
fn a_reader_without_writers_wakes() {
    let poller = Poller::new().unwrap();
    let (reader, writer) = io::pipe().unwrap();
    poller.add(reader.as_fd(), KEY, Interest::READABLE, Trigger::Edge).unwrap();
    assert!(poll(&poller, Duration::ZERO).is_empty());
    drop(writer);
    let events = poll(&poller, LONG);
    assert!(all(&events, Event::is_readable));
    assert!(all(&events, Event::is_read_closed));
}

#[test]
fn a_reset_is_an_error() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let a = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (b, _) = listener.accept().unwrap();
    let poller = Poller::new().unwrap();
    poller.add(a.as_fd(), KEY, Interest::READABLE, Trigger::Edge).unwrap();
    // Closing a socket with unread data in it resets the connection.
    io::Write::write_all(&mut &a, b"never read").unwrap();
    assert_eq!(b.peek(&mut [0]).unwrap(), 1);
    drop(b);
    let events = poll(&poller, LONG);
    assert!(all(&events, Event::is_readable));
    assert!(all(&events, Event::is_writable));
    assert!(all(&events, Event::is_error));
    assert!(all(&events, Event::is_read_closed));
    assert!(all(&events, Event::is_write_closed));
}

/// A registration whose directions have all been reported must not keep the poller busy, though
/// the system may go on telling that it is hung up.
#[test]
fn an_edge_is_reported_once() {
    let poller = Poller::new().unwrap();
    let (a, b) = UnixStream::pair().unwrap();
    drop(b);
    poller.add(a.as_fd(), KEY, Interest::BOTH, Trigger::Edge).unwrap();
    assert!(all(&poll(&poller, LONG), Event::is_hangup));
    assert!(poll(&poller, Duration::ZERO).is_empty());
}
