//! What was spawned here beyond the run queue's room: the newest first, for its owner.
//!
//! Coroutines that spawn others as fast as they can, a tree of them or a loop, make work faster than
//! it is done. If all of it stood in one line, each level of a tree would be made in full before
//! the next one began: a tree of a million leaves has a million coroutines in memory at its
//! widest, and all stacks of the level above. So beyond a run queue's worth the owner takes up the
//! *newest* first, and the tree is walked in depth, a small part of it at a time (the order of
//! Cilk's owners; Blumofe and Leiserson, *Scheduling Multithreaded Computations by Work Stealing*,
//! 1999). Thieves get the *oldest*, which have most of the tree below them.
//!
//! The oldest one has its turn as well, now and then, so that nobody waits for ever behind a flood
//! of newer ones ([`super::machine`] says when). Within the run queue everything is first in, first
//! out, and residents that are ready never come here.

use crate::protocol::short_lock::{ShortGuard, ShortLock};
use std::collections::VecDeque;
use std::mem;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How many are taken at a time, at most.
pub(crate) const BATCH: usize = 32;

/// For how many there is room without asking for memory anew at each burst.
const KEPT: usize = 4096;

/// See the module's description.
pub(crate) struct Backlog<T> {
    /// Oldest first.
    queue: ShortLock<VecDeque<T>>,
    /// Their number, for those who do not take the lock. Written with it held.
    len: AtomicUsize,
}

impl<T> Backlog<T> {
    pub(crate) fn new() -> Self {
        Backlog { queue: ShortLock::new(VecDeque::new()), len: AtomicUsize::new(0) }
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.len.load(Ordering::Relaxed)
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn push(&self, item: T) {
        let mut queue = self.queue.lock();
        queue.push_back(item);
        // What it counts is behind the lock. Its owner puts nothing here but what it is going to run
        // itself, and looks for sleepers without a fence: a machine that is just about to sleep may
        // miss this, and be missed. Then the watch finds a taker, as for a deque.
        self.len.store(queue.len(), Ordering::Relaxed);
    }

    /// Takes a batch of the newest, of which the oldest comes first.
    pub(crate) fn take_newest(&self, mut take: impl FnMut(T)) {
        if self.is_empty() {
            return;
        }
        let mut queue = self.queue.lock();
        let stay = queue.len().saturating_sub(BATCH);
        queue.drain(stay..).for_each(&mut take);
        self.taken(queue);
    }

    pub(crate) fn take_oldest(&self) -> Option<T> {
        if self.is_empty() {
            return None;
        }
        let mut queue = self.queue.lock();
        let oldest = queue.pop_front();
        self.taken(queue);
        oldest
    }

    /// Takes the oldest, and half of the rest into the bargain, but no more than a batch.
    pub(crate) fn steal(&self, mut take: impl FnMut(T)) -> Option<T> {
        if self.is_empty() {
            return None;
        }
        let mut queue = self.queue.lock();
        let oldest = queue.pop_front();
        let more = (queue.len() / 2).min(BATCH - 1);
        queue.drain(..more).for_each(&mut take);
        self.taken(queue);
        oldest
    }

    /// Some were taken. The last one takes the room of a great burst with it: those who started may
    /// live for long, and it is eight bytes for each of them and more.
    #[inline]
    fn taken(&self, mut queue: ShortGuard<'_, VecDeque<T>>) {
        self.len.store(queue.len(), Ordering::Relaxed);
        if queue.is_empty() && queue.capacity() > KEPT {
            let room = mem::take(&mut *queue);
            // To give it back is a system call.
            drop(queue);
            drop(room);
        }
    }

    /// Looks at all of them.
    pub(crate) fn for_each(&self, look: impl FnMut(&T)) {
        self.queue.lock().iter().for_each(look);
    }

    /// Gives back the memory of a burst that is over.
    pub(crate) fn settle(&self) {
        let mut queue = self.queue.lock();
        if queue.is_empty() {
            *queue = VecDeque::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(count: usize) -> Backlog<usize> {
        let backlog = Backlog::new();
        (0..count).for_each(|n| backlog.push(n));
        backlog
    }

    fn taken(take: impl FnOnce(&mut dyn FnMut(usize))) -> Vec<usize> {
        let mut all = Vec::new();
        take(&mut |n| all.push(n));
        all
    }

    #[test]
    fn the_owner_takes_the_newest_in_their_order() {
        let backlog = of(BATCH + 3);
        assert!(taken(|take| backlog.take_newest(take)).into_iter().eq(3..BATCH + 3));
        assert_eq!(backlog.len(), 3);
        assert_eq!(taken(|take| backlog.take_newest(take)), [0, 1, 2]);
        assert!(backlog.is_empty());
        assert!(taken(|take| backlog.take_newest(take)).is_empty());
    }

    #[test]
    fn a_thief_takes_the_oldest_and_leaves_half() {
        let backlog = of(9);
        let mut first = None;
        assert_eq!(taken(|take| first = backlog.steal(take)), [1, 2, 3, 4]);
        assert_eq!((first, backlog.len()), (Some(0), 4));
        let many = of(10 * BATCH);
        assert!(taken(|take| first = many.steal(take)).into_iter().eq(1..BATCH));
        assert_eq!((first, many.len()), (Some(0), 9 * BATCH));
        let one = of(1);
        assert!(taken(|take| first = one.steal(take)).is_empty());
        assert_eq!((first, one.len()), (Some(0), 0));
        assert!(taken(|take| first = one.steal(take)).is_empty());
        assert_eq!(first, None);
    }

    #[test]
    fn the_room_of_a_great_burst_goes_with_its_last() {
        let room = |backlog: &Backlog<usize>| backlog.queue.lock().capacity();
        let backlog = of(KEPT + 1);
        while backlog.len() > 1 {
            backlog.take_oldest();
            assert!(room(&backlog) > KEPT);
        }
        assert_eq!(backlog.take_oldest(), Some(KEPT));
        assert_eq!(room(&backlog), 0);
        let small = of(KEPT / 2);
        while !small.is_empty() {
            small.take_newest(|_| ());
        }
        assert!(room(&small) >= KEPT / 2);
    }

    #[test]
    fn the_oldest_is_the_oldest() {
        let backlog = of(3);
        assert_eq!(backlog.take_oldest(), Some(0));
        backlog.push(3);
        let mut seen = Vec::new();
        backlog.for_each(|&n| seen.push(n));
        assert_eq!(seen, [1, 2, 3]);
        assert_eq!((backlog.take_oldest(), backlog.len()), (Some(1), 2));
        backlog.settle();
        assert_eq!(taken(|take| backlog.take_newest(take)), [2, 3]);
        backlog.settle();
        assert_eq!(backlog.take_oldest(), None);
    }
}
