//! What loom explores of a descriptor's readiness.

#![expect(unsafe_code, reason = "the models queue nodes by hand")]

use super::*;
use crate::primitive::sync::atomic::AtomicUsize;
use crate::protocol::park_word::{ParkWord, Seq};
use crate::protocol::signal::Signal;
use loom::sync::Arc;

/// The side that has no drained mark to look at, so that models have less to do.
const SIDE: Side = Side::Write;

/// A descriptor that holds `items`, and two who want one each.
struct Socket {
    items: AtomicUsize,
    readiness: Readiness<Waiter, Arc<Signal>>,
    words: [ParkWord; 2],
    resumed: [Signal; 2],
}

#[derive(Clone, Copy)]
struct Waiter(usize, Seq);

impl Socket {
    fn new(readiness: Readiness<Waiter, Arc<Signal>>) -> Arc<Socket> {
        Arc::new(Socket {
            items: AtomicUsize::new(0),
            readiness,
            words: [ParkWord::new(), ParkWord::new()],
            resumed: [Signal::new(), Signal::new()],
        })
    }

    fn arrive(&self, count: usize) {
        self.items.fetch_add(count, Ordering::AcqRel);
        let edges = self.readiness.edge(true, true, |waiter| self.claim(waiter));
        edges.and_then(|edges| edges.write.polled).into_iter().for_each(|waker| waker.notify());
    }

    fn claim(&self, waiter: Waiter) -> Option<()> {
        self.words[waiter.0].claim(waiter.1).then(|| self.resumed[waiter.0].notify())
    }

    /// The system call.
    fn take(&self) -> bool {
        let mut items = self.items.load(Ordering::Acquire);
        while items > 0 {
            match self.items.compare_exchange(items, items - 1, Ordering::AcqRel, Ordering::Acquire)
            {
                Ok(_) => return true,
                Err(now) => items = now,
            }
        }
        false
    }

    /// Waits for an edge, unless one has come since.
    fn wait(&self, waiter: usize, seen: Seen) {
        let Some(queue) = self.readiness.lock_if_current(SIDE, seen) else { return };
        let node = Node::new(Waiter(waiter, self.words[waiter].begin()));
        // SAFETY: an edge takes the node off before the wait is over.
        unsafe { queue.join(NonNull::from(&node)) };
        self.resumed[waiter].wait();
    }

    /// The retry-then-park loop, with a timer that fires at once if it `times_out`.
    fn read(&self, reader: usize, times_out: bool) -> bool {
        loop {
            let seen = self.readiness.seen(SIDE);
            if self.take() {
                self.readiness.pass(SIDE, |waiter| self.claim(waiter));
                return true;
            }
            let Some(queue) = self.readiness.lock_if_current(SIDE, seen) else {
                continue;
            };
            let word = &self.words[reader];
            let seq = word.begin();
            let node = Node::new(Waiter(reader, seq));
            // SAFETY: the node leaves the queue below before it goes.
            unsafe { queue.join(NonNull::from(&node)) };
            if times_out && word.claim(seq) {
                // SAFETY: the node is alive.
                unsafe { self.readiness.remove(SIDE, NonNull::from(&node)) };
                return false;
            }
            self.resumed[reader].wait();
        }
    }
}

/// As a future on an executor of its own; after its first wake it is dropped if it `quits`.
fn poll_read(socket: &Socket, quits: bool) -> bool {
    let woken = Arc::new(Signal::new());
    loop {
        let seen = socket.readiness.seen(SIDE);
        if socket.take() {
            socket.readiness.pass(SIDE, |waiter| socket.claim(waiter));
            return true;
        }
        let Some(queue) = socket.readiness.lock_if_current(SIDE, seen) else { continue };
        assert!(queue.leave_waker(woken.clone()).is_none(), "there is one that polls");
        woken.wait();
        if quits {
            return false;
        }
    }
}

#[test]
fn an_edge_wakes_a_future() {
    loom::model(|| {
        let socket = Socket::new(Readiness::new());
        let poller = {
            let socket = socket.clone();
            loom::thread::spawn(move || socket.arrive(1))
        };
        assert!(poll_read(&socket, false));
        poller.join().unwrap();
    });
}

/// Futures that poll both sides: an edge of one of them leaves the other's waker where it is.
#[test]
fn each_side_has_a_waker_of_its_own() {
    loom::model(|| {
        let readiness = Readiness::<usize, Side>::new();
        for side in [Side::Read, Side::Write] {
            let queue = readiness.lock_if_current(side, readiness.seen(side)).unwrap();
            assert!(queue.leave_waker(side).is_none());
        }
        let nobody = |_waiter| None::<()>;
        let edges = readiness.edge(true, false, nobody).unwrap();
        assert_eq!((edges.read.polled, edges.write.polled), (Some(Side::Read), None));
        let edges = readiness.edge(true, true, nobody).unwrap();
        assert_eq!((edges.read.polled, edges.write.polled), (None, Some(Side::Write)));
        assert!(!readiness.has_waiters());
        assert!(readiness.edge(true, true, nobody).is_none());
    });
}

/// A future that is woken and gives up leaves the edge to one who waits.
#[test]
fn a_future_does_not_swallow_the_edge() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(|| {
        let socket = Socket::new(Readiness::by_turns());
        let future = {
            let socket = socket.clone();
            loom::thread::spawn(move || poll_read(&socket, true))
        };
        let poller = {
            let socket = socket.clone();
            loom::thread::spawn(move || socket.arrive(2))
        };
        assert!(socket.read(0, false));
        poller.join().unwrap();
        future.join().unwrap();
    });
}

/// Two items, one edge, two readers: the one that is woken wakes the other.
#[test]
fn one_edge_serves_two() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(2);
    model.check(|| {
        let socket = Socket::new(Readiness::by_turns());
        let other = {
            let socket = socket.clone();
            loom::thread::spawn(move || assert!(socket.read(1, false)))
        };
        let poller = {
            let socket = socket.clone();
            loom::thread::spawn(move || socket.arrive(2))
        };
        assert!(socket.read(0, false));
        other.join().unwrap();
        poller.join().unwrap();
    });
}

/// One reader gives up while the edge arrives: the other one gets the item, or the first does.
/// That the edge meets a waiter whose timer was faster takes three preemptions: before it has
/// joined the queue first, before it leaves it, and in the edge.
#[test]
fn a_timeout_does_not_swallow_the_edge() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(|| {
        let socket = Socket::new(Readiness::by_turns());
        let quitter = {
            let socket = socket.clone();
            loom::thread::spawn(move || socket.read(1, true))
        };
        let poller = {
            let socket = socket.clone();
            loom::thread::spawn(move || socket.arrive(2))
        };
        assert!(socket.read(0, false));
        poller.join().unwrap();
        quitter.join().unwrap();
    });
}

/// An edge and one that passes readiness on, at a descriptor for which two wait: whoever has the
/// queues has them alone.
#[test]
fn one_has_the_queues_at_a_time() {
    struct Shared(Readiness<usize, ()>, loom::cell::UnsafeCell<usize>);
    // SAFETY: the model checks that no two accesses to the cell overlap.
    unsafe impl Sync for Shared {}

    impl Shared {
        fn claim(&self, waiter: usize) -> Option<()> {
            // SAFETY: as above.
            self.1.with_mut(|sum| unsafe { *sum += waiter });
            Some(())
        }
    }

    loom::model(|| {
        let shared = Arc::new(Shared(Readiness::new(), loom::cell::UnsafeCell::new(0)));
        let nodes = [Node::new(1), Node::new(2)];
        for node in &nodes {
            let queue = shared.0.lock_if_current(Side::Write, shared.0.seen(Side::Write));
            // SAFETY: both are taken off below.
            unsafe { queue.unwrap().join(NonNull::from(node)) };
        }
        let poller = {
            let shared = shared.clone();
            loom::thread::spawn(move || {
                let edges = shared.0.edge(true, true, |waiter| shared.claim(waiter));
                assert!(edges.is_some_and(|edges| edges.write.claimed.is_some()));
            })
        };
        assert!(shared.0.pass(Side::Write, |waiter| shared.claim(waiter)).is_some());
        poller.join().unwrap();
        assert!(!shared.0.has_waiters());
        // SAFETY: as above.
        shared.1.with(|sum| assert_eq!(unsafe { *sum }, 3));
    });
}

/// A drained mark never outlives the epoch in which the read began.
#[test]
fn a_drained_mark_loses_to_an_edge() {
    loom::model(|| {
        let socket = Socket::new(Readiness::new());
        let poller = {
            let socket = socket.clone();
            loom::thread::spawn(move || socket.arrive(1))
        };
        let seen = socket.readiness.seen(Side::Read);
        if !socket.take() {
            socket.readiness.drained(seen);
            let again = socket.readiness.seen(Side::Read);
            if again.is_drained() && socket.readiness.lock_if_current(Side::Read, again).is_some() {
                // Waiting here is right only if the edge is still to come.
                poller.join().unwrap();
                let last = socket.readiness.seen(Side::Read);
                assert!(!last.is_drained(), "{seen:?} {again:?} {last:?}");
                return;
            }
        }
        poller.join().unwrap();
    });
}

/// The end of a descriptor that is being closed is not that of the one which has its slot next.
#[test]
fn an_end_is_not_the_next_descriptors() {
    loom::model(|| {
        let slot = Arc::new((AtomicUsize::new(0), Readiness::<usize, ()>::new()));
        let poller = {
            let slot = slot.clone();
            loom::thread::spawn(move || {
                let (generation, readiness) = &*slot;
                let is_named = || generation.load(Ordering::Acquire) == 0;
                is_named() && readiness.end_draining(is_named)
            })
        };
        let (generation, readiness) = &*slot;
        generation.fetch_add(1, Ordering::Release);
        readiness.renew();
        poller.join().unwrap();
        assert!(!readiness.has_ended());
    });
}

/// A driver ends: it says that nothing is registered there any more, and makes an edge. Whoever takes the
/// descriptor for registered, by a look without a lock, is woken; and sees that it is not when he looks again.
#[test]
fn the_end_of_a_driver_reaches_who_relies_on_it() {
    const DRIVER: usize = 1;

    loom::model(|| {
        let socket = Socket::new(Readiness::new());
        let registered_with = Arc::new(AtomicUsize::new(DRIVER));
        let driver = {
            let (socket, registered_with) = (socket.clone(), registered_with.clone());
            loom::thread::spawn(move || {
                registered_with.store(0, Ordering::Release);
                let claim = |waiter| {
                    let _claimed = socket.claim(waiter);
                };
                let edge = socket.readiness.edge_all(SIDE, claim);
                assert!(edge.polled.is_none());
            })
        };
        loop {
            let seen = socket.readiness.seen(SIDE);
            // There was nothing.
            if registered_with.load(Ordering::Acquire) != DRIVER {
                break;
            }
            socket.wait(0, seen);
        }
        driver.join().unwrap();
    });
}

/// What a poller knows of one descriptor: as the system has it, one call after the other.
struct Pollers(loom::sync::Mutex<Registered>);

struct Registered {
    items: usize,
    with: Option<usize>,
    /// Who has an edge to report.
    edges: [bool; 2],
}

impl Pollers {
    fn change<R>(&self, change: impl FnOnce(&mut Registered) -> R) -> R {
        change(&mut self.0.lock().unwrap())
    }

    /// Both drivers poll.
    fn poll(&self, socket: &Socket) {
        for driver in 0..2 {
            if self.change(|all| std::mem::take(&mut all.edges[driver])) {
                drop(socket.readiness.edge(true, true, |waiter| socket.claim(waiter)));
            }
        }
    }
}

/// A descriptor moves from one driver to another while something arrives, and somebody begins to wait who
/// takes it for registered all the time.
#[test]
fn no_edge_is_lost_when_a_descriptor_moves() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(|| {
        let registered = Registered { items: 0, with: Some(0), edges: [false; 2] };
        let pollers = Pollers(loom::sync::Mutex::new(registered));
        let shared = Arc::new((Socket::new(Readiness::by_turns()), pollers));
        let peer = {
            let shared = shared.clone();
            loom::thread::spawn(move || {
                let (socket, pollers) = &*shared;
                pollers.change(|all| {
                    all.items += 1;
                    all.with.into_iter().for_each(|driver| all.edges[driver] = true);
                });
                pollers.poll(socket);
            })
        };
        let mover = {
            let shared = shared.clone();
            loom::thread::spawn(move || {
                let (socket, pollers) = &*shared;
                pollers.change(|all| {
                    all.with = None;
                    all.edges[0] = false;
                });
                pollers.change(|all| {
                    all.with = Some(1);
                    all.edges[1] = all.items > 0;
                });
                pollers.poll(socket);
            })
        };
        let (socket, pollers) = &*shared;
        loop {
            let seen = socket.readiness.seen(SIDE);
            if pollers.change(|all| all.items > 0) {
                break;
            }
            socket.wait(0, seen);
        }
        peer.join().unwrap();
        mover.join().unwrap();
    });
}
