//! A coroutine that computes for long, beside connections. It holds up those of its own worker and
//! nobody else, and is named. Nothing here looks at a clock: the hog goes on until all the others
//! have been served, so whoever had to wait for it would wait for ever.

use crate::echo_server;
use crate::support::{PATIENCE, Server, bytes};
use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::ThreadId;
use std::time::Duration;

const CONNECTIONS: usize = 64;

type Homes = Arc<Mutex<HashMap<SocketAddr, ThreadId>>>;

/// Lets the hog end, also if the test fails.
struct Stop(Arc<AtomicBool>);

impl Drop for Stop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

fn round_trips(mut stream: &TcpStream, count: usize) {
    let message = bytes(500);
    let mut answer = vec![0; message.len()];
    for _ in 0..count {
        stream.write_all(&message).unwrap();
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(answer, message);
    }
}

/// An echo server of two workers that notes where each connection lives, and what the watch says.
fn start() -> (Server, Homes, mpsc::Receiver<pirn::Stall>) {
    let (sent, stalls) = mpsc::channel();
    let sent = Mutex::new(sent);
    let runtime = pirn::Builder::new()
        .workers(2)
        .stall_after(Duration::from_millis(100))
        .on_stall(move |stall| drop(sent.lock().unwrap().send(stall.clone())))
        .build()
        .unwrap();
    let homes = Homes::default();
    let noted = homes.clone();
    let server = Server::start_in(runtime, move |stream| {
        noted.lock().unwrap().insert(stream.peer_addr()?, std::thread::current().id());
        echo_server::serve(stream)
    });
    (server, homes, stalls)
}

/// Starts the hog, and gives where it lives.
fn start_hog(server: &Server) -> (Stop, ThreadId) {
    let stop = Stop(Arc::default());
    let stopped = stop.0.clone();
    let (sent, home) = mpsc::channel();
    let hog = pirn::thread::Builder::new().name("hog".into());
    let hog = move || {
        hog.spawn(move || {
            sent.send(std::thread::current().id()).unwrap();
            while !stopped.load(Ordering::Acquire) {
                std::hint::spin_loop();
            }
        })
    };
    server.runtime.run(hog).unwrap();
    (stop, home.recv_timeout(PATIENCE).unwrap())
}

/// Waits until the watch names the hog.
fn expect_report(stalls: &mpsc::Receiver<pirn::Stall>) {
    let is_hog = |stall: &pirn::Stall| stall.name.as_deref() == Some("hog");
    while !is_hog(&stalls.recv_timeout(PATIENCE).expect("nobody named the hog")) {}
}

#[test]
fn connections_of_other_workers_go_on() {
    let (server, homes, stalls) = start();
    let streams: Vec<_> = (0..CONNECTIONS).map(|_| server.connect()).collect();
    streams.iter().for_each(|stream| round_trips(stream, 1));
    let (stop, home) = start_hog(&server);
    let (held_up, others): (Vec<_>, Vec<_>) = streams
        .iter()
        .partition(|stream| homes.lock().unwrap()[&stream.local_addr().unwrap()] == home);
    assert!(held_up.len() >= CONNECTIONS / 4, "{} of {CONNECTIONS}", held_up.len());
    assert!(others.len() >= CONNECTIONS / 4, "{} of {CONNECTIONS}", others.len());
    others.iter().for_each(|stream| round_trips(stream, 200));
    expect_report(&stalls);
    drop(stop);
    held_up.iter().for_each(|stream| round_trips(stream, 10));
    others.iter().for_each(|stream| round_trips(stream, 10));
}

/// The listener's coroutine may live with the hog: then it is held up as well. So here it is started
/// last. What it starts goes where it can run, even if it was sent to the hog's worker first.
#[test]
fn connections_that_come_later_are_served_elsewhere() {
    let runtime = pirn::Builder::new().workers(2).build().unwrap();
    let (sent, home) = mpsc::channel();
    let stop = Stop(Arc::default());
    let stopped = stop.0.clone();
    drop(runtime.spawn(move || {
        sent.send(std::thread::current().id()).unwrap();
        while !stopped.load(Ordering::Acquire) {
            std::hint::spin_loop();
        }
    }));
    let home = home.recv_timeout(PATIENCE).unwrap();
    let homes = Homes::default();
    let noted = homes.clone();
    let server = Server::start_in(runtime, move |stream| {
        noted.lock().unwrap().insert(stream.peer_addr()?, std::thread::current().id());
        echo_server::serve(stream)
    });
    let streams: Vec<_> = (0..CONNECTIONS).map(|_| server.connect()).collect();
    streams.iter().for_each(|stream| round_trips(stream, 20));
    assert!(homes.lock().unwrap().values().all(|lives| *lives != home));
    drop(stop);
    streams.iter().for_each(|stream| round_trips(stream, 20));
}
