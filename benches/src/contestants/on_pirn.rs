//! pirn's coroutines.

use super::Figures;
use crate::race::warm;
use crate::table::{millions_a_second, nanos_each};
use crate::{cpu, memory};
use pirn::channel::{bounded, unbounded};
use pirn::sync::Mutex;
use pirn::thread;
use std::io::{self, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

pub(super) fn work(workers: usize, work: &str, numbers: &[u64]) -> Figures {
    let builder = pirn::Builder::new().workers(workers);
    if let ("parked", &[count, stack]) = (work, numbers) {
        let runtime = builder.stack_size(stack as usize).build().expect("a runtime");
        return Some(runtime.run(|| parked(count)));
    }
    let runtime = builder.build().expect("a runtime");
    warm(work, numbers, || {
        runtime.run(|| match (work, numbers) {
            ("yield", &[switches]) => Some(yields(switches)),
            ("spawn", &[count]) => Some(spawns(count)),
            ("round-trip", &[rounds, capacity]) => Some(round_trips(rounds, capacity as usize)),
            ("crowd", &[producers, consumers, capacity, messages]) => {
                Some(crowd(producers, consumers, capacity, messages))
            }
            ("mutex", &[crowd, each]) => Some(mutex(crowd, each)),
            _ => None,
        })
    })
}

fn yields(switches: u64) -> f64 {
    let yielding = move || {
        for _ in 0..switches / 2 {
            thread::yield_now();
        }
    };
    nanos_each(switches, || {
        let peer = pirn::spawn(yielding);
        yielding();
        peer.join().expect("it does not panic");
    })
}

fn spawns(count: u64) -> f64 {
    nanos_each(count, || {
        for _ in 0..count {
            pirn::spawn(|| ()).join().expect("it does not panic");
        }
    })
}

fn parked(count: u64) -> Vec<f64> {
    let (before, cpu_before) = (memory::now(), cpu::nanos());
    let mut bytes = 0.0;
    let nanos = nanos_each(count, || {
        let arrived = Arc::new(AtomicU64::new(0));
        let handles: Vec<_> = (0..count)
            .map(|_| {
                let arrived = arrived.clone();
                pirn::spawn(move || {
                    arrived.fetch_add(1, Ordering::Relaxed);
                    thread::park();
                })
            })
            .collect();
        while arrived.load(Ordering::Relaxed) < count {
            thread::yield_now();
        }
        bytes = memory::each_since(before, count);
        handles.iter().for_each(|handle| handle.thread().unpark());
        handles.into_iter().for_each(|handle| handle.join().expect("it does not panic"));
    });
    let cpu = (cpu::nanos() - cpu_before) as f64 / count as f64;
    vec![nanos / 1e3, cpu / 1e3, bytes]
}

fn round_trips(rounds: u64, capacity: usize) -> f64 {
    let (there, here) = bounded(capacity);
    let (back, returned) = bounded(capacity);
    let echo = pirn::spawn(move || here.iter().try_for_each(|n: u64| back.send(n)));
    let nanos = nanos_each(rounds, || {
        for n in 0..rounds {
            there.send(n).expect("it echoes");
            assert_eq!(returned.recv(), Ok(n));
        }
    });
    drop(there);
    echo.join().expect("it does not panic").expect("nobody has gone");
    nanos
}

fn crowd(producers: u64, consumers: u64, capacity: u64, messages: u64) -> f64 {
    let (sender, receiver) = match capacity {
        0 => unbounded(),
        capacity => bounded(capacity as usize),
    };
    millions_a_second(messages, || {
        let senders: Vec<_> = (0..producers)
            .map(|_| {
                let sender = sender.clone();
                pirn::spawn(move || {
                    (0..messages / producers).for_each(|n| sender.send(n).expect("connected"));
                })
            })
            .collect();
        drop(sender);
        let receivers: Vec<_> = (0..consumers)
            .map(|_| {
                let receiver = receiver.clone();
                pirn::spawn(move || receiver.iter().fold(0, |count, _| count + 1_u64))
            })
            .collect();
        senders.into_iter().for_each(|sender| sender.join().expect("it does not panic"));
        let received: u64 =
            receivers.into_iter().map(|one| one.join().expect("it does not panic")).sum();
        assert_eq!(received, messages);
    })
}

fn mutex(crowd: u64, each: u64) -> f64 {
    let mutex = Mutex::new(0_u64);
    let nanos = nanos_each(crowd * each, || {
        thread::scope(|scope| {
            for _ in 0..crowd {
                scope.spawn(|| {
                    for _ in 0..each {
                        *mutex.lock().expect("not poisoned") += 1;
                    }
                });
            }
        });
    });
    assert_eq!(mutex.into_inner().expect("not poisoned"), crowd * each);
    nanos
}

pub(super) fn serve() -> io::Result<()> {
    pirn::Builder::new().stack_size(64 * 1024).build()?.run(echo)
}

/// In a coroutine: a server that prints its address.
pub(crate) fn echo() -> io::Result<()> {
    let listener = pirn::net::TcpListener::bind("127.0.0.1:0")?;
    println!("{}", listener.local_addr()?);
    loop {
        let (mut stream, _) = listener.accept()?;
        pirn::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = stream.read(&mut buffer) {
                if stream.write_all(&buffer[..length]).is_err() {
                    break;
                }
            }
        });
    }
}
