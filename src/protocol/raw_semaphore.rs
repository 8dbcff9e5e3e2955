//! A semaphore: permits, and those who wait for some, first come, first served.
//!
//! Whoever releases permits hands them over: while the first waiter's wish can be met, its wait is
//! claimed and the permits are taken for it. Nobody overtakes: a newcomer takes permits only if
//! nobody waits, so a wish for many is not starved by wishes for few.
//!
//! Each waiter has a number, in the order of the queue. Grants go by that order, so when the
//! semaphore is closed, one number tells those who were granted their wish from those who were
//! refused: whoever is woken looks at it.

use crate::primitive::sync::Mutex;
use crate::primitive::sync::atomic::{AtomicU64, Ordering};
use crate::primitive::{MutexGuard, const_unless_loom, lock};
use crate::util::wait_list::{Node, WaitList};
use std::array;
use std::ptr::NonNull;

/// Wakes that are made ready with the lock held, before it is released to make them.
const BATCH: usize = if cfg!(loom) { 1 } else { 32 };

/// See the module's description.
pub(crate) struct RawSemaphore<W> {
    state: Mutex<State<W>>,
    /// The number of the first waiter that was refused, and of all after it.
    refused_from: AtomicU64,
}

struct State<W> {
    permits: usize,
    closed: bool,
    next_number: u64,
    waiting: WaitList<Wish<W>>,
}

/// One who waits.
#[derive(Clone, Copy)]
pub(crate) struct Wish<W> {
    permits: usize,
    number: u64,
    waiter: W,
}

/// What a request came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    Granted,
    Closed,
    /// There are too few permits, or others come first.
    Waits,
}

impl<W: Copy> RawSemaphore<W> {
    const_unless_loom! {
        pub(crate) fn new(permits: usize) -> Self {
            let state =
                State { permits, closed: false, next_number: 0, waiting: WaitList::new() };
            RawSemaphore { state: Mutex::new(state), refused_from: AtomicU64::new(u64::MAX) }
        }
    }

    /// Takes permits if that can be done at once.
    pub(crate) fn try_acquire(&self, permits: usize) -> Request {
        lock(&self.state).request(permits)
    }

    /// Takes permits, or joins the queue. From then on the waiter's wait may be claimed.
    ///
    /// # Safety
    ///
    /// What `node` returns is in no queue, and stays alive and in place until it is woken or has
    /// called [`RawSemaphore::leave`].
    #[expect(unsafe_code, reason = "passes on the wait list's contract")]
    pub(crate) unsafe fn acquire(
        &self,
        permits: usize,
        waiter: W,
        node: impl FnOnce(Wish<W>) -> NonNull<Node<Wish<W>>>,
    ) -> Request {
        let mut state = lock(&self.state);
        let request = state.request(permits);
        if request == Request::Waits {
            let number = state.next_number;
            state.next_number += 1;
            // SAFETY: the caller's promise.
            unsafe { state.waiting.push_back(node(Wish { permits, number, waiter })) };
        }
        request
    }

    /// Whether a waiter that was woken was refused.
    pub(crate) fn has_refused(&self, wish: &Wish<W>) -> bool {
        self.refused_from.load(Ordering::Acquire) <= wish.number
    }

    /// Leaves the queue without having been woken. Others may have waited for this one to go.
    ///
    /// # Safety
    ///
    /// The node is alive, and if it is in a queue, it is in this one.
    #[expect(unsafe_code, reason = "passes on the wait list's contract")]
    pub(crate) unsafe fn leave<C>(
        &self,
        node: NonNull<Node<Wish<W>>>,
        claim: impl FnMut(W) -> Option<C>,
        wake: impl FnMut(C),
    ) {
        let mut state = lock(&self.state);
        // SAFETY: the caller's promise.
        unsafe { state.waiting.remove(node) };
        self.grant(state, claim, wake);
    }

    /// Adds permits, and hands them to who waits. `wake` is called without the lock.
    ///
    /// # Panics
    ///
    /// If there would be more than `most`.
    pub(crate) fn release<C>(
        &self,
        permits: usize,
        most: usize,
        claim: impl FnMut(W) -> Option<C>,
        wake: impl FnMut(C),
    ) {
        let mut state = lock(&self.state);
        let sum = state.permits.checked_add(permits).filter(|sum| *sum <= most);
        let Some(sum) = sum else {
            drop(state);
            panic!("a semaphore may not have more than {most} permits");
        };
        state.permits = sum;
        self.grant(state, claim, wake);
    }

    fn grant<'a, C>(
        &'a self,
        mut state: MutexGuard<'a, State<W>>,
        mut claim: impl FnMut(W) -> Option<C>,
        mut wake: impl FnMut(C),
    ) {
        loop {
            let batch: [Option<C>; BATCH] = array::from_fn(|_| state.grant_first(&mut claim));
            let done = batch[BATCH - 1].is_none();
            drop(state);
            batch.into_iter().flatten().for_each(&mut wake);
            if done {
                return;
            }
            state = lock(&self.state);
        }
    }

    /// Refuses all who wait, and all who come. Whether it was open.
    pub(crate) fn close<C>(
        &self,
        mut claim: impl FnMut(W) -> Option<C>,
        mut wake: impl FnMut(C),
    ) -> bool {
        let mut state = lock(&self.state);
        if std::mem::replace(&mut state.closed, true) {
            return false;
        }
        let first = state.waiting.front().map_or(state.next_number, |wish| wish.number);
        self.refused_from.store(first, Ordering::Release);
        loop {
            let batch: [Option<C>; BATCH] = array::from_fn(|_| {
                loop {
                    let claimed = claim(state.waiting.pop_front()?.waiter);
                    if claimed.is_some() {
                        return claimed;
                    }
                }
            });
            let done = batch[BATCH - 1].is_none();
            drop(state);
            batch.into_iter().flatten().for_each(&mut wake);
            if done {
                return true;
            }
            state = lock(&self.state);
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        lock(&self.state).closed
    }

    pub(crate) fn permits(&self) -> usize {
        lock(&self.state).permits
    }

    /// Takes up to so many permits out of circulation; how many it were.
    pub(crate) fn forget(&self, permits: usize) -> usize {
        let mut state = lock(&self.state);
        let forgotten = permits.min(state.permits);
        state.permits -= forgotten;
        forgotten
    }
}

impl<W: Copy> State<W> {
    fn request(&mut self, permits: usize) -> Request {
        if self.closed {
            return Request::Closed;
        }
        if self.permits < permits || !self.waiting.is_empty() {
            return Request::Waits;
        }
        self.permits -= permits;
        Request::Granted
    }

    /// Grants the first waiter that still waits its wish, if it can be met.
    fn grant_first<C>(&mut self, claim: &mut impl FnMut(W) -> Option<C>) -> Option<C> {
        if self.closed {
            return None;
        }
        loop {
            let wish = self.waiting.front()?;
            if wish.permits > self.permits {
                return None;
            }
            self.waiting.pop_front();
            // Fails for one that a timer or a cancellation has claimed: it is not waiting.
            if let Some(claimed) = claim(wish.waiter) {
                self.permits -= wish.permits;
                return Some(claimed);
            }
        }
    }
}

#[cfg(all(test, loom))]
#[expect(unsafe_code, reason = "the models queue nodes by hand")]
mod models {
    use super::*;
    use crate::protocol::crowd::{Crowd, Outcome, Ticket};
    use loom::sync::Arc;

    struct Shared {
        semaphore: RawSemaphore<Ticket>,
        crowd: Crowd,
    }

    #[derive(Debug, PartialEq, Eq)]
    enum Got {
        Granted,
        Closed,
        GaveUp,
    }

    impl Shared {
        fn new(permits: usize, count: usize) -> Arc<Shared> {
            Arc::new(Shared { semaphore: RawSemaphore::new(permits), crowd: Crowd::new(count) })
        }

        fn acquire(&self, who: usize, permits: usize, gives_up: bool) -> Got {
            let mut node = None;
            let mut request = Request::Waits;
            let mut wish = None;
            let outcome = self.crowd.park(who, gives_up, |ticket| {
                // SAFETY: the node leaves the queue below before it goes.
                let now = unsafe {
                    self.semaphore.acquire(permits, ticket, |w| {
                        wish = Some(w);
                        NonNull::from(node.insert(Node::new(w)))
                    })
                };
                if now != Request::Waits {
                    request = now;
                }
                now == Request::Waits
            });
            match request {
                Request::Granted => return Got::Granted,
                Request::Closed => return Got::Closed,
                Request::Waits => {}
            }
            if outcome == Outcome::GaveUp {
                let node = NonNull::from(node.as_ref().expect("published"));
                // SAFETY: the node is alive, and in this queue if in any.
                unsafe { self.semaphore.leave(node, self.claim(), |c| self.crowd.resume(c)) };
                return Got::GaveUp;
            }
            match self.semaphore.has_refused(&wish.expect("published")) {
                true => Got::Closed,
                false => Got::Granted,
            }
        }

        fn claim(&self) -> impl FnMut(Ticket) -> Option<usize> {
            |ticket| self.crowd.claim(ticket)
        }

        fn release(&self, permits: usize) {
            self.semaphore.release(permits, 100, self.claim(), |c| self.crowd.resume(c));
        }

        fn close(&self) {
            self.semaphore.close(self.claim(), |c| self.crowd.resume(c));
        }
    }

    fn check(model: impl Fn() + Sync + Send + 'static) {
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(3);
        builder.check(model);
    }

    /// Two who pass one permit from hand to hand.
    #[test]
    fn a_released_permit_reaches_who_waits() {
        check(|| {
            let shared = Shared::new(1, 2);
            let theirs = shared.clone();
            let other = loom::thread::spawn(move || {
                assert_eq!(theirs.acquire(1, 1, false), Got::Granted);
                theirs.release(1);
            });
            assert_eq!(shared.acquire(0, 1, false), Got::Granted);
            shared.release(1);
            other.join().unwrap();
            assert_eq!(shared.semaphore.permits(), 1);
        });
    }

    /// A wish that is too large gives up; the small one behind it is met.
    #[test]
    fn who_gives_up_makes_way_and_loses_nothing() {
        check(|| {
            let shared = Shared::new(0, 2);
            let theirs = shared.clone();
            let other = loom::thread::spawn(move || {
                if theirs.acquire(1, 2, true) == Got::Granted {
                    theirs.release(2);
                }
            });
            let theirs = shared.clone();
            let releaser = loom::thread::spawn(move || theirs.release(2));
            assert_eq!(shared.acquire(0, 1, false), Got::Granted);
            other.join().unwrap();
            releaser.join().unwrap();
            assert_eq!(shared.semaphore.permits(), 1);
        });
    }

    /// What was too little for the first is enough for the next, once the first has left.
    #[test]
    fn who_gives_up_lets_the_next_one_have_what_is_there() {
        check(|| {
            let shared = Shared::new(1, 2);
            let theirs = shared.clone();
            let other = loom::thread::spawn(move || {
                assert_eq!(theirs.acquire(1, 2, true), Got::GaveUp);
            });
            assert_eq!(shared.acquire(0, 1, false), Got::Granted);
            other.join().unwrap();
            assert_eq!(shared.semaphore.permits(), 0);
        });
    }

    /// Permits that come while it is being closed are nobody's who was refused.
    #[test]
    fn a_release_against_a_close_loses_no_permit() {
        check(|| {
            let shared = Shared::new(0, 2);
            let theirs = shared.clone();
            let other = loom::thread::spawn(move || theirs.acquire(1, 1, false));
            let theirs = shared.clone();
            let closer = loom::thread::spawn(move || theirs.close());
            let theirs = shared.clone();
            let releaser = loom::thread::spawn(move || theirs.release(1));
            let mine = shared.acquire(0, 1, false);
            let granted =
                [mine, other.join().unwrap()].iter().filter(|g| **g == Got::Granted).count();
            closer.join().unwrap();
            releaser.join().unwrap();
            assert_eq!(shared.semaphore.permits() + granted, 1);
        });
    }

    /// A close and a grant: each waiter is told exactly what became of it.
    #[test]
    fn a_close_does_not_take_back_what_was_granted() {
        check(|| {
            let shared = Shared::new(0, 2);
            let theirs = shared.clone();
            let other = loom::thread::spawn(move || theirs.acquire(1, 1, false));
            let theirs = shared.clone();
            let closer = loom::thread::spawn(move || {
                theirs.release(1);
                theirs.close();
            });
            let mine = shared.acquire(0, 1, false);
            let granted =
                [mine, other.join().unwrap()].iter().filter(|g| **g == Got::Granted).count();
            closer.join().unwrap();
            assert_eq!(shared.semaphore.permits() + granted, 1);
            assert_eq!(shared.acquire(0, 1, false), Got::Closed);
        });
    }
}
