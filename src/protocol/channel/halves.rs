//! The two sides of a channel: counted handles, which are also the cases of a select.

#![expect(unsafe_code, reason = "completes meetings and frees what selects have queued")]

use super::buffer::Buffer;
use super::meeting::fill;
use super::select::{Case, Queued, Registration, Token};
use super::state::{Lock, State};
use super::{Channel, Host, Offer, ReceiveStop, SendStop, Side};
use crate::primitive::sync::atomic::{AtomicUsize, Ordering};
use crossbeam_utils::CachePadded;
use std::ptr::NonNull;
use std::sync::Arc;
use std::time::Instant;

/// Beyond this many handles a side's count could overflow; nothing but a leak loop gets here.
const MOST_HANDLES: usize = isize::MAX as usize;

/// A handle for sending.
pub(crate) struct SenderHalf<T, H: Host> {
    channel: Arc<Channel<T, H>>,
}

/// A handle for receiving.
pub(crate) struct ReceiverHalf<T, H: Host> {
    channel: Arc<Channel<T, H>>,
}

/// Both sides of a channel with room for `capacity` messages; none for a rendezvous.
pub(crate) fn new_bounded<T, H: Host>(capacity: usize) -> (SenderHalf<T, H>, ReceiverHalf<T, H>) {
    new(Buffer::bounded(capacity))
}

/// Both sides of a channel with room for any number of messages.
pub(crate) fn new_unbounded<T, H: Host>() -> (SenderHalf<T, H>, ReceiverHalf<T, H>) {
    new(Buffer::unbounded())
}

fn new<T, H: Host>(buffer: Buffer<T>) -> (SenderHalf<T, H>, ReceiverHalf<T, H>) {
    let rendezvous = buffer.is_rendezvous();
    let channel = Arc::new(Channel {
        state: CachePadded::new(Lock::new(State::new(buffer))),
        rendezvous,
        senders: AtomicUsize::new(1),
        receivers: AtomicUsize::new(1),
    });
    (SenderHalf { channel: channel.clone() }, ReceiverHalf { channel })
}

fn count_handle(count: &AtomicUsize) {
    if count.fetch_add(1, Ordering::Relaxed) > MOST_HANDLES {
        std::process::abort();
    }
}

impl<T, H: Host> Clone for SenderHalf<T, H> {
    fn clone(&self) -> Self {
        count_handle(&self.channel.senders);
        SenderHalf { channel: self.channel.clone() }
    }
}

impl<T, H: Host> Clone for ReceiverHalf<T, H> {
    fn clone(&self) -> Self {
        count_handle(&self.channel.receivers);
        ReceiverHalf { channel: self.channel.clone() }
    }
}

impl<T, H: Host> Drop for SenderHalf<T, H> {
    fn drop(&mut self) {
        self.channel.disconnect_last(Side::Senders);
    }
}

impl<T, H: Host> Drop for ReceiverHalf<T, H> {
    fn drop(&mut self) {
        self.channel.disconnect_last(Side::Receivers);
    }
}

impl<T, H: Host> SenderHalf<T, H> {
    #[inline]
    pub(crate) fn channel(&self) -> &Channel<T, H> {
        &self.channel
    }

    /// What names the channel for as long as it lives.
    #[inline]
    pub(crate) fn address(&self) -> usize {
        Arc::as_ptr(&self.channel).addr()
    }

    pub(crate) fn same_channel(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.channel, &other.channel)
    }

    #[inline]
    pub(crate) fn try_send(&self, message: T) -> Result<(), SendStop<T>> {
        self.channel.try_send(message)
    }

    #[inline(always)]
    pub(crate) fn send(
        &self,
        host: &H,
        message: T,
        deadline: Option<Instant>,
    ) -> Result<(), SendStop<T>> {
        self.channel.send(host, message, deadline)
    }

    /// Completes what a select has chosen.
    pub(crate) fn complete(&self, token: Token<H>, message: T) -> Result<(), T> {
        let channel = &*self.channel;
        match token {
            Token::Promised => {
                let mut state = channel.lock_to_put();
                state.promised_room -= 1;
                if state.receivers_gone {
                    drop(state);
                    return Err(message);
                }
                let wake = state.put(message);
                drop(state);
                channel.wake(wake, Side::Receivers);
                Ok(())
            }
            Token::Met(claimed, Offer::None) => {
                let left = channel.leave_for_polled(message);
                drop(claimed);
                left
            }
            Token::Met(claimed, offer) => {
                // SAFETY: the token has the claim.
                unsafe { fill(offer, message) };
                drop(claimed);
                Ok(())
            }
            Token::Owed(delivery) => {
                // SAFETY: the token was made from an address that was left for this select.
                unsafe { channel.deliver(delivery, Some(message)) };
                Ok(())
            }
            Token::Disconnected | Token::Delivered(_) | Token::Instant(_) => Err(message),
        }
    }
}

impl<T, H: Host> ReceiverHalf<T, H> {
    #[inline]
    pub(crate) fn channel(&self) -> &Channel<T, H> {
        &self.channel
    }

    /// What names the channel for as long as it lives.
    #[inline]
    pub(crate) fn address(&self) -> usize {
        Arc::as_ptr(&self.channel).addr()
    }

    pub(crate) fn same_channel(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.channel, &other.channel)
    }

    #[inline]
    pub(crate) fn try_receive(&self, host: &H) -> Result<T, ReceiveStop> {
        self.channel.try_receive(host)
    }

    #[inline(always)]
    pub(crate) fn receive(&self, host: &H, deadline: Option<Instant>) -> Result<T, ReceiveStop> {
        self.channel.receive(host, deadline)
    }

    /// Completes what a select has chosen.
    pub(crate) fn complete(&self, host: &H, token: Token<H>) -> Result<T, ReceiveStop> {
        let channel = &*self.channel;
        match token {
            Token::Promised => {
                let mut state = channel.lock();
                state.promised_messages -= 1;
                let taken = state.take();
                drop(state);
                let (message, wake) = taken.expect("a message is kept for each promise");
                channel.wake(wake, Side::Senders);
                Ok(message)
            }
            Token::Met(claimed, offer) => {
                let met = channel.complete_meeting(host, channel.lock(), claimed, offer);
                Ok(met.expect("a sender that waits has its message"))
            }
            Token::Delivered(slot) => {
                // SAFETY: the token owns the box that `prepare` made.
                let message = unsafe { Box::from_raw(slot.cast::<Option<T>>().as_ptr()) };
                Ok(message.expect("what was delivered is there"))
            }
            Token::Disconnected | Token::Owed(_) | Token::Instant(_) => {
                Err(ReceiveStop::Disconnected)
            }
        }
    }
}

impl<T, H: Host> Case<H> for SenderHalf<T, H> {
    fn try_choose(&self, _host: &H) -> Option<Token<H>> {
        let mut state = self.channel.lock();
        if state.receivers_gone {
            return Some(Token::Disconnected);
        }
        if self.channel.rendezvous {
            let (claimed, offer) = state.receivers.claim_first()?;
            return Some(Token::Met(claimed, offer));
        }
        if !state.has_room() {
            return None;
        }
        state.promised_room += 1;
        Some(Token::Promised)
    }

    unsafe fn register(&self, registration: &mut Registration<H>, queued: Queued<H>) -> bool {
        let offer = match self.channel.rendezvous {
            true => Offer::Promise(NonNull::from(&registration.promise)),
            false => Offer::None,
        };
        // SAFETY: the caller's promise.
        unsafe { self.channel.register(Side::Senders, registration, queued, offer) }
    }

    fn unregister(&self, registration: &mut Registration<H>) {
        self.channel.leave(Side::Senders, registration.node.as_mut());
    }

    fn accept(&self, host: &H, registration: &mut Registration<H>) -> Option<Token<H>> {
        match registration.promise.take() {
            Some(delivery) => Some(Token::Owed(delivery)),
            None => self.try_choose(host),
        }
    }

    fn is_ready(&self) -> bool {
        self.channel.lock().is_ready(Side::Senders)
    }

    fn channel(&self) -> usize {
        self.channel.address()
    }

    fn sends(&self) -> bool {
        true
    }

    fn must_wait_while(&self, both_sides: bool, then: &mut dyn FnMut() -> bool) -> bool {
        self.channel.must_wait_while(Side::Senders, both_sides, then)
    }

    unsafe fn watch(&self, registration: &mut Registration<H>, queued: Queued<H>) -> bool {
        // SAFETY: the caller's promise.
        unsafe { self.channel.watch(Side::Senders, registration, queued) }
    }

    fn unwatch(&self, registration: &mut Registration<H>) {
        self.channel.unwatch(Side::Senders, registration);
    }

    fn abandon(&self, token: Token<H>) {
        match token {
            Token::Promised => {
                let mut state = self.channel.lock();
                state.promised_room -= 1;
                let claimed = state.senders.claim_best();
                drop(state);
                drop(claimed);
                self.channel.wake_watchers(Side::Senders);
            }
            // The receiver finds that nothing was left with it, and looks again.
            Token::Met(claimed, _) => drop(claimed),
            // SAFETY: the token was made from an address that was left for this select.
            Token::Owed(delivery) => unsafe { self.channel.deliver(delivery, None) },
            Token::Disconnected | Token::Delivered(_) | Token::Instant(_) => {}
        }
    }
}

impl<T, H: Host> Case<H> for ReceiverHalf<T, H> {
    fn try_choose(&self, host: &H) -> Option<Token<H>> {
        loop {
            let mut state = self.channel.lock();
            if state.has_message() {
                state.promised_messages += 1;
                return Some(Token::Promised);
            }
            let met = if self.channel.rendezvous { state.senders.claim_first() } else { None };
            let Some((claimed, offer)) = met else {
                return state.senders_gone.then_some(Token::Disconnected);
            };
            if let Offer::Slot(_) = offer {
                return Some(Token::Met(claimed, offer));
            }
            // Whether there will be a message is known when it is there: a select may give up.
            let message = self.channel.complete_meeting(host, state, claimed, offer);
            if message.is_some() {
                return Some(Token::Delivered(NonNull::from(Box::leak(Box::new(message))).cast()));
            }
        }
    }

    /// A sender that meets this one is to be able to go on at once, so it needs a place for its
    /// message that stays until the select is completed.
    fn prepare(&self, registration: &mut Registration<H>) {
        if self.channel.rendezvous {
            let slot = NonNull::from(Box::leak(Box::new(None::<T>)));
            registration.slot = Some(slot.cast());
        }
    }

    unsafe fn register(&self, registration: &mut Registration<H>, queued: Queued<H>) -> bool {
        let offer = registration.slot.map_or(Offer::None, Offer::Slot);
        // SAFETY: the caller's promise.
        unsafe { self.channel.register(Side::Receivers, registration, queued, offer) }
    }

    fn unregister(&self, registration: &mut Registration<H>) {
        self.channel.leave(Side::Receivers, registration.node.as_mut());
    }

    fn accept(&self, host: &H, registration: &mut Registration<H>) -> Option<Token<H>> {
        let filled = registration.slot.filter(|slot| {
            // SAFETY: the slot is this registration's, and nobody else's since the wait ended.
            unsafe { slot.cast::<Option<T>>().as_ref() }.is_some()
        });
        match filled {
            Some(slot) => {
                registration.slot = None;
                Some(Token::Delivered(slot))
            }
            None => self.try_choose(host),
        }
    }

    fn release(&self, registration: &mut Registration<H>) {
        if let Some(slot) = registration.slot.take() {
            // SAFETY: `prepare` made this box, and the registration has left all queues.
            drop(unsafe { Box::from_raw(slot.cast::<Option<T>>().as_ptr()) });
        }
    }

    fn is_ready(&self) -> bool {
        self.channel.lock().is_ready(Side::Receivers)
    }

    fn channel(&self) -> usize {
        self.channel.address()
    }

    fn must_wait_while(&self, both_sides: bool, then: &mut dyn FnMut() -> bool) -> bool {
        self.channel.must_wait_while(Side::Receivers, both_sides, then)
    }

    unsafe fn watch(&self, registration: &mut Registration<H>, queued: Queued<H>) -> bool {
        // SAFETY: the caller's promise.
        unsafe { self.channel.watch(Side::Receivers, registration, queued) }
    }

    fn unwatch(&self, registration: &mut Registration<H>) {
        self.channel.unwatch(Side::Receivers, registration);
    }

    fn abandon(&self, token: Token<H>) {
        match token {
            Token::Promised => {
                let mut state = self.channel.lock();
                state.promised_messages -= 1;
                let claimed = state.receivers.claim_best();
                drop(state);
                drop(claimed);
                self.channel.wake_watchers(Side::Receivers);
            }
            // The sender finds that its message was not taken, and looks again.
            Token::Met(claimed, _) => drop(claimed),
            Token::Delivered(slot) => {
                // SAFETY: the token owns the box that `prepare` made.
                let message = unsafe { Box::from_raw(slot.cast::<Option<T>>().as_ptr()) };
                self.channel.give_back(*message);
            }
            Token::Disconnected | Token::Owed(_) | Token::Instant(_) => {}
        }
    }
}
