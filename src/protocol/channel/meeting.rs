//! Sending and receiving without a buffer: the two sides meet.
//!
//! Who comes second finds the first one in its queue, claims its wait, and moves the message from
//! or to its frame. A claimed wait ends by nothing else, so whoever was cancelled or timed out has
//! not been met, and whoever was met has its message.
//!
//! A select has its message made only after it has been chosen. Who meets one that sends leaves an
//! address ([`Delivery`]), lets it run, and waits there: for the few steps that it takes, and not
//! to be interrupted, since the select has that address.

#![expect(unsafe_code, reason = "moves messages between suspended frames")]

use super::select::Promise;
use super::state::{Guard, State};
use super::{
    Channel, Ended, Host, Offer, Patience, ReceiveStop, SendStop, Side, Waiter, WaiterNode,
};
use crate::util::wait_list::Node;
use std::cell::UnsafeCell;
use std::ptr::NonNull;
use std::time::Instant;

/// Where a select that sends leaves its message. Used with the channel locked.
pub(super) struct Delivery<T, H: Host> {
    message: Option<T>,
    settled: bool,
    waiting: Option<H::Ticket>,
}

impl<T, H: Host> Channel<T, H> {
    #[inline]
    pub(super) fn try_send_meeting(&self, message: T) -> Result<(), SendStop<T>> {
        let mut state = self.lock();
        match state.receivers.claim_first() {
            Some((claimed, receiver)) => {
                // SAFETY: the wait has just been claimed, and the channel is locked.
                unsafe { state.hand_over(receiver.offer, message) };
                drop(state);
                drop(claimed);
                Ok(())
            }
            None if state.receivers_gone => Err(SendStop::Disconnected(message)),
            None => Err(SendStop::Timeout(message)),
        }
    }

    #[inline]
    pub(super) fn send_meeting(
        &self,
        host: &H,
        mut message: T,
        deadline: Option<Instant>,
    ) -> Result<(), SendStop<T>> {
        loop {
            let mut state = self.lock();
            if let Some((claimed, receiver)) = state.receivers.claim_first() {
                // SAFETY: the wait has just been claimed, and the channel is locked.
                unsafe { state.hand_over(receiver.offer, message) };
                drop(state);
                drop(claimed);
                return Ok(());
            }
            if state.receivers_gone {
                drop(state);
                return Err(SendStop::Disconnected(message));
            }
            let slot = UnsafeCell::new(Some(message));
            let ended = self.wait_to_meet(host, state, Side::Senders, &slot, deadline);
            let Some(left) = slot.into_inner() else { return Ok(()) };
            match ended {
                // The other side has gone, or has not completed what it had chosen.
                Ended::Woken | Ended::Interrupted => message = left,
                Ended::TimedOut => return Err(SendStop::Timeout(left)),
                Ended::Cancelled => return Err(SendStop::Cancelled(left)),
            }
        }
    }

    #[inline]
    pub(super) fn try_receive_meeting(&self, host: &H) -> Result<T, ReceiveStop> {
        loop {
            let mut state = self.lock();
            if let Some(message) = state.take_back() {
                return Ok(message);
            }
            match state.senders.claim_first() {
                Some((claimed, sender)) => {
                    if let Some(message) = self.complete_meeting(host, state, claimed, sender.offer)
                    {
                        return Ok(message);
                    }
                }
                None if state.senders_gone => return Err(ReceiveStop::Disconnected),
                None => return Err(ReceiveStop::Timeout),
            }
        }
    }

    #[inline]
    pub(super) fn receive_meeting(
        &self,
        host: &H,
        deadline: Option<Instant>,
    ) -> Result<T, ReceiveStop> {
        loop {
            let mut state = self.lock();
            if let Some(message) = state.take_back() {
                return Ok(message);
            }
            if let Some((claimed, sender)) = state.senders.claim_first() {
                match self.complete_meeting(host, state, claimed, sender.offer) {
                    Some(message) => return Ok(message),
                    None => continue,
                }
            }
            if state.senders_gone {
                return Err(ReceiveStop::Disconnected);
            }
            let slot = UnsafeCell::new(None);
            let ended = self.wait_to_meet(host, state, Side::Receivers, &slot, deadline);
            match (slot.into_inner(), ended) {
                (Some(message), _) => return Ok(message),
                (None, Ended::Woken | Ended::Interrupted) => {}
                (None, Ended::TimedOut) => return Err(ReceiveStop::Timeout),
                (None, Ended::Cancelled) => return Err(ReceiveStop::Cancelled),
            }
        }
    }

    /// Joins the queue of `side` with what it offers, and unlocks.
    #[inline]
    fn wait_to_meet(
        &self,
        host: &H,
        mut state: Guard<'_, State<T, H>>,
        side: Side,
        slot: &UnsafeCell<Option<T>>,
        deadline: Option<Instant>,
    ) -> Ended {
        let mut node: Option<WaiterNode<H>> = None;
        let ended = host.park(deadline, Patience::Cancellable, |ticket| {
            let offer = Offer::Slot(NonNull::from(slot).cast());
            let waiter = Waiter { ticket, select: None, offer };
            let node = NonNull::from(node.insert(Node::new(waiter)));
            // SAFETY: the node is in the frame of this wait, and leaves the queue below unless it
            // was taken off by who has met it.
            unsafe { state.queue(side).list.push_back(node) };
            self.unlock_for_watchers(state, side);
            true
        });
        if ended != Ended::Woken {
            self.leave(side, node.as_mut());
        }
        ended
    }

    /// Unlocks after one of `side` has joined its queue: those who watch for one are told.
    #[inline]
    pub(super) fn unlock_for_watchers(&self, mut state: Guard<'_, State<T, H>>, side: Side) {
        let watched = match side {
            Side::Senders => Side::Receivers,
            Side::Receivers => Side::Senders,
        };
        let watchers = !state.watchers(watched).is_empty();
        drop(state);
        if watchers {
            self.wake_watchers(watched);
        }
    }

    /// Takes the message of a sender whose wait was claimed, and lets it go on. `None`: it was a
    /// select that has given up.
    #[inline]
    pub(super) fn complete_meeting(
        &self,
        host: &H,
        state: Guard<'_, State<T, H>>,
        claimed: H::Claimed,
        offer: Offer,
    ) -> Option<T> {
        match offer {
            // The lock is held since the claim, for one that is polled.
            Offer::Slot(slot) | Offer::Polled(slot) => {
                // SAFETY: the wait was claimed, and its frame is suspended until the claim goes, or
                // its future does not look at it without the lock.
                let message = unsafe { slot.cast::<Option<T>>().as_mut() }.take();
                drop(state);
                drop(claimed);
                message
            }
            Offer::Promise(promise) => self.await_delivery(host, state, claimed, promise),
            Offer::None => unreachable!("who waits for a meeting offers something"),
        }
    }

    #[cold]
    fn await_delivery(
        &self,
        host: &H,
        state: Guard<'_, State<T, H>>,
        claimed: H::Claimed,
        promise: NonNull<Promise>,
    ) -> Option<T> {
        let delivery =
            UnsafeCell::new(Delivery::<T, H> { message: None, settled: false, waiting: None });
        // SAFETY: the select is suspended until its claim goes, and reads this after that.
        unsafe { promise.as_ref() }.set(NonNull::from(&delivery).cast());
        drop(state);
        drop(claimed);
        loop {
            let state = self.lock();
            // SAFETY: a delivery is touched with the channel locked, and only until it is settled
            // by anybody else.
            let here = unsafe { &mut *delivery.get() };
            here.waiting = None;
            if here.settled {
                return here.message.take();
            }
            host.park(None, Patience::Patient, |ticket| {
                here.waiting = Some(ticket);
                drop(state);
                true
            });
        }
    }

    /// Keeps what a select was given and did not want for another receiver.
    #[cold]
    pub(super) fn give_back(&self, message: Option<T>) {
        let Some(message) = message else { return };
        let mut state = self.lock();
        if state.receivers_gone {
            drop(state);
            return drop(message);
        }
        state.buffer.push(message);
        let claimed = state.receivers.claim_first();
        drop(state);
        drop(claimed);
        self.wake_watchers(Side::Receivers);
    }

    /// Ends the wait of a receiver for a select's message; `None`: there will be none.
    ///
    /// # Safety
    ///
    /// The address is that of a [`Delivery`] of this channel that has not been settled.
    pub(super) unsafe fn deliver(&self, delivery: NonNull<()>, message: Option<T>) {
        let state = self.lock();
        // SAFETY: whoever waits for it stays until it sees it settled, with the lock held.
        let delivery = unsafe { delivery.cast::<Delivery<T, H>>().as_mut() };
        delivery.message = message;
        delivery.settled = true;
        // SAFETY: as above.
        let claimed = delivery.waiting.and_then(|ticket| unsafe { H::claim(ticket) });
        drop(state);
        drop(claimed);
    }
}

impl<T, H: Host> State<T, H> {
    /// Leaves a message with a receiver that was claimed; one that is polled finds it in the buffer.
    ///
    /// # Safety
    ///
    /// As [`fill`].
    #[inline]
    unsafe fn hand_over(&mut self, offer: Offer, message: T) {
        match offer {
            Offer::None => self.buffer.push(message),
            // SAFETY: the caller's promise.
            _ => unsafe { fill(offer, message) },
        }
    }

    /// A message that a select was given and did not want.
    #[inline]
    fn take_back(&mut self) -> Option<T> {
        if !self.has_message() {
            return None;
        }
        self.buffer.pop().map(|(message, _)| message)
    }
}

/// Leaves a message with a receiver.
///
/// # Safety
///
/// The caller has claimed its wait, and the offer is one of a receiver of a `T`.
#[inline]
pub(super) unsafe fn fill<T>(offer: Offer, message: T) {
    let Offer::Slot(slot) = offer else { unreachable!("receivers offer a slot") };
    // SAFETY: the frame or box in which the slot is stays until the claim goes.
    unsafe { *slot.cast::<Option<T>>().as_mut() = Some(message) };
}
