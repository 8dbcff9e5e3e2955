//! Waiting in the queues of locks.

#![expect(unsafe_code, reason = "queues nodes that live in the waiting frame")]

use crate::coroutine::unwind_cancelled;
use crate::park::{Cancel, Claimed, Outcome, Ticket, WaitReason, park};
use crate::protocol::raw_mutex::{Entry, RawMutex};
use crate::protocol::wait_word::Node;
use crate::sched;
use std::hint;
use std::ptr::{self, NonNull};
use std::sync::LazyLock;
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

/// After this long, the lock is kept for a waiter that came too late when it was woken.
pub(super) const PATIENCE: Duration = Duration::from_millis(1);

/// Looks at a lock before waiting for it: about a microsecond.
const SPINS: u32 = 40;

static SEVERAL_CORES: LazyLock<bool> =
    LazyLock::new(|| available_parallelism().is_ok_and(|cores| cores.get() > 1));

/// Claims the wait of one that was found in the queue of a lock.
pub(super) fn claim(ticket: Ticket) -> Option<Claimed> {
    // SAFETY: the protocols call this with the queue's lock held, and waiters leave the queue
    // under that lock before they return.
    unsafe { ticket.claim() }
}

/// Looks at a lock for a while, if whoever holds it may be running meanwhile.
///
/// With one worker, a coroutine cannot be: it runs after the caller has parked, or is parked
/// itself. With several, a holder that is parked is not known as such, so the look is short; and
/// nobody looks who is not the first to wait.
pub(super) fn spin(is_worth_it: impl Fn() -> bool) {
    let alone = sched::with_processor(|_, shared| shared.config.workers == 1);
    if alone == Some(true) || !*SEVERAL_CORES {
        return;
    }
    for _ in 0..SPINS {
        if !is_worth_it() {
            return;
        }
        hint::spin_loop();
    }
}

/// Locks a mutex that was found locked.
///
/// With [`Cancel::Defer`] it always gets it; else a cancellation unwinds from here.
#[cold]
pub(super) fn lock_contended(raw: &RawMutex<Ticket>, cancel: Cancel) {
    spin(|| raw.is_worth_spinning());
    if raw.try_lock() {
        return;
    }
    let reason = WaitReason::Mutex(ptr::from_ref(raw).addr());
    let since = Instant::now();
    let mut entry = Entry::First;
    loop {
        let mut node = None;
        let mut acquired = false;
        let outcome = park(reason, None, cancel, |ticket| {
            let node = NonNull::from(node.insert(Node::new(ticket)));
            // SAFETY: the node is in the frame of this wait, and leaves the queue below unless a
            // waker has taken it off.
            let joined = unsafe { raw.enter(node, entry) };
            if !joined {
                // Whoever has joined may run already, elsewhere: then this frame is not ours.
                acquired = true;
            }
            joined
        });
        // Whatever ended the wait: it is over, and the lock is ours.
        if acquired {
            return;
        }
        if outcome == Outcome::Woken {
            if node.is_some_and(|node| node.is_granted()) || raw.try_lock_woken() {
                return;
            }
            entry = Entry::Again { reserve: since.elapsed() > PATIENCE };
            continue;
        }
        if let Some(node) = &node {
            // SAFETY: the node is alive, and in this queue if in any.
            unsafe { raw.leave(NonNull::from(node)) };
            entry = Entry::First;
        } else if entry != Entry::First {
            drop(raw.abandon(claim));
            entry = Entry::First;
        }
        if outcome == Outcome::Cancelled {
            unwind_cancelled();
        }
    }
}

/// After a release that found somebody waiting.
#[cold]
pub(super) fn wake_next(raw: &RawMutex<Ticket>) {
    drop(raw.wake_next(claim));
}
