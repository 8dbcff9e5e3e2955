//! Sends and receives without a buffer: the two sides meet.
//!
//! Who comes second finds the first one in its queue, claims its wait, and moves the message from
//! or to its frame. A claimed wait ends by nothing else, so whoever was cancelled or timed out has
//! not been met, and whoever was met has its message.
//!
//! A select has its message made only after it has been chosen. Who meets one that sends leaves an
//! address ([`Delivery`]), lets it run, and waits there: for the few steps that it takes, and not
//! to be interrupted, since the select has that address.

#![expect(unsafe_code, reason = "moves messages between suspended frames")]

use super::exchange::Step;
use super::select::Promise;
use super::state::{Guard, State};
use super::{Channel, Host, Offer, Patience, Side};
use std::cell::UnsafeCell;
use std::ptr::NonNull;

/// Where a select that sends leaves its message. Used with the channel locked.
pub(super) struct Delivery<T, H: Host> {
    message: Option<T>,
    settled: bool,
    waiting: Option<H::Ticket>,
}

impl<T, H: Host> Channel<T, H> {
    /// Hands the message in the slot to a receiver that waits, if one does.
    #[inline(never)]
    pub(super) fn step_to_meet_receiver<'a>(
        &'a self,
        mut state: Guard<'a, State<T, H>>,
        slot: &mut Option<T>,
    ) -> Step<'a, T, H> {
        match state.receivers.claim_first_in_line() {
            Some((claimed, offer)) => {
                // SAFETY: the wait has just been claimed, and the channel is locked.
                unsafe { state.hand_over(offer, slot) };
                drop(state);
                drop(claimed);
                Step::Done
            }
            None if state.receivers_gone => Step::Disconnected,
            None => Step::Wait(state),
        }
    }

    /// Takes the message of a sender that waits, if one does.
    #[inline(never)]
    pub(super) fn step_to_meet_sender<'a>(
        &'a self,
        host: &H,
        mut state: Guard<'a, State<T, H>>,
        slot: &mut Option<T>,
    ) -> Step<'a, T, H> {
        loop {
            if state.has_message() {
                // A message that a select was given and did not want.
                *slot = state.buffer.pop().map(|(message, _)| message);
                return Step::Done;
            }
            match state.senders.claim_first_in_line() {
                Some((claimed, offer)) => {
                    *slot = self.complete_meeting(host, state, claimed, offer);
                    if slot.is_some() {
                        return Step::Done;
                    }
                }
                None if state.senders_gone => return Step::Disconnected,
                None => return Step::Wait(state),
            }
            state = self.lock();
        }
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
            {
                // SAFETY: a delivery is touched with the channel locked, and only until it is settled
                // by anybody else.
                let here = unsafe { &mut *delivery.get() };
                here.waiting = None;
                if here.settled {
                    return here.message.take();
                }
            }
            host.park(None, Patience::Patient, |ticket| {
                // SAFETY: as above. What this captures lasts as long as the wait, in which the select
                // comes: so it must not be an exclusive reference.
                unsafe { (*delivery.get()).waiting = Some(ticket) };
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
    /// Leaves the message in the slot with a receiver that was claimed; one that is polled finds it in
    /// the buffer.
    ///
    /// # Safety
    ///
    /// As [`fill`].
    #[inline]
    unsafe fn hand_over(&mut self, offer: Offer, slot: &mut Option<T>) {
        let Some(message) = slot.take() else { return };
        match offer {
            Offer::None => self.buffer.push(message),
            // SAFETY: the caller's promise.
            _ => unsafe { fill(offer, message) },
        }
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
