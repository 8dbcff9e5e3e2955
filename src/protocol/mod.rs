//! The lock-free protocols, each generic over its payload and free of any stack switch.
//!
//! Everything here is small enough for a model checker: `RUSTFLAGS="--cfg loom" cargo test --lib
//! --release` runs the models at the end of each file. Nothing outside this folder builds under
//! loom, and nothing inside it knows what a coroutine is.
//!
//! | file | protocol | who takes part |
//! |---|---|---|
//! | [`park_word`] | one wait, decided once | the parked one; any waker, timer or canceller |
//! | [`status`] | completion, joining and lifetime of a coroutine | its home; its handles |
//! | [`inbox`] | wakes that cross from one home to another | many wakers; one machine |
//! | [`pins`] | wakers that still touch a home which may go | many wakers; one machine |
//! | [`poke`] | something to look at before a thread's next wait | the thread; who ends a scope |
//! | [`lineage`] | a migrating coroutine against the rest of its publication | the machine that it left; the one that takes it |
//! | [`sleep`] | a machine's sleep against a wake that was pushed to it | its machine; wakers |
//! | [`headcount`] | waiting until nobody is there, while others come and go | those who come and leave; one waiter |
//! | [`observed`] | what a machine is at, for those who look at it meanwhile | its machine; observers |
//! | [`idle`] | who is looking for work, who sleeps, whom to wake | all machines; submitters |
//! | [`doorbell`] | how a plain thread sleeps until it is called | a thread; whoever calls it |
//! | [`wakeup`] | a future's wakers against the one that polls it | who polls; wakers |
//! | [`token`] | `thread::park` and `unpark` | the parked one; unparkers |
//! | [`wait_word`] | joining and leaving a queue in one step with a look at its owner's flags | waiters; wakers |
//! | [`raw_mutex`] | who holds a mutex, who is woken, for whom it is kept | holders; waiters |
//! | [`raw_condvar`] | notifications against those who time out | waiters; notifiers |
//! | [`raw_rwlock`] | readers, writers, and who waits for whom | holders; waiters |
//! | [`raw_once`] | who initialises, who waits, and what comes of a failure | initialisers; waiters |
//! | [`raw_barrier`] | waiting until enough have come | those who come |
//! | [`raw_semaphore`] | permits, handed over first come, first served | who releases; waiters |
//! | [`raw_gate`] | who passes and who waits, for events and notifications | who opens it; waiters |
//! | [`readiness`] | edges of a descriptor against those who wait for them | pollers; waiters |
//! | [`pending`] | signals that have come, and when to ring for them | handlers; listeners |
//! | [`ring`] | records that one thread writes over the oldest, and others copy meanwhile | the writer; readers |
//! | [`short_lock`] | a lock for a few dozen instructions | whoever uses what it guards |
//! | [`channel`] | messages, meetings, selection | senders; receivers |

#![cfg_attr(loom, expect(dead_code, reason = "no model uses everything"))]

pub(crate) mod channel;
pub(crate) mod doorbell;
pub(crate) mod headcount;
pub(crate) mod idle;
pub(crate) mod inbox;
pub(crate) mod lineage;
pub(crate) mod observed;
pub(crate) mod park_word;
pub(crate) mod pending;
pub(crate) mod pins;
pub(crate) mod poke;
pub(crate) mod raw_barrier;
pub(crate) mod raw_condvar;
pub(crate) mod raw_gate;
pub(crate) mod raw_mutex;
pub(crate) mod raw_once;
pub(crate) mod raw_rwlock;
pub(crate) mod raw_semaphore;
pub(crate) mod readiness;
pub(crate) mod ring;
pub(crate) mod short_lock;
pub(crate) mod sleep;
pub(crate) mod status;
pub(crate) mod token;
pub(crate) mod wait_word;
pub(crate) mod wakeup;

/// What the models use where the runtime blocks a thread: a counted signal.
#[cfg(all(test, loom))]
mod signal {
    use loom::sync::{Condvar, Mutex};

    pub(super) struct Signal {
        pending: Mutex<usize>,
        arrived: Condvar,
    }

    impl Signal {
        pub(super) fn new() -> Signal {
            Signal { pending: Mutex::new(0), arrived: Condvar::new() }
        }

        pub(super) fn notify(&self) {
            *self.pending.lock().unwrap() += 1;
            self.arrived.notify_one();
        }

        pub(super) fn wait(&self) {
            let mut pending = self.pending.lock().unwrap();
            while *pending == 0 {
                pending = self.arrived.wait(pending).unwrap();
            }
            *pending -= 1;
        }
    }
}

/// What the models of locks have in place of coroutines: some who can wait, by number.
#[cfg(all(test, loom))]
mod crowd {
    use super::park_word::{ParkWord, Seq};
    use super::signal::Signal;

    pub(super) struct Crowd(Vec<(ParkWord, Signal)>);

    /// As the runtime's ticket.
    #[derive(Clone, Copy, Debug)]
    pub(super) struct Ticket(usize, Seq);

    /// Why a wait ended.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(super) enum Outcome {
        Woken,
        GaveUp,
    }

    impl Crowd {
        pub(super) fn new(count: usize) -> Crowd {
            Crowd((0..count).map(|_| (ParkWord::new(), Signal::new())).collect())
        }

        /// Claims a wait; to be followed by [`Crowd::resume`] with what it returns.
        pub(super) fn claim(&self, ticket: Ticket) -> Option<usize> {
            self.0[ticket.0].0.claim(ticket.1).then_some(ticket.0)
        }

        pub(super) fn resume(&self, claimed: usize) {
            self.0[claimed].1.notify();
        }

        /// Waits as `park` does; one with a `deadline` gives up as soon as nobody stops it.
        pub(super) fn park(
            &self,
            who: usize,
            deadline: bool,
            publish: impl FnOnce(Ticket) -> bool,
        ) -> Outcome {
            let (word, resumed) = &self.0[who];
            let seq = word.begin();
            if !publish(Ticket(who, seq)) && word.retract(seq) {
                return Outcome::Woken;
            }
            if deadline && word.claim(seq) {
                return Outcome::GaveUp;
            }
            resumed.wait();
            Outcome::Woken
        }
    }
}
