//! One direction of a descriptor: the edges that a poller reports against those who wait for them.
//!
//! Everybody tries the system call first and waits only after `EAGAIN`. Each edge starts a new
//! **epoch**, and an `EAGAIN` is believed only if no edge has come since it began:
//!
//! ```text
//!   waiter                                       poller
//!   seen = epoch
//!   system call: EAGAIN
//!   lock; epoch == seen?                         lock; epoch += 1
//!     yes: join the queue, unlock, park            take the first waiter off, unlock
//!     no:  unlock, try again                     resume it
//!   woken: try again
//! ```
//!
//! An edge wakes **one** waiter. Whoever is woken tries again, and if it succeeds it
//! [passes](Direction::pass) the readiness on to the next, since there may be more; if it meets
//! `EAGAIN`, the edge is used up, and what comes after it is a new one. A waiter that has been
//! woken always tries once more, even if its deadline has gone by meanwhile, so no edge is
//! dropped with it. Errors, hang-ups and the end of a poller wake all.
//!
//! A short read says that the descriptor was drained: [`Direction::drained`] remembers that for
//! the epoch in which the read *began*, and the next reader waits at once instead of asking for
//! another `EAGAIN`.
//!
//! **Polling.** A future that met `EAGAIN` leaves a waker instead of a node, under the same lock and
//! the same condition ([`Queue::leave_waker`]). There is one place for it: the last to poll is woken
//! by the next edge, in addition to the waiter whose turn it is. It takes no wake from a waiter,
//! since nobody can know whether a stream is going to be polled again.
//!
//! The queue holds intrusive nodes; `W` is what it takes to resume a waiter, `P` what wakes a future.

use crate::primitive::sync::Mutex;
use crate::primitive::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use crate::primitive::{MutexGuard, lock};
use crate::util::wait_list::{Node, WaitList};
use std::ptr::NonNull;

/// Set in the word while the current epoch is known to be drained.
const DRAINED: u64 = 1;
const ONE_EPOCH: u64 = 2;

/// See the module's description.
pub(crate) struct Direction<W, P> {
    /// `epoch * 2 | DRAINED`; changed with the lock held, but for the drained mark.
    word: AtomicU64,
    /// How many are in the queue: lets [`Direction::pass`] be one load.
    waiting: AtomicUsize,
    waiters: Mutex<Waiters<W, P>>,
}

struct Waiters<W, P> {
    list: WaitList<W>,
    polled: Option<P>,
}

/// Whom an edge wakes.
#[derive(Debug)]
#[must_use = "they are to be resumed"]
pub(crate) struct Edge<C, P> {
    pub(crate) claimed: C,
    pub(crate) polled: Option<P>,
}

/// The epoch in which a system call began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen(u64);

impl Seen {
    /// Whether the descriptor is known to be drained, so that the call may be left out.
    #[inline]
    pub(crate) fn is_drained(self) -> bool {
        self.0 & DRAINED != 0
    }
}

impl<W: Copy, P> Direction<W, P> {
    pub(crate) fn new() -> Self {
        Direction {
            word: AtomicU64::new(0),
            waiting: AtomicUsize::new(0),
            waiters: Mutex::new(Waiters { list: WaitList::new(), polled: None }),
        }
    }

    /// To be called before the system call.
    #[inline]
    pub(crate) fn seen(&self) -> Seen {
        Seen(self.word.load(Ordering::Acquire))
    }

    /// A call that began in `seen` has emptied the descriptor.
    #[inline]
    pub(crate) fn drained(&self, seen: Seen) {
        // Fails if an edge has come since: then there may be something again.
        let _newer = self.word.compare_exchange(
            seen.0,
            seen.0 | DRAINED,
            Ordering::Relaxed,
            Ordering::Relaxed,
        );
    }

    /// Locks the queue for a waiter whose call began in `seen` and met `EAGAIN`. `None`: an edge
    /// has come since; try again.
    pub(crate) fn lock_if_current(&self, seen: Seen) -> Option<Queue<'_, W, P>> {
        let waiters = lock(&self.waiters);
        let same_epoch = (self.word.load(Ordering::Relaxed) ^ seen.0) < ONE_EPOCH;
        same_epoch.then_some(Queue { direction: self, waiters })
    }

    /// Removes a waiter that was not woken by an edge.
    ///
    /// # Safety
    ///
    /// The node is alive, and if it is in a queue, it is in this one.
    #[expect(unsafe_code, reason = "passes on the wait list's contract")]
    pub(crate) unsafe fn remove(&self, node: NonNull<Node<W>>) {
        let mut waiters = lock(&self.waiters);
        // SAFETY: the caller's promise.
        unsafe { waiters.list.remove(node) };
        self.waiting.store(waiters.list.len(), Ordering::Relaxed);
    }

    /// An edge: starts a new epoch and takes the first waiter that `claim` can claim, and the waker.
    pub(crate) fn edge<C>(&self, claim: impl FnMut(W) -> Option<C>) -> Edge<Option<C>, P> {
        let mut waiters = lock(&self.waiters);
        self.next_epoch();
        let claimed = self.claim_first(&mut waiters.list, claim);
        Edge { claimed, polled: waiters.polled.take() }
    }

    /// An edge for everybody: `claim` gets each waiter in turn.
    pub(crate) fn edge_all(&self, mut claim: impl FnMut(W)) -> Edge<(), P> {
        let mut waiters = lock(&self.waiters);
        self.next_epoch();
        while let Some(waiter) = waiters.list.pop_front() {
            claim(waiter);
        }
        self.waiting.store(0, Ordering::Relaxed);
        Edge { claimed: (), polled: waiters.polled.take() }
    }

    /// After a success: there may be more, so the next waiter is to try.
    #[inline]
    pub(crate) fn pass<C>(&self, claim: impl FnMut(W) -> Option<C>) -> Option<C> {
        // Whoever was in the queue when the edge came that let the caller succeed is counted:
        // the caller was taken off the same queue, under its lock, after that.
        if self.waiting.load(Ordering::Relaxed) == 0 {
            return None;
        }
        self.claim_first(&mut lock(&self.waiters).list, claim)
    }

    pub(crate) fn has_waiters(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) != 0
    }

    fn next_epoch(&self) {
        // Every change of the epoch is made with the lock held; a racing drained mark of the old
        // epoch fails, or is overwritten.
        let epoch = self.word.load(Ordering::Relaxed) & !DRAINED;
        self.word.swap(epoch.wrapping_add(ONE_EPOCH), Ordering::AcqRel);
    }

    fn claim_first<C>(
        &self,
        waiters: &mut WaitList<W>,
        mut claim: impl FnMut(W) -> Option<C>,
    ) -> Option<C> {
        let mut claimed = None;
        while claimed.is_none() {
            let Some(waiter) = waiters.pop_front() else { break };
            // Fails for one that a timer or a cancellation has claimed: it is not waiting.
            claimed = claim(waiter);
        }
        self.waiting.store(waiters.len(), Ordering::Relaxed);
        claimed
    }
}

/// The queue of a direction, locked, in the epoch in which the caller met `EAGAIN`.
pub(crate) struct Queue<'a, W, P> {
    direction: &'a Direction<W, P>,
    waiters: MutexGuard<'a, Waiters<W, P>>,
}

impl<W: Copy, P> Queue<'_, W, P> {
    /// Joins the queue and unlocks it. From here on an edge may resume the waiter.
    ///
    /// # Safety
    ///
    /// The node is in no queue, and stays alive and in place until an edge has taken it off or
    /// [`Direction::remove`] has.
    #[expect(unsafe_code, reason = "passes on the wait list's contract")]
    pub(crate) unsafe fn join(mut self, node: NonNull<Node<W>>) {
        // SAFETY: the caller's promise.
        unsafe { self.waiters.list.push_back(node) };
        self.direction.waiting.store(self.waiters.list.len(), Ordering::Relaxed);
    }

    /// Leaves what the next edge is to wake, and unlocks. What was there before is to be woken, if
    /// it is another one's, since it is going to miss that edge.
    pub(crate) fn leave_waker(mut self, waker: P) -> Option<P> {
        self.waiters.polled.replace(waker)
    }
}

#[cfg(all(test, loom))]
#[expect(unsafe_code, reason = "the models queue nodes by hand")]
mod models {
    use super::*;
    use crate::protocol::park_word::{ParkWord, Seq};
    use crate::protocol::signal::Signal;
    use loom::sync::Arc;

    /// A descriptor that holds `items`, and two who want one each.
    struct Socket {
        items: AtomicUsize,
        direction: Direction<Waiter, Arc<Signal>>,
        words: [ParkWord; 2],
        resumed: [Signal; 2],
    }

    #[derive(Clone, Copy)]
    struct Waiter(usize, Seq);

    impl Socket {
        fn new() -> Arc<Socket> {
            Arc::new(Socket {
                items: AtomicUsize::new(0),
                direction: Direction::new(),
                words: [ParkWord::new(), ParkWord::new()],
                resumed: [Signal::new(), Signal::new()],
            })
        }

        fn arrive(&self, count: usize) {
            self.items.fetch_add(count, Ordering::AcqRel);
            let edge = self.direction.edge(|waiter| self.claim(waiter));
            edge.polled.into_iter().for_each(|waker| waker.notify());
        }

        fn claim(&self, waiter: Waiter) -> Option<()> {
            self.words[waiter.0].claim(waiter.1).then(|| self.resumed[waiter.0].notify())
        }

        /// The system call.
        fn take(&self) -> bool {
            let mut items = self.items.load(Ordering::Acquire);
            while items > 0 {
                match self.items.compare_exchange(
                    items,
                    items - 1,
                    Ordering::AcqRel,
                    Ordering::Acquire,
                ) {
                    Ok(_) => return true,
                    Err(now) => items = now,
                }
            }
            false
        }

        /// The retry-then-park loop, with a timer that fires at once if it `times_out`.
        fn read(&self, reader: usize, times_out: bool) -> bool {
            loop {
                let seen = self.direction.seen();
                if self.take() {
                    self.direction.pass(|waiter| self.claim(waiter));
                    return true;
                }
                let Some(queue) = self.direction.lock_if_current(seen) else { continue };
                let word = &self.words[reader];
                let seq = word.begin();
                let node = Node::new(Waiter(reader, seq));
                // SAFETY: the node leaves the queue below before it goes.
                unsafe { queue.join(NonNull::from(&node)) };
                if times_out && word.claim(seq) {
                    // SAFETY: the node is alive.
                    unsafe { self.direction.remove(NonNull::from(&node)) };
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
            let seen = socket.direction.seen();
            if socket.take() {
                socket.direction.pass(|waiter| socket.claim(waiter));
                return true;
            }
            let Some(queue) = socket.direction.lock_if_current(seen) else { continue };
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
            let socket = Socket::new();
            let poller = {
                let socket = socket.clone();
                loom::thread::spawn(move || socket.arrive(1))
            };
            assert!(poll_read(&socket, false));
            poller.join().unwrap();
        });
    }

    /// A future that is woken and gives up leaves the edge to one who waits.
    #[test]
    fn a_future_does_not_swallow_the_edge() {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(3);
        model.check(|| {
            let socket = Socket::new();
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
            let socket = Socket::new();
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
            let socket = Socket::new();
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

    /// A drained mark never outlives the epoch in which the read began.
    #[test]
    fn a_drained_mark_loses_to_an_edge() {
        loom::model(|| {
            let socket = Socket::new();
            let poller = {
                let socket = socket.clone();
                loom::thread::spawn(move || socket.arrive(1))
            };
            let seen = socket.direction.seen();
            if !socket.take() {
                socket.direction.drained(seen);
                let again = socket.direction.seen();
                if again.is_drained() && socket.direction.lock_if_current(again).is_some() {
                    // Waiting here is right only if the edge is still to come.
                    poller.join().unwrap();
                    let last = socket.direction.seen();
                    assert!(!last.is_drained(), "{seen:?} {again:?} {last:?}");
                    return;
                }
            }
            poller.join().unwrap();
        });
    }
}
