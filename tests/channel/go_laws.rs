//! The laws of Go's channels, in pirn's words.

use crate::support::{everywhere, ms, runtime};
use pirn::channel::{
    Receiver, RecvError, Sender, TryRecvError, after, bounded, never, select, unbounded,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

/// A nil channel: it is never ready, and the other cases go on.
#[test]
fn a_channel_that_never_delivers_does_not_stand_in_the_way() {
    everywhere(|place| {
        let nil = never::<u32>();
        let (s, r) = bounded(0);
        let sender = place.go(move || (0..20).for_each(|n| s.send(n).unwrap()));
        for n in 0..20 {
            select! {
                recv(nil) -> _ => unreachable!(),
                recv(r) -> message => assert_eq!(message, Ok(n)),
            }
        }
        sender.join();
        select! { recv(nil) -> _ => unreachable!(), default => {} }
    });
}

/// A closed channel is always ready, in a select as elsewhere, for any number of receivers.
#[test]
fn a_closed_channel_broadcasts() {
    everywhere(|place| {
        let (s, closed) = bounded::<()>(0);
        let waiting: Vec<_> = (0..10)
            .map(|n| {
                let closed = closed.clone();
                place.go(move || match n % 2 {
                    0 => closed.recv(),
                    _ => select! {
                        recv(closed) -> message => message,
                        recv(never()) -> message => message,
                    },
                })
            })
            .collect();
        drop(s);
        for one in waiting {
            assert_eq!(one.join(), Err(RecvError));
        }
        for _ in 0..10 {
            assert_eq!(closed.try_recv(), Err(TryRecvError::Disconnected));
        }
    });
}

/// What was written before a send is seen after the receive; and the other way round, without a
/// buffer.
#[test]
fn sends_happen_before_their_receives() {
    everywhere(|place| {
        for capacity in [0, 1] {
            let data = Arc::new(AtomicUsize::new(0));
            let (s, r) = bounded(capacity);
            let (t, q) = bounded(0);
            let theirs = data.clone();
            let peer = place.go(move || {
                for n in 1..200 {
                    theirs.store(n, Ordering::Relaxed);
                    s.send(()).unwrap();
                    t.send(()).unwrap();
                }
            });
            for n in 1..200 {
                r.recv().unwrap();
                assert_eq!(data.load(Ordering::Relaxed), n);
                q.recv().unwrap();
            }
            peer.join();
        }
    });
}

#[test]
fn the_prime_sieve() {
    fn filter(prime: u32, numbers: Receiver<u32>) -> Receiver<u32> {
        let (s, r) = bounded(0);
        drop(pirn::spawn(move || {
            for n in numbers.iter().filter(|n| n % prime != 0) {
                if s.send(n).is_err() {
                    return;
                }
            }
        }));
        r
    }
    for workers in [1, 2, 4] {
        let primes: Vec<u32> = runtime(workers).run(|| {
            let (s, mut r) = bounded(0);
            drop(pirn::spawn(move || (2..).try_for_each(|n| s.send(n))));
            (0..150)
                .map(|_| {
                    let prime = r.recv().unwrap();
                    r = filter(prime, std::mem::replace(&mut r, never()));
                    prime
                })
                .collect()
        });
        assert_eq!((primes[0], primes[1], primes[149]), (2, 3, 863));
        assert!(primes.iter().all(|p| (2..*p).all(|d| p % d != 0)));
    }
}

/// A message runs through a hundred thousand coroutines, each of which adds one.
#[test]
fn the_daisy_chain() {
    let total = runtime(2).run(|| {
        let (first, mut last) = bounded(0);
        for _ in 0..100_000 {
            let (s, r) = bounded(0);
            let before = std::mem::replace(&mut last, r);
            drop(pirn::spawn(move || s.send(before.recv().unwrap() + 1).unwrap()));
        }
        first.send(0).unwrap();
        last.recv().unwrap()
    });
    assert_eq!(total, 100_000);
}

#[test]
fn a_hundred_thousand_fan_in() {
    for capacity in [0, 64] {
        let sum: u64 = runtime(2).run(|| {
            let (s, r) = bounded(capacity);
            for n in 0..100_000_u64 {
                let s = s.clone();
                drop(pirn::spawn(move || s.send(n).unwrap()));
            }
            drop(s);
            r.iter().sum()
        });
        assert_eq!(sum, 99_999 * 100_000 / 2);
    }
}

/// Go's `doubleselect`: two selects on the same channels never both take what was sent once.
#[test]
fn no_select_takes_what_another_one_took() {
    everywhere(|place| {
        let (s, r) = bounded(0);
        let (stop, stopped) = bounded::<()>(0);
        let selectors: Vec<_> = (0..4)
            .map(|_| {
                let (r, q, stopped) = (r.clone(), r.clone(), stopped.clone());
                place.go(move || {
                    let mut got = Vec::new();
                    loop {
                        select! {
                            recv(r) -> n => got.push(n.unwrap()),
                            recv(q) -> n => got.push(n.unwrap()),
                            recv(stopped) -> _ => return got,
                        }
                    }
                })
            })
            .collect();
        (0..400).for_each(|n| s.send(n).unwrap());
        drop(stop);
        let mut all: Vec<u32> = selectors.into_iter().flat_map(|one| one.join()).collect();
        all.sort_unstable();
        assert!(all.into_iter().eq(0..400));
    });
}

/// Go's `select5`-like ring: everybody selects between passing on and stopping.
#[test]
fn a_ring_of_selects_stops_as_one() {
    everywhere(|place| {
        let (links, ends): (Vec<Sender<u64>>, Vec<Receiver<u64>>) =
            (0..8).map(|_| bounded(0)).unzip();
        let (stop, stopped) = bounded::<()>(0);
        let members: Vec<_> = (0..8)
            .map(|n| {
                let (r, s) = (ends[n].clone(), links[(n + 1) % 8].clone());
                let stopped = stopped.clone();
                place.go(move || {
                    let mut held = (n == 0).then_some(1);
                    let mut passed = 0;
                    loop {
                        match held {
                            Some(token) => select! {
                                send(s, token + 1) -> sent => {
                                    sent.unwrap();
                                    passed += 1;
                                    held = None;
                                }
                                recv(stopped) -> _ => return (passed, held),
                            },
                            None => select! {
                                recv(r) -> token => held = Some(token.unwrap()),
                                recv(stopped) -> _ => return (passed, held),
                            },
                        }
                    }
                })
            })
            .collect();
        pirn::thread::sleep(ms(5));
        drop(stop);
        let ends: Vec<_> = members.into_iter().map(|member| member.join()).collect();
        let tokens: Vec<u64> = ends.iter().filter_map(|(_, held)| *held).collect();
        let passed: u64 = ends.iter().map(|(passed, _)| passed).sum();
        assert_eq!(tokens, [passed + 1], "there is one token, and it counts");
    });
}

/// A mutex made of a channel with room for one.
#[test]
fn a_channel_as_a_lock() {
    everywhere(|place| {
        let (s, r) = bounded(1);
        s.send(0).unwrap();
        let peers: Vec<_> = (0..8)
            .map(|_| {
                let (s, r) = (s.clone(), r.clone());
                place.go(move || {
                    for _ in 0..200 {
                        let count: u32 = r.recv().unwrap();
                        s.send(count + 1).unwrap();
                    }
                })
            })
            .collect();
        peers.into_iter().for_each(|peer| peer.join());
        assert_eq!(r.recv(), Ok(1600));
    });
}

/// A timeout in a loop of selects, as programs have it.
#[test]
fn select_with_a_timeout() {
    everywhere(|place| {
        let ((s, r), (timed_out, go_on)) = (unbounded(), unbounded());
        let peer = place.go(move || {
            s.send(1).unwrap();
            go_on.recv().unwrap();
            s.send(2).unwrap();
        });
        let mut got = Vec::new();
        while got.len() < 2 {
            let start = Instant::now();
            select! {
                recv(r) -> n => got.push(n.unwrap()),
                recv(after(ms(2))) -> _ => {
                    assert!(start.elapsed() >= ms(2));
                    // The second message comes after one timeout at least, and maybe others.
                    let _it_has_ended = timed_out.send(());
                }
            }
        }
        assert_eq!(got, [1, 2]);
        peer.join();
    });
}
