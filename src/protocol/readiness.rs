//! A descriptor's readiness: the edges that a poller reports against those who wait for them.
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
//!     no:  try again                             resume it
//!   woken: try again
//! ```
//!
//! An edge wakes **one** waiter of each side that it names. Whoever is woken tries again, and if it
//! succeeds it [passes](Readiness::pass) the readiness on to the next, since there may be more; if it
//! meets `EAGAIN`, the edge is used up, and what comes after it is a new one. A waiter that has been
//! woken always tries once more, even if its deadline has gone by meanwhile, so no edge is
//! dropped with it. Errors, hang-ups and the end of a poller wake all.
//!
//! A short read says that the descriptor was drained: [`Readiness::drained`] remembers that for
//! the epoch in which the read *began*, and the next reader waits at once instead of asking for
//! another `EAGAIN`.
//!
//! **One word.** Epoch, lock, and whether anybody waits are in one word, for both sides together, so
//! that an edge is one atomic instruction if nobody waits, and to join a queue or to be taken off it
//! is one and a store. An edge of one side makes those try again who are about to wait for the other
//! one, which is rare and does no harm; most edges on epoll name both.
//!
//! | bit | says |
//! |---|---|
//! | `LOCKED` | one thread has the queues, and nobody else changes the word |
//! | `READ`, `WRITE` | somebody is in that side's queue, or has left a waker |
//! | `POLLED` | a waker has been left, on either side: few descriptors ever have one, and an edge need not look |
//! | `ENDED` | a short read proves nothing any more |
//! | the rest | the epoch |
//!
//! The lock is held for a few dozen instructions, and waited for as a
//! [`ShortLock`](crate::protocol::short_lock) is.
//!
//! **Polling.** A future that met `EAGAIN` leaves a waker instead of a node, under the same lock and
//! the same condition ([`Queue::leave_waker`]). There is one place for it on each side: the last to
//! poll is woken by the next edge, in addition to the waiter whose turn it is. It takes no wake from a
//! waiter, since nobody can know whether a stream is going to be polled again.
//!
//! The queues hold intrusive nodes; `W` is what it takes to resume a waiter, `P` what wakes a future.

#![expect(unsafe_code, reason = "a lock hands out what it guards")]

use crate::primitive::sync::atomic::{AtomicU64, Ordering};
use crate::protocol::short_lock::wait;
use crate::util::wait_list::{Node, WaitList};
use std::cell::UnsafeCell;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::ptr::NonNull;

const LOCKED: u64 = 1;
const READ: u64 = 1 << 1;
const WRITE: u64 = 1 << 2;
const ENDED: u64 = 1 << 3;
const POLLED: u64 = 1 << 4;
const ONE_EPOCH: u64 = 1 << 5;
/// In what was seen, where a word has [`LOCKED`]: the epoch is known to be drained.
const DRAINED: u64 = LOCKED;

/// A direction of a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// Reading and accepting.
    Read,
    /// Writing and connecting.
    Write,
}

impl Side {
    #[inline]
    fn bit(self) -> u64 {
        match self {
            Side::Read => READ,
            Side::Write => WRITE,
        }
    }
}

/// See the module's description.
#[repr(C)]
pub(crate) struct Readiness<W, P> {
    word: AtomicU64,
    /// The epoch of the latest read that was known to drain the descriptor, with [`DRAINED`]; a hint.
    drained: AtomicU64,
    waiters: UnsafeCell<Waiters<W, P>>,
    /// What those who come for the word wait at first, in models of more than two threads: a lock that
    /// spins has too many interleavings there.
    #[cfg(loom)]
    turns: Option<crate::primitive::sync::Mutex<()>>,
}

#[repr(C)]
struct Waiters<W, P> {
    lists: [WaitList<W>; 2],
    polled: [Option<P>; 2],
}

// SAFETY: one thread at a time has the waiters: whoever has set `LOCKED`. They go from thread to
// thread.
unsafe impl<W: Send, P: Send> Send for Readiness<W, P> {}
// SAFETY: as above.
unsafe impl<W: Send, P: Send> Sync for Readiness<W, P> {}
// As a mutex would be: nothing is half done when the lock is released.
impl<W, P> UnwindSafe for Readiness<W, P> {}
impl<W, P> RefUnwindSafe for Readiness<W, P> {}

/// Whom an edge wakes.
#[derive(Debug)]
#[must_use = "they are to be resumed"]
pub(crate) struct Edge<C, P> {
    pub(crate) claimed: C,
    pub(crate) polled: Option<P>,
}

impl<C, P> Edge<Option<C>, P> {
    #[inline]
    fn none() -> Self {
        Edge { claimed: None, polled: None }
    }
}

/// Whom an edge of both sides wakes.
#[derive(Debug)]
#[must_use = "they are to be resumed"]
pub(crate) struct Edges<C, P> {
    pub(crate) read: Edge<Option<C>, P>,
    pub(crate) write: Edge<Option<C>, P>,
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

    /// Whether a short read in this epoch proves that the descriptor is drained: no end has been
    /// reported.
    #[inline]
    pub(crate) fn short_reads_drain(self) -> bool {
        self.0 & ENDED == 0
    }
}

#[inline]
fn epoch(word: u64) -> u64 {
    word & !(ONE_EPOCH - 1)
}

impl<W: Copy, P> Readiness<W, P> {
    pub(crate) fn new() -> Self {
        Readiness {
            word: AtomicU64::new(0),
            drained: AtomicU64::new(0),
            waiters: UnsafeCell::new(Waiters {
                lists: [WaitList::new(), WaitList::new()],
                polled: [None, None],
            }),
            #[cfg(loom)]
            turns: None,
        }
    }

    #[cfg(all(test, loom))]
    fn by_turns() -> Self {
        Readiness { turns: Some(crate::primitive::sync::Mutex::new(())), ..Readiness::new() }
    }

    #[cfg(loom)]
    fn take_turn(&self) -> Option<crate::primitive::MutexGuard<'_, ()>> {
        self.turns.as_ref().map(crate::primitive::lock)
    }

    /// To be called before the system call.
    #[inline]
    pub(crate) fn seen(&self, side: Side) -> Seen {
        let word = self.word.load(Ordering::Acquire) & !(LOCKED | READ | WRITE | POLLED);
        let drained =
            side == Side::Read && self.drained.load(Ordering::Relaxed) == epoch(word) | DRAINED;
        Seen(if drained { word | DRAINED } else { word })
    }

    /// A read that began in `seen`, in which short reads do, has emptied the descriptor.
    #[inline]
    pub(crate) fn drained(&self, seen: Seen) {
        // It is true for as long as the epoch lasts, whoever says it. One who is late overwrites what
        // another one has said of a newer epoch, which costs that one a call.
        self.drained.store(epoch(seen.0) | DRAINED, Ordering::Relaxed);
    }

    /// Locks a queue for a waiter whose call began in `seen` and met `EAGAIN`. `None`: an edge has
    /// come since; try again.
    #[inline]
    pub(crate) fn lock_if_current(&self, side: Side, seen: Seen) -> Option<Queue<'_, W, P>> {
        let locked = self.lock_if(|word| epoch(word) == epoch(seen.0))?;
        Some(Queue { side, locked })
    }

    /// Removes a waiter that was not woken by an edge.
    ///
    /// # Safety
    ///
    /// The node is alive, and if it is in a queue, it is in that of this side.
    pub(crate) unsafe fn remove(&self, side: Side, node: NonNull<Node<W>>) {
        let mut locked = self.lock();
        // SAFETY: the caller's promise.
        unsafe { locked.list(side).remove(node) };
        locked.note(side);
    }

    /// An edge of some sides: starts a new epoch, and takes the first waiter of each of them that
    /// `claim` can claim, and the waker. `None`: nobody waits there.
    #[inline]
    pub(crate) fn edge<C>(
        &self,
        read: bool,
        write: bool,
        claim: impl Fn(W) -> Option<C>,
    ) -> Option<Edges<C, P>> {
        let sides = if read { READ } else { 0 } | if write { WRITE } else { 0 };
        let mut locked = self.next_epoch(sides)?;
        let awaited = locked.word & sides;
        let read = if awaited & READ != 0 { locked.edge(Side::Read, &claim) } else { Edge::none() };
        let write =
            if awaited & WRITE != 0 { locked.edge(Side::Write, &claim) } else { Edge::none() };
        Some(Edges { read, write })
    }

    /// An edge for everybody on that side: `claim` gets each waiter in turn.
    pub(crate) fn edge_all(&self, side: Side, mut claim: impl FnMut(W)) -> Edge<(), P> {
        let Some(mut locked) = self.next_epoch(side.bit()) else {
            return Edge { claimed: (), polled: None };
        };
        while let Some(waiter) = locked.list(side).pop_front() {
            claim(waiter);
        }
        let polled = locked.take_polled(side);
        locked.note(side);
        Edge { claimed: (), polled }
    }

    /// From here on short reads prove nothing. The edge that comes after this publishes it: whoever
    /// has seen its epoch has seen this.
    ///
    /// `false`: this is not that descriptor's any more, as `is_named` says. Whoever makes it another
    /// one's changes what that says, and [renews](Readiness::renew) it then.
    pub(crate) fn end_draining(&self, is_named: impl FnOnce() -> bool) -> bool {
        let mut locked = self.lock();
        let named = is_named();
        if named {
            locked.word |= ENDED;
        }
        named
    }

    /// Whether the end of the stream, an error or urgent data has been reported.
    pub(crate) fn has_ended(&self) -> bool {
        self.word.load(Ordering::Relaxed) & ENDED != 0
    }

    /// Makes it that of another descriptor, for which nobody waits yet: what the last one drained
    /// says nothing about this one.
    pub(crate) fn renew(&self) {
        let mut locked = self.lock();
        let stale = [Side::Read, Side::Write].map(|side| {
            while locked.list(side).pop_front().is_some() {}
            locked.take_polled(side)
        });
        locked.word = epoch(locked.word).wrapping_add(ONE_EPOCH);
        drop(locked);
        drop(stale);
    }

    /// After a success: there may be more, so the next waiter is to try.
    #[inline]
    pub(crate) fn pass<C>(&self, side: Side, claim: impl FnMut(W) -> Option<C>) -> Option<C> {
        // Whoever was in the queue when the edge came that let the caller succeed shows: the caller
        // was taken off the same queue, under its lock, after that.
        if self.word.load(Ordering::Relaxed) & side.bit() == 0 {
            return None;
        }
        self.pass_on(side, claim)
    }

    #[cold]
    fn pass_on<C>(&self, side: Side, claim: impl FnMut(W) -> Option<C>) -> Option<C> {
        let mut locked = self.lock();
        let claimed = locked.claim_first(side, claim);
        locked.note(side);
        claimed
    }

    pub(crate) fn has_waiters(&self) -> bool {
        self.word.load(Ordering::Relaxed) & (READ | WRITE) != 0
    }

    /// Starts a new epoch; with the queues locked, if somebody waits on these sides.
    #[inline]
    fn next_epoch(&self, sides: u64) -> Option<Locked<'_, W, P>> {
        #[cfg(loom)]
        let ours = self.take_turn();
        let mut turn = 0;
        let mut word = self.word.load(Ordering::Relaxed);
        loop {
            if word & LOCKED != 0 {
                word = self.look_again(&mut turn);
                continue;
            }
            let next = word.wrapping_add(ONE_EPOCH);
            let somebody = word & sides != 0;
            let new = if somebody { next | LOCKED } else { next };
            match self.word.compare_exchange_weak(word, new, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) if !somebody => return None,
                Ok(_) => {
                    return Some(Locked {
                        readiness: self,
                        word: next,
                        #[cfg(loom)]
                        _turn: ours,
                    });
                }
                Err(now) => word = now,
            }
        }
    }

    fn lock(&self) -> Locked<'_, W, P> {
        self.lock_if(|_word| true).expect("it may be locked at any time")
    }

    /// Locks the queues, unless the word is such that they are not wanted.
    #[inline]
    fn lock_if(&self, wanted: impl Fn(u64) -> bool) -> Option<Locked<'_, W, P>> {
        #[cfg(loom)]
        let ours = self.take_turn();
        let mut turn = 0;
        let mut word = self.word.load(Ordering::Relaxed);
        while wanted(word) {
            if word & LOCKED != 0 {
                word = self.look_again(&mut turn);
                continue;
            }
            let (taken, missed) = (Ordering::Acquire, Ordering::Relaxed);
            match self.word.compare_exchange_weak(word, word | LOCKED, taken, missed) {
                Ok(_) => {
                    return Some(Locked {
                        readiness: self,
                        word,
                        #[cfg(loom)]
                        _turn: ours,
                    });
                }
                Err(now) => word = now,
            }
        }
        None
    }

    #[cold]
    fn look_again(&self, turn: &mut u32) -> u64 {
        wait(*turn);
        *turn += 1;
        self.word.load(Ordering::Relaxed)
    }
}

/// The queues, locked.
struct Locked<'a, W, P> {
    readiness: &'a Readiness<W, P>,
    /// What the word is to be.
    word: u64,
    /// Ends after this has been said.
    #[cfg(loom)]
    _turn: Option<crate::primitive::MutexGuard<'a, ()>>,
}

impl<W: Copy, P> Locked<'_, W, P> {
    #[inline]
    fn waiters(&mut self) -> &mut Waiters<W, P> {
        // SAFETY: they are this one's for as long as it lives, and it is borrowed exclusively.
        unsafe { &mut *self.readiness.waiters.get() }
    }

    #[inline]
    fn list(&mut self, side: Side) -> &mut WaitList<W> {
        &mut self.waiters().lists[side as usize]
    }

    #[inline]
    fn take_polled(&mut self, side: Side) -> Option<P> {
        if self.word & POLLED == 0 {
            return None;
        }
        let taken = self.waiters().polled[side as usize].take();
        if self.waiters().polled.iter().all(Option::is_none) {
            self.word &= !POLLED;
        }
        taken
    }

    /// Says whether somebody waits on that side.
    #[inline]
    fn note(&mut self, side: Side) {
        let polled = self.word & POLLED != 0 && self.waiters().polled[side as usize].is_some();
        let somebody = polled || !self.list(side).is_empty();
        self.word = self.word & !side.bit() | if somebody { side.bit() } else { 0 };
    }

    #[inline]
    fn edge<C>(&mut self, side: Side, claim: &impl Fn(W) -> Option<C>) -> Edge<Option<C>, P> {
        let claimed = self.claim_first(side, claim);
        let polled = self.take_polled(side);
        self.note(side);
        Edge { claimed, polled }
    }

    #[inline]
    fn claim_first<C>(&mut self, side: Side, mut claim: impl FnMut(W) -> Option<C>) -> Option<C> {
        loop {
            // `claim` fails for one that a timer or a cancellation has claimed: it is not waiting.
            let claimed = claim(self.list(side).pop_front()?);
            if claimed.is_some() {
                return claimed;
            }
        }
    }
}

impl<W, P> Drop for Locked<'_, W, P> {
    #[inline]
    fn drop(&mut self) {
        // A store will do: nobody else changes the word while it is locked.
        self.readiness.word.store(self.word, Ordering::Release);
    }
}

/// The queue of a side, locked, in the epoch in which the caller met `EAGAIN`.
pub(crate) struct Queue<'a, W, P> {
    side: Side,
    locked: Locked<'a, W, P>,
}

impl<W: Copy, P> Queue<'_, W, P> {
    /// Joins the queue and unlocks it. From here on an edge may resume the waiter.
    ///
    /// # Safety
    ///
    /// The node is in no queue, and stays alive and in place until an edge has taken it off or
    /// [`Readiness::remove`] has.
    #[inline]
    pub(crate) unsafe fn join(mut self, node: NonNull<Node<W>>) {
        // SAFETY: the caller's promise.
        unsafe { self.locked.list(self.side).push_back(node) };
        self.locked.word |= self.side.bit();
    }

    /// Leaves what the next edge is to wake, and unlocks. What was there before is to be woken, if
    /// it is another one's, since it is going to miss that edge.
    pub(crate) fn leave_waker(mut self, waker: P) -> Option<P> {
        self.locked.word |= self.side.bit() | POLLED;
        self.locked.waiters().polled[self.side as usize].replace(waker)
    }
}

#[cfg(all(test, loom))]
mod models;
