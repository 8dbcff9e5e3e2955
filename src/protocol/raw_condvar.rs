//! A condition variable: those who wait for somebody to say that something has changed.
//!
//! A waiter joins the queue *before* it releases the mutex. So a notifier that changes something
//! with the mutex held finds in the queue whoever has looked at it before, whether it notifies
//! with the mutex held or after.
//!
//! A notification goes to one whose wait it ends: [`RawCondvar::notify_one`] passes over those who
//! have timed out or are being cancelled, and are only about to leave the queue.

use crate::primitive::const_unless_loom;
use crate::protocol::wait_word::{End, Node, WaitWord};
use std::ptr::NonNull;

/// See the module's description. The word's flags are not used.
pub(crate) struct RawCondvar<W>(WaitWord<W>);

impl<W: Copy> RawCondvar<W> {
    const_unless_loom! {
        pub(crate) fn new() -> Self {
            RawCondvar(WaitWord::new(0))
        }
    }

    /// Joins the queue. The caller holds the mutex, and releases it after this.
    ///
    /// # Safety
    ///
    /// The node is in no queue, and stays alive and in place until it is woken or has called
    /// [`RawCondvar::leave`].
    #[expect(unsafe_code, reason = "passes on the queue's contract")]
    pub(crate) unsafe fn enter(&self, node: NonNull<Node<W>>) {
        // SAFETY: the caller's promise.
        unsafe { self.0.lock().push(End::Back, node) };
    }

    /// Leaves the queue without having been notified.
    ///
    /// # Safety
    ///
    /// The node is alive, and if it is in a queue, it is in this one.
    #[expect(unsafe_code, reason = "passes on the queue's contract")]
    pub(crate) unsafe fn leave(&self, node: NonNull<Node<W>>) {
        // SAFETY: the caller's promise.
        unsafe { self.0.lock().remove(node) };
    }

    /// Claims the one that has waited longest.
    #[inline]
    #[must_use = "whoever was claimed is to be resumed"]
    pub(crate) fn notify_one<C>(&self, claim: impl FnMut(W) -> Option<C>) -> Option<C> {
        if !self.0.has_waiters() {
            return None;
        }
        self.0.lock().claim_first(false, claim)
    }

    /// Claims all who wait now, and calls `wake` with each of them.
    #[inline]
    pub(crate) fn notify_all<C>(&self, claim: impl FnMut(W) -> Option<C>, wake: impl FnMut(C)) {
        self.0.wake_all(claim, wake);
    }
}

#[cfg(all(test, loom))]
#[expect(unsafe_code, reason = "the models queue nodes by hand")]
mod models {
    use super::*;
    use crate::protocol::crowd::{Crowd, Outcome, Ticket};
    use loom::sync::{Arc, Mutex};

    /// Waiters for tokens, which are counted under a mutex.
    struct Shared {
        condvar: RawCondvar<Ticket>,
        crowd: Crowd,
        tokens: Mutex<usize>,
    }

    impl Shared {
        fn new(count: usize) -> Arc<Shared> {
            Arc::new(Shared {
                condvar: RawCondvar::new(),
                crowd: Crowd::new(count),
                tokens: Mutex::new(0),
            })
        }

        /// Takes a token, or gives up. Those who do not give up need one notification for each.
        fn take(&self, who: usize, gives_up: bool) -> bool {
            let mut tokens = self.tokens.lock().unwrap();
            while *tokens == 0 {
                let mut node = None;
                let mut held = Some(tokens);
                let outcome = self.crowd.park(who, gives_up, |ticket| {
                    let node = NonNull::from(node.insert(Node::new(ticket)));
                    // SAFETY: the node leaves the queue below before it goes.
                    unsafe { self.condvar.enter(node) };
                    drop(held.take());
                    true
                });
                let gave_up = outcome == Outcome::GaveUp;
                if gave_up {
                    let node = NonNull::from(node.as_ref().expect("published"));
                    // SAFETY: the node is alive, and in this queue if in any.
                    unsafe { self.condvar.leave(node) };
                }
                tokens = self.tokens.lock().unwrap();
                if gave_up {
                    break;
                }
            }
            let taken = *tokens > 0;
            *tokens -= usize::from(taken);
            taken
        }

        fn give(&self, count: usize, all: bool) {
            *self.tokens.lock().unwrap() += count;
            let claim = |ticket| self.crowd.claim(ticket);
            if all {
                self.condvar.notify_all(claim, |claimed| self.crowd.resume(claimed));
            } else if let Some(claimed) = self.condvar.notify_one(claim) {
                self.crowd.resume(claimed);
            }
        }
    }

    fn check(tokens: usize, givers: &'static [(usize, bool)], takers: &'static [bool]) {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(2);
        model.check(move || {
            let shared = Shared::new(takers.len());
            let threads: Vec<_> = givers
                .iter()
                .map(|&(count, all)| {
                    let shared = shared.clone();
                    loom::thread::spawn(move || {
                        shared.give(count, all);
                        0
                    })
                })
                .chain((1..takers.len()).map(|who| {
                    let shared = shared.clone();
                    loom::thread::spawn(move || usize::from(shared.take(who, takers[who])))
                }))
                .collect();
            let mut taken = usize::from(shared.take(0, takers[0]));
            taken += threads.into_iter().map(|thread| thread.join().unwrap()).sum::<usize>();
            assert_eq!(taken + *shared.tokens.lock().unwrap(), tokens);
            assert!(!shared.condvar.0.has_waiters());
        });
    }

    #[test]
    fn a_notification_is_not_lost() {
        check(1, &[(1, false)], &[false]);
        check(2, &[(1, false), (1, false)], &[false, false]);
    }

    #[test]
    fn those_in_a_hurry_take_a_token_or_leave() {
        check(1, &[(1, false)], &[true, true]);
        check(2, &[(2, true)], &[false, true]);
    }

    /// A notification that finds a waiter that has timed out, but has not left yet, goes to the
    /// one behind it.
    #[test]
    fn a_timeout_does_not_swallow_a_notification() {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(3);
        model.check(|| {
            let shared = Shared::new(2);
            let quitter = {
                let shared = shared.clone();
                loom::thread::spawn(move || {
                    let mut node = None;
                    let outcome = shared.crowd.park(1, true, |ticket| {
                        let node = NonNull::from(node.insert(Node::new(ticket)));
                        // SAFETY: the node leaves the queue below before it goes.
                        unsafe { shared.condvar.enter(node) };
                        true
                    });
                    if outcome == Outcome::Woken {
                        // It was told, and has no use for it.
                        shared.give(0, false);
                    } else {
                        let node = NonNull::from(node.as_ref().expect("published"));
                        // SAFETY: the node is alive, and in this queue if in any.
                        unsafe { shared.condvar.leave(node) };
                    }
                })
            };
            let giver = {
                let shared = shared.clone();
                loom::thread::spawn(move || shared.give(1, false))
            };
            assert!(shared.take(0, false));
            giver.join().unwrap();
            quitter.join().unwrap();
        });
    }

    #[test]
    fn all_are_notified() {
        check(2, &[(2, true)], &[false, false]);
    }
}
