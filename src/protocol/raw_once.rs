//! Something that is done once: by whom, and who waits for it.
//!
//! ```text
//!                begin                  finish
//!  Incomplete ----------> Running ---------------------> Complete (for good)
//!                            |  ^
//!          finish: a panic   v  |  begin, by force
//!                         Poisoned
//! ```
//!
//! The state is in the flags of the word, those who wait are in its queue. Whoever finishes wakes
//! all of them, whatever comes of it, and each looks again: after a failure one of them may be the
//! next to try.

use crate::primitive::const_unless_loom;
use crate::primitive::sync::atomic::Ordering;
use crate::protocol::wait_word::{End, FLAGS, Node, Step, WaitWord};
use std::ptr::NonNull;

/// What the flags say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub(crate) enum State {
    Incomplete = 0,
    Poisoned = 1,
    Running = 2,
    /// What was done is visible to whoever sees this.
    Complete = 3,
}

impl State {
    #[inline]
    fn of(bits: usize) -> State {
        match bits & FLAGS {
            0 => State::Incomplete,
            1 => State::Poisoned,
            2 => State::Running,
            _ => State::Complete,
        }
    }
}

/// See the module's description.
pub(crate) struct RawOnce<W>(WaitWord<W>);

impl<W: Copy> RawOnce<W> {
    const_unless_loom! {
        pub(crate) fn new() -> Self {
            RawOnce(WaitWord::new(State::Incomplete as usize))
        }
    }

    #[inline]
    pub(crate) fn state(&self) -> State {
        State::of(self.0.bits().load(Ordering::Acquire))
    }

    /// Becomes the one that does it. `false`: the state is not `from` any more.
    #[must_use = "whoever begins must finish"]
    pub(crate) fn begin(&self, from: State) -> bool {
        let bits = self.0.bits();
        let mut now = bits.load(Ordering::Relaxed);
        while State::of(now) == from {
            let next = now & !FLAGS | State::Running as usize;
            match bits.compare_exchange_weak(now, next, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(newer) => now = newer,
            }
        }
        false
    }

    /// Says what came of it, and calls `wake` for everybody who waits. Called by the one that has
    /// begun.
    pub(crate) fn finish<C>(
        &self,
        to: State,
        claim: impl FnMut(W) -> Option<C>,
        wake: impl FnMut(C),
    ) {
        // The flags are the caller's, as long as they say that it runs.
        let change = State::Running as usize ^ to as usize;
        let before = self.0.bits().fetch_xor(change, Ordering::AcqRel);
        debug_assert_eq!(State::of(before), State::Running);
        if before & !FLAGS != 0 {
            self.0.wake_all(claim, wake);
        }
    }

    /// Sets the state of one that is borrowed exclusively, so that nobody waits for it.
    pub(crate) fn set_state(&mut self, to: State) {
        self.0.bits().store(to as usize, Ordering::Relaxed);
    }

    /// Joins the queue, if the state is one that is `worth_waiting` for to change.
    ///
    /// # Safety
    ///
    /// The node is in no queue, and stays alive and in place until it is woken or has called
    /// [`RawOnce::leave`].
    #[expect(unsafe_code, reason = "passes on the queue's contract")]
    pub(crate) unsafe fn enter(
        &self,
        node: NonNull<Node<W>>,
        worth_waiting: impl Fn(State) -> bool,
    ) -> bool {
        let step = |flags| match worth_waiting(State::of(flags)) {
            true => Step::Join(flags),
            false => Step::Instead(flags),
        };
        // SAFETY: the caller's promise.
        unsafe { self.0.lock().join(End::Back, node, step) }
    }

    /// Leaves the queue without having been woken.
    ///
    /// # Safety
    ///
    /// The node is alive, and if it is in a queue, it is in this one.
    #[expect(unsafe_code, reason = "passes on the queue's contract")]
    pub(crate) unsafe fn leave(&self, node: NonNull<Node<W>>) {
        // SAFETY: the caller's promise.
        unsafe { self.0.lock().remove(node) };
    }
}

#[cfg(all(test, loom))]
#[expect(unsafe_code, reason = "the models queue nodes by hand")]
mod models {
    use super::*;
    use crate::protocol::crowd::{Crowd, Outcome, Ticket};
    use loom::cell::UnsafeCell;
    use loom::sync::Arc;

    struct Shared {
        raw: RawOnce<Ticket>,
        crowd: Crowd,
        data: UnsafeCell<usize>,
    }

    /// What one of them does.
    #[derive(Clone, Copy, PartialEq, Eq)]
    enum Does {
        Call,
        /// Its initialiser panics; then it calls by force.
        Panic,
        Wait,
        WaitOrGiveUp,
    }

    impl Shared {
        fn finish(&self, to: State) {
            self.raw.finish(to, |ticket| self.crowd.claim(ticket), |who| self.crowd.resume(who));
        }

        fn run(&self, who: usize, does: Does) {
            let mut panics = does == Does::Panic;
            let calls = panics || does == Does::Call;
            loop {
                match self.raw.state() {
                    State::Complete => {
                        // SAFETY: the model checks that no write overlaps.
                        self.data.with(|data| assert_eq!(unsafe { *data }, 1));
                        return;
                    }
                    from @ (State::Incomplete | State::Poisoned) if calls => {
                        if !self.raw.begin(from) {
                            continue;
                        }
                        if std::mem::take(&mut panics) {
                            self.finish(State::Poisoned);
                            continue;
                        }
                        // SAFETY: the model checks that no access overlaps.
                        self.data.with_mut(|data| unsafe { *data += 1 });
                        self.finish(State::Complete);
                    }
                    _ => {
                        let mut node = None;
                        let gives_up = does == Does::WaitOrGiveUp;
                        let outcome = self.crowd.park(who, gives_up, |ticket| {
                            let node = NonNull::from(node.insert(Node::new(ticket)));
                            // SAFETY: the node leaves the queue below before it goes.
                            unsafe {
                                self.raw.enter(node, |state| match state {
                                    State::Complete => false,
                                    State::Running => true,
                                    _ => !calls,
                                })
                            }
                        });
                        if outcome == Outcome::GaveUp {
                            let node = node.as_ref().expect("published");
                            // SAFETY: the node is alive, and in this queue if in any.
                            unsafe { self.raw.leave(NonNull::from(node)) };
                            return;
                        }
                    }
                }
            }
        }
    }

    fn check(each: &'static [Does], preemptions: usize) {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(preemptions);
        model.check(move || {
            let shared = Arc::new(Shared {
                raw: RawOnce::new(),
                crowd: Crowd::new(each.len()),
                data: UnsafeCell::new(0),
            });
            let others: Vec<_> = (1..each.len())
                .map(|who| {
                    let shared = shared.clone();
                    loom::thread::spawn(move || shared.run(who, each[who]))
                })
                .collect();
            shared.run(0, each[0]);
            others.into_iter().for_each(|other| other.join().unwrap());
            assert_eq!(shared.raw.0.bits().load(Ordering::Relaxed), State::Complete as usize);
        });
    }

    #[test]
    fn one_does_it_and_all_see_it() {
        check(&[Does::Call, Does::Call, Does::Wait], 3);
    }

    #[test]
    fn after_a_panic_another_one_does_it() {
        check(&[Does::Panic, Does::Call], 3);
        check(&[Does::Panic, Does::Call, Does::Wait], 1);
        check(&[Does::Panic, Does::Panic], 3);
    }

    #[test]
    fn who_gives_up_leaves_the_queue() {
        check(&[Does::Call, Does::WaitOrGiveUp, Does::Wait], 3);
    }
}
