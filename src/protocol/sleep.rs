//! A machine's sleep against a wake that is meant for this machine.
//!
//! A coroutine that lives on a machine can be resumed by that machine alone, so such a wake is
//! never throttled and never given to another: it is pushed to the home's inbox, and *that*
//! machine is woken if it sleeps. The two sides meet in the pattern of Dekker's algorithm:
//!
//! ```text
//!   waker                              machine
//!   push to the inbox                  state = Asleep
//!   fence                              fence
//!   state == Asleep?                   look at the inbox (and everything else) again
//!     Asleep -> Woken: signal            something there: wake up by itself
//!                                        nothing: block in the poller
//!                                      swap state to Awake, see who called
//! ```
//!
//! One of the two must see the other. Only the waker that changes `Asleep` to a woken state sends
//! a signal, so a burst of wakes costs one system call.
//!
//! | state | who owns what |
//! |---|---|
//! | `Awake` | the machine looks at its inbox before it sleeps again |
//! | `Asleep` | whoever pushes must wake the machine |
//! | `Woken` | somebody has taken the duty to signal; others need not |
//! | `Searcher` | as `Woken`, and the machine has been counted as looking for work by its waker, or by another who came before it was up |

use crate::primitive::sync::atomic::{AtomicU32, Ordering, fence};

const AWAKE: u32 = 0;
const ASLEEP: u32 = 1;
const WOKEN: u32 = 2;
const SEARCHER: u32 = 3;

/// See the module's description.
#[derive(Debug)]
pub(crate) struct Sleep(AtomicU32);

/// How a sleep ended.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
#[must_use]
pub(crate) enum Wakeup {
    /// By itself: an event, a timer, or work found on the second look.
    Own,
    /// Somebody has signalled, or is about to.
    Signalled,
    /// As `Signalled`, and this machine already counts as searching.
    Searcher,
}

/// Whether a machine was picked to search.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
#[must_use = "a sleeping machine must be signalled"]
pub(crate) enum Picked {
    /// Yes, and the caller must signal it.
    Asleep,
    /// Yes, and whoever has woken it signals it.
    Woken,
    /// It is awake, or picked already.
    No,
}

impl Sleep {
    pub(crate) fn new() -> Self {
        Sleep(AtomicU32::new(AWAKE))
    }

    /// Announces the sleep. The machine must look at all its sources of work once more before it
    /// blocks, and before that comes the fence, which is that of
    /// [`Idle::begin_sleep`](crate::protocol::idle::Idle::begin_sleep).
    pub(crate) fn prepare(&self) {
        self.0.store(ASLEEP, Ordering::Relaxed);
    }

    /// Ends the sleep.
    pub(crate) fn end(&self) -> Wakeup {
        match self.0.swap(AWAKE, Ordering::AcqRel) {
            WOKEN => Wakeup::Signalled,
            SEARCHER => Wakeup::Searcher,
            _ => Wakeup::Own,
        }
    }

    /// Called after a push to this machine. `true`: the caller must signal it.
    #[inline]
    #[must_use = "a sleeping machine must be signalled"]
    pub(crate) fn wake(&self) -> bool {
        fence(Ordering::SeqCst);
        self.0.load(Ordering::Relaxed) == ASLEEP && self.turn(ASLEEP, WOKEN)
    }

    /// Picks this machine to search for work. The caller has counted it as searching.
    pub(crate) fn wake_to_search(&self) -> Picked {
        loop {
            let (state, picked) = match self.0.load(Ordering::Relaxed) {
                ASLEEP => (ASLEEP, Picked::Asleep),
                WOKEN => (WOKEN, Picked::Woken),
                _ => return Picked::No,
            };
            if self.turn(state, SEARCHER) {
                return picked;
            }
        }
    }

    fn turn(&self, from: u32, to: u32) -> bool {
        self.0.compare_exchange(from, to, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }
}

#[cfg(all(test, loom))]
mod models {
    use super::*;
    use crate::protocol::inbox::{Inbox, testing::Item};
    use crate::protocol::signal::Signal;
    use loom::sync::Arc;

    /// Two wakers push to a machine that is going to sleep: it never sleeps on a full inbox, and
    /// it is signalled at most once.
    ///
    /// With three threads that all write to two words, all interleavings are too many: three
    /// preemptions, one more than are needed for each pair of the three to meet in the middle of
    /// the pattern. One waker and the machine are looked at without a bound below.
    #[test]
    fn inbox_against_sleep() {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(3);
        model.check(|| {
            let shared = Arc::new((Inbox::new(), Sleep::new(), Signal::new()));
            let wakers: Vec<_> = (0..2)
                .map(|value| {
                    let shared = shared.clone();
                    loom::thread::spawn(move || {
                        shared.0.push(Item::new(value));
                        let duty = shared.1.wake();
                        if duty {
                            shared.2.notify();
                        }
                        duty
                    })
                })
                .collect();
            let (inbox, sleep, signal) = &*shared;
            sleep.prepare();
            // As `Idle::begin_sleep` does.
            fence(Ordering::SeqCst);
            let mut seen = 0;
            if inbox.is_empty() {
                // Blocks in the poller until a signal comes.
                signal.wait();
            }
            let wakeup = sleep.end();
            seen += inbox.take_all().count();
            assert!(seen > 0, "woken for nothing");
            let mut signals = 0;
            for waker in wakers {
                signals += usize::from(waker.join().unwrap());
            }
            seen += inbox.take_all().count();
            assert_eq!(seen, 2);
            assert_eq!(signals, usize::from(wakeup == Wakeup::Signalled));
        });
    }

    /// One waker; the machine's sleep may also be ended by an event of its own. If it learns that
    /// it has been called, it sees what it was called for.
    #[test]
    fn who_was_called_sees_why() {
        loom::model(|| {
            let shared = Arc::new((Inbox::new(), Sleep::new(), Signal::new()));
            let waker = {
                let shared = shared.clone();
                loom::thread::spawn(move || {
                    shared.0.push(Item::new(7));
                    if shared.1.wake() {
                        shared.2.notify();
                    }
                })
            };
            let (inbox, sleep, signal) = &*shared;
            let mut called = false;
            for has_event in [true, false] {
                sleep.prepare();
                // As `Idle::begin_sleep` does.
                fence(Ordering::SeqCst);
                if inbox.is_empty() && !has_event {
                    signal.wait();
                }
                called |= sleep.end() == Wakeup::Signalled;
                if called {
                    assert!(!inbox.is_empty(), "called for nothing");
                }
                if !inbox.is_empty() {
                    break;
                }
            }
            assert_eq!(inbox.take_all().count(), 1);
            waker.join().unwrap();
        });
    }

    /// A machine that is picked to search was counted by its waker before it learns of it.
    #[test]
    fn who_is_picked_has_been_counted() {
        loom::model(|| {
            let shared = Arc::new((AtomicU32::new(0), Sleep::new()));
            let waker = {
                let shared = shared.clone();
                loom::thread::spawn(move || {
                    shared.0.store(1, Ordering::Relaxed);
                    shared.1.wake_to_search()
                })
            };
            shared.1.prepare();
            // An event of its own ends the sleep.
            let wakeup = shared.1.end();
            if wakeup == Wakeup::Searcher {
                assert_eq!(shared.0.load(Ordering::Relaxed), 1);
            }
            let picked = waker.join().unwrap() == Picked::Asleep;
            assert_eq!(picked, wakeup == Wakeup::Searcher);
        });
    }
}
