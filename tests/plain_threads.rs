//! What is waited for on plain threads alone, with no runtime: small enough for Miri, which can follow no
//! stack switch (`ci/miri.sh`).

use pirn::channel::{Receiver, Select, Sender, bounded, unbounded};
use pirn::sync::mpsc;
use pirn::sync::{
    Barrier, Condvar, Event, LazyLock, Mutex, Notify, Once, OnceLock, Parker, RwLock,
    RwLockWriteGuard, Semaphore, WaitGroup,
};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

const SHORT: Duration = Duration::from_millis(2);

type Message = Box<u64>;

fn kinds() -> [(Sender<Message>, Receiver<Message>); 4] {
    [bounded(0), bounded(1), bounded(3), unbounded()]
}

#[test]
fn messages_go_from_many_to_many() {
    for (s, r) in kinds() {
        let sum = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..2 {
                let (s, r, sum) = (s.clone(), r.clone(), &sum);
                scope.spawn(move || (1..=5).for_each(|n| s.send(Box::new(n)).unwrap()));
                scope.spawn(move || {
                    for message in r {
                        sum.fetch_add(*message as usize, Ordering::Relaxed);
                    }
                });
            }
            drop((s, r));
        });
        assert_eq!(sum.into_inner(), 30);
    }
}

/// Selects that send meet selects that receive, some of whom give up what they have chosen.
#[test]
fn selects_meet() {
    for (s, r) in kinds() {
        let (back, there) = bounded(0);
        let (sent, received) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let does = |round: usize, sender: &Sender<Message>, receiver: &Receiver<Message>| {
            let mut select = Select::new();
            let receives = select.recv(receiver);
            select.send(sender);
            let Ok(chosen) = select.select_timeout(SHORT) else { return };
            if round % 4 == 3 && chosen.index() == receives {
                assert!(catch_unwind(AssertUnwindSafe(|| drop(chosen))).is_err());
            } else if chosen.index() == receives {
                chosen.recv(receiver).unwrap();
                received.fetch_add(1, Ordering::Relaxed);
            } else {
                chosen.send(sender, Box::new(1)).unwrap();
                sent.fetch_add(1, Ordering::Relaxed);
            }
        };
        thread::scope(|scope| {
            scope.spawn(|| (0..8).for_each(|round| does(round, &s, &there)));
            scope.spawn(|| (1..9).for_each(|round| does(round, &back, &r)));
            scope.spawn(|| (2..10).for_each(|round| does(round, &s, &there)));
        });
        let left = r.try_iter().count() + there.try_iter().count();
        assert_eq!(sent.into_inner(), received.into_inner() + left);
    }
}

struct Nothing;

impl Wake for Nothing {
    fn wake(self: Arc<Self>) {}
}

#[test]
fn futures_are_met_and_given_up() {
    let waker = Waker::from(Arc::new(Nothing));
    let mut context = Context::from_waker(&waker);
    for (s, r) in kinds() {
        {
            let mut first = Box::pin(r.recv_async());
            let mut second = pin!(r.recv_async());
            assert!(first.as_mut().poll(&mut context).is_pending());
            assert!(second.as_mut().poll(&mut context).is_pending());
            thread::scope(|scope| scope.spawn(|| s.send(Box::new(1))).join()).unwrap().unwrap();
            drop(first);
            assert_eq!(second.poll(&mut context), Poll::Ready(Ok(Box::new(1))));
        }
        let Some(room) = s.capacity() else { continue };
        (0..room).for_each(|_| s.try_send(Box::new(2)).unwrap());
        let mut first = Box::pin(s.send_async(Box::new(3)));
        let mut second = pin!(s.send_async(Box::new(4)));
        assert!(first.as_mut().poll(&mut context).is_pending());
        assert!(second.as_mut().poll(&mut context).is_pending());
        drop(first);
        if room > 0 {
            thread::scope(|scope| scope.spawn(|| r.recv()).join()).unwrap().unwrap();
            assert_eq!(second.poll(&mut context), Poll::Ready(Ok(())));
        } else {
            let met = thread::scope(|scope| scope.spawn(|| r.recv()).join()).unwrap();
            assert_eq!(met, Ok(Box::new(4)));
            assert_eq!(second.poll(&mut context), Poll::Ready(Ok(())));
        }
    }
}

#[test]
fn locks_are_taken_in_turns() {
    static LAZY: LazyLock<Box<u32>> = LazyLock::new(|| Box::new(3));

    let (mutex, changed, lock) = (Mutex::new(0), Condvar::new(), RwLock::new(0));
    let (semaphore, barrier, once, cell) =
        (Semaphore::new(2), Barrier::new(3), Once::new(), OnceLock::new());
    let (event, notify, group) = (Event::new(), Notify::new(), WaitGroup::new());
    thread::scope(|scope| {
        for number in 0..3 {
            let group = group.clone();
            let (mutex, changed, lock) = (&mutex, &changed, &lock);
            let (semaphore, barrier, once, cell) = (&semaphore, &barrier, &once, &cell);
            let (event, notify) = (&event, &notify);
            scope.spawn(move || {
                for _ in 0..4 {
                    *mutex.lock().unwrap() += 1;
                    changed.notify_all();
                    let mut writes = lock.write().unwrap();
                    *writes += 1;
                    assert!(*RwLockWriteGuard::downgrade(writes) > 0);
                    assert!(*lock.read().unwrap() > 0);
                    drop(semaphore.acquire_many(1 + number % 2).unwrap());
                    drop(changed.wait_timeout(mutex.lock().unwrap(), SHORT).unwrap());
                }
                match number {
                    0 => {
                        event.set();
                        notify.notify_one();
                    }
                    1 => notify.notified(),
                    _ => event.wait(),
                }
                once.call_once(|| ());
                assert_eq!((*cell.get_or_init(|| 5), **LAZY), (5, 3));
                barrier.wait();
                drop(group);
            });
        }
        group.wait();
    });
    assert_eq!((*mutex.lock().unwrap(), *lock.read().unwrap()), (12, 12));
}

#[test]
fn scopes_end_waits() {
    let event = Event::new();
    assert!(pirn::time::timeout(SHORT, || event.wait()).is_err());
    let token = pirn::CancelToken::new();
    thread::scope(|scope| {
        let theirs = token.clone();
        scope.spawn(move || assert!(theirs.cancel()));
        assert!(token.run(|| event.wait()).is_err());
    });
}

#[test]
fn tokens_are_given_and_used_up() {
    let parker = Parker::new();
    let (unparker, me) = (parker.unparker().clone(), pirn::thread::current());
    let (s, r) = mpsc::sync_channel(0);
    thread::scope(|scope| {
        scope.spawn(move || {
            me.unpark();
            unparker.unpark();
            s.send(1).unwrap();
        });
        pirn::thread::park();
        parker.park();
        assert_eq!(r.recv(), Ok(1));
    });
    assert_eq!(pirn::block_on(async { 2 }), 2);
}
