//! `pirn::tokio`: futures that want tokio, run for coroutines and threads.

use pirn::time::timeout;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const SHORT: Duration = Duration::from_millis(2);

fn everywhere(test: impl Fn() + Send + Sync) {
    test();
    for workers in [1, 2] {
        pirn::Builder::new().workers(workers).build().unwrap().run(&test);
    }
}

/// Says that it was dropped.
struct OnDrop(mpsc::Sender<()>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        let _nobody_asks = self.0.send(());
    }
}

#[test]
fn tokios_timers_sockets_and_spawn_work() {
    everywhere(|| {
        let begun = Instant::now();
        let echoed = pirn::tokio::run(async {
            tokio::time::sleep(SHORT).await;
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let server = tokio::spawn(async move {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut buf = [0; 5];
                stream.read_exact(&mut buf).await.unwrap();
                stream.write_all(&buf).await.unwrap();
            });
            let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
            stream.write_all(b"hello").await.unwrap();
            let mut echo = String::new();
            stream.read_to_string(&mut echo).await.unwrap();
            server.await.unwrap();
            echo
        });
        assert_eq!(echoed, "hello");
        assert!(begun.elapsed() >= SHORT);
    });
}

#[test]
fn the_worker_runs_others_meanwhile() {
    let runtime = pirn::Builder::new().workers(1).build().unwrap();
    runtime.run(|| {
        let (ask, asked) = tokio::sync::oneshot::channel();
        let other = pirn::spawn(move || ask.send(7).unwrap());
        assert_eq!(pirn::tokio::run(asked), Ok(7));
        other.join().unwrap();
    });
}

#[test]
fn a_panic_comes_out() {
    everywhere(|| {
        let panicking = async { std::panic::resume_unwind(Box::new("payload")) };
        let run = || -> () { pirn::tokio::run(panicking) };
        let payload = catch_unwind(AssertUnwindSafe(run)).unwrap_err();
        assert_eq!(payload.downcast_ref(), Some(&"payload"));
    });
}

#[test]
fn a_timeout_aborts_the_task() {
    everywhere(|| {
        let (dropped, drops) = mpsc::channel();
        let guard = OnDrop(dropped);
        let never = async move {
            let _guard = guard;
            std::future::pending::<()>().await;
        };
        assert!(timeout(SHORT, || pirn::tokio::run(never)).is_err());
        pirn::blocking(move || drops.recv()).unwrap();
    });
}

#[test]
fn a_cancellation_aborts_the_task() {
    let (dropped, drops) = mpsc::channel();
    let begun = Arc::new(AtomicBool::new(false));
    let theirs = begun.clone();
    let worker = pirn::spawn(move || {
        let guard = OnDrop(dropped);
        pirn::tokio::run(async move {
            let _guard = guard;
            theirs.store(true, Ordering::SeqCst);
            std::future::pending::<()>().await;
        });
    });
    while !begun.load(Ordering::SeqCst) {
        std::thread::yield_now();
    }
    worker.cancel();
    assert!(worker.join().unwrap_err().is::<pirn::Cancelled>());
    drops.recv().unwrap();
}

#[test]
fn many_run_at_once() {
    let workers: Vec<_> = (0..200_u32)
        .map(|n| {
            pirn::spawn(move || {
                pirn::tokio::run(async move {
                    tokio::time::sleep(SHORT).await;
                    n
                })
            })
        })
        .collect();
    let sum: u32 = workers.into_iter().map(|worker| worker.join().unwrap()).sum();
    assert_eq!(sum, 199 * 200 / 2);
}

/// tokio's tasks and pirn's coroutines, with a channel of pirn's between them.
#[test]
fn a_channel_joins_both_worlds() {
    let (s, r) = pirn::channel::bounded::<u64>(4);
    let (t, q) = pirn::channel::bounded::<u64>(0);
    let task = pirn::tokio::handle().spawn(async move {
        while let Ok(n) = r.recv_async().await {
            t.send_async(2 * n).await.unwrap();
        }
    });
    let coroutine = pirn::spawn(move || q.iter().sum::<u64>());
    (1..=1_000).for_each(|n| s.send(n).unwrap());
    drop(s);
    assert_eq!(coroutine.join().unwrap(), 1_000 * 1_001);
    pirn::block_on(task).unwrap();
}

#[test]
fn a_second_runtime_is_refused() {
    let ours = pirn::tokio::handle().id();
    let other = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let refused = pirn::tokio::use_handle(other.handle().clone()).unwrap_err();
    assert_eq!(refused.id(), other.handle().id());
    assert_eq!(pirn::tokio::run(async { tokio::runtime::Handle::current().id() }), ours);
}
