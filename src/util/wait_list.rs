//! An intrusive queue of those who wait, first come, first served.
//!
//! A node lives on the stack of whoever waits, so waiting allocates nothing and a waiter that
//! gives up leaves in constant time. The list itself has no lock: it lives inside one, and the
//! functions that touch a node take the list exclusively, which proves that the lock is held.

#![expect(unsafe_code, reason = "an intrusive list follows pointers into its waiters' stacks")]

use std::cell::Cell;
use std::marker::PhantomPinned;
use std::ptr::NonNull;

/// One who waits.
///
/// A node that is in a list must leave it ([`WaitList::pop_front`] or [`WaitList::remove`]) before
/// its memory goes.
pub(crate) struct Node<W> {
    waiter: W,
    linked: Cell<bool>,
    previous: Cell<Option<NonNull<Node<W>>>>,
    next: Cell<Option<NonNull<Node<W>>>>,
    _pinned: PhantomPinned,
}

impl<W> Node<W> {
    pub(crate) fn new(waiter: W) -> Self {
        Node {
            waiter,
            linked: Cell::new(false),
            previous: Cell::new(None),
            next: Cell::new(None),
            _pinned: PhantomPinned,
        }
    }
}

#[cfg_attr(loom, expect(dead_code, reason = "the models know their waiters"))]
impl<W> Node<W> {
    /// Who waits.
    pub(crate) fn waiter(&self) -> &W {
        &self.waiter
    }
}

/// See the module's description.
pub(crate) struct WaitList<W> {
    front: Option<NonNull<Node<W>>>,
    back: Option<NonNull<Node<W>>>,
}

// SAFETY: the list owns the links of its nodes while they are in it, and hands waiters from one
// thread to another, which `W: Send` allows.
unsafe impl<W: Send> Send for WaitList<W> {}

impl<W: Copy> WaitList<W> {
    pub(crate) const fn new() -> Self {
        WaitList { front: None, back: None }
    }

    /// How many wait. They are counted: few ask, and all would have to carry the number.
    pub(crate) fn count(&self) -> usize {
        let mut count = 0;
        let _none = self.find(usize::MAX, |_| {
            count += 1;
            false
        });
        count
    }

    /// Whether exactly one waits.
    #[inline]
    pub(crate) fn has_one(&self) -> bool {
        self.front.is_some() && self.front == self.back
    }

    /// Adds a waiter at the end.
    ///
    /// # Safety
    ///
    /// - The node is in no list, and stays alive and in place until it has left this one.
    /// - Until then it is used through this list alone.
    pub(crate) unsafe fn push_back(&mut self, node: NonNull<Node<W>>) {
        // SAFETY: the caller says that the node is alive and this list's own.
        let entry = unsafe { node.as_ref() };
        debug_assert!(!entry.linked.get());
        entry.linked.set(true);
        entry.previous.set(self.back);
        entry.next.set(None);
        match self.back {
            // SAFETY: a node in the list is alive.
            Some(back) => unsafe { back.as_ref() }.next.set(Some(node)),
            None => self.front = Some(node),
        }
        self.back = Some(node);
    }

    /// The one that has waited longest.
    pub(crate) fn front(&self) -> Option<W> {
        // SAFETY: a node in the list is alive.
        self.front.map(|front| unsafe { front.as_ref() }.waiter)
    }

    /// Adds a waiter that goes before all others.
    ///
    /// # Safety
    ///
    /// As [`WaitList::push_back`].
    pub(crate) unsafe fn push_front(&mut self, node: NonNull<Node<W>>) {
        // SAFETY: the caller says that the node is alive and this list's own.
        let entry = unsafe { node.as_ref() };
        debug_assert!(!entry.linked.get());
        entry.linked.set(true);
        entry.previous.set(None);
        entry.next.set(self.front);
        match self.front {
            // SAFETY: a node in the list is alive.
            Some(front) => unsafe { front.as_ref() }.previous.set(Some(node)),
            None => self.back = Some(node),
        }
        self.front = Some(node);
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.front.is_none()
    }

    /// Takes the one that has waited longest.
    pub(crate) fn pop_front(&mut self) -> Option<W> {
        self.pop_front_with(|waiter| *waiter)
    }

    /// Takes the one that has waited longest, and runs `f` with it where it is, which must not let it go.
    #[inline]
    pub(crate) fn pop_front_with<R>(&mut self, f: impl FnOnce(&W) -> R) -> Option<R> {
        let node = self.front?;
        self.unlink(node);
        // SAFETY: the node was in the list until this call, so it is alive: its owner cannot
        // have gone without the lock under which this list is.
        Some(f(&unsafe { node.as_ref() }.waiter))
    }

    /// Whether one of the first `limit` waiters is such as `wanted` says.
    pub(crate) fn any(&self, limit: usize, mut wanted: impl FnMut(&W) -> bool) -> bool {
        self.find(limit, |waiter| wanted(waiter)).is_some()
    }

    /// Takes the first of the first `limit` waiters that is such as `wanted` says.
    pub(crate) fn pop_wanted(&mut self, limit: usize, wanted: impl FnMut(&W) -> bool) -> Option<W> {
        let node = self.find(limit, wanted)?;
        self.unlink(node);
        // SAFETY: as in `pop_front`.
        Some(unsafe { node.as_ref() }.waiter)
    }

    fn find(&self, limit: usize, mut wanted: impl FnMut(&W) -> bool) -> Option<NonNull<Node<W>>> {
        let mut next = self.front;
        for _ in 0..limit {
            let node = next?;
            // SAFETY: a node in the list is alive.
            let entry = unsafe { node.as_ref() };
            if wanted(&entry.waiter) {
                return Some(node);
            }
            next = entry.next.get();
        }
        None
    }

    /// Removes a waiter that gives up. `false`: somebody took it off before.
    ///
    /// # Safety
    ///
    /// The node is alive, and if it is in a list, it is in this one.
    pub(crate) unsafe fn remove(&mut self, node: NonNull<Node<W>>) -> bool {
        // SAFETY: the caller says that the node is alive.
        let linked = unsafe { node.as_ref() }.linked.get();
        if linked {
            self.unlink(node);
        }
        linked
    }

    /// Whether a node is in the list.
    ///
    /// # Safety
    ///
    /// The node is alive, and if it is in a list, it is in this one.
    pub(crate) unsafe fn contains(&self, node: NonNull<Node<W>>) -> bool {
        // SAFETY: the caller says that the node is alive.
        unsafe { node.as_ref() }.linked.get()
    }

    fn unlink(&mut self, node: NonNull<Node<W>>) {
        // SAFETY: a node in the list is alive, and so are its neighbours.
        let entry = unsafe { node.as_ref() };
        let (previous, next) = (entry.previous.take(), entry.next.take());
        match previous {
            // SAFETY: as above.
            Some(previous) => unsafe { previous.as_ref() }.next.set(next),
            None => self.front = next,
        }
        match next {
            // SAFETY: as above.
            Some(next) => unsafe { next.as_ref() }.previous.set(previous),
            None => self.back = previous,
        }
        entry.linked.set(false);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn drain(list: &mut WaitList<u32>) -> Vec<u32> {
        std::iter::from_fn(|| list.pop_front()).collect()
    }

    #[test]
    fn one_may_be_picked_out_of_the_first_few_and_one_may_go_first() {
        let nodes: Vec<_> = (0..5).map(|value| Box::new(Node::new(value))).collect();
        let mut list = WaitList::new();
        for node in &nodes[1..] {
            // SAFETY: the boxes outlive the list's use of them.
            unsafe { list.push_back(NonNull::from(&**node)) };
        }
        // SAFETY: as above.
        unsafe { list.push_front(NonNull::from(&*nodes[0])) };
        assert_eq!(list.pop_wanted(3, |&value| value == 3), None);
        assert!(list.any(4, |&value| value == 3) && !list.any(3, |&value| value == 3));
        assert_eq!(list.pop_wanted(4, |&value| value > 1), Some(2));
        assert_eq!(drain(&mut list), [0, 1, 3, 4]);
        assert!(list.is_empty() && !list.has_one());
        // SAFETY: as above.
        unsafe { list.push_back(NonNull::from(&*nodes[0])) };
        assert!(list.has_one());
        // SAFETY: as above.
        unsafe { list.push_back(NonNull::from(&*nodes[1])) };
        assert!(!list.has_one());
        assert_eq!(drain(&mut list), [0, 1]);
    }

    #[test]
    fn keeps_the_order_and_lets_anyone_leave() {
        for leaver in 0..4 {
            let nodes: Vec<_> = (0..4).map(|value| Box::new(Node::new(value))).collect();
            let mut list = WaitList::new();
            for node in &nodes {
                // SAFETY: the boxes outlive the list's use of them.
                unsafe { list.push_back(NonNull::from(&**node)) };
            }
            // SAFETY: as above.
            assert!(unsafe { list.remove(NonNull::from(&*nodes[leaver])) });
            // SAFETY: as above.
            assert!(!unsafe { list.remove(NonNull::from(&*nodes[leaver])) });
            assert_eq!(list.count(), 3);
            let rest: Vec<u32> = (0..4).filter(|&value| value != leaver as u32).collect();
            assert_eq!(drain(&mut list), rest);
            assert_eq!(list.count(), 0);
        }
    }
}
