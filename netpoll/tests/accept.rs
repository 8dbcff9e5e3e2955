//! A listener with a connection to accept is readable.

#[path = "common/blocked.rs"]
mod blocked;
mod common;

use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;

use blocked::while_polling;
use netpoll::{Interest, Key, Poller, Trigger};

#[test]
fn every_connection_is_an_edge() {
    let poller = Poller::new().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    poller.add(listener.as_fd(), Key::new(0, 0), Interest::READABLE, Trigger::Edge).unwrap();
    for _ in 0..20 {
        let mut client = None;
        let events = while_polling(
            &poller,
            |events| !events.is_empty(),
            || client = Some(TcpStream::connect(address).unwrap()),
        );
        assert_eq!(events.len(), 1);
        assert!(events[0].is_readable() && !events[0].is_error());
        listener.accept().unwrap();
        listener.accept().unwrap_err();
        poller.rearm(listener.as_fd(), Interest::READABLE).unwrap();
    }
}
