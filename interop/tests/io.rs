//! pirn's sockets as `futures_io`'s and tokio's streams, under executors of every kind.

use futures::{AsyncReadExt as _, AsyncWriteExt as _};
use pirn::block_on;
use pirn::net::{TcpListener, TcpStream};
use pirn::time::timeout;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake};
use std::time::Duration;

/// The calls that block, whose names are those of the futures' calls.
mod blocking {
    use pirn::net::TcpStream;
    use std::io::{Read, Write};

    pub(crate) fn write_all(mut stream: &TcpStream, bytes: &[u8]) {
        stream.write_all(bytes).unwrap();
    }

    pub(crate) fn read(mut stream: &TcpStream, buf: &mut [u8]) -> usize {
        stream.read(buf).unwrap()
    }

    pub(crate) fn read_to_end(mut stream: &TcpStream) -> Vec<u8> {
        let mut received = Vec::new();
        stream.read_to_end(&mut received).unwrap();
        received
    }
}

const SHORT: Duration = Duration::from_millis(2);
/// More than the buffers of a connection hold.
const MUCH: usize = 8 << 20;

fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (client, listener.accept().unwrap().0)
}

/// What drives a future.
trait Drive: Send + Sync {
    fn drive<T: Send + 'static>(&self, future: impl Future<Output = T> + Send + 'static) -> T;
}

struct Thread;
struct Coroutine(usize);
struct Futures;
struct Tokio;

impl Drive for Thread {
    fn drive<T: Send + 'static>(&self, future: impl Future<Output = T> + Send + 'static) -> T {
        block_on(future)
    }
}

impl Drive for Coroutine {
    fn drive<T: Send + 'static>(&self, future: impl Future<Output = T> + Send + 'static) -> T {
        let runtime = pirn::Builder::new().workers(self.0).build().unwrap();
        runtime.run(|| block_on(future))
    }
}

impl Drive for Futures {
    fn drive<T: Send + 'static>(&self, future: impl Future<Output = T> + Send + 'static) -> T {
        futures::executor::block_on(future)
    }
}

impl Drive for Tokio {
    fn drive<T: Send + 'static>(&self, future: impl Future<Output = T> + Send + 'static) -> T {
        pirn::tokio::run(future)
    }
}

fn by_futures_io(driver: &impl Drive) {
    let (mut client, server) = pair();
    let peer = std::thread::spawn(move || {
        let received = blocking::read_to_end(&server);
        // In small pieces, so that the reader waits often.
        received.chunks(64 << 10).for_each(|chunk| blocking::write_all(&server, chunk));
        received.len()
    });
    let echoed = driver.drive(async move {
        let sent: Vec<u8> = (0..MUCH).map(|n| n as u8).collect();
        client.write_all(&sent).await.unwrap();
        client.close().await.unwrap();
        let mut echo = Vec::new();
        client.read_to_end(&mut echo).await.unwrap();
        assert!(echo == sent);
        echo.len()
    });
    assert_eq!((echoed, peer.join().unwrap()), (MUCH, MUCH));
}

fn by_tokio_io(driver: &impl Drive) {
    let (client, server) = pair();
    let peer = std::thread::spawn(move || std::io::copy(&mut &server, &mut &server).unwrap());
    let echoed = driver.drive(async move {
        let (mut read, mut write) = tokio::io::split(client);
        let sending = async move {
            for n in 0..100_u8 {
                tokio::io::AsyncWriteExt::write_all(&mut write, &[n; 1_000]).await.unwrap();
            }
            tokio::io::AsyncWriteExt::shutdown(&mut write).await.unwrap();
        };
        let receiving = async move {
            let mut echo = Vec::new();
            tokio::io::AsyncReadExt::read_to_end(&mut read, &mut echo).await.unwrap();
            echo
        };
        futures::join!(sending, receiving).1
    });
    assert!(echoed.chunks(1_000).zip(0..100_u8).all(|(chunk, n)| chunk.iter().all(|b| *b == n)));
    assert_eq!((echoed.len(), peer.join().unwrap()), (100_000, 100_000));
}

#[test]
fn streams_work_under_every_executor() {
    for round in 0..3 {
        by_futures_io(&Thread);
        by_futures_io(&Coroutine(1 + round));
        by_futures_io(&Futures);
        by_futures_io(&Tokio);
        by_tokio_io(&Thread);
        by_tokio_io(&Coroutine(1 + round));
        by_tokio_io(&Futures);
        by_tokio_io(&Tokio);
    }
}

#[test]
fn one_coroutine_waits_for_many_streams() {
    let (clients, servers): (Vec<_>, Vec<_>) = (0..50).map(|_| pair()).unzip();
    let echoes: Vec<_> = servers
        .into_iter()
        .map(|stream| pirn::spawn(move || std::io::copy(&mut &stream, &mut &stream).unwrap()))
        .collect();
    let sum = pirn::spawn(move || {
        block_on(async {
            let talks = clients.into_iter().enumerate().map(|(n, mut stream)| async move {
                stream.write_all(&[n as u8]).await.unwrap();
                let mut buf = [0];
                stream.read_exact(&mut buf).await.unwrap();
                u64::from(buf[0])
            });
            futures::future::join_all(talks).await.into_iter().sum::<u64>()
        })
    });
    assert_eq!(sum.join().unwrap(), 49 * 50 / 2);
    assert!(echoes.into_iter().all(|echo| echo.join().unwrap() == 1));
}

#[test]
fn a_read_that_is_cut_short_leaves_the_stream_whole() {
    let (client, server) = pair();
    pirn::spawn(move || {
        let mut buf = [0; 5];
        let mut stream = &client;
        assert!(timeout(SHORT, || block_on(stream.read_exact(&mut buf))).is_err());
        blocking::write_all(&server, b"hello");
        block_on(stream.read_exact(&mut buf)).unwrap();
        assert_eq!(&buf, b"hello");
        // And a read that blocks goes on with it.
        blocking::write_all(&server, b"there");
        let count = blocking::read(&client, &mut buf);
        assert_eq!(&buf[..count], b"there");
    })
    .join()
    .unwrap();
}

/// Counts its wakes.
#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// A task that polled, was woken and never came back holds nobody up.
#[test]
fn a_task_that_is_gone_takes_no_readiness_along() {
    let (client, server) = pair();
    let runtime = pirn::Builder::new().workers(1).build().unwrap();
    runtime.run(move || {
        let count = Arc::new(Count::default());
        let waker = count.clone().into();
        let mut buf = [0; 8];
        let polled = client.poll_read(&mut Context::from_waker(&waker), &mut buf);
        assert!(polled.is_pending());
        let reader = pirn::spawn(move || {
            let mut buf = [0; 8];
            blocking::read(&client, &mut buf)
        });
        pirn::thread::yield_now();
        blocking::write_all(&server, b"one");
        assert_eq!(reader.join().unwrap(), 3);
        assert_eq!(count.0.load(Ordering::SeqCst), 1);
    });
}

/// The last to poll is woken by the edge; the one before it at once, to see for itself.
#[test]
fn a_task_that_is_replaced_is_told() {
    let (client, server) = pair();
    let (first, second) = (Arc::new(Count::default()), Arc::new(Count::default()));
    let mut buf = [0; 8];
    let mut poll = |count: &Arc<Count>| {
        let waker = count.clone().into();
        client.poll_read(&mut Context::from_waker(&waker), &mut buf)
    };
    assert!(poll(&first).is_pending());
    assert!(poll(&first).is_pending());
    assert_eq!(first.0.load(Ordering::SeqCst), 0);
    assert!(poll(&second).is_pending());
    assert_eq!(first.0.load(Ordering::SeqCst), 1);
    blocking::write_all(&server, b"two");
    while second.0.load(Ordering::SeqCst) == 0 {
        std::thread::yield_now();
    }
    assert!(matches!(poll(&second), Poll::Ready(Ok(3))));
    assert_eq!(first.0.load(Ordering::SeqCst), 1);
}

/// The runtime that watched a descriptor ends: whoever polls it registers anew.
#[test]
fn a_stream_outlives_the_runtime_that_watched_it() {
    let (client, server) = pair();
    let count = Arc::new(Count::default());
    let runtime = pirn::Builder::new().workers(1).build().unwrap();
    let theirs = count.clone();
    let mut client = runtime.run(move || {
        let waker = theirs.into();
        let polled = client.poll_read(&mut Context::from_waker(&waker), &mut [0; 8]);
        assert!(polled.is_pending());
        client
    });
    drop(runtime);
    assert_eq!(count.0.load(Ordering::SeqCst), 1);
    let writer = std::thread::spawn(move || blocking::write_all(&server, b"hello"));
    let mut buf = [0; 5];
    futures::executor::block_on(async { client.read_exact(&mut buf).await }).unwrap();
    assert_eq!(&buf, b"hello");
    writer.join().unwrap();
}

#[test]
fn a_stream_of_messages_ends_with_its_senders() {
    use futures::StreamExt;
    let (s, r) = pirn::channel::bounded(1);
    let sender = pirn::spawn(move || (1..=100_u32).for_each(|n| s.send(n).unwrap()));
    let sum = futures::executor::block_on(async {
        let first: u32 = r.stream().take(10).fold(0, |sum, n| async move { sum + n }).await;
        first + r.into_stream().fold(0, |sum, n| async move { sum + n }).await
    });
    assert_eq!(sum, 5_050);
    sender.join().unwrap();
}

/// Futures of others' crates, woken from elsewhere.
#[test]
fn others_futures_run_on_block_on() {
    let (s, r) = async_channel::bounded::<u32>(1);
    let (t, q) = futures::channel::oneshot::channel();
    let worker = pirn::spawn(move || {
        block_on(async {
            let mut sum = 0;
            while let Ok(n) = r.recv().await {
                sum += n;
            }
            t.send(sum).unwrap();
        });
    });
    let sender = std::thread::spawn(move || {
        futures::executor::block_on(async {
            for n in 1..=1_000 {
                s.send(n).await.unwrap();
            }
        });
    });
    assert_eq!(block_on(q), Ok(500_500));
    worker.join().unwrap();
    sender.join().unwrap();
}
