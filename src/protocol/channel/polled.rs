//! Sending and receiving that is polled: the wait of a future, which may be given up at any time.
//!
//! What waits in a queue is the future itself, pinned, with a waker behind its ticket. It is not
//! suspended: it may be polled or dropped while another thread has claimed its wait. So nobody
//! keeps an address of it beyond the lock under which it was found in the queue:
//!
//! - a message for a **receiver** goes into the buffer, that of a rendezvous as well, where a select
//!   leaves what it gives back. Whoever looks first takes it;
//! - the message of a **sender** that waits for a meeting is taken with the lock held
//!   ([`Offer::Polled`]), also by a select, which would else come back for it later.
//!
//! A future that was woken has to look. If it is dropped instead, what it was woken for is there for
//! another one, who is woken then ([`Channel::forget`]).
//!
//! Rejected: to watch the channel, as `Select::ready` does. Each message would wake all futures that
//! wait, and two that only watch never meet.

#![expect(unsafe_code, reason = "queues nodes that live in pinned futures")]

use super::{
    Channel, Host, Offer, ReceiveStop, ReceiverHalf, SendStop, SenderHalf, Side, Waiter, WaiterNode,
};
use crate::util::wait_list::Node;
use std::cell::UnsafeCell;
use std::ptr::NonNull;

/// Where an operation stands between two polls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    /// Nowhere.
    New,
    /// In its queue, or taken off it by who has woken it.
    Queued,
    /// It had its turn, and looks. If it is too late, it waits before all others.
    Had,
}

/// What a polled operation has in a queue. It must not move nor go without
/// [`Channel::forget`] once it has been polled.
pub(crate) struct Polled<H: Host> {
    node: Option<WaiterNode<H>>,
    turn: Turn,
}

impl<H: Host> Polled<H> {
    pub(crate) fn new() -> Self {
        Polled { node: None, turn: Turn::New }
    }

    /// Whether it has been polled and is waiting, or was woken.
    #[cfg(not(loom))]
    pub(crate) fn is_queued(&self) -> bool {
        self.turn == Turn::Queued
    }
}

impl<T, H: Host> Channel<T, H> {
    /// Joins the queue, or stays there; `keep` is called with the lock held, to leave behind the
    /// ticket what wakes. `false`: the operation is to be tried, and is in no queue.
    ///
    /// # Safety
    ///
    /// - The operation is this channel's and of this side, and stays where it is until it has left
    ///   the queue.
    /// - What its ticket and offer point to stays, too, and is touched with the lock held alone.
    unsafe fn queue_up(
        &self,
        side: Side,
        polled: &mut Polled<H>,
        (ticket, offer): (H::Ticket, Offer),
        keep: impl FnOnce(),
    ) -> bool {
        let mut state = self.lock();
        let ready = state.is_ready(side);
        let list = &mut state.queue(side).list;
        if polled.turn == Turn::Queued {
            let node = polled.node.as_mut().map(NonNull::from).expect("it was queued");
            // SAFETY: the node is alive, and if it is in a list, it is in this one.
            let waits = unsafe { list.contains(node) };
            if waits && !ready {
                keep();
                return true;
            }
            // SAFETY: as above.
            unsafe { list.remove(node) };
            polled.turn = Turn::Had;
            return false;
        }
        if ready {
            return false;
        }
        let node =
            NonNull::from(polled.node.insert(Node::new(Waiter { ticket, select: None, offer })));
        // SAFETY: the node is in no list, and the caller keeps it where it is.
        unsafe {
            match polled.turn {
                Turn::Had => list.push_front(node),
                Turn::New | Turn::Queued => list.push_back(node),
            }
        }
        polled.turn = Turn::Queued;
        keep();
        match self.rendezvous {
            true => self.unlock_for_watchers(state, side),
            false => drop(state),
        }
        true
    }

    /// Gives an operation up that was polled and has not come to its end.
    fn forget(&self, side: Side, polled: &mut Polled<H>) {
        if polled.turn != Turn::Queued {
            return;
        }
        polled.turn = Turn::New;
        let mut state = self.lock();
        let node = polled.node.as_mut().map(NonNull::from).expect("it was queued");
        // SAFETY: the node is alive, and if it is in a list, it is in this one.
        if unsafe { state.queue(side).list.remove(node) } {
            return;
        }
        // It was woken, and has not looked.
        let others = match side {
            Side::Receivers => state.has_message(),
            Side::Senders => !self.rendezvous && state.has_room(),
        };
        if !others {
            return;
        }
        let claimed = state.queue(side).claim_best();
        drop(state);
        drop(claimed);
        self.wake_watchers(side);
    }

    /// Leaves a message for whoever of the receivers looks first, one of whom was met and polls.
    pub(super) fn leave_for_polled(&self, message: T) -> Result<(), T> {
        let mut state = self.lock();
        if state.receivers_gone {
            drop(state);
            return Err(message);
        }
        state.buffer.push(message);
        // The one that was met may have gone meanwhile.
        let claimed = state.receivers.claim_first();
        drop(state);
        drop(claimed);
        self.wake_watchers(Side::Receivers);
        Ok(())
    }
}

impl<T, H: Host> ReceiverHalf<T, H> {
    /// Receives, or stays in the queue: `None`. A message that a select has chosen to send and not
    /// sent yet is waited for, by the host.
    ///
    /// # Safety
    ///
    /// - The operation stays where it is until it is dropped, and is given to
    ///   [`ReceiverHalf::forget`] before that; all of this with the same channel.
    /// - What the ticket points to stays as long, and is touched by a claim or by `keep` alone.
    pub(crate) unsafe fn poll_receive(
        &self,
        host: &H,
        polled: &mut Polled<H>,
        ticket: H::Ticket,
        mut keep: impl FnMut(),
    ) -> Option<Result<T, ReceiveStop>> {
        let queue_up = |polled: &mut Polled<H>, keep: &mut dyn FnMut()| {
            // SAFETY: the caller's promise; there is nothing to offer.
            unsafe { self.channel().queue_up(Side::Receivers, polled, (ticket, Offer::None), keep) }
        };
        if polled.turn == Turn::Queued && queue_up(polled, &mut keep) {
            return None;
        }
        loop {
            match self.try_receive(host) {
                Err(ReceiveStop::Timeout) => {}
                done => {
                    polled.turn = Turn::New;
                    return Some(done);
                }
            }
            if queue_up(polled, &mut keep) {
                return None;
            }
        }
    }

    /// Gives up what was polled.
    pub(crate) fn forget(&self, polled: &mut Polled<H>) {
        self.channel().forget(Side::Receivers, polled);
    }
}

impl<T, H: Host> SenderHalf<T, H> {
    /// Sends what is in `message`, or stays in the queue: `None`.
    ///
    /// # Safety
    ///
    /// As [`ReceiverHalf::poll_receive`]. The message stays where it is as well, and is left alone
    /// until the operation has come to its end or was forgotten.
    pub(crate) unsafe fn poll_send(
        &self,
        polled: &mut Polled<H>,
        message: &UnsafeCell<Option<T>>,
        ticket: H::Ticket,
        mut keep: impl FnMut(),
    ) -> Option<Result<(), SendStop<T>>> {
        let offer = match self.channel().is_rendezvous() {
            true => Offer::Polled(NonNull::from(message).cast()),
            false => Offer::None,
        };
        let queue_up = |polled: &mut Polled<H>, keep: &mut dyn FnMut()| {
            // SAFETY: the caller's promise.
            unsafe { self.channel().queue_up(Side::Senders, polled, (ticket, offer), keep) }
        };
        if polled.turn == Turn::Queued && queue_up(polled, &mut keep) {
            return None;
        }
        loop {
            // SAFETY: the operation is in no queue, so nobody else has this address.
            let place = unsafe { &mut *message.get() };
            let Some(unsent) = place.take() else {
                // It was taken by who has woken this one.
                assert_eq!(polled.turn, Turn::Had, "polled after its end");
                polled.turn = Turn::New;
                return Some(Ok(()));
            };
            match self.try_send(unsent) {
                Err(SendStop::Timeout(unsent)) => *place = Some(unsent),
                done => {
                    polled.turn = Turn::New;
                    return Some(done);
                }
            }
            if queue_up(polled, &mut keep) {
                return None;
            }
        }
    }

    /// Gives up what was polled. The message is still there, unless it was taken.
    pub(crate) fn forget(&self, polled: &mut Polled<H>) {
        self.channel().forget(Side::Senders, polled);
    }
}
