//! What a channel's lock guards, and whom to wake.

#![expect(unsafe_code, reason = "claims waits that are found in queues")]

use super::buffer::{Buffer, Piece};
use super::{Channel, Host, Offer, Place, Side, Waiter};
use crate::primitive::sync::atomic::Ordering;
use crate::util::wait_list::WaitList;
use std::mem;

#[cfg(loom)]
pub(super) use crate::primitive::{MutexGuard as Guard, sync::Mutex as Lock};
/// Under the model checker its own mutex, since a lock that spins has too many interleavings; the
/// real one has a model of its own.
#[cfg(not(loom))]
pub(super) use crate::protocol::short_lock::{ShortGuard as Guard, ShortLock as Lock};

/// Among how many waiters one is looked for whose core is idle.
const WINDOW: usize = 32;
/// How often in a row the first waiter may be passed over.
const MOST_SKIPS: u32 = 16;

/// Waiters of one kind, oldest first.
pub(super) struct Queue<H: Host> {
    pub(super) list: WaitList<Waiter<H>>,
    /// How often in a row the first one was passed over.
    skips: u32,
}

impl<H: Host> Queue<H> {
    fn new() -> Self {
        Queue { list: WaitList::new(), skips: 0 }
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Claims the first one that still waits. Gives what it offers as well.
    #[inline]
    pub(super) fn claim_first(&mut self) -> Option<(H::Claimed, Offer)> {
        self.claim_first_by(claim)
    }

    /// The same for those to whom it is most of what they do.
    #[inline(always)]
    pub(super) fn claim_first_in_line(&mut self) -> Option<(H::Claimed, Offer)> {
        self.claim_first_by(claim_in_line)
    }

    #[inline(always)]
    fn claim_first_by(
        &mut self,
        claim: impl Fn(&Waiter<H>) -> Option<H::Claimed>,
    ) -> Option<(H::Claimed, Offer)> {
        loop {
            // What it offers is read where it waits, which a copy of it all would take longer.
            let claim = |waiter: &Waiter<H>| claim(waiter).map(|claimed| (claimed, waiter.offer));
            if let Some(claimed) = self.list.pop_front_with(claim)? {
                return Some(claimed);
            }
        }
    }

    /// Claims one that is to look into the buffer: whose core is idle, if there is one near the
    /// front, or else one of the caller's own home, which costs nothing to wake.
    #[inline]
    pub(super) fn claim_best(&mut self) -> Option<H::Claimed> {
        if self.list.is_empty() {
            return None;
        }
        if self.list.has_one() {
            return self.claim_first().map(|(claimed, _)| claimed);
        }
        self.claim_best_of_many()
    }

    fn claim_best_of_many(&mut self) -> Option<H::Claimed> {
        loop {
            let waiter = match self.pick() {
                Some(waiter) => waiter,
                None => self.list.pop_front()?,
            };
            if let Some(claimed) = claim(&waiter) {
                return Some(claimed);
            }
        }
    }

    fn pick(&mut self) -> Option<Waiter<H>> {
        if self.skips >= MOST_SKIPS {
            self.skips = 0;
            return None;
        }
        let mut looked_at = 0;
        let mut first_of = |list: &mut WaitList<Waiter<H>>, place| {
            looked_at = 0;
            list.pop_wanted(WINDOW, |waiter| {
                looked_at += 1;
                place_of(waiter) == place
            })
        };
        let picked =
            first_of(&mut self.list, Place::Idle).or_else(|| first_of(&mut self.list, Place::Here));
        self.skips = if picked.is_some() && looked_at > 1 { self.skips + 1 } else { 0 };
        picked
    }

    /// Claims one whose core is idle, if there is one near the front.
    fn claim_idle(&mut self) -> Option<H::Claimed> {
        if !H::somebody_idles() {
            return None;
        }
        let waiter = self.list.pop_wanted(WINDOW, |waiter| place_of(waiter) == Place::Idle)?;
        claim(&waiter)
    }
}

#[inline(never)]
fn claim<H: Host>(waiter: &Waiter<H>) -> Option<H::Claimed> {
    claim_in_line(waiter)
}

#[inline(always)]
fn claim_in_line<H: Host>(waiter: &Waiter<H>) -> Option<H::Claimed> {
    // SAFETY: it was found in a queue that its owner leaves, under the lock that is held, before
    // it returns.
    let claimed = unsafe { H::claim(waiter.ticket) }?;
    if let Some((chosen, case)) = waiter.select {
        // SAFETY: the select's frame is suspended until the claim is dropped.
        unsafe { chosen.as_ref() }.set(case);
    }
    Some(claimed)
}

fn place_of<H: Host>(waiter: &Waiter<H>) -> Place {
    // SAFETY: as in `claim`.
    unsafe { H::place(waiter.ticket) }
}

/// See the module's description.
pub(super) struct State<T, H: Host> {
    pub(super) buffer: Buffer<T>,
    pub(super) senders: Queue<H>,
    pub(super) receivers: Queue<H>,
    /// Who waits for a send to be possible, without sending.
    pub(super) send_watchers: Queue<H>,
    pub(super) receive_watchers: Queue<H>,
    pub(super) senders_gone: bool,
    pub(super) receivers_gone: bool,
    /// Messages in the buffer that selects have chosen and not taken yet.
    pub(super) promised_messages: usize,
    /// Room in the buffer that selects have chosen and not filled yet.
    pub(super) promised_room: usize,
}

impl<T, H: Host> State<T, H> {
    pub(super) fn new(buffer: Buffer<T>) -> Self {
        State {
            buffer,
            senders: Queue::new(),
            receivers: Queue::new(),
            send_watchers: Queue::new(),
            receive_watchers: Queue::new(),
            senders_gone: false,
            receivers_gone: false,
            promised_messages: 0,
            promised_room: 0,
        }
    }

    #[inline]
    pub(super) fn has_message(&self) -> bool {
        self.buffer.len() > self.promised_messages
    }

    #[inline]
    pub(super) fn has_room(&self) -> bool {
        self.buffer.has_room_beside(self.promised_room)
    }

    /// Whether a message that is added is nobody's business: most are, and cost little then.
    #[inline]
    pub(super) fn can_put_quietly(&self) -> bool {
        self.receivers.is_empty() && self.receive_watchers.is_empty()
    }

    /// Takes a message, if that is nobody else's business.
    #[inline]
    pub(super) fn take_quietly(&mut self) -> Option<T> {
        let waiting = [&self.senders, &self.send_watchers, &self.receivers];
        if self.has_message() && waiting.into_iter().all(Queue::is_empty) {
            return self.buffer.pop_plainly();
        }
        None
    }

    /// Adds a message, for which there is room. Inlined with [`Channel::wake`], which then looks at
    /// what there can be alone; so is [`State::take`].
    #[inline(always)]
    pub(super) fn put(&mut self, message: T) -> Wake<T, H> {
        self.buffer.push(message);
        Wake {
            first: self.receivers.claim_best(),
            second: None,
            watchers: !self.receive_watchers.is_empty(),
            garbage: None,
        }
    }

    /// Takes a message, if there is one that is not promised.
    #[inline(always)]
    pub(super) fn take(&mut self) -> Option<(T, Wake<T, H>)> {
        if !self.has_message() {
            return None;
        }
        let (message, garbage) = self.buffer.pop()?;
        let first = if self.has_room() { self.senders.claim_best() } else { None };
        // Whoever was woken for what is left may have to wait behind the caller's next steps.
        let more = !self.receivers.is_empty() && self.has_message();
        let second = if more { self.receivers.claim_idle() } else { None };
        let watchers = !self.send_watchers.is_empty();
        Some((message, Wake { first, second, watchers, garbage }))
    }

    pub(super) fn queue(&mut self, side: Side) -> &mut Queue<H> {
        match side {
            Side::Senders => &mut self.senders,
            Side::Receivers => &mut self.receivers,
        }
    }

    pub(super) fn watchers(&mut self, side: Side) -> &mut Queue<H> {
        match side {
            Side::Senders => &mut self.send_watchers,
            Side::Receivers => &mut self.receive_watchers,
        }
    }

    /// Whether an operation of `side` would not wait.
    #[inline]
    pub(super) fn is_ready(&self, side: Side) -> bool {
        match side {
            Side::Senders if self.receivers_gone => true,
            Side::Receivers if self.senders_gone => true,
            Side::Senders if self.buffer.is_rendezvous() => !self.receivers.is_empty(),
            Side::Receivers if self.buffer.is_rendezvous() => {
                self.has_message() || !self.senders.is_empty()
            }
            Side::Senders => self.has_room(),
            Side::Receivers => self.has_message(),
        }
    }
}

/// What is to be done without the lock.
#[must_use]
pub(super) struct Wake<T, H: Host> {
    first: Option<H::Claimed>,
    second: Option<H::Claimed>,
    watchers: bool,
    garbage: Option<Piece<T>>,
}

impl<T, H: Host> Channel<T, H> {
    #[cfg(not(loom))]
    #[inline]
    pub(super) fn lock(&self) -> Guard<'_, State<T, H>> {
        self.state.lock()
    }

    #[cfg(loom)]
    pub(super) fn lock(&self) -> Guard<'_, State<T, H>> {
        crate::primitive::lock(&self.state)
    }

    /// Wakes those who can go on, now that the lock is free; `watched` is the side of the watchers.
    #[inline(always)]
    pub(super) fn wake(&self, wake: Wake<T, H>, watched: Side) {
        drop(wake.first);
        drop(wake.second);
        drop(wake.garbage);
        if wake.watchers {
            self.wake_watchers(watched);
        }
    }

    /// Wakes all who watch `side` now.
    #[cold]
    pub(super) fn wake_watchers(&self, side: Side) {
        let count = self.lock().watchers(side).list.count();
        for _ in 0..count {
            let Some(claimed) = self.lock().watchers(side).claim_first() else { return };
            drop(claimed);
        }
    }

    /// Wakes everybody who waits for the side that has gone.
    fn wake_everybody(&self, side: Side) {
        loop {
            let mut state = self.lock();
            let claimed = state.queue(side).claim_first();
            let Some(claimed) = claimed.or_else(|| state.watchers(side).claim_first()) else {
                return;
            };
            drop(state);
            drop(claimed);
        }
    }

    /// The last handle of a side has gone. The messages that nobody can receive any more are
    /// dropped by whoever drops what this returns.
    fn disconnect(&self, gone: Side) -> Option<Buffer<T>> {
        let mut state = self.lock();
        let (left, waiting) = match gone {
            Side::Senders => {
                state.senders_gone = true;
                (None, Side::Receivers)
            }
            Side::Receivers => {
                state.receivers_gone = true;
                (Some(state.buffer.take()), Side::Senders)
            }
        };
        drop(state);
        self.wake_everybody(waiting);
        left
    }

    pub(super) fn disconnect_last(&self, side: Side) {
        let count = match side {
            Side::Senders => &self.senders,
            Side::Receivers => &self.receivers,
        };
        if count.fetch_sub(1, Ordering::AcqRel) == 1 {
            let left = self.disconnect(side);
            mem::drop(left);
        }
    }

    pub(super) fn is_rendezvous(&self) -> bool {
        self.rendezvous
    }

    pub(crate) fn len(&self) -> usize {
        if self.rendezvous { 0 } else { self.lock().buffer.len() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn is_full(&self) -> bool {
        !self.lock().has_room()
    }

    pub(crate) fn capacity(&self) -> Option<usize> {
        self.lock().buffer.capacity()
    }
}
