//! may's coroutines.
//!
//! may has no bounded channel. It takes part with its unbounded ones: in the round trip nothing is
//! ever queued behind anything; in a bounded crowd it has the easier work.

use super::{ECHO_BUFFER, Figures};
use crate::race::warm;
use crate::server::free_port;
use crate::table::{millions_a_second, millis, nanos_each};
use crate::tree::{fib, fib_by_sums};
use crate::{cpu, http, memory, sleepers};
use may::coroutine::{self, JoinHandle};
use may::go;
use may::net::{TcpListener, TcpStream};
use may::sync::{Mutex, mpmc, mpsc};
use may_minihttp::{HttpServer, HttpService, Request, Response};
use std::io::{self, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Each of its stacks is two entries of the kernel's map, of which there are 65,530.
const MOST_AT_ONCE: u64 = 30_000;

/// Of spawns: between two workers each takes so long that this is enough.
const ONE_IN: u64 = 50;

pub(super) fn work(workers: usize, work: &str, numbers: &[u64]) -> Figures {
    may::config().set_workers(workers);
    let (work, mut numbers) = (work.to_owned(), numbers.to_vec());
    match work.as_str() {
        "parked" => numbers[0] = numbers[0].min(MOST_AT_ONCE),
        "sleepers" => numbers[0] = numbers[0].min(MOST_AT_ONCE),
        "spawn" => numbers[0] /= ONE_IN,
        _ => {}
    }
    joined(go!(move || {
        if let ("parked", &[count, _]) = (work.as_str(), numbers.as_slice()) {
            return Some(parked(count));
        }
        if let ("sleepers", &[count, longest]) = (work.as_str(), numbers.as_slice()) {
            return Some(sleepers::figures(|| sleep(count, longest)));
        }
        warm(&work, &numbers, || match (work.as_str(), numbers.as_slice()) {
            ("yield", &[switches]) => Some(yields(switches)),
            ("spawn", &[count]) => Some(spawns(count)),
            ("round-trip", &[rounds, _]) => Some(round_trips(rounds)),
            ("crowd", &[producers, consumers, _, messages]) => {
                Some(crowd(producers, consumers, messages))
            }
            ("mutex", &[crowd, each]) => Some(mutex(crowd, each)),
            ("fib", &[n, alone_from]) => Some(millis(|| {
                assert_eq!(fork_join(n, alone_from), fib_by_sums(n));
            })),
            _ => None,
        })
    }))
}

fn joined<T>(handle: JoinHandle<T>) -> T {
    handle.join().expect("it does not panic")
}

fn yields(switches: u64) -> f64 {
    let yielding = move || {
        for _ in 0..switches / 2 {
            coroutine::yield_now();
        }
    };
    nanos_each(switches, || {
        let peer = go!(yielding);
        yielding();
        joined(peer);
    })
}

fn spawns(count: u64) -> f64 {
    nanos_each(count, || (0..count).for_each(|_| joined(go!(|| ()))))
}

fn parked(count: u64) -> Vec<f64> {
    let (before, cpu_before) = (memory::now(), cpu::nanos());
    let mut bytes = 0.0;
    let nanos = nanos_each(count, || {
        let arrived = Arc::new(AtomicU64::new(0));
        let handles: Vec<_> = (0..count)
            .map(|_| {
                let arrived = arrived.clone();
                go!(move || {
                    arrived.fetch_add(1, Ordering::Relaxed);
                    coroutine::park();
                })
            })
            .collect();
        while arrived.load(Ordering::Relaxed) < count {
            coroutine::yield_now();
        }
        bytes = memory::each_since(before, count);
        handles.iter().for_each(|handle| handle.coroutine().unpark());
        handles.into_iter().for_each(joined);
    });
    let cpu = (cpu::nanos() - cpu_before) as f64 / count as f64;
    vec![nanos / 1e3, cpu / 1e3, bytes]
}

fn round_trips(rounds: u64) -> f64 {
    let (there, here) = mpsc::channel();
    let (back, returned) = mpsc::channel();
    let echo = go!(move || here.iter().try_for_each(|n: u64| back.send(n)));
    let nanos = nanos_each(rounds, || {
        for n in 0..rounds {
            there.send(n).expect("it echoes");
            assert_eq!(returned.recv(), Ok(n));
        }
    });
    drop(there);
    joined(echo).expect("nobody has gone");
    nanos
}

fn crowd(producers: u64, consumers: u64, messages: u64) -> f64 {
    let (sender, receiver) = mpmc::channel();
    millions_a_second(messages, || {
        let senders: Vec<_> = (0..producers)
            .map(|_| {
                let sender = sender.clone();
                go!(move || {
                    (0..messages / producers).for_each(|n| sender.send(n).expect("connected"));
                })
            })
            .collect();
        drop(sender);
        let receivers: Vec<_> = (0..consumers)
            .map(|_| {
                let receiver = receiver.clone();
                go!(move || receiver.iter().fold(0, |count, _| count + 1_u64))
            })
            .collect();
        senders.into_iter().for_each(joined);
        assert_eq!(receivers.into_iter().map(joined).sum::<u64>(), messages);
    })
}

fn mutex(crowd: u64, each: u64) -> f64 {
    let mutex = Arc::new(Mutex::new(0_u64));
    let nanos = nanos_each(crowd * each, || {
        let handles: Vec<_> = (0..crowd)
            .map(|_| {
                let mutex = mutex.clone();
                go!(move || {
                    for _ in 0..each {
                        *mutex.lock().expect("not poisoned") += 1;
                    }
                })
            })
            .collect();
        handles.into_iter().for_each(joined);
    });
    assert_eq!(*mutex.lock().expect("not poisoned"), crowd * each);
    nanos
}

fn fork_join(n: u64, alone_from: u64) -> u64 {
    if n <= alone_from {
        return fib(n);
    }
    let left = go!(move || fork_join(n - 1, alone_from));
    fork_join(n - 2, alone_from) + joined(left)
}

/// How late each was, in ns.
fn sleep(count: u64, longest: u64) -> Vec<u64> {
    let handles: Vec<_> = sleepers::times(count, longest)
        .map(|time| {
            go!(move || {
                let start = Instant::now();
                coroutine::sleep(time);
                start.elapsed().saturating_sub(time).as_nanos() as u64
            })
        })
        .collect();
    handles.into_iter().map(joined).collect()
}

pub(super) fn serve(workers: usize) -> io::Result<()> {
    accept(workers, |mut stream| {
        let mut buffer = [0; ECHO_BUFFER];
        while let Ok(length @ 1..) = stream.read(&mut buffer) {
            if stream.write_all(&buffer[..length]).is_err() {
                break;
            }
        }
    })
}

/// What pirn runs.
pub(super) fn plain_http(workers: usize) -> io::Result<()> {
    accept(workers, |mut stream| drop(http::answer(&mut stream)))
}

fn accept(workers: usize, serve: fn(TcpStream)) -> io::Result<()> {
    may::config().set_workers(workers);
    joined(go!(move || {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        println!("{}", listener.local_addr()?);
        loop {
            let (stream, _) = listener.accept()?;
            go!(move || serve(stream));
        }
    }))
}

#[derive(Clone)]
struct Plain;

impl HttpService for Plain {
    fn call(&mut self, _: Request<'_, '_, '_>, response: &mut Response<'_>) -> io::Result<()> {
        response.header("Content-Type: text/plain");
        response.body(http::TEXT);
        Ok(())
    }
}

/// may_minihttp.
pub(super) fn http(workers: usize) -> io::Result<()> {
    may::config().set_workers(workers);
    let address = free_port()?;
    let server = HttpServer(Plain).start(address)?;
    println!("{address}");
    server.join().map_err(|_panic| io::Error::other("the server panicked"))
}
