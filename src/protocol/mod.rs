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
//! | [`sleep`] | a machine's sleep against a wake that was pushed to it | its machine; wakers |
//! | [`idle`] | who is looking for work, who sleeps, whom to wake | all machines; submitters |
//! | [`token`] | `thread::park` and `unpark` | the parked one; unparkers |
//! | [`readiness`] | edges of a descriptor against those who wait for them | pollers; waiters |
//! | [`short_lock`] | a lock for a few dozen instructions | whoever uses what it guards |
//! | [`channel`] | messages, meetings, selection | senders; receivers |

#[cfg_attr(loom, expect(dead_code, reason = "the models do not need all of it"))]
pub(crate) mod channel;
pub(crate) mod idle;
pub(crate) mod inbox;
pub(crate) mod park_word;
pub(crate) mod readiness;
pub(crate) mod short_lock;
pub(crate) mod sleep;
pub(crate) mod status;
pub(crate) mod token;

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
