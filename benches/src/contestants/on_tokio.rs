//! tokio's tasks.
//!
//! tokio has neither a channel without capacity nor one with many receivers: round trips without
//! capacity go through its channels of capacity 1, and crowds use async-channel.

use super::{ECHO_BUFFER, Figures};
use crate::race::warm;
use crate::table::millis;
use crate::tree::{fib, fib_by_sums};
use crate::{cpu, http, memory, sleepers};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Mutex, Notify, mpsc};
use tokio::task::{self, JoinHandle};
use tokio::time;

fn runtime(workers: usize) -> io::Result<Runtime> {
    Builder::new_multi_thread().worker_threads(workers).enable_all().build()
}

/// Runs a future as a task, on a worker.
fn run<F>(runtime: &Runtime, future: F) -> F::Output
where
    F: Future<Output: Send> + Send + 'static,
{
    runtime.block_on(joined(runtime.spawn(future)))
}

async fn joined<T>(handle: JoinHandle<T>) -> T {
    handle.await.expect("it does not panic")
}

pub(super) fn work(workers: usize, work: &str, numbers: &[u64]) -> Figures {
    let runtime = runtime(workers).expect("a runtime");
    if let ("parked", &[count, _]) = (work, numbers) {
        return Some(run(&runtime, parked(count)));
    }
    if let ("sleepers", &[count, longest]) = (work, numbers) {
        return Some(sleepers::figures(|| run(&runtime, sleep(count, longest))));
    }
    warm(work, numbers, || {
        Some(match (work, numbers) {
            ("yield", &[switches]) => run(&runtime, yields(switches)),
            ("spawn", &[count]) => run(&runtime, spawns(count)),
            ("round-trip", &[rounds, capacity]) => {
                run(&runtime, round_trips(rounds, capacity as usize))
            }
            ("crowd", &[producers, consumers, capacity, messages]) => {
                run(&runtime, crowd(producers, consumers, capacity, messages))
            }
            ("mutex", &[crowd, each]) => run(&runtime, mutex(crowd, each)),
            ("skynet", &[leaves, fan]) => millis(|| {
                let sum = run(&runtime, skynet(0, leaves, fan));
                assert_eq!(sum, leaves * (leaves - 1) / 2);
            }),
            ("select", &[messages]) => run(&runtime, selected(messages)),
            ("sieve", &[primes]) => millis(|| run(&runtime, sieve(primes))),
            ("fib", &[n, alone_from]) => millis(|| {
                assert_eq!(run(&runtime, fork_join(n, alone_from)), fib_by_sums(n));
            }),
            ("timers", &[crowd, each]) => run(&runtime, timers(crowd, each)),
            _ => return None,
        })
    })
}

/// Nanoseconds for each of `count` since then.
fn nanos_since(start: Instant, count: u64) -> f64 {
    start.elapsed().as_nanos() as f64 / count as f64
}

async fn yields(switches: u64) -> f64 {
    let yielding = move || async move {
        for _ in 0..switches / 2 {
            task::yield_now().await;
        }
    };
    let start = Instant::now();
    let peer = tokio::spawn(yielding());
    yielding().await;
    joined(peer).await;
    nanos_since(start, switches)
}

async fn spawns(count: u64) -> f64 {
    let start = Instant::now();
    for _ in 0..count {
        joined(tokio::spawn(async {})).await;
    }
    nanos_since(start, count)
}

async fn parked(count: u64) -> Vec<f64> {
    let (before, cpu_before) = (memory::now(), cpu::nanos());
    let start = Instant::now();
    let shared = Arc::new((AtomicU64::new(0), Notify::new()));
    let handles: Vec<_> = (0..count)
        .map(|_| {
            let shared = shared.clone();
            tokio::spawn(async move {
                // A notification counts for all that exist by then.
                let released = shared.1.notified();
                shared.0.fetch_add(1, Ordering::Relaxed);
                released.await;
            })
        })
        .collect();
    while shared.0.load(Ordering::Relaxed) < count {
        task::yield_now().await;
    }
    let bytes = memory::each_since(before, count);
    shared.1.notify_waiters();
    for handle in handles {
        joined(handle).await;
    }
    let cpu = (cpu::nanos() - cpu_before) as f64 / count as f64;
    vec![nanos_since(start, count) / 1e3, cpu / 1e3, bytes]
}

async fn round_trips(rounds: u64, capacity: usize) -> f64 {
    let capacity = capacity.max(1);
    let (there, mut here) = mpsc::channel(capacity);
    let (back, mut returned) = mpsc::channel(capacity);
    let echo = tokio::spawn(async move {
        while let Some(n) = here.recv().await {
            back.send(n).await.expect("nobody has gone");
        }
    });
    let start = Instant::now();
    for n in 0..rounds {
        there.send(n).await.expect("it echoes");
        assert_eq!(returned.recv().await, Some(n));
    }
    let nanos = nanos_since(start, rounds);
    drop(there);
    joined(echo).await;
    nanos
}

async fn crowd(producers: u64, consumers: u64, capacity: u64, messages: u64) -> f64 {
    let (sender, receiver) = match capacity {
        0 => async_channel::unbounded(),
        capacity => async_channel::bounded(capacity as usize),
    };
    let start = Instant::now();
    let senders: Vec<_> = (0..producers)
        .map(|_| {
            let sender = sender.clone();
            tokio::spawn(async move {
                for n in 0..messages / producers {
                    sender.send(n).await.expect("connected");
                }
            })
        })
        .collect();
    drop(sender);
    let receivers: Vec<_> = (0..consumers)
        .map(|_| {
            let receiver = receiver.clone();
            tokio::spawn(async move {
                let mut count = 0;
                while receiver.recv().await.is_ok() {
                    count += 1_u64;
                }
                count
            })
        })
        .collect();
    for sender in senders {
        joined(sender).await;
    }
    let mut received = 0;
    for receiver in receivers {
        received += joined(receiver).await;
    }
    assert_eq!(received, messages);
    1e3 / nanos_since(start, messages)
}

async fn mutex(crowd: u64, each: u64) -> f64 {
    let mutex = Arc::new(Mutex::new(0_u64));
    let start = Instant::now();
    let handles: Vec<_> = (0..crowd)
        .map(|_| {
            let mutex = mutex.clone();
            tokio::spawn(async move {
                for _ in 0..each {
                    *mutex.lock().await += 1;
                }
            })
        })
        .collect();
    for handle in handles {
        joined(handle).await;
    }
    let nanos = nanos_since(start, crowd * each);
    assert_eq!(*mutex.lock().await, crowd * each);
    nanos
}

/// Boxed, as a future that holds its own kind must be.
fn skynet(first: u64, leaves: u64, fan: u64) -> Pin<Box<dyn Future<Output = u64> + Send>> {
    if leaves == 1 {
        return Box::pin(std::future::ready(first));
    }
    Box::pin(async move {
        let (sender, mut receiver) = mpsc::channel(fan as usize);
        for n in 0..fan {
            let sender = sender.clone();
            tokio::spawn(async move {
                let sum = skynet(first + n * (leaves / fan), leaves / fan, fan).await;
                sender.send(sum).await.expect("its parent waits");
            });
        }
        let mut sum = 0;
        for _ in 0..fan {
            sum += receiver.recv().await.expect("there are as many children");
        }
        sum
    })
}

async fn selected(messages: u64) -> f64 {
    let (senders, receivers): (Vec<_>, Vec<_>) = (0..4).map(|_| mpsc::channel(1)).unzip();
    let Ok([mut a, mut b, mut c, mut d]) = <[_; 4]>::try_from(receivers) else {
        unreachable!("there are four");
    };
    let start = Instant::now();
    let handles: Vec<_> = senders
        .iter()
        .cloned()
        .map(|sender| {
            tokio::spawn(async move {
                for n in 0..messages / 4 {
                    sender.send(n).await.expect("connected");
                }
            })
        })
        .collect();
    for _ in 0..messages / 4 * 4 {
        let message = tokio::select! {
            message = a.recv() => message,
            message = b.recv() => message,
            message = c.recv() => message,
            message = d.recv() => message,
        };
        message.expect("connected");
    }
    for handle in handles {
        joined(handle).await;
    }
    nanos_since(start, messages)
}

async fn sieve(primes: u64) {
    let (sender, mut numbers) = mpsc::channel(1);
    tokio::spawn(async move {
        let mut n = 2_u64;
        while sender.send(n).await.is_ok() {
            n += 1;
        }
    });
    for _ in 0..primes {
        let prime = numbers.recv().await.expect("there are numbers without end");
        let (sender, filtered) = mpsc::channel(1);
        tokio::spawn(async move {
            while let Some(n) = numbers.recv().await {
                if n % prime != 0 && sender.send(n).await.is_err() {
                    break;
                }
            }
        });
        numbers = filtered;
    }
}

fn fork_join(n: u64, alone_from: u64) -> Pin<Box<dyn Future<Output = u64> + Send>> {
    Box::pin(async move {
        if n <= alone_from {
            return fib(n);
        }
        let left = tokio::spawn(fork_join(n - 1, alone_from));
        fork_join(n - 2, alone_from).await + joined(left).await
    })
}

async fn timers(crowd: u64, each: u64) -> f64 {
    let start = Instant::now();
    let handles: Vec<_> = (0..crowd)
        .map(|_| {
            tokio::spawn(async move {
                for _ in 0..each {
                    let long = Duration::from_secs(600);
                    time::timeout(long, task::yield_now()).await.expect("there is time");
                }
            })
        })
        .collect();
    for handle in handles {
        joined(handle).await;
    }
    nanos_since(start, crowd * each)
}

/// How late each was, in ns.
async fn sleep(count: u64, longest: u64) -> Vec<u64> {
    let handles: Vec<_> = sleepers::times(count, longest)
        .map(|time| {
            tokio::spawn(async move {
                let start = Instant::now();
                time::sleep(time).await;
                start.elapsed().saturating_sub(time).as_nanos() as u64
            })
        })
        .collect();
    let mut late = Vec::new();
    for handle in handles {
        late.push(joined(handle).await);
    }
    late
}

pub(super) fn serve(workers: usize) -> io::Result<()> {
    accept(workers, |mut stream| async move {
        let mut buffer = [0; ECHO_BUFFER];
        while let Ok(length @ 1..) = stream.read(&mut buffer).await {
            if stream.write_all(&buffer[..length]).await.is_err() {
                break;
            }
        }
    })
}

pub(super) fn http(workers: usize) -> io::Result<()> {
    accept(workers, |stream| async {
        let service = service_fn(|_request: Request<Incoming>| async {
            let mut response = Response::new(Full::new(Bytes::from_static(http::TEXT.as_bytes())));
            let plain = HeaderValue::from_static("text/plain");
            response.headers_mut().insert(CONTENT_TYPE, plain);
            Ok::<_, Infallible>(response)
        });
        let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
        // Clients break off when they have enough.
        drop(connection.await);
    })
}

fn accept<F>(workers: usize, serve: fn(TcpStream) -> F) -> io::Result<()>
where
    F: Future<Output = ()> + Send + 'static,
{
    run(&runtime(workers)?, async move {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        println!("{}", listener.local_addr()?);
        loop {
            let (stream, _) = listener.accept().await?;
            tokio::spawn(serve(stream));
        }
    })
}
