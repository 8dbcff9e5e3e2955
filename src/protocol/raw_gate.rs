//! A gate: who comes to it while it is open passes, and others wait.
//!
//! It has two uses. An event opens it for everybody, until somebody closes it. A notification
//! opens it for **one**, who closes it behind them; if somebody waits, that one passes instead and
//! the gate stays closed.
//!
//! Each waiter has a number, and whoever lets all pass writes down which was the next one to be given.
//! So a waiter whose wait was interrupted, and who could not be claimed for that, learns when it comes
//! back with its number whether it has passed meanwhile.

use crate::primitive::sync::Mutex;
use crate::primitive::sync::atomic::{AtomicUsize, Ordering};
use crate::primitive::{MutexGuard, const_unless_loom, lock};
use crate::util::wait_list::{Node, WaitList};
use std::array;
use std::ptr::NonNull;

/// Wakes that are made ready with the lock held, before it is released to make them.
const BATCH: usize = if cfg!(loom) { 1 } else { 32 };

const CLOSED: usize = 0;
const OPEN: usize = 1;

/// See the module's description.
pub(crate) struct RawGate<W> {
    /// Changed with the lock held.
    state: AtomicUsize,
    waiting: Mutex<Queue<W>>,
}

struct Queue<W> {
    list: WaitList<Numbered<W>>,
    next_number: u64,
    /// Whoever has a smaller number was let pass with all others.
    passed_before: u64,
}

/// When somebody came: who has a smaller one came earlier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Number(u64);

/// One who waits, and when it came.
#[derive(Clone, Copy)]
pub(crate) struct Numbered<W> {
    number: Number,
    waiter: W,
}

impl<W> Numbered<W> {
    pub(crate) fn number(&self) -> Number {
        self.number
    }
}

impl<W: Copy> RawGate<W> {
    const_unless_loom! {
        pub(crate) fn new(open: bool) -> Self {
            let waiting = Queue { list: WaitList::new(), next_number: 0, passed_before: 0 };
            RawGate {
                state: AtomicUsize::new(if open { OPEN } else { CLOSED }),
                waiting: Mutex::new(waiting),
            }
        }
    }

    /// Whether it is open; whoever sees that sees what was done before it was opened.
    #[inline]
    pub(crate) fn is_open(&self) -> bool {
        self.state.load(Ordering::Acquire) == OPEN
    }

    /// Passes if it is open, and closes it. For gates that are opened for one.
    #[inline]
    pub(crate) fn pass_and_close(&self) -> bool {
        self.is_open() && {
            let _queue = lock(&self.waiting);
            self.state.swap(CLOSED, Ordering::AcqRel) == OPEN
        }
    }

    /// Joins the queue unless the gate is open. `false`: it was, and the caller passes; if
    /// `closing`, it is closed now.
    ///
    /// One that comes back after an interruption says under which number it has waited, and keeps it.
    /// `false` also means then that it was let pass meanwhile, with all others.
    ///
    /// # Safety
    ///
    /// What `node` returns is in no queue, and stays alive and in place until it is woken or has
    /// called [`RawGate::leave`].
    #[expect(unsafe_code, reason = "passes on the wait list's contract")]
    pub(crate) unsafe fn enter(
        &self,
        closing: bool,
        back: Option<Number>,
        waiter: W,
        node: impl FnOnce(Numbered<W>) -> NonNull<Node<Numbered<W>>>,
    ) -> bool {
        let mut queue = lock(&self.waiting);
        if back.is_some_and(|Number(number)| number < queue.passed_before) {
            return false;
        }
        if self.is_open() {
            if closing {
                self.state.store(CLOSED, Ordering::Relaxed);
            }
            return false;
        }
        let number = back.unwrap_or_else(|| queue.next_number());
        // SAFETY: the caller's promise.
        unsafe { queue.list.push_back(node(Numbered { number, waiter })) };
        true
    }

    /// Leaves the queue without having been woken.
    ///
    /// # Safety
    ///
    /// The node is alive, and if it is in a queue, it is in this one.
    #[expect(unsafe_code, reason = "passes on the wait list's contract")]
    pub(crate) unsafe fn leave(&self, node: NonNull<Node<Numbered<W>>>) {
        // SAFETY: the caller's promise.
        unsafe { lock(&self.waiting).list.remove(node) };
    }

    /// Lets one pass: the one that has waited longest, or if nobody waits the next one to come.
    #[must_use = "whoever was claimed is to be resumed"]
    pub(crate) fn open_for_one<C>(&self, claim: impl FnMut(W) -> Option<C>) -> Option<C> {
        let mut queue = lock(&self.waiting);
        let claimed = queue.claim_first(u64::MAX, claim);
        if claimed.is_none() {
            self.state.store(OPEN, Ordering::Release);
        }
        claimed
    }

    /// Opens it for everybody. `wake` is called without the lock.
    pub(crate) fn open<C>(&self, claim: impl FnMut(W) -> Option<C>, wake: impl FnMut(C)) {
        let queue = lock(&self.waiting);
        self.state.store(OPEN, Ordering::Release);
        self.let_these_pass(queue, claim, wake);
    }

    /// Lets all pass who wait now, and leaves the gate as it is.
    pub(crate) fn let_pass<C>(&self, claim: impl FnMut(W) -> Option<C>, wake: impl FnMut(C)) {
        self.let_these_pass(lock(&self.waiting), claim, wake);
    }

    /// Lets all pass who are in the queue now: not who joins while it is unlocked in between, after
    /// the gate was closed again.
    ///
    /// Those who come back are at the end of the queue with their old numbers. But all who are to pass
    /// were in it before, or do not join any more, so nobody of them is behind one who is not.
    fn let_these_pass<'a, C>(
        &'a self,
        mut queue: MutexGuard<'a, Queue<W>>,
        mut claim: impl FnMut(W) -> Option<C>,
        mut wake: impl FnMut(C),
    ) {
        let end = queue.next_number;
        queue.passed_before = end;
        loop {
            let batch: [Option<C>; BATCH] = array::from_fn(|_| queue.claim_first(end, &mut claim));
            let done = batch[BATCH - 1].is_none();
            drop(queue);
            batch.into_iter().flatten().for_each(&mut wake);
            if done {
                return;
            }
            queue = lock(&self.waiting);
        }
    }

    #[inline]
    pub(crate) fn close(&self) {
        let _queue = lock(&self.waiting);
        self.state.store(CLOSED, Ordering::Relaxed);
    }
}

impl<W: Copy> Queue<W> {
    fn next_number(&mut self) -> Number {
        let number = Number(self.next_number);
        self.next_number += 1;
        number
    }

    /// Claims the first of those who came before `end`.
    fn claim_first<C>(&mut self, end: u64, mut claim: impl FnMut(W) -> Option<C>) -> Option<C> {
        loop {
            self.list.front().filter(|first| first.number.0 < end)?;
            // Fails for one that a timer or a cancellation has claimed: it is not waiting.
            if let Some(claimed) = self.list.pop_front().and_then(|first| claim(first.waiter)) {
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
    use loom::sync::atomic::AtomicUsize as Data;

    struct Shared {
        gate: RawGate<Ticket>,
        crowd: Crowd,
        data: Data,
    }

    impl Shared {
        fn new(count: usize) -> Arc<Shared> {
            let (gate, crowd) = (RawGate::new(false), Crowd::new(count));
            Arc::new(Shared { gate, crowd, data: Data::new(0) })
        }

        /// Whether it passed.
        fn wait(&self, who: usize, closing: bool, gives_up: bool) -> bool {
            let mut node = None;
            let outcome = self.crowd.park(who, gives_up, |ticket| {
                // SAFETY: the node leaves the queue below before it goes.
                unsafe {
                    self.gate
                        .enter(closing, None, ticket, |w| NonNull::from(node.insert(Node::new(w))))
                }
            });
            if outcome == Outcome::Woken {
                return true;
            }
            let node = NonNull::from(node.as_ref().expect("published"));
            // SAFETY: the node is alive, and in this queue if in any.
            unsafe { self.gate.leave(node) };
            false
        }

        /// Waits until it passes, and is interrupted once, unless it passes before that. Calls
        /// `joined` whenever it has joined the queue.
        fn wait_interrupted(&self, who: usize, closing: bool, mut joined: impl FnMut()) {
            let mut back = None;
            loop {
                let (mut node, mut number) = (None, None);
                let outcome = self.crowd.park(who, back.is_none(), |ticket| {
                    // SAFETY: the node leaves the queue below before it goes.
                    let waits = unsafe {
                        self.gate.enter(closing, back, ticket, |w| {
                            number = Some(w.number());
                            NonNull::from(node.insert(Node::new(w)))
                        })
                    };
                    if waits {
                        joined();
                    }
                    waits
                });
                if outcome == Outcome::Woken {
                    return;
                }
                let node = NonNull::from(node.as_ref().expect("published"));
                // SAFETY: the node is alive, and in this queue if in any.
                unsafe { self.gate.leave(node) };
                back = number;
            }
        }

        fn open(&self) {
            self.gate.open(|t| self.crowd.claim(t), |c| self.crowd.resume(c));
        }

        fn let_pass(&self) {
            self.gate.let_pass(|t| self.crowd.claim(t), |c| self.crowd.resume(c));
        }

        fn open_for_one(&self) {
            let claimed = self.gate.open_for_one(|ticket| self.crowd.claim(ticket));
            claimed.into_iter().for_each(|claimed| self.crowd.resume(claimed));
        }
    }

    fn check(model: impl Fn() + Sync + Send + 'static) {
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(3);
        builder.check(model);
    }

    #[test]
    fn an_opened_gate_lets_all_pass_and_shows_what_came_before() {
        check(|| {
            let shared = Shared::new(2);
            let theirs = shared.clone();
            let other = loom::thread::spawn(move || {
                assert!(theirs.wait(1, false, false));
                assert_eq!(theirs.data.load(Ordering::Relaxed), 1);
            });
            let theirs = shared.clone();
            let opener = loom::thread::spawn(move || {
                theirs.data.store(1, Ordering::Relaxed);
                theirs.open();
            });
            if shared.gate.is_open() {
                assert_eq!(shared.data.load(Ordering::Relaxed), 1);
            }
            assert!(shared.wait(0, false, false));
            other.join().unwrap();
            opener.join().unwrap();
        });
    }

    /// Who closes the gate and then comes to it is not let pass by an opening before that.
    #[test]
    fn an_opening_is_not_for_who_has_closed_it_since() {
        check(|| {
            let shared = Shared::new(2);
            let theirs = shared.clone();
            let other = loom::thread::spawn(move || theirs.wait(1, false, true));
            let theirs = shared.clone();
            let opener = loom::thread::spawn(move || {
                theirs.open();
            });
            if shared.gate.is_open() {
                shared.gate.close();
                assert!(!shared.wait(0, false, true));
            }
            other.join().unwrap();
            opener.join().unwrap();
        });
    }

    /// A notification meets one that gives up: it goes to the other, or stays for the next.
    #[test]
    fn a_notification_is_not_lost_with_one_who_gives_up() {
        check(|| {
            let shared = Shared::new(2);
            let theirs = shared.clone();
            let other = loom::thread::spawn(move || theirs.wait(1, true, true));
            let theirs = shared.clone();
            let notifier = loom::thread::spawn(move || theirs.open_for_one());
            let mine = shared.wait(0, true, true);
            let other = other.join().unwrap();
            notifier.join().unwrap();
            let passed = [mine, other].iter().filter(|passed| **passed).count();
            assert_eq!(passed + usize::from(shared.gate.is_open()), 1);
        });
    }

    /// The first in the queue may have given up and not left it yet.
    #[test]
    fn a_notification_passes_over_one_who_gives_up() {
        check(|| {
            let shared = Shared::new(2);
            let theirs = shared.clone();
            let other = loom::thread::spawn(move || {
                if theirs.wait(1, true, true) {
                    theirs.open_for_one();
                }
            });
            let theirs = shared.clone();
            let notifier = loom::thread::spawn(move || theirs.open_for_one());
            assert!(shared.wait(0, true, false));
            other.join().unwrap();
            notifier.join().unwrap();
        });
    }

    /// One who is interrupted, and waits again, is let pass by what came in between.
    #[test]
    fn who_is_interrupted_is_let_pass_with_the_others() {
        for pulses in [false, true] {
            check(move || {
                let shared = Shared::new(2);
                let theirs = shared.clone();
                let other = loom::thread::spawn(move || {
                    theirs.wait_interrupted(1, !pulses, || theirs.data.store(1, Ordering::Release));
                });
                let theirs = shared.clone();
                let opener = loom::thread::spawn(move || {
                    if theirs.data.load(Ordering::Acquire) == 0 {
                        return theirs.open();
                    }
                    // It waits, so that it needs no more than this.
                    if pulses {
                        theirs.open();
                        theirs.gate.close();
                    } else {
                        theirs.let_pass();
                    }
                });
                other.join().unwrap();
                opener.join().unwrap();
            });
        }
    }

    /// One who comes after the others were let pass waits, interrupted or not.
    #[test]
    fn who_is_interrupted_does_not_pass_by_what_came_before() {
        check(|| {
            let shared = Shared::new(2);
            let theirs = shared.clone();
            shared.let_pass();
            let other = loom::thread::spawn(move || {
                theirs.wait_interrupted(1, true, || ());
                assert_eq!(theirs.data.load(Ordering::Relaxed), 1);
            });
            shared.data.store(1, Ordering::Relaxed);
            shared.open_for_one();
            other.join().unwrap();
            assert!(!shared.gate.is_open());
        });
    }

    /// A notification that meets one who is interrupted is kept for it.
    #[test]
    fn a_notification_is_not_lost_with_one_who_is_interrupted() {
        check(|| {
            let shared = Shared::new(2);
            let theirs = shared.clone();
            let other = loom::thread::spawn(move || theirs.wait_interrupted(1, true, || ()));
            let theirs = shared.clone();
            let notifier = loom::thread::spawn(move || theirs.open_for_one());
            other.join().unwrap();
            notifier.join().unwrap();
            assert!(!shared.gate.is_open());
        });
    }

    #[test]
    fn two_notifications_let_two_pass() {
        check(|| {
            let shared = Shared::new(2);
            let theirs = shared.clone();
            let other = loom::thread::spawn(move || {
                assert!(theirs.wait(1, true, false));
                theirs.open_for_one();
            });
            let theirs = shared.clone();
            let notifier = loom::thread::spawn(move || theirs.open_for_one());
            assert!(shared.wait(0, true, false));
            shared.open_for_one();
            other.join().unwrap();
            notifier.join().unwrap();
        });
    }
}
