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
//! | `Searcher` | as `Woken`, and the machine has been counted as looking for work by its waker |

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

impl Sleep {
    pub(crate) fn new() -> Self {
        Sleep(AtomicU32::new(AWAKE))
    }

    /// Announces the sleep. The machine must look at all its sources of work once more before it
    /// blocks.
    pub(crate) fn prepare(&self) {
        self.0.store(ASLEEP, Ordering::Relaxed);
        fence(Ordering::SeqCst);
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
        self.0.load(Ordering::Relaxed) == ASLEEP && self.turn(WOKEN)
    }

    /// Picks this machine to search for work. `true`: the caller must signal it and has counted
    /// it as searching.
    #[must_use = "a sleeping machine must be signalled"]
    pub(crate) fn wake_to_search(&self) -> bool {
        self.0.load(Ordering::Relaxed) == ASLEEP && self.turn(SEARCHER)
    }

    fn turn(&self, to: u32) -> bool {
        self.0.compare_exchange(ASLEEP, to, Ordering::AcqRel, Ordering::Relaxed).is_ok()
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
    #[test]
    fn inbox_against_sleep() {
        loom::model(|| {
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
}
