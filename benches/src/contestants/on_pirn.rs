//! pirn's coroutines.

#![cfg_attr(feature = "migrating", expect(unsafe_code, reason = "migrating is unsafe"))]

use super::{ECHO_BUFFER, Figures};
use crate::race::warm;
use crate::table::{millions_a_second, millis, nanos_each};
use crate::tree::{fib, fib_by_sums};
use crate::{cpu, http, memory, scale, sleepers};
use pirn::channel::{bounded, unbounded};
use pirn::net::{TcpListener, TcpStream};
use pirn::sync::Mutex;
use pirn::thread::{self, JoinHandle, Placement};
use pirn::time::{Duration, Instant, timeout};
use std::io::{self, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// How coroutines are spawned.
pub(crate) trait Start: 'static {
    fn spawn<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T>;

    /// Where the fewest are.
    fn spread<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T>;
}

/// As everybody does: they stay where they started.
pub(crate) struct Homed;

impl Start for Homed {
    #[inline]
    fn spawn<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
        pirn::spawn(f)
    }

    fn spread<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
        let builder = thread::Builder::new().placement(Placement::Spread);
        builder.spawn(f).expect("a coroutine")
    }
}

/// So that any worker may go on with them.
#[cfg(feature = "migrating")]
pub(crate) struct Migrating;

#[cfg(feature = "migrating")]
impl Start for Migrating {
    #[inline]
    fn spawn<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
        // SAFETY: what they have on their stacks here is `Send`, borrows no thread-local and holds
        // no guard when they wait.
        let builder = unsafe { thread::Builder::new().migrating() };
        builder.spawn(f).expect("a coroutine")
    }

    fn spread<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
        // They spread by being stolen.
        Self::spawn(f)
    }
}

/// Does not pass while anything is measured.
const LONG: Duration = Duration::from_secs(600);

pub(super) fn work<S: Start>(workers: usize, work: &str, numbers: &[u64]) -> Figures {
    let builder = pirn::Builder::new().workers(workers);
    if let ("parked", &[count, stack]) = (work, numbers) {
        let runtime = builder.stack_size(stack as usize).build().expect("a runtime");
        return Some(runtime.run(|| parked::<S>(count)));
    }
    if let ("lives", &[count, stack]) = (work, numbers) {
        let runtime = builder.stack_size(stack as usize).build().expect("a runtime");
        return Some(runtime.run(|| scale::lives(count)));
    }
    let runtime = builder.build().expect("a runtime");
    if let ("sleepers", &[count, longest]) = (work, numbers) {
        return Some(sleepers::figures(|| runtime.run(|| sleep::<S>(count, longest))));
    }
    warm(work, numbers, || {
        runtime.run(|| match (work, numbers) {
            ("yield", &[switches]) => Some(yields::<S>(switches)),
            ("spawn", &[count]) => Some(spawns::<S>(count)),
            ("round-trip", &[rounds, capacity]) => {
                Some(round_trips::<S>(rounds, capacity as usize))
            }
            ("crowd", &[producers, consumers, capacity, messages]) => {
                Some(crowd::<S>(producers, consumers, capacity, messages))
            }
            ("mutex", &[crowd, each]) => Some(mutex(crowd, each)),
            ("skynet", &[leaves, fan]) => Some(millis(|| {
                assert_eq!(skynet::<S>(0, leaves, fan), leaves * (leaves - 1) / 2);
            })),
            ("select", &[messages]) => Some(selected::<S>(messages)),
            ("sieve", &[primes]) => Some(millis(|| sieve::<S>(primes))),
            ("fib", &[n, alone_from]) => Some(millis(|| {
                assert_eq!(fork_join::<S>(n, alone_from), fib_by_sums(n));
            })),
            ("timers", &[crowd, each]) => Some(timers::<S>(crowd, each)),
            _ => None,
        })
    })
}

fn yields<S: Start>(switches: u64) -> f64 {
    let yielding = move || {
        for _ in 0..switches / 2 {
            thread::yield_now();
        }
    };
    nanos_each(switches, || {
        let peer = S::spawn(yielding);
        yielding();
        peer.join().expect("it does not panic");
    })
}

fn spawns<S: Start>(count: u64) -> f64 {
    nanos_each(count, || {
        for _ in 0..count {
            S::spawn(|| ()).join().expect("it does not panic");
        }
    })
}

fn parked<S: Start>(count: u64) -> Vec<f64> {
    let (before, cpu_before) = (memory::now(), cpu::nanos());
    let mut bytes = 0.0;
    let nanos = nanos_each(count, || {
        let arrived = Arc::new(AtomicU64::new(0));
        let handles: Vec<_> = (0..count)
            .map(|_| {
                let arrived = arrived.clone();
                S::spawn(move || {
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

fn round_trips<S: Start>(rounds: u64, capacity: usize) -> f64 {
    let (there, here) = bounded(capacity);
    let (back, returned) = bounded(capacity);
    let echo = S::spawn(move || here.iter().try_for_each(|n: u64| back.send(n)));
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

fn crowd<S: Start>(producers: u64, consumers: u64, capacity: u64, messages: u64) -> f64 {
    let (sender, receiver) = match capacity {
        0 => unbounded(),
        capacity => bounded(capacity as usize),
    };
    millions_a_second(messages, || {
        let senders: Vec<_> = (0..producers)
            .map(|_| {
                let sender = sender.clone();
                S::spawn(move || {
                    (0..messages / producers).for_each(|n| sender.send(n).expect("connected"));
                })
            })
            .collect();
        drop(sender);
        let receivers: Vec<_> = (0..consumers)
            .map(|_| {
                let receiver = receiver.clone();
                S::spawn(move || receiver.iter().fold(0, |count, _| count + 1_u64))
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

fn skynet<S: Start>(first: u64, leaves: u64, fan: u64) -> u64 {
    if leaves == 1 {
        return first;
    }
    let (sender, receiver) = bounded(fan as usize);
    for n in 0..fan {
        let sender = sender.clone();
        S::spawn(move || {
            let sum = skynet::<S>(first + n * (leaves / fan), leaves / fan, fan);
            sender.send(sum).expect("its parent waits");
        });
    }
    receiver.iter().take(fan as usize).sum()
}

fn selected<S: Start>(messages: u64) -> f64 {
    let channels = [(); 4].map(|()| bounded(0));
    nanos_each(messages, || {
        let senders: Vec<_> = channels
            .iter()
            .map(|(sender, _)| {
                let sender = sender.clone();
                S::spawn(move || {
                    (0..messages / 4).for_each(|n| sender.send(n).expect("connected"));
                })
            })
            .collect();
        let [a, b, c, d] = channels.each_ref().map(|(_, receiver)| receiver);
        for _ in 0..messages / 4 * 4 {
            let message = pirn::channel::select! {
                recv(a) -> message => message,
                recv(b) -> message => message,
                recv(c) -> message => message,
                recv(d) -> message => message,
            };
            message.expect("connected");
        }
        senders.into_iter().for_each(|sender| sender.join().expect("it does not panic"));
    })
}

fn sieve<S: Start>(primes: u64) {
    let (sender, mut numbers) = bounded(0);
    S::spawn(move || (2_u64..).try_for_each(|n| sender.send(n)));
    for _ in 0..primes {
        let prime = numbers.recv().expect("there are numbers without end");
        let (sender, filtered) = bounded(0);
        S::spawn(move || {
            numbers.iter().filter(|n| n % prime != 0).try_for_each(|n| sender.send(n))
        });
        numbers = filtered;
    }
}

/// Spawned where the fewest are, since each has much to do.
fn fork_join<S: Start>(n: u64, alone_from: u64) -> u64 {
    if n <= alone_from {
        return fib(n);
    }
    let left = S::spread(move || fork_join::<S>(n - 1, alone_from));
    fork_join::<S>(n - 2, alone_from) + left.join().expect("it does not panic")
}

fn timers<S: Start>(crowd: u64, each: u64) -> f64 {
    nanos_each(crowd * each, || {
        let handles: Vec<_> = (0..crowd)
            .map(|_| {
                S::spawn(move || {
                    for _ in 0..each {
                        timeout(LONG, thread::yield_now).expect("there is time");
                    }
                })
            })
            .collect();
        handles.into_iter().for_each(|handle| handle.join().expect("it does not panic"));
    })
}

/// How late each was, in ns.
fn sleep<S: Start>(count: u64, longest: u64) -> Vec<u64> {
    let handles: Vec<_> = sleepers::times(count, longest)
        .map(|time| {
            S::spawn(move || {
                let start = Instant::now();
                thread::sleep(time);
                (start.elapsed() - time).as_nanos() as u64
            })
        })
        .collect();
    handles.into_iter().map(|handle| handle.join().expect("it does not panic")).collect()
}

fn runtime(workers: usize) -> io::Result<pirn::Runtime> {
    pirn::Builder::new().workers(workers).stack_size(64 * 1024).build()
}

pub(super) fn serve<S: Start>(workers: usize) -> io::Result<()> {
    runtime(workers)?.run(echo::<S>)
}

pub(super) fn http<S: Start>(workers: usize) -> io::Result<()> {
    runtime(workers)?.run(|| accept::<S>(|mut stream| drop(http::answer(&mut stream))))
}

/// In a coroutine: a server that prints its address.
pub(crate) fn echo<S: Start>() -> io::Result<()> {
    accept::<S>(|mut stream| {
        let mut buffer = [0; ECHO_BUFFER];
        while let Ok(length @ 1..) = stream.read(&mut buffer) {
            if stream.write_all(&buffer[..length]).is_err() {
                break;
            }
        }
    })
}

fn accept<S: Start>(serve: fn(TcpStream)) -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("{}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept()?;
        S::spawn(move || serve(stream));
    }
}
