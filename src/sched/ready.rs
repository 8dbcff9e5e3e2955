//! The queue of residents that are ready: first in, first out, and one thread's own.
//!
//! It is linked through the coroutines themselves, by the link that the inbox uses too: a coroutine
//! is in one queue at a time. So a wake allocates nothing, however many are ready.

#![expect(unsafe_code, reason = "follows links between the coroutines that it holds")]

use crate::protocol::inbox::Linked;
use std::cell::Cell;
use std::marker::PhantomData;
use std::ptr::{self, NonNull};
use std::sync::atomic::Ordering;

/// See the module's description.
pub(super) struct ReadyQueue<T: Linked> {
    first: Cell<*mut T::Node>,
    /// Meaningful while `first` is not null.
    last: Cell<*mut T::Node>,
    len: Cell<usize>,
    owns: PhantomData<T>,
}

impl<T: Linked> ReadyQueue<T> {
    pub(super) fn new() -> Self {
        ReadyQueue {
            first: Cell::new(ptr::null_mut()),
            last: Cell::new(ptr::null_mut()),
            len: Cell::new(0),
            owns: PhantomData,
        }
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        self.len.get()
    }

    /// Where the first one is noted, for debuggers.
    pub(super) fn first_place(&self) -> *const Cell<*mut T::Node> {
        &raw const self.first
    }

    #[inline]
    pub(super) fn push(&self, item: T) {
        let node = item.into_raw();
        // SAFETY: the node was given up above, and its link is the queue's from here on.
        unsafe { T::link(node) }.store(ptr::null_mut(), Ordering::Relaxed);
        match self.first.get().is_null() {
            true => self.first.set(node.as_ptr()),
            // SAFETY: the last one is in the queue, so it is not null and has not been taken back.
            false => unsafe { T::link(NonNull::new_unchecked(self.last.get())) }
                .store(node.as_ptr(), Ordering::Relaxed),
        }
        self.last.set(node.as_ptr());
        self.len.set(self.len.get() + 1);
    }

    #[inline]
    pub(super) fn first(&self) -> Option<NonNull<T::Node>> {
        NonNull::new(self.first.get())
    }

    /// The one behind the first, or null. There is a first one.
    #[inline]
    pub(super) fn second(&self) -> *const T::Node {
        // SAFETY: the first one is in the queue, so it has not been taken back.
        let first = self.first().map(|first| unsafe { T::link(first) });
        first.map_or(ptr::null(), |link| link.load(Ordering::Relaxed))
    }

    #[inline]
    pub(super) fn pop(&self) -> Option<T> {
        let node = NonNull::new(self.first.get())?;
        // SAFETY: the node is in the queue, and leaves it here.
        unsafe {
            self.first.set(T::link(node).load(Ordering::Relaxed));
            self.len.set(self.len.get() - 1);
            Some(T::from_raw(node))
        }
    }
}

impl<T: Linked> ReadyQueue<T> {
    /// Looks at everything in the queue, which `look` must not change.
    pub(super) fn for_each(&self, mut look: impl FnMut(NonNull<T::Node>)) {
        let mut next = NonNull::new(self.first.get());
        while let Some(node) = next {
            look(node);
            // SAFETY: the node is in the queue, and stays there.
            next = NonNull::new(unsafe { T::link(node) }.load(Ordering::Relaxed));
        }
    }
}

impl<T: Linked> Drop for ReadyQueue<T> {
    fn drop(&mut self) {
        while let Some(item) = self.pop() {
            drop(item);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::inbox::testing::Item;

    #[test]
    fn first_in_first_out_also_after_it_was_empty() {
        let queue = ReadyQueue::<Item>::new();
        let (mut next, mut expected) = (0, 0);
        for (pushes, pops) in [(1, 1), (3, 2), (0, 1), (5, 5), (2, 1)] {
            for _ in 0..pushes {
                queue.push(Item::new(next));
                next += 1;
            }
            for _ in 0..pops {
                assert_eq!(queue.pop().map(|item| item.0.value), Some(expected));
                expected += 1;
            }
            assert_eq!(queue.len(), next - expected);
            let mut seen = Vec::new();
            // SAFETY: what is in the queue is alive.
            queue.for_each(|node| seen.push(unsafe { node.as_ref() }.value));
            assert!(seen.into_iter().eq(expected..next));
        }
        assert_eq!(queue.pop().map(|item| item.0.value), Some(expected));
        assert!(queue.pop().is_none());
        // What is left is dropped with it.
        queue.push(Item::new(0));
    }
}
