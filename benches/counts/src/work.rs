//! The pieces of work, each of which is done on one worker, and counted so.
//!
//! With one worker nothing depends on which thread is faster, so a round takes the same instructions
//! in each run.

use pirn::channel::{bounded, select};
use pirn::net::{TcpListener, TcpStream};
use pirn::sync::Mutex;
use pirn::thread;
use pirn::time::{Duration, timeout};
use std::hint::black_box;
use std::io::{self, Read, Write};
use std::sync::Arc;

/// Does not pass while anything is counted.
const LONG: Duration = Duration::from_secs(3600);
/// Of an echo, as in the benches. The buffer is larger, so that a read tells that there is no more.
const MESSAGE: usize = 64;
const BUFFER: usize = 512;
/// Long enough that its coroutine waits, and its worker sleeps.
const NAP: Duration = Duration::from_micros(200);

/// A name, how many rounds are enough for a count, and the work.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) rounds: u64,
    work: fn(u64),
}

pub(crate) const ROWS: &[Row] = &[
    // A switch between two coroutines that yield.
    Row { name: "yield", rounds: 20_000, work: yields },
    // A coroutine that does nothing, from its spawn to its join.
    Row { name: "spawn-join", rounds: 5_000, work: spawns },
    // Two coroutines wake each other: two wakes and two parks.
    Row { name: "park-unpark", rounds: 5_000, work: parks },
    // A message, without a buffer.
    Row { name: "channel-0", rounds: 10_000, work: |rounds| messages(rounds, 0) },
    // A message, with a buffer that fills and empties.
    Row { name: "channel-128", rounds: 20_000, work: |rounds| messages(rounds, 128) },
    // A message, by a selection over four channels without buffers.
    Row { name: "select-4", rounds: 4_000, work: selects },
    // Lock and unlock, alone.
    Row { name: "mutex", rounds: 50_000, work: locks },
    // Lock and unlock while another one waits for it, each time.
    Row { name: "mutex-contended", rounds: 5_000, work: contended_locks },
    // A timeout around a yield.
    Row { name: "timeout", rounds: 10_000, work: timeouts },
    // Spawn, a timer that is set, its end before it fires, join.
    Row { name: "timer-set-cancel", rounds: 5_000, work: timers },
    // A sleep, of the worker too.
    Row { name: "sleep", rounds: 1_000, work: sleeps },
    // A request and its answer over TCP, both sides here.
    Row { name: "echo", rounds: 2_000, work: |rounds| echo(rounds, 1) },
    // The same with so many at once that there is always one to be served.
    Row { name: "echo-16", rounds: 2_000, work: |rounds| echo(rounds, 16) },
    // A connection that is made, accepted and closed, both sides here.
    Row { name: "accept", rounds: 1_000, work: accepts },
];

pub(crate) fn row(name: &str) -> io::Result<&'static Row> {
    let row = ROWS.iter().find(|row| row.name == name);
    row.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, format!("no such row: {name}")))
}

impl Row {
    pub(crate) fn run(&self, rounds: u64, workers: usize) -> io::Result<()> {
        let runtime = pirn::Builder::new().workers(workers).build()?;
        runtime.run(|| (self.work)(rounds));
        Ok(())
    }
}

/// Two coroutines that do the same by turns.
fn pair(work: impl Fn() + Clone + Send + 'static) {
    let peer = pirn::spawn(work.clone());
    work();
    peer.join().expect("it does not panic");
}

fn yields(rounds: u64) {
    pair(move || {
        for _ in 0..rounds / 2 {
            thread::yield_now();
        }
    });
}

fn spawns(rounds: u64) {
    for _ in 0..rounds {
        pirn::spawn(|| ()).join().expect("it does not panic");
    }
}

fn parks(rounds: u64) {
    let here = thread::current();
    let peer = pirn::spawn(move || {
        for _ in 0..rounds {
            thread::park();
            here.unpark();
        }
    });
    for _ in 0..rounds {
        peer.thread().unpark();
        thread::park();
    }
    peer.join().expect("it does not panic");
}

fn messages(rounds: u64, capacity: usize) {
    let (sender, receiver) = bounded(capacity);
    let peer = pirn::spawn(move || receiver.iter().fold(0, |count, _| count + 1));
    for n in 0..rounds {
        sender.send(n).expect("it receives");
    }
    drop(sender);
    assert_eq!(peer.join().expect("it does not panic"), rounds);
}

fn selects(rounds: u64) {
    let channels = [(); 4].map(|()| bounded(0));
    let senders = channels.each_ref().map(|(sender, _)| {
        let sender = sender.clone();
        pirn::spawn(move || {
            for n in 0..rounds / 4 {
                sender.send(n).expect("it receives");
            }
        })
    });
    let [a, b, c, d] = channels.each_ref().map(|(_, receiver)| receiver);
    for _ in 0..rounds / 4 * 4 {
        let message = select! {
            recv(a) -> message => message,
            recv(b) -> message => message,
            recv(c) -> message => message,
            recv(d) -> message => message,
        };
        message.expect("they send");
    }
    senders.into_iter().for_each(|sender| sender.join().expect("it does not panic"));
}

fn locks(rounds: u64) {
    let mutex = Mutex::new(0_u64);
    for _ in 0..rounds {
        *black_box(&mutex).lock().expect("not poisoned") += 1;
    }
    assert_eq!(mutex.into_inner().expect("not poisoned"), rounds);
}

fn contended_locks(rounds: u64) {
    let mutex = Arc::new(Mutex::new(0_u64));
    pair(move || {
        for _ in 0..rounds / 2 {
            let mut count = mutex.lock().expect("not poisoned");
            *count += 1;
            // The other one comes, finds it held, and waits.
            thread::yield_now();
            drop(count);
            // It gets it. To come too late for it would cost what depends on the time.
            thread::yield_now();
        }
    });
}

fn timeouts(rounds: u64) {
    for _ in 0..rounds {
        timeout(LONG, thread::yield_now).expect("there is time");
    }
}

fn timers(rounds: u64) {
    for _ in 0..rounds {
        let one = pirn::spawn(|| thread::park_timeout(LONG));
        // It sets its timer.
        thread::yield_now();
        one.thread().unpark();
        one.join().expect("it does not panic");
    }
}

fn sleeps(rounds: u64) {
    for _ in 0..rounds {
        thread::sleep(NAP);
    }
}

fn echo(rounds: u64, connections: u64) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("it has one");
    let client = move || {
        let mut stream = TcpStream::connect(address).expect("it listens");
        stream.set_nodelay(true).expect("a socket");
        let mut buffer = [b'x'; BUFFER];
        for _ in 0..rounds / connections {
            stream.write_all(&buffer[..MESSAGE]).expect("connected");
            assert_eq!(stream.read(&mut buffer).expect("it echoes"), MESSAGE);
        }
    };
    let clients: Vec<_> = (0..connections).map(|_| pirn::spawn(client)).collect();
    let servers: Vec<_> = (0..connections)
        .map(|_| {
            let (mut stream, _) = listener.accept().expect("a connection");
            pirn::spawn(move || {
                let mut buffer = [0; BUFFER];
                while let Ok(length @ 1..) = stream.read(&mut buffer) {
                    stream.write_all(&buffer[..length]).expect("connected");
                }
            })
        })
        .collect();
    clients.into_iter().chain(servers).for_each(|one| one.join().expect("it does not panic"));
}

fn accepts(rounds: u64) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("it has one");
    let server = pirn::spawn(move || {
        for _ in 0..rounds {
            drop(listener.accept().expect("a connection"));
        }
    });
    for _ in 0..rounds {
        let mut stream = TcpStream::connect(address).expect("it listens");
        // Its end has come.
        assert_eq!(stream.read(&mut [0]).expect("connected"), 0);
    }
    server.join().expect("it does not panic");
}
