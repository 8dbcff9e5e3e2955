//! Cancellations and timeouts at every kind of wait at once, with seeds: nothing is lost, and nothing
//! is left.

use crate::support::{Drops, LONG, runtime, until};
use pirn::sync::{Condvar, Event, Mutex, Notify, RwLock, Semaphore};
use pirn::time::{Duration, timeout};
use pirn::{CancelToken, channel, net, thread};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng};
use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

/// What the workers of one round fight for.
struct World {
    mutex: Mutex<u64>,
    rwlock: RwLock<u64>,
    condvar: (Mutex<bool>, Condvar),
    semaphore: Semaphore,
    event: Event,
    notify: Notify,
    bounded: (channel::Sender<Message>, channel::Receiver<Message>),
    meeting: (channel::Sender<Message>, channel::Receiver<Message>),
    listener: net::TcpListener,
    /// Permits that are out.
    out: AtomicI64,
    /// Operations that came to their end, and those that were cut short.
    done: AtomicUsize,
    cut: AtomicUsize,
}

const PERMITS: usize = 3;

/// Counts the messages that there are.
struct Message(Arc<AtomicI64>);

impl Message {
    fn new(alive: &Arc<AtomicI64>) -> Message {
        alive.fetch_add(1, Ordering::SeqCst);
        Message(alive.clone())
    }
}

impl Drop for Message {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl World {
    fn new() -> World {
        World {
            mutex: Mutex::new(0),
            rwlock: RwLock::new(0),
            condvar: (Mutex::new(false), Condvar::new()),
            semaphore: Semaphore::new(PERMITS),
            event: Event::new(),
            notify: Notify::new(),
            bounded: channel::bounded(2),
            meeting: channel::bounded(0),
            listener: net::TcpListener::bind("127.0.0.1:0").unwrap(),
            out: AtomicI64::new(0),
            done: AtomicUsize::new(0),
            cut: AtomicUsize::new(0),
        }
    }

    /// One operation, which may wait for long.
    fn step(&self, random: &mut StdRng, alive: &Arc<AtomicI64>) {
        match random.random_range(0..16) {
            0 => {
                let mut guard = self.mutex.lock().unwrap();
                *guard += 1;
                thread::yield_now();
            }
            1 => {
                let mut guard = self.rwlock.write().unwrap();
                *guard += 1;
                thread::yield_now();
            }
            2 => {
                let guard = self.rwlock.read().unwrap();
                thread::yield_now();
                drop(guard);
            }
            3 => {
                let guard = self.condvar.0.lock().unwrap();
                drop(self.condvar.1.wait_while(guard, |go| !*go).unwrap());
            }
            4 | 5 => {
                let permits = random.random_range(1..=PERMITS as u32);
                let _permit = self.semaphore.acquire_many(permits).unwrap();
                let out = self.out.fetch_add(i64::from(permits), Ordering::SeqCst);
                struct Back<'a>(&'a AtomicI64, i64);
                impl Drop for Back<'_> {
                    fn drop(&mut self) {
                        self.0.fetch_sub(self.1, Ordering::SeqCst);
                    }
                }
                let _back = Back(&self.out, i64::from(permits));
                assert!(out + i64::from(permits) <= PERMITS as i64);
                thread::sleep(Duration::from_micros(random.random_range(0..200)));
            }
            6 => self.event.wait(),
            7 => self.notify.notified(),
            8 => self.bounded.0.send(Message::new(alive)).unwrap(),
            9 => drop(self.bounded.1.recv().unwrap()),
            10 => self.meeting.0.send(Message::new(alive)).unwrap(),
            11 => drop(self.meeting.1.recv().unwrap()),
            12 => {
                let message = Message::new(alive);
                channel::select! {
                    send(self.meeting.0, message) -> sent => sent.unwrap(),
                    recv(self.bounded.1) -> message => drop(message.unwrap()),
                    recv(channel::after(LONG)) -> _ => {}
                }
            }
            13 => drop(self.listener.accept().unwrap()),
            14 => {
                let mut stream =
                    net::TcpStream::connect(self.listener.local_addr().unwrap()).unwrap();
                let _reset = stream.write_all(b"hello").and_then(|()| stream.read(&mut [0]));
            }
            _ => {
                let child = pirn::spawn(|| thread::sleep(Duration::from_micros(100)));
                child.join().unwrap();
            }
        }
    }
}

fn round(workers: usize, seed: u64) {
    const EACH: usize = 40;

    let runtime = runtime(workers);
    let (world, alive, drops) = (Arc::new(World::new()), Arc::default(), Drops::default());
    let mut seeds = StdRng::seed_from_u64(seed);
    let token = CancelToken::new();
    let coroutines: Vec<_> = (0..EACH)
        .map(|number| {
            let (world, alive, guard) = (world.clone(), Arc::clone(&alive), drops.guard());
            let (seed, token) = (seeds.random(), token.child());
            runtime.spawn(move || {
                let _guard = guard;
                let mut random = StdRng::seed_from_u64(seed);
                for _ in 0..30 {
                    let limit = Duration::from_micros(random.random_range(0..1_500));
                    let mut step = || world.step(&mut random, &alive);
                    let ended = match number % 3 {
                        0 => timeout(limit, step).is_ok(),
                        1 => timeout(limit, || timeout(LONG, &mut step)).is_ok(),
                        _ => token.child_with_timeout(limit).run(step).is_ok(),
                    };
                    let counter = if ended { &world.done } else { &world.cut };
                    counter.fetch_add(1, Ordering::SeqCst);
                }
                // Cancelled by its handle, or by its token, in the midst of something.
                if number % 2 == 0 {
                    loop {
                        world.step(&mut random, &alive);
                    }
                }
                let _over = token.run(|| {
                    loop {
                        world.step(&mut random, &alive);
                    }
                });
            })
        })
        .collect();
    // All of them have been cut short often by now.
    until(|| world.done.load(Ordering::SeqCst) + world.cut.load(Ordering::SeqCst) == EACH * 30);
    token.cancel();
    for (number, coroutine) in coroutines.into_iter().enumerate() {
        coroutine.cancel();
        let ended = coroutine.join();
        assert!(number % 2 == 1 || ended.unwrap_err().is::<pirn::Cancelled>());
    }
    assert_eq!(drops.get(), EACH);
    assert!(world.cut.load(Ordering::SeqCst) > 0);

    // Whatever was handed to one that was cancelled has gone on to another, or back.
    drop(world.mutex.try_lock().expect("free, and not poisoned"));
    drop(world.rwlock.try_write().expect("free, and not poisoned"));
    drop(world.condvar.0.try_lock().expect("free, and not poisoned"));
    assert_eq!(world.out.load(Ordering::SeqCst), 0);
    assert_eq!(world.semaphore.available_permits(), PERMITS);
    drop(world.semaphore.try_acquire_many(PERMITS as u32).expect("all permits are back"));
    assert!(world.meeting.1.try_recv().is_err());
    // Messages are in the buffer, or were received, or dropped by their senders.
    let left = world.bounded.1.try_iter().count();
    assert!(left <= 2);
    assert_eq!(alive.load(Ordering::SeqCst), 0);
    runtime.shutdown(LONG).unwrap();
}

#[test]
fn nothing_is_lost_or_left_1() {
    (0..6).for_each(|seed| round(1, seed));
}

#[test]
fn nothing_is_lost_or_left_2() {
    (0..6).for_each(|seed| round(2, 100 + seed));
}

#[test]
fn nothing_is_lost_or_left_4() {
    (0..6).for_each(|seed| round(4, 200 + seed));
}

#[test]
fn nothing_is_lost_or_left_8() {
    (0..6).for_each(|seed| round(8, 300 + seed));
}

/// A wake against a cancellation: whoever was woken and is cancelled passes the wake on.
#[test]
fn a_wake_is_passed_on() {
    for workers in [1, 2, 4, 8] {
        let runtime = runtime(workers);
        for round in 0..200_u64 {
            let semaphore = Arc::new(Semaphore::new(0));
            let (sender, receiver) = channel::bounded::<u64>(1);
            let waiters: Vec<_> = (0..6)
                .map(|n| {
                    let (semaphore, receiver) = (semaphore.clone(), receiver.clone());
                    runtime.spawn(move || match n % 2 {
                        0 => semaphore.acquire().unwrap().forget(),
                        _ => assert_eq!(receiver.recv(), Ok(round)),
                    })
                })
                .collect();
            if round % 2 == 0 {
                thread::sleep(Duration::from_micros(50));
            }
            // One permit and one message for the last of each, which is not cancelled.
            let cancels: Vec<_> = waiters.iter().map(|waiter| waiter.cancel_handle()).collect();
            let wakes = std::thread::spawn(move || {
                semaphore.add_permits(1);
                sender.send(round).unwrap();
                (semaphore, sender)
            });
            for cancel in &cancels[..4] {
                cancel.cancel();
            }
            let mut ends = waiters.into_iter();
            let mut got = [0, 0];
            for n in 0..4 {
                got[n % 2] += usize::from(ends.next().unwrap().join().is_ok());
            }
            let (semaphore, sender) = wakes.join().unwrap();
            for (n, waiter) in ends.enumerate() {
                // If one of the others was faster, this one gets another.
                if got[n] == 1 {
                    match n {
                        0 => semaphore.add_permits(1),
                        _ => sender.send(round).unwrap(),
                    }
                }
                waiter.join().unwrap();
            }
        }
    }
}

/// In the midst of everything, the runtime goes.
#[test]
fn a_runtime_that_goes_ends_a_hundred_thousand() {
    let runtime = runtime(2);
    let drops = Drops::default();
    let begun = Arc::new(AtomicUsize::new(0));
    let never = Arc::new(Semaphore::new(0));
    for n in 0..100_000 {
        let (guard, begun, never) = (drops.guard(), begun.clone(), never.clone());
        drop(runtime.spawn(move || {
            let _guard = guard;
            begun.fetch_add(1, Ordering::SeqCst);
            match n % 3 {
                0 => thread::park(),
                1 => thread::sleep(LONG),
                _ => drop(never.acquire()),
            }
        }));
    }
    until(|| begun.load(Ordering::SeqCst) == 100_000);
    drop(runtime);
    assert_eq!(drops.get(), 100_000);
    assert_eq!(never.available_permits(), 0);
}
