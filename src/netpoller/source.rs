//! A descriptor in the hands of pirn: system calls that would block park their coroutine instead.

#![expect(unsafe_code, reason = "queues a node that lives in the waiting frame")]

use crate::coroutine::unwind_cancelled;
use crate::netpoller::driver::{claim, wake_all};
use crate::netpoller::os_wait;
use crate::netpoller::slot::{self, Slot};
use crate::park::{self, Cancel, Outcome, Ticket, WaitReason};
use crate::protocol::readiness::Seen;
pub(crate) use crate::protocol::readiness::Side;
use crate::sched;
use crate::util::wait_list::Node;
use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// What a system call that did not block gave.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Done<T> {
    pub(crate) value: T,
    /// It read less than it could have, so the descriptor, a stream, is empty.
    pub(crate) drained: bool,
}

/// What closes the descriptors of [`Source::set_close`]: one function for all of them, since there are many
/// sources, and few of them have it.
static CLOSE: OnceLock<fn(OwnedFd)> = OnceLock::new();

/// An owned descriptor and the slot in which its waiters are found.
pub(crate) struct Source {
    fd: ManuallyDrop<OwnedFd>,
    pub(super) slot: &'static Slot,
    /// What the user asked for by `set_nonblocking`.
    user_nonblocking: AtomicBool,
    short_reads_drain: bool,
    /// To close it here would stop a worker: [`CLOSE`] does.
    has_close: bool,
    /// Somebody has a duplicate whose descriptor is his to set the flags of.
    is_shared: AtomicBool,
}

impl Source {
    /// Takes a descriptor over. It is registered with a poller when it first has to be waited for.
    pub(crate) fn new(fd: OwnedFd) -> Source {
        Source {
            fd: ManuallyDrop::new(fd),
            slot: slot::allocate(),
            user_nonblocking: AtomicBool::new(false),
            short_reads_drain: false,
            has_close: false,
            is_shared: AtomicBool::new(false),
        }
    }

    /// A read that leaves room proves that nothing is left, as with TCP. On a Unix socket reads also
    /// end where descriptors were sent along.
    pub(crate) fn set_short_reads_drain(&mut self) {
        self.short_reads_drain = true;
    }

    /// Closing it may take its time, and is left to `close`, which is the same one each time.
    pub(crate) fn set_close(&mut self, close: fn(OwnedFd)) {
        CLOSE.get_or_init(|| close);
        self.has_close = true;
    }

    /// Notes that somebody has a duplicate whose descriptor is his to set the flags of.
    pub(crate) fn set_shared(&self) {
        self.is_shared.store(true, Ordering::Relaxed);
    }

    #[cfg(target_os = "linux")]
    pub(crate) fn is_shared(&self) -> bool {
        self.is_shared.load(Ordering::Relaxed)
    }

    /// What a read of `count` bytes into so much room proves: it has emptied the descriptor, unless
    /// it met the end.
    #[inline]
    pub(crate) fn received(&self, count: usize, room: usize) -> Done<usize> {
        Done { value: count, drained: self.short_reads_drain && 0 < count && count < room }
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

    /// Whether a poller has told of an end, an error or urgent data. It does so once.
    pub(crate) fn end_was_reported(&self) -> bool {
        self.slot.readiness.has_ended()
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
        let readiness = &self.slot.readiness;
        loop {
            let seen = readiness.seen(side);
            let skip = seen.is_drained() && !self.is_user_nonblocking() && sched::in_coroutine();
            if !skip {
                match op(self.as_fd()) {
                    Ok(done) => {
                        if done.drained && SHORT_READ_DRAINS {
                            self.slot.note_short_read(seen);
                        }
                        // There may be more, for the next one that waits.
                        drop(readiness.pass(side, claim));
                        sched::cooperate();
                        return Ok(done.value);
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    Err(error) if error.kind() != io::ErrorKind::WouldBlock => {
                        // Whoever waits too is to see the error for itself.
                        drop(readiness.pass(side, claim));
                        sched::cooperate();
                        return Err(error);
                    }
                    Err(would_block) if self.is_user_nonblocking() => {
                        sched::tried_in_vain();
                        return Err(would_block);
                    }
                    Err(_) => {}
                }
            }
            if !self.wait(seen, side, reason, deadline)? {
                return Err(io::Error::from_raw_os_error(libc::EAGAIN));
            }
        }
    }

    /// Waits for an edge that comes after what was seen; `false`: the deadline came first. This is
    /// [`wait_in`] for the one that most wait for.
    fn wait(
        &self,
        seen: Seen,
        side: Side,
        reason: WaitReason,
        deadline: Option<Instant>,
    ) -> io::Result<bool> {
        if !sched::in_coroutine() {
            return os_wait::wait(std::iter::once(self.as_fd()), side, deadline);
        }
        let slot = self.slot;
        slot.register(self.as_fd())?;
        slot.rearm(self.as_fd(), side)?;
        let mut node = None;
        let reason = reason.of_descriptor(self.as_fd().as_raw_fd());
        let outcome = park::park(reason, deadline, Cancel::Deliver, |ticket| {
            // SAFETY: the node outlives this wait, and leaves the queue below unless an edge has taken it
            // off.
            unsafe { join(slot, seen, side, ticket, &mut node) }
        });
        if outcome == Outcome::Woken {
            return Ok(true);
        }
        if let Some(node) = &node {
            // SAFETY: the node is alive, and if it is in a queue, it is in this one.
            unsafe { slot.readiness.remove(side, NonNull::from(node)) };
        }
        was_woken(outcome)
    }

    /// The same for what may fail with `EAGAIN` although the descriptor is ready, so that no edge
    /// will follow: it is tried again after a pause, and after longer and longer ones.
    ///
    /// # Errors
    ///
    /// Those of [`io`](Source::io).
    pub(crate) fn io_unannounced<T>(
        &self,
        reason: WaitReason,
        deadline: Option<Instant>,
        mut op: impl FnMut(BorrowedFd<'_>) -> io::Result<T>,
    ) -> io::Result<T> {
        let mut length = FIRST_PAUSE;
        loop {
            match op(self.as_fd()) {
                Ok(value) => {
                    sched::cooperate();
                    return Ok(value);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => {
                    sched::cooperate();
                    return Err(error);
                }
                Err(would_block) if self.is_user_nonblocking() => {
                    sched::tried_in_vain();
                    return Err(would_block);
                }
                Err(would_block) => {
                    if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                        return Err(would_block);
                    }
                }
            }
            let end = park::deadline_after(length);
            pause(reason, [end, deadline].into_iter().flatten().min());
            length = LONGEST_PAUSE.min(2 * length);
        }
    }

    /// Calls `op` for each of two, by its number, until for one of them it does not block any more,
    /// and waits for both in between.
    ///
    /// # Errors
    ///
    /// Those of [`Source::io`], without a deadline.
    pub(crate) fn io_either<T>(
        pair: [&Source; 2],
        side: Side,
        reason: WaitReason,
        mut op: impl FnMut(usize, BorrowedFd<'_>) -> io::Result<Done<T>>,
    ) -> io::Result<T> {
        'again: loop {
            let mut seen = pair.map(|source| source.seen(side));
            for at in 0..pair.len() {
                seen[at] = pair[at].seen(side);
                match op(at, pair[at].as_fd()) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue 'again,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    tried => {
                        // The edge that has woken this one may have been the other's.
                        for source in pair {
                            drop(source.slot.readiness.pass(side, claim));
                        }
                        sched::cooperate();
                        return tried.map(|done| done.value);
                    }
                }
            }
            let awaited = [pair[0].after(seen[0]), pair[1].after(seen[1])];
            wait_in(&mut [None, None], &awaited, side, reason, None)?;
        }
    }

    /// To be called before a system call that [`wait_any`] may have to wait for.
    pub(crate) fn seen(&self, side: Side) -> Seen {
        self.slot.readiness.seen(side)
    }

    /// What to wait for after a call that began in `seen` and met `EAGAIN`.
    pub(crate) fn after(&self, seen: Seen) -> Awaited<'_> {
        Awaited { source: self, seen }
    }

    /// Makes all coroutines that wait try again.
    pub(crate) fn stir(&self, side: Side) {
        wake_all(self.slot, side);
    }
}

/// A descriptor that somebody waits for, and what was known of it when that did not get through.
#[derive(Clone, Copy)]
pub(crate) struct Awaited<'a> {
    source: &'a Source,
    seen: Seen,
}

/// Waits until one of several descriptors has changed. `false`: the deadline came first.
///
/// # Errors
///
/// What the poller says if a descriptor cannot be registered.
pub(crate) fn wait_any(
    awaited: &[Awaited<'_>],
    side: Side,
    reason: WaitReason,
    deadline: Option<Instant>,
) -> io::Result<bool> {
    if let [one] = awaited {
        return one.source.wait(one.seen, side, reason, deadline);
    }
    let mut nodes: Vec<_> = awaited.iter().map(|_| None).collect();
    wait_in(&mut nodes, awaited, side, reason, deadline)
}

/// Waits for an edge of any of `awaited` that came after what was seen of it; `nodes` are as many.
/// `false`: the deadline came first.
fn wait_in(
    nodes: &mut [Option<Node<Ticket>>],
    awaited: &[Awaited<'_>],
    side: Side,
    reason: WaitReason,
    deadline: Option<Instant>,
) -> io::Result<bool> {
    if !sched::in_coroutine() {
        return os_wait::wait(awaited.iter().map(|one| one.source.as_fd()), side, deadline);
    }
    for one in awaited {
        one.source.slot.register(one.source.as_fd())?;
        one.source.slot.rearm(one.source.as_fd(), side)?;
    }
    let outcome = park::park(reason, deadline, Cancel::Deliver, |ticket| {
        let mut places = awaited.iter().zip(nodes.iter_mut());
        // SAFETY: the node is the caller's, which outlives this wait, and leaves the queue below
        // unless an edge has taken it off.
        places.all(|(one, node)| unsafe { join(one.source.slot, one.seen, side, ticket, node) })
    });
    for (one, node) in awaited.iter().zip(nodes.iter()) {
        if let Some(node) = node {
            // SAFETY: the node is alive, and if it is in a queue, it is in this one.
            unsafe { one.source.slot.readiness.remove(side, NonNull::from(node)) };
        }
    }
    was_woken(outcome)
}

/// Publishes a wait in the queue of one slot, if there was no edge since.
///
/// # Safety
///
/// The node is in no queue, and stays alive and in place until an edge has taken it off this one or
/// [`Readiness::remove`](crate::protocol::readiness::Readiness::remove) has.
#[inline]
unsafe fn join(
    slot: &'static Slot,
    seen: Seen,
    side: Side,
    ticket: Ticket,
    node: &mut Option<Node<Ticket>>,
) -> bool {
    let Some(queue) = slot.readiness.lock_if_current(side, seen) else { return false };
    let node = NonNull::from(node.insert(Node::new(ticket)));
    slot.note_waiter(ticket, node.as_ptr());
    // SAFETY: the caller's promise.
    unsafe { queue.join(node) };
    true
}

/// `false`: the deadline came first.
fn was_woken(outcome: Outcome) -> io::Result<bool> {
    match outcome {
        Outcome::Cancelled => unwind_cancelled(),
        Outcome::TimedOut => Ok(false),
        // A look more than needed does no harm.
        Outcome::Woken | Outcome::Interrupted => Ok(true),
    }
}

/// How long [`Source::io_unannounced`] waits at first: about what a neighbour needs to make room.
const FIRST_PAUSE: Duration = Duration::from_micros(64);
/// And at the most. A thousand who wait so cost a core a few percent.
const LONGEST_PAUSE: Duration = Duration::from_millis(16);

/// Lets time pass.
pub(crate) fn pause(reason: WaitReason, end: Option<Instant>) {
    // Nobody gets the ticket: the deadline ends the wait, or a cancellation.
    if park::park(reason, end, Cancel::Deliver, |_ticket| true) == Outcome::Cancelled {
        unwind_cancelled();
    }
}

/// Whether a short read is known to leave an edge-triggered stream empty: epoll's documentation
/// says so; for the others nothing does.
pub(super) const SHORT_READ_DRAINS: bool =
    cfg!(all(target_os = "linux", not(netpoll_backend = "poll")));

impl Drop for Source {
    fn drop(&mut self) {
        let close = CLOSE.get().filter(|_| self.has_close);
        // SAFETY: the source is not used after its drop.
        let fd = unsafe { self.release() };
        match close {
            None => drop(fd),
            Some(close) => close(fd),
        }
    }
}
