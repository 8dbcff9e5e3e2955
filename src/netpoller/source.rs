//! A descriptor in the hands of pirn: system calls that would block park their coroutine instead.

#![expect(unsafe_code, reason = "queues a node that lives in the waiting frame")]

use crate::coroutine::unwind_cancelled;
use crate::netpoller::driver::claim;
use crate::netpoller::os_wait;
use crate::netpoller::slot::{self, Slot};
use crate::park::{self, Cancel, Outcome, Ticket, WaitReason};
use crate::sched;
use crate::util::wait_list::Node;
use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// A direction of a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// Reading and accepting.
    Read,
    /// Writing and connecting.
    Write,
}

/// What a system call that did not block gave.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Done<T> {
    pub(crate) value: T,
    /// It read less than it could have, so the descriptor, a stream, is empty.
    pub(crate) drained: bool,
}

/// An owned descriptor and the slot in which its waiters are found.
pub(crate) struct Source {
    fd: ManuallyDrop<OwnedFd>,
    pub(super) slot: &'static Slot,
    /// What the user asked for by `set_nonblocking`.
    user_nonblocking: AtomicBool,
}

impl Source {
    /// Takes a descriptor over. It is registered with a poller when it first has to be waited for.
    pub(crate) fn new(fd: OwnedFd) -> Source {
        Source {
            fd: ManuallyDrop::new(fd),
            slot: slot::allocate(),
            user_nonblocking: AtomicBool::new(false),
        }
    }

    #[inline]
    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Gives the descriptor away.
    pub(crate) fn into_fd(self) -> OwnedFd {
        let mut source = ManuallyDrop::new(self);
        // SAFETY: `source` is not dropped, and not used after this.
        unsafe { source.release() }
    }

    /// # Safety
    ///
    /// Called once; the source is not used any more.
    unsafe fn release(&mut self) -> OwnedFd {
        self.slot.deregister(self.fd.as_fd());
        self.slot.free();
        // SAFETY: the caller's promise.
        unsafe { ManuallyDrop::take(&mut self.fd) }
    }

    /// Makes operations fail with `WouldBlock` instead of waiting.
    pub(crate) fn set_user_nonblocking(&self, on: bool) {
        self.user_nonblocking.store(on, Ordering::Relaxed);
    }

    #[inline]
    pub(crate) fn is_user_nonblocking(&self) -> bool {
        self.user_nonblocking.load(Ordering::Relaxed)
    }

    /// Calls `op` until it does not block any more, and waits in between: the one place that does.
    ///
    /// # Errors
    ///
    /// - What `op` says, but for `Interrupted`, which is tried again.
    /// - `WouldBlock` when the deadline comes first, or if the user asked not to wait.
    /// - What the poller says if the descriptor cannot be registered.
    #[inline]
    pub(crate) fn io<T>(
        &self,
        side: Side,
        reason: WaitReason,
        deadline: Option<Instant>,
        mut op: impl FnMut(BorrowedFd<'_>) -> io::Result<Done<T>>,
    ) -> io::Result<T> {
        let direction = self.slot.direction(side);
        loop {
            let seen = direction.seen();
            let skip = seen.is_drained() && !self.is_user_nonblocking() && sched::in_coroutine();
            if !skip {
                match op(self.as_fd()) {
                    Ok(done) => {
                        if done.drained && SHORT_READ_DRAINS && self.slot.short_reads_drain() {
                            direction.drained(seen);
                        }
                        // There may be more, for the next one that waits.
                        drop(direction.pass(claim));
                        sched::cooperate();
                        return Ok(done.value);
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    Err(error) if error.kind() != io::ErrorKind::WouldBlock => {
                        // Whoever waits too is to see the error for itself.
                        drop(direction.pass(claim));
                        return Err(error);
                    }
                    Err(would_block) if self.is_user_nonblocking() => return Err(would_block),
                    Err(_) => {}
                }
            }
            if !self.wait(side, reason, deadline, seen)? {
                return Err(io::Error::from_raw_os_error(libc::EAGAIN));
            }
        }
    }

    /// Waits for an edge that came after `seen`. `false`: the deadline came first.
    fn wait(
        &self,
        side: Side,
        reason: WaitReason,
        deadline: Option<Instant>,
        seen: crate::protocol::readiness::Seen,
    ) -> io::Result<bool> {
        if !sched::in_coroutine() {
            return os_wait::wait(self.as_fd(), side, deadline);
        }
        self.slot.register(self.as_fd())?;
        self.slot.rearm(self.as_fd(), side)?;
        let direction = self.slot.direction(side);
        let mut node: Option<Node<Ticket>> = None;
        let outcome = park::park(reason, deadline, Cancel::Deliver, |ticket| {
            let Some(queue) = direction.lock_if_current(seen) else { return false };
            let node = NonNull::from(node.insert(Node::new(ticket)));
            // SAFETY: the node is in the frame of this wait, and leaves the queue below unless an
            // edge has taken it off.
            unsafe { queue.join(node) };
            true
        });
        if outcome == Outcome::Woken {
            return Ok(true);
        }
        if let Some(node) = &mut node {
            // SAFETY: the node is alive, and if it is in a queue, it is in this one.
            unsafe { direction.remove(NonNull::from(node)) };
        }
        match outcome {
            Outcome::Cancelled => unwind_cancelled(),
            Outcome::TimedOut => Ok(false),
            // A look more than needed does no harm.
            Outcome::Woken | Outcome::Interrupted => Ok(true),
        }
    }
}

/// Whether a short read is known to leave an edge-triggered stream empty: epoll's documentation
/// says so; for the others nothing does.
pub(super) const SHORT_READ_DRAINS: bool =
    cfg!(all(target_os = "linux", not(netpoll_backend = "poll")));

impl Drop for Source {
    fn drop(&mut self) {
        // SAFETY: the source is not used after its drop.
        drop(unsafe { self.release() });
    }
}
