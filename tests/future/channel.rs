//! Channels' futures: on `block_on`, polled by hand, and against those who wait in other ways.

use crate::support::{Count, everywhere, poll, until};
use pirn::channel::{
    Receiver, RecvError, Select, SendError, Sender, after, bounded, never, tick, unbounded,
};
use pirn::time::timeout;
use pirn::{block_on, spawn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Poll, Wake};
use std::time::{Duration, Instant};

const SHORT: Duration = Duration::from_millis(2);

fn kinds<T>() -> [(Sender<T>, Receiver<T>); 4] {
    [bounded(0), bounded(1), bounded(3), unbounded()]
}

#[test]
fn all_messages_arrive_once_between_futures_and_others() {
    const EACH: u64 = if cfg!(debug_assertions) { 500 } else { 5_000 };
    everywhere(|| {
        for (s, r) in kinds::<u64>() {
            let sum = Arc::new(AtomicUsize::new(0));
            let receivers: Vec<_> = (0..4)
                .map(|number| {
                    let (r, sum) = (r.clone(), sum.clone());
                    let add = move |n: u64| {
                        sum.fetch_add(n as usize, Ordering::Relaxed);
                    };
                    spawn(move || match number % 2 {
                        0 => r.iter().for_each(add),
                        _ => block_on(async {
                            while let Ok(n) = r.recv_async().await {
                                add(n);
                            }
                        }),
                    })
                })
                .collect();
            drop(r);
            let senders: Vec<_> = (0..4)
                .map(|number| {
                    let s = s.clone();
                    spawn(move || match number % 2 {
                        0 => (1..=EACH).for_each(|n| s.send(n).unwrap()),
                        _ => block_on(async {
                            for n in 1..=EACH {
                                s.send_async(n).await.unwrap();
                            }
                        }),
                    })
                })
                .collect();
            drop(s);
            senders.into_iter().chain(receivers).for_each(|worker| worker.join().unwrap());
            assert_eq!(sum.load(Ordering::Relaxed) as u64, 4 * EACH * (EACH + 1) / 2);
        }
    });
}

/// A waker's panic is its own: it ends neither the send that wakes it nor the wakes of others.
#[test]
fn a_waker_that_panics_keeps_nobody_from_being_woken() {
    struct Panics;
    impl Wake for Panics {
        fn wake(self: Arc<Self>) {
            std::panic::resume_unwind(Box::new("in a waker"));
        }
    }
    for (s, r) in kinds::<()>() {
        let (count, waker) = Count::new();
        let mut first = pin!(r.recv_async());
        let mut second = pin!(r.recv_async());
        assert!(poll(first.as_mut(), &Arc::new(Panics).into()).is_pending());
        assert!(poll(second.as_mut(), &waker).is_pending());
        s.send(()).unwrap();
        assert_eq!(poll(first.as_mut(), &waker), Poll::Ready(Ok(())));

        let mut first = pin!(r.recv_async());
        assert!(poll(first.as_mut(), &Arc::new(Panics).into()).is_pending());
        drop(s);
        assert_eq!(count.get(), 1);
        assert_eq!(poll(second.as_mut(), &waker), Poll::Ready(Err(RecvError)));
    }
    // In the order in which they wait, the one that panics first.
    let (s, r) = unbounded::<()>();
    let (count, waker) = Count::new();
    let (mut first, mut second) = (pin!(r.recv_async()), pin!(r.recv_async()));
    assert!(poll(first.as_mut(), &Arc::new(Panics).into()).is_pending());
    assert!(poll(second.as_mut(), &waker).is_pending());
    drop(s);
    assert_eq!(count.get(), 1);
}

/// Futures that are dropped at any moment, as timeouts do: nothing is lost, nothing comes twice.
#[test]
fn futures_that_come_and_go_lose_nothing() {
    const EACH: u64 = 200;
    everywhere(|| {
        for (s, r) in kinds::<u64>() {
            let quitters: Vec<_> = (0..2)
                .map(|_| {
                    let r = r.clone();
                    spawn(move || {
                        let mut sum = 0;
                        loop {
                            let (_, waker) = Count::new();
                            let mut future = pin!(r.recv_async());
                            for _ in 0..2 {
                                match poll(future.as_mut(), &waker) {
                                    Poll::Ready(Ok(n)) => {
                                        sum += n;
                                        break;
                                    }
                                    Poll::Ready(Err(RecvError)) => return sum,
                                    Poll::Pending => pirn::thread::yield_now(),
                                }
                            }
                        }
                    })
                })
                .collect();
            let patient = spawn(move || r.iter().sum::<u64>());
            let senders: Vec<_> = (0..2)
                .map(|_| {
                    let s = s.clone();
                    spawn(move || {
                        let mut sent = 0;
                        let (_, waker) = Count::new();
                        while sent < EACH {
                            // Who gives up cannot tell whether its message has gone, so it is put
                            // to the end by one who waits.
                            let zero = poll(pin!(s.send_async(0)).as_mut(), &waker);
                            assert_ne!(zero, Poll::Ready(Err(SendError(0))));
                            block_on(s.send_async(1)).unwrap();
                            sent += 1;
                        }
                    })
                })
                .collect();
            drop(s);
            senders.into_iter().for_each(|sender| sender.join().unwrap());
            let quick: u64 = quitters.into_iter().map(|quitter| quitter.join().unwrap()).sum();
            assert_eq!(quick + patient.join().unwrap(), 2 * EACH);
        }
    });
}

#[test]
fn a_future_that_is_dropped_passes_its_wake_on() {
    for (s, r) in kinds() {
        let (first, first_waker) = Count::new();
        let (second, second_waker) = Count::new();
        let mut waiting = Box::pin(r.recv_async());
        let mut next = pin!(r.recv_async());
        assert_eq!(poll(waiting.as_mut(), &first_waker), Poll::Pending);
        assert_eq!(poll(next.as_mut(), &second_waker), Poll::Pending);
        s.try_send(1).unwrap();
        assert_eq!((first.get(), second.get()), (1, 0));
        drop(waiting);
        assert_eq!((first.get(), second.get()), (1, 1));
        assert_eq!(poll(next.as_mut(), &second_waker), Poll::Ready(Ok(1)));
    }
}

#[test]
fn a_future_that_is_dropped_wakes_a_coroutine() {
    for (s, r) in kinds() {
        let (_, waker) = Count::new();
        let mut waiting = Box::pin(r.recv_async());
        assert_eq!(poll(waiting.as_mut(), &waker), Poll::Pending);
        let q = r.clone();
        let patient = spawn(move || q.recv());
        s.try_send(1).unwrap();
        drop(waiting);
        assert_eq!(patient.join().unwrap(), Ok(1));
    }
}

#[test]
fn a_sender_that_is_dropped_passes_room_on() {
    let (s, r) = bounded(1);
    s.send(0).unwrap();
    let (first, first_waker) = Count::new();
    let (second, second_waker) = Count::new();
    let mut waiting = Box::pin(s.send_async(1));
    let mut next = pin!(s.send_async(2));
    assert_eq!(poll(waiting.as_mut(), &first_waker), Poll::Pending);
    assert_eq!(poll(next.as_mut(), &second_waker), Poll::Pending);
    assert_eq!(r.try_recv(), Ok(0));
    assert_eq!((first.get(), second.get()), (1, 0));
    drop(waiting);
    assert_eq!(second.get(), 1);
    assert_eq!(poll(next.as_mut(), &second_waker), Poll::Ready(Ok(())));
    assert_eq!(r.try_recv(), Ok(2));
}

#[test]
fn the_last_waker_counts_and_the_place_is_kept() {
    for (s, r) in kinds() {
        let (old, old_waker) = Count::new();
        let (new, new_waker) = Count::new();
        let (other, other_waker) = Count::new();
        let mut first = pin!(r.recv_async());
        let mut second = pin!(r.recv_async());
        assert_eq!(poll(first.as_mut(), &old_waker), Poll::Pending);
        assert_eq!(poll(second.as_mut(), &other_waker), Poll::Pending);
        assert_eq!(poll(first.as_mut(), &new_waker), Poll::Pending);
        s.try_send(1).unwrap();
        assert_eq!((old.get(), new.get(), other.get()), (0, 1, 0));
        assert_eq!(Arc::strong_count(&old), 2, "a waker that was replaced is kept");
    }
}

/// Who was woken and came too late is first in the queue when it waits again.
#[test]
fn who_came_too_late_is_next() {
    let (s, r) = bounded(2);
    let (first, first_waker) = Count::new();
    let (second, second_waker) = Count::new();
    let mut early = pin!(r.recv_async());
    let mut late = pin!(r.recv_async());
    assert_eq!(poll(early.as_mut(), &first_waker), Poll::Pending);
    assert_eq!(poll(late.as_mut(), &second_waker), Poll::Pending);
    s.send(1).unwrap();
    assert_eq!(r.try_recv(), Ok(1));
    assert_eq!(poll(early.as_mut(), &first_waker), Poll::Pending);
    s.send(2).unwrap();
    assert_eq!((first.get(), second.get()), (2, 0));
    assert_eq!(poll(early.as_mut(), &first_waker), Poll::Ready(Ok(2)));
}

#[test]
fn futures_meet_without_a_buffer() {
    let (s, r) = bounded(0);
    let (sent, send_waker) = Count::new();
    let (received, recv_waker) = Count::new();
    let mut sending = Box::pin(s.send_async(1));
    let mut receiving = pin!(r.recv_async());
    assert_eq!(poll(sending.as_mut(), &send_waker), Poll::Pending);
    assert_eq!(poll(receiving.as_mut(), &recv_waker), Poll::Ready(Ok(1)));
    assert_eq!(sent.get(), 1);
    assert_eq!(poll(sending.as_mut(), &send_waker), Poll::Ready(Ok(())));
    // One that goes before it was met has not sent.
    let mut sending = Box::pin(s.send_async(2));
    assert_eq!(poll(sending.as_mut(), &send_waker), Poll::Pending);
    drop(sending);
    let mut receiving = pin!(r.recv_async());
    assert_eq!(poll(receiving.as_mut(), &recv_waker), Poll::Pending);
    s.try_send(3).unwrap();
    assert_eq!(received.get(), 1);
    assert_eq!(poll(receiving.as_mut(), &recv_waker), Poll::Ready(Ok(3)));
    assert!(s.try_send(4).is_err(), "nobody receives");
}

#[test]
fn a_side_that_goes_ends_the_others_futures() {
    for (s, r) in kinds::<u32>() {
        let (count, waker) = Count::new();
        let mut receiving = pin!(r.recv_async());
        assert_eq!(poll(receiving.as_mut(), &waker), Poll::Pending);
        drop(s);
        assert_eq!(count.get(), 1);
        assert_eq!(poll(receiving.as_mut(), &waker), Poll::Ready(Err(RecvError)));
    }
    let (s, r) = bounded(0);
    let (count, waker) = Count::new();
    let mut sending = pin!(s.send_async(7));
    assert_eq!(poll(sending.as_mut(), &waker), Poll::Pending);
    drop(r);
    assert_eq!(count.get(), 1);
    assert_eq!(poll(sending.as_mut(), &waker), Poll::Ready(Err(SendError(7))));
}

#[test]
fn selects_meet_futures() {
    everywhere(|| {
        for _ in 0..50 {
            // One that receives, and a future that sends.
            let (s, r) = bounded(0);
            let sender = spawn(move || block_on(s.send_async(1)));
            let mut select = Select::new();
            select.recv(&r);
            assert_eq!(select.select().recv(&r), Ok(1));
            assert_eq!(sender.join().unwrap(), Ok(()));
            // One that sends, and a future that receives.
            let (s, r) = bounded(0);
            let receiver = spawn(move || block_on(r.recv_async()));
            let mut select = Select::new();
            select.send(&s);
            assert_eq!(select.select().send(&s, 2), Ok(()));
            assert_eq!(receiver.join().unwrap(), Ok(2));
        }
    });
}

/// The select has chosen a future that is gone by the time the message is made.
#[test]
fn what_a_select_sends_to_a_dropped_future_is_there_for_the_next() {
    let (s, r) = bounded(0);
    let (_, waker) = Count::new();
    let mut receiving = Box::pin(r.recv_async());
    assert_eq!(poll(receiving.as_mut(), &waker), Poll::Pending);
    let mut select = Select::new();
    select.send(&s);
    let operation = select.try_select().unwrap();
    drop(receiving);
    assert_eq!(operation.send(&s, 5), Ok(()));
    assert_eq!(r.try_recv(), Ok(5));
}

#[test]
fn watchers_are_told_of_futures() {
    let (s, r) = bounded(0);
    let q = r.clone();
    let watcher = spawn(move || {
        let mut select = Select::new();
        select.recv(&q);
        select.ready();
        q.recv()
    });
    block_on(s.send_async(1)).unwrap();
    assert_eq!(watcher.join().unwrap(), Ok(1));
    drop(r);
}

#[test]
fn clocks_deliver_to_futures() {
    everywhere(|| {
        let begun = Instant::now();
        block_on(after(SHORT).recv_async()).unwrap();
        assert!(begun.elapsed() >= SHORT);
        let ticker = tick(SHORT);
        block_on(async {
            for _ in 0..3 {
                ticker.recv_async().await.unwrap();
            }
        });
        assert!(begun.elapsed() >= 4 * SHORT);
        assert!(timeout(SHORT, || block_on(never::<()>().recv_async())).is_err());
        // One that is dropped leaves nobody behind who sleeps for ever.
        let clock = after(Duration::from_secs(600));
        let (count, waker) = Count::new();
        let mut waiting = Box::pin(clock.recv_async());
        assert!(poll(waiting.as_mut(), &waker).is_pending());
        assert_eq!(Arc::strong_count(&count), 3);
        drop(waiting);
        until(|| Arc::strong_count(&count) == 2);
    });
}

/// Who sleeps for a future is cut short then; the future is polled again, wherever it is.
#[test]
fn clocks_deliver_to_futures_when_their_runtime_ends() {
    /// Waits for a clock when it is dropped.
    struct Waits(Arc<AtomicUsize>);

    impl Drop for Waits {
        fn drop(&mut self) {
            block_on(after(SHORT).recv_async()).unwrap();
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    for workers in [1, 2] {
        let runtime = pirn::Builder::new().workers(workers).build().unwrap();
        let clock = after(10 * SHORT);
        let (count, waker) = Count::new();
        let mut waiting = pin!(clock.recv_async());
        assert!(runtime.run(|| poll(waiting.as_mut(), &waker)).is_pending());
        let waited = Arc::new(AtomicUsize::new(0));
        let (begun, begins) = std::sync::mpsc::channel();
        for _ in 0..3 {
            let (waits, begun) = (Waits(waited.clone()), begun.clone());
            runtime.spawn(move || {
                let _waits = waits;
                begun.send(()).unwrap();
                pirn::thread::park();
            });
            begins.recv().unwrap();
        }
        drop(runtime);
        assert_eq!(waited.load(Ordering::SeqCst), 3);
        assert_eq!(count.get(), 1);
        block_on(waiting).unwrap();
    }
}

#[test]
fn a_cancelled_future_leaves_the_queue() {
    everywhere(|| {
        for (s, r) in kinds() {
            assert!(timeout(SHORT, || block_on(r.recv_async())).is_err());
            let q = r.clone();
            let receiver = spawn(move || q.recv());
            s.send(1).unwrap();
            assert_eq!(receiver.join().unwrap(), Ok(1));
        }
        let (s, r) = bounded(0);
        assert!(timeout(SHORT, || block_on(s.send_async(1))).is_err());
        assert!(r.try_recv().is_err());
    });
}
