//! A barrier: those who come wait in its queue until the last one comes, who lets them go.
//!
//! How many have come is counted beside the queue, under the same lock. Each time that all have
//! come a new **round** begins; whoever gives up leaves the round in which it came, and if that is
//! over it has not given up but passed.

use crate::primitive::const_unless_loom;
use crate::primitive::sync::atomic::{AtomicUsize, Ordering};
use crate::protocol::wait_word::{End, Node, Queue, WaitWord};
use std::cell::Cell;
use std::ptr::NonNull;

/// See the module's description. The word's flags are not used.
pub(crate) struct RawBarrier<W> {
    queue: WaitWord<W>,
    /// How many have come in this round; changed with the queue locked, as the next one.
    count: AtomicUsize,
    round: AtomicUsize,
}

/// What came of an arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "the last one lets the others go"]
pub(crate) enum Arrival {
    /// All have come; those who came before have been let go.
    Last,
    /// It is in the queue.
    Waits,
}

impl<W: Copy> RawBarrier<W> {
    const_unless_loom! {
        pub(crate) fn new() -> Self {
            RawBarrier { queue: WaitWord::new(0), count: AtomicUsize::new(0), round: AtomicUsize::new(0) }
        }
    }

    /// Arrives, if that makes it the last one of `of`, and calls `wake` for all others.
    pub(crate) fn arrive_last<C>(
        &self,
        of: usize,
        claim: impl FnMut(W) -> Option<C>,
        wake: impl FnMut(C),
    ) -> bool {
        let queue = self.queue.lock();
        let last = self.count.load(Ordering::Relaxed).saturating_add(1) >= of;
        if last {
            self.end_round(queue, claim, wake);
        }
        last
    }

    /// Arrives. If it is the last one of `of`, it calls `wake` for all others; else it waits, and
    /// the round in which it came is written to `came_in`.
    ///
    /// # Safety
    ///
    /// The node is in no queue, and stays alive and in place until it is woken or has called
    /// [`RawBarrier::leave`].
    #[expect(unsafe_code, reason = "passes on the queue's contract")]
    pub(crate) unsafe fn arrive<C>(
        &self,
        of: usize,
        node: NonNull<Node<W>>,
        came_in: &Cell<usize>,
        claim: impl FnMut(W) -> Option<C>,
        wake: impl FnMut(C),
    ) -> Arrival {
        let mut queue = self.queue.lock();
        let others = self.count.load(Ordering::Relaxed);
        if others.saturating_add(1) < of {
            self.count.store(others + 1, Ordering::Relaxed);
            came_in.set(self.round.load(Ordering::Relaxed));
            // SAFETY: the caller's promise.
            unsafe { queue.push(End::Back, node) };
            return Arrival::Waits;
        }
        self.end_round(queue, claim, wake);
        Arrival::Last
    }

    fn end_round<C>(
        &self,
        queue: Queue<'_, W>,
        claim: impl FnMut(W) -> Option<C>,
        wake: impl FnMut(C),
    ) {
        let round = self.round.load(Ordering::Relaxed);
        self.round.store(round.wrapping_add(1), Ordering::Relaxed);
        self.count.store(0, Ordering::Relaxed);
        queue.wake_all(claim, wake);
    }

    /// Gives up. `false`: the round is over, so it has passed.
    ///
    /// # Safety
    ///
    /// The node is alive, and if it is in a queue, it is in this one.
    #[expect(unsafe_code, reason = "passes on the queue's contract")]
    pub(crate) unsafe fn leave(&self, node: NonNull<Node<W>>, came_in: usize) -> bool {
        let mut queue = self.queue.lock();
        // SAFETY: the caller's promise.
        unsafe { queue.remove(node) };
        let in_time = self.round.load(Ordering::Relaxed) == came_in;
        if in_time {
            self.count.store(self.count.load(Ordering::Relaxed) - 1, Ordering::Relaxed);
        }
        in_time
    }
}

#[cfg(all(test, loom))]
#[expect(unsafe_code, reason = "the models queue nodes by hand")]
mod models {
    use super::*;
    use crate::protocol::crowd::{Crowd, Outcome, Ticket};
    use loom::sync::Arc;

    struct Shared {
        raw: RawBarrier<Ticket>,
        crowd: Crowd,
        arrived: AtomicUsize,
    }

    impl Shared {
        /// Whether it was the last one; `None` if it gave up.
        fn wait(&self, who: usize, of: usize, gives_up: bool) -> Option<bool> {
            let (mut node, came_in) = (None, Cell::new(0));
            let mut last = false;
            self.arrived.fetch_add(1, Ordering::Relaxed);
            let claim = |ticket| self.crowd.claim(ticket);
            if self.raw.arrive_last(of, claim, |who| self.crowd.resume(who)) {
                return Some(true);
            }
            let outcome = self.crowd.park(who, gives_up, |ticket| {
                let node = NonNull::from(node.insert(Node::new(ticket)));
                let claim = |ticket| self.crowd.claim(ticket);
                let wake = |who| self.crowd.resume(who);
                // SAFETY: the node leaves the queue below before it goes.
                let arrival = unsafe { self.raw.arrive(of, node, &came_in, claim, wake) };
                last = arrival == Arrival::Last;
                !last
            });
            if !last && outcome == Outcome::GaveUp {
                let node = node.as_ref().expect("published");
                // SAFETY: the node is alive, and in this queue if in any.
                if unsafe { self.raw.leave(NonNull::from(node), came_in.get()) } {
                    self.arrived.fetch_sub(1, Ordering::Relaxed);
                    return None;
                }
            }
            Some(last)
        }
    }

    fn check(of: usize, each: &'static [(usize, bool)], leaders: Option<usize>) {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(2);
        model.check(move || {
            let shared = Arc::new(Shared {
                raw: RawBarrier::new(),
                crowd: Crowd::new(each.len()),
                arrived: AtomicUsize::new(0),
            });
            let run = |who: usize| {
                let shared = shared.clone();
                move || {
                    let (rounds, gives_up) = each[who];
                    let mut led = 0;
                    for round in 1..=rounds {
                        let last = shared.wait(who, of, gives_up);
                        led += usize::from(last == Some(true));
                        if last.is_some() && !gives_up {
                            let arrived = shared.arrived.load(Ordering::Relaxed);
                            assert!(arrived >= of * round, "all are there before one goes on");
                        }
                    }
                    led
                }
            };
            let others: Vec<_> = (1..each.len()).map(|who| loom::thread::spawn(run(who))).collect();
            let mut led = run(0)();
            led += others.into_iter().map(|other| other.join().unwrap()).sum::<usize>();
            assert!(leaders.is_none_or(|leaders| led == leaders), "{led}");
            assert_eq!(shared.raw.count.load(Ordering::Relaxed), 0);
            assert!(!shared.raw.queue.has_waiters());
        });
    }

    #[test]
    fn all_come_before_one_goes_on() {
        check(3, &[(1, false), (1, false), (1, false)], Some(1));
    }

    #[test]
    fn rounds_do_not_mix() {
        check(2, &[(2, false), (2, false)], Some(2));
    }

    /// Three come to a barrier of two, and all of them may give up.
    #[test]
    fn who_gives_up_was_not_there() {
        check(2, &[(1, true), (1, true), (1, true)], None);
        check(2, &[(2, true), (2, true)], None);
    }
}
