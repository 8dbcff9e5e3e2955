//! What was spawned here and may start anywhere: first in, first out; thieves take from it.

use crate::coroutine::Coroutine;
use crossbeam_deque::{Steal, Stealer, Worker};
use std::cell::Cell;

/// A machine's side of its run queue.
///
/// It knows when it has found the queue empty, since nobody else puts anything in: most schedules
/// find out so that there is nothing to start, with no look at what thieves write.
pub(crate) struct RunQueue {
    deque: Worker<Coroutine>,
    /// Neither here nor in the backlog was anything at the last look, and nothing was put there since.
    drained: Cell<bool>,
}

impl RunQueue {
    pub(super) fn new() -> RunQueue {
        RunQueue { deque: Worker::new_fifo(), drained: Cell::new(true) }
    }

    pub(super) fn stealer(&self) -> Stealer<Coroutine> {
        self.deque.stealer()
    }

    pub(super) fn len(&self) -> usize {
        self.deque.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.deque.is_empty()
    }

    #[inline]
    pub(super) fn push(&self, coroutine: Coroutine) {
        self.drained.set(false);
        self.deque.push(coroutine);
    }

    #[inline]
    pub(super) fn pop(&self) -> Option<Coroutine> {
        self.deque.pop()
    }

    /// Takes some of another machine's, of which it returns the first.
    pub(super) fn steal_from(&self, victim: &Stealer<Coroutine>) -> Steal<Coroutine> {
        self.drained.set(false);
        victim.steal_batch_and_pop(&self.deque)
    }

    /// Whether there is nothing to start, here or in the backlog.
    #[inline]
    pub(super) fn is_drained(&self) -> bool {
        self.drained.get()
    }

    /// Says that both were found empty, or that something was put into the backlog.
    #[inline]
    pub(super) fn set_drained(&self, drained: bool) {
        self.drained.set(drained);
    }
}
