//! A queue of waiters in one word, with room for four flags.
//!
//! ```text
//!   bit 63 ........................... 4   3   2   1   0
//!       | address of the first waiter    | flags       |
//! ```
//!
//! The **flags** are the owner's: a lock, a condition variable. Anybody may change them, by single
//! atomic operations. The **address** changes only with the word's [`stripe`] locked, which also
//! guards the nodes: they form a ring, so that the first one knows the last one, and no second
//! word is needed. Whoever looks at the word without that lock learns whether somebody waits.
//!
//! To join the queue and to look at the flags is one step ([`Queue::join`]): so a waiter cannot
//! queue up behind a lock that has been released meanwhile, and whoever releases it learns from
//! the same operation whether there is somebody to wake.
//!
//! A node lives in the frame of whoever waits. It is in the queue until it is taken off by a
//! waker that claims its wait, or until its owner removes it; the lock is held for both, so a node
//! that a waker looks at does not go.

#![expect(unsafe_code, reason = "an intrusive ring follows pointers into its waiters' stacks")]

use crate::primitive::sync::atomic::{AtomicUsize, Ordering};
use crate::primitive::{MutexGuard, const_unless_loom, lock, stripe};
use std::array;
use std::cell::Cell;
use std::marker::{PhantomData, PhantomPinned};
use std::ptr::{self, NonNull};

/// The bits that are the owner's.
pub(crate) const FLAGS: usize = 0b1111;

/// Wakes that are made ready with the lock held, before it is released to make them.
const BATCH: usize = 32;

/// One who waits, or a mark in the queue.
#[repr(align(16))]
pub(crate) struct Node<W> {
    /// `None` for a mark.
    waiter: Option<W>,
    /// Whoever claimed the wait has left the waiter what it waits for.
    granted: Cell<bool>,
    previous: Cell<Option<NonNull<Node<W>>>>,
    /// `None` while it is in no queue.
    next: Cell<Option<NonNull<Node<W>>>>,
    _pinned: PhantomPinned,
}

impl<W> Node<W> {
    pub(crate) fn new(waiter: W) -> Self {
        Node { waiter: Some(waiter), ..Node::mark() }
    }

    fn mark() -> Self {
        Node {
            waiter: None,
            granted: Cell::new(false),
            previous: Cell::new(None),
            next: Cell::new(None),
            _pinned: PhantomPinned,
        }
    }

    /// Whether the waiter was given what it waited for. To be asked after it has been woken.
    pub(crate) fn is_granted(&self) -> bool {
        self.granted.get()
    }
}

/// Where a waiter joins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Front,
    Back,
}

/// What [`Queue::join`] is to do, with the flags that are to be set.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step {
    Join(usize),
    /// There is no need to wait.
    Instead(usize),
}

/// See the module's description.
pub(crate) struct WaitWord<W> {
    bits: AtomicUsize,
    // Waiters are handed from one thread to another, and never referred to through the word.
    _waiters: PhantomData<fn(W)>,
}

impl<W: Copy> WaitWord<W> {
    const_unless_loom! {
        pub(crate) fn new(flags: usize) -> Self {
            WaitWord { bits: AtomicUsize::new(flags), _waiters: PhantomData }
        }
    }

    /// The word itself, for transitions that concern the flags alone.
    #[inline]
    pub(crate) fn bits(&self) -> &AtomicUsize {
        &self.bits
    }

    /// Whether somebody waits. Sees all who joined before something that the caller knows of: as
    /// before they released a mutex that the caller has locked since.
    #[inline]
    pub(crate) fn has_waiters(&self) -> bool {
        self.bits.load(Ordering::Acquire) & !FLAGS != 0
    }

    pub(crate) fn lock(&self) -> Queue<'_, W> {
        let stripe = lock(stripe(ptr::from_ref(self).addr()));
        let front = self.bits.load(Ordering::Acquire) & !FLAGS;
        Queue {
            word: self,
            front: NonNull::new(ptr::with_exposed_provenance_mut(front)),
            _stripe: stripe,
        }
    }

    /// Wakes all who wait now, and none who joins later.
    pub(crate) fn wake_all<C>(&self, claim: impl FnMut(W) -> Option<C>, wake: impl FnMut(C)) {
        if self.has_waiters() {
            self.lock().wake_all(claim, wake);
        }
    }
}

/// The queue of a word, locked.
pub(crate) struct Queue<'a, W> {
    word: &'a WaitWord<W>,
    front: Option<NonNull<Node<W>>>,
    _stripe: MutexGuard<'static, ()>,
}

fn address<W>(node: Option<NonNull<Node<W>>>) -> usize {
    node.map_or(0, |node| node.as_ptr().expose_provenance())
}

impl<W: Copy> Queue<'_, W> {
    pub(crate) fn is_empty(&self) -> bool {
        self.front.is_none()
    }

    /// The one that would be taken next; `None` too if that is a mark.
    pub(crate) fn first(&self) -> Option<W> {
        // SAFETY: a node in the queue is alive, and the lock is held.
        self.front.and_then(|front| unsafe { front.as_ref() }.waiter)
    }

    /// Does what `step` says to the flags, all at once. Whether the node has joined.
    ///
    /// # Safety
    ///
    /// The node is in no queue, and stays alive and in place until it has left this one. Until
    /// then it is used through the queue alone.
    pub(crate) unsafe fn join(
        &mut self,
        end: End,
        node: NonNull<Node<W>>,
        mut step: impl FnMut(usize) -> Step,
    ) -> bool {
        let first = if end == End::Front { node } else { self.front.unwrap_or(node) };
        let first = address(Some(first));
        let bits = &self.word.bits;
        let mut now = bits.load(Ordering::Relaxed);
        let joins = loop {
            let (next, joins) = match step(now & FLAGS) {
                Step::Join(flags) => (first | flags, true),
                Step::Instead(flags) => (now & !FLAGS | flags, false),
            };
            match bits.compare_exchange_weak(now, next, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => break joins,
                Err(newer) => now = newer,
            }
        };
        if joins {
            // SAFETY: the caller's promise.
            unsafe { self.link(end, node) };
        }
        joins
    }

    /// Joins whatever the flags say.
    ///
    /// # Safety
    ///
    /// As for [`Queue::join`].
    pub(crate) unsafe fn push(&mut self, end: End, node: NonNull<Node<W>>) {
        // SAFETY: the caller's promise.
        let joined = unsafe { self.join(end, node, Step::Join) };
        debug_assert!(joined);
    }

    /// # Safety
    ///
    /// As for [`Queue::join`]; the word has been changed.
    unsafe fn link(&mut self, end: End, node: NonNull<Node<W>>) {
        // SAFETY: the caller says that the node is alive; those in the queue are.
        unsafe {
            let entry = node.as_ref();
            debug_assert!(entry.next.get().is_none());
            match self.front {
                None => {
                    entry.previous.set(Some(node));
                    entry.next.set(Some(node));
                }
                Some(front) => {
                    let back = front.as_ref().previous.replace(Some(node));
                    back.expect("a ring is closed").as_ref().next.set(Some(node));
                    entry.previous.set(back);
                    entry.next.set(Some(front));
                }
            }
        }
        if end == End::Front || self.front.is_none() {
            self.front = Some(node);
        }
    }

    /// Wakes all who wait now, and none who joins after this has been called. `wake` is called with
    /// the queue unlocked.
    pub(crate) fn wake_all<C>(
        mut self,
        mut claim: impl FnMut(W) -> Option<C>,
        mut wake: impl FnMut(C),
    ) {
        let word = self.word;
        let mark = Node::mark();
        // SAFETY: the mark leaves the queue below, before this function returns.
        unsafe { self.push(End::Back, NonNull::from(&mark)) };
        loop {
            let batch: [Option<C>; BATCH] = array::from_fn(|_| {
                loop {
                    // Others who wake may take the mark off: then they have taken all before it.
                    mark.next.get()?;
                    let claimed = self.try_claim_first(true, &mut claim);
                    if claimed.is_some() {
                        return claimed;
                    }
                }
            });
            let done = mark.next.get().is_none();
            drop(self);
            batch.into_iter().flatten().for_each(&mut wake);
            if done {
                return;
            }
            self = word.lock();
        }
    }

    /// Takes the first one off whose wait `claim` can claim, and says to it whether it is granted
    /// what it waits for.
    pub(crate) fn claim_first<C>(
        &mut self,
        grant: bool,
        mut claim: impl FnMut(W) -> Option<C>,
    ) -> Option<C> {
        while let Some(front) = self.front {
            if let Some(claimed) = self.claim_front(front, grant, &mut claim) {
                return Some(claimed);
            }
        }
        None
    }

    /// As [`Queue::claim_first`], but gives up with the first one.
    pub(crate) fn try_claim_first<C>(
        &mut self,
        grant: bool,
        mut claim: impl FnMut(W) -> Option<C>,
    ) -> Option<C> {
        self.front.and_then(|front| self.claim_front(front, grant, &mut claim))
    }

    fn claim_front<C>(
        &mut self,
        front: NonNull<Node<W>>,
        grant: bool,
        claim: &mut impl FnMut(W) -> Option<C>,
    ) -> Option<C> {
        self.unlink(front);
        // SAFETY: it was in the queue until now, so it is alive: its owner needs this lock to go,
        // unless its wait is claimed, and then until it is resumed.
        let entry = unsafe { front.as_ref() };
        // Fails for one that a timer or a cancellation has claimed: it is not waiting.
        let claimed = entry.waiter.and_then(claim)?;
        entry.granted.set(grant);
        Some(claimed)
    }

    /// Removes a waiter that gives up. `false`: somebody took it off before.
    ///
    /// # Safety
    ///
    /// The node is alive, and if it is in a queue, it is in this one.
    pub(crate) unsafe fn remove(&mut self, node: NonNull<Node<W>>) -> bool {
        // SAFETY: the caller's promise.
        let linked = unsafe { node.as_ref() }.next.get().is_some();
        if linked {
            self.unlink(node);
        }
        linked
    }

    fn unlink(&mut self, node: NonNull<Node<W>>) {
        // SAFETY: a node in the queue is alive, and so are its neighbours.
        let (previous, next) = unsafe {
            let entry = node.as_ref();
            (entry.previous.take(), entry.next.take())
        };
        let (Some(previous), Some(next)) = (previous, next) else {
            unreachable!("a ring is closed");
        };
        let before = self.front;
        if next == node {
            self.front = None;
        } else {
            // SAFETY: as above.
            unsafe {
                previous.as_ref().next.set(Some(next));
                next.as_ref().previous.set(Some(previous));
            }
            if before == Some(node) {
                self.front = Some(next);
            }
        }
        let changed = address(before) ^ address(self.front);
        if changed != 0 {
            // The flags may change at the same time; the address may not.
            self.word.bits.fetch_xor(changed, Ordering::Release);
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn drain(queue: &mut Queue<'_, u32>) -> Vec<u32> {
        std::iter::from_fn(|| queue.claim_first(false, Some)).collect()
    }

    #[test]
    fn keeps_the_order_the_flags_and_lets_anyone_leave() {
        for leaver in 0..4 {
            let nodes: Vec<_> = (0..4).map(|value| Box::new(Node::new(value))).collect();
            let word = WaitWord::new(0b101);
            let mut queue = word.lock();
            for node in &nodes {
                // SAFETY: the boxes outlive the queue's use of them.
                unsafe { queue.push(End::Back, NonNull::from(&**node)) };
            }
            // SAFETY: as above.
            assert!(unsafe { queue.remove(NonNull::from(&*nodes[leaver])) });
            // SAFETY: as above.
            assert!(!unsafe { queue.remove(NonNull::from(&*nodes[leaver])) });
            // SAFETY: as above.
            unsafe { queue.push(End::Front, NonNull::from(&*nodes[leaver])) };
            assert!(word.has_waiters());
            assert_eq!(queue.first(), Some(leaver as u32));
            let mut order: Vec<u32> = (0..4).filter(|&value| value != leaver as u32).collect();
            order.insert(0, leaver as u32);
            assert_eq!(drain(&mut queue), order);
            assert!(queue.is_empty());
            drop(queue);
            assert_eq!(word.bits().load(Ordering::Relaxed), 0b101);
        }
    }

    #[test]
    fn the_flags_decide_whether_a_waiter_joins() {
        let word = WaitWord::new(1);
        let node = Node::new(());
        let mut queue = word.lock();
        let step = |flags| if flags == 1 { Step::Join(3) } else { Step::Instead(0) };
        // SAFETY: the node outlives the queue's use of it.
        assert!(unsafe { queue.join(End::Back, NonNull::from(&node), step) });
        assert_eq!(word.bits().load(Ordering::Relaxed) & FLAGS, 3);
        assert_eq!(queue.claim_first(true, Some), Some(()));
        assert!(node.is_granted());
        // SAFETY: as above.
        assert!(!unsafe { queue.join(End::Back, NonNull::from(&node), step) });
        assert_eq!(word.bits().load(Ordering::Relaxed), 0);
    }

    #[test]
    fn all_who_wait_are_woken_but_none_who_joins_meanwhile() {
        let word = WaitWord::new(0);
        let nodes: Vec<_> = (0..100).map(|value| Box::new(Node::new(value))).collect();
        let late = Node::new(100);
        for node in &nodes {
            // SAFETY: the boxes outlive the queue's use of them.
            unsafe { word.lock().push(End::Back, NonNull::from(&**node)) };
        }
        let mut woken = Vec::new();
        // One in ten has been claimed by somebody else.
        let claim = |value| (value % 10 != 3).then_some(value);
        word.wake_all(claim, |value| {
            if woken.is_empty() {
                // SAFETY: it outlives the queue's use of it.
                unsafe { word.lock().push(End::Back, NonNull::from(&late)) };
            }
            woken.push(value);
        });
        assert_eq!(woken, (0..100).filter(|value| value % 10 != 3).collect::<Vec<_>>());
        assert_eq!(word.lock().claim_first(false, Some), Some(100));
    }
}
