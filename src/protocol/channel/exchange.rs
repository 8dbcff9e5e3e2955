//! Send and receive: steps, and the waits between them.
//!
//! A step is taken with the channel locked. It completes the operation, or finds that this cannot be
//! done yet; then the channel stays locked until the wait is published. With a buffer the steps are
//! others than without one ([`buffered`](super::buffered), [`meeting`](super::meeting)), the waits are the same.
//!
//! What waits is inlined into the program's own functions, where a switch costs least
//! (`sched::switch_away` says why). Steps are called there, but for the shortest, which concern nobody
//! else.

#![expect(unsafe_code, reason = "queues nodes that live in waiting frames")]

use super::state::{Guard, State};
use super::{
    Channel, Ended, Host, Offer, Patience, ReceiveStop, SendStop, Side, Waiter, WaiterNode,
};
use crate::util::wait_list::Node;
use std::cell::UnsafeCell;
use std::ptr::NonNull;
use std::time::Instant;

/// What a step has come to. In registers, as all that is written to memory and read again as a whole
/// at once waits for the writes; messages go through slots of their own.
pub(super) enum Step<'a, T, H: Host> {
    /// The operation is complete: what was sent has left the slot, what was received is there.
    Done,
    /// The other side has gone.
    Disconnected,
    /// The operation has to wait.
    Wait(Guard<'a, State<T, H>>),
}

impl<T, H: Host> Channel<T, H> {
    #[inline]
    pub(super) fn try_send(&self, message: T) -> Result<(), SendStop<T>> {
        let mut slot = Some(message);
        match self.step_to_send(self.lock_to_put(), &mut slot) {
            Step::Done => Ok(()),
            Step::Disconnected => Err(unsent(slot, SendStop::Disconnected)),
            Step::Wait(_unlocked) => Err(unsent(slot, SendStop::Timeout)),
        }
    }

    #[inline(always)]
    pub(super) fn send(
        &self,
        host: &H,
        message: T,
        deadline: Option<Instant>,
    ) -> Result<(), SendStop<T>> {
        let mut state = self.lock_to_put();
        if state.has_room() && state.can_put_quietly() && !state.receivers_gone {
            state.buffer.push(message);
            return Ok(());
        }
        let mut slot = UnsafeCell::new(Some(message));
        let mut again = false;
        loop {
            if state.is_ready(Side::Senders) {
                match self.step_to_send(state, slot.get_mut()) {
                    Step::Done => return Ok(()),
                    Step::Disconnected => {
                        return Err(unsent(slot.into_inner(), SendStop::Disconnected));
                    }
                    Step::Wait(locked) => state = locked,
                }
            }
            let ended = self.wait(host, state, Side::Senders, &slot, again, deadline);
            if slot.get_mut().is_none() {
                return Ok(());
            }
            match ended {
                Ended::Woken => again = true,
                Ended::Interrupted => {}
                Ended::TimedOut => return Err(unsent(slot.into_inner(), SendStop::Timeout)),
                Ended::Cancelled => return Err(unsent(slot.into_inner(), SendStop::Cancelled)),
            }
            state = self.lock_to_put();
        }
    }

    #[inline(always)]
    fn step_to_send<'a>(
        &'a self,
        state: Guard<'a, State<T, H>>,
        slot: &mut Option<T>,
    ) -> Step<'a, T, H> {
        match self.rendezvous {
            true => self.step_to_meet_receiver(state, slot),
            false => self.step_to_put(state, slot),
        }
    }

    #[inline]
    pub(super) fn try_receive(&self, host: &H) -> Result<T, ReceiveStop> {
        let mut slot = None;
        match self.step_to_receive(host, self.lock(), &mut slot) {
            Step::Done => received(slot),
            Step::Disconnected => Err(ReceiveStop::Disconnected),
            Step::Wait(_unlocked) => Err(ReceiveStop::Timeout),
        }
    }

    #[inline(always)]
    pub(super) fn receive(&self, host: &H, deadline: Option<Instant>) -> Result<T, ReceiveStop> {
        let mut state = self.lock();
        if let Some(message) = state.take_quietly() {
            return Ok(message);
        }
        let mut slot = UnsafeCell::new(None);
        let mut again = false;
        loop {
            if state.is_ready(Side::Receivers) {
                match self.step_to_receive(host, state, slot.get_mut()) {
                    Step::Done => return received(slot.into_inner()),
                    Step::Disconnected => return Err(ReceiveStop::Disconnected),
                    Step::Wait(locked) => state = locked,
                }
            }
            let ended = self.wait(host, state, Side::Receivers, &slot, again, deadline);
            if let Some(message) = slot.get_mut().take() {
                return Ok(message);
            }
            match ended {
                Ended::Woken => again = true,
                Ended::Interrupted => {}
                Ended::TimedOut => return Err(ReceiveStop::Timeout),
                Ended::Cancelled => return Err(ReceiveStop::Cancelled),
            }
            state = self.lock();
        }
    }

    #[inline(always)]
    fn step_to_receive<'a>(
        &'a self,
        host: &H,
        state: Guard<'a, State<T, H>>,
        slot: &mut Option<T>,
    ) -> Step<'a, T, H> {
        match self.rendezvous {
            true => self.step_to_meet_sender(host, state, slot),
            false => self.step_to_take(state, slot),
        }
    }

    /// Joins the queue of `side` and unlocks. Without a buffer, the message is exchanged in the slot;
    /// with one, who waits `again` goes before the others, as it was woken and came too late.
    #[inline(always)]
    fn wait(
        &self,
        host: &H,
        state: Guard<'_, State<T, H>>,
        side: Side,
        slot: &UnsafeCell<Option<T>>,
        again: bool,
        deadline: Option<Instant>,
    ) -> Ended {
        let mut node: Option<WaiterNode<H>> = None;
        let place = &mut node;
        let ended = host.park(deadline, Patience::Cancellable, move |ticket| {
            let offer = match self.rendezvous {
                true => Offer::Slot(NonNull::from(slot).cast()),
                false => Offer::None,
            };
            let node = place.insert(Node::new(Waiter { ticket, select: None, offer }));
            // SAFETY: the node is in the frame of this wait, and leaves the queue below unless it
            // was taken off by who has claimed it.
            unsafe { self.queue_and_unlock(state, side, NonNull::from(node), again) };
            true
        });
        if ended != Ended::Woken {
            self.leave(side, node.as_mut());
        }
        ended
    }

    /// # Safety
    ///
    /// The node is in no queue, and stays in place until it has left this one.
    #[inline]
    unsafe fn queue_and_unlock(
        &self,
        mut state: Guard<'_, State<T, H>>,
        side: Side,
        node: NonNull<WaiterNode<H>>,
        again: bool,
    ) {
        let list = &mut state.queue(side).list;
        // SAFETY: the caller's promise.
        unsafe {
            match again && !self.rendezvous {
                true => list.push_front(node),
                false => list.push_back(node),
            }
        }
        if self.rendezvous {
            self.unlock_for_watchers(state, side);
        }
    }

    /// Takes a node off the queue, if it was ever put there and nobody has taken it off.
    #[inline(never)]
    pub(super) fn leave(&self, side: Side, node: Option<&mut WaiterNode<H>>) {
        if let Some(node) = node {
            // SAFETY: the node is alive, and if it is in a queue, it is in this one.
            unsafe { self.lock().queue(side).list.remove(NonNull::from(node)) };
        }
    }
}

/// Gives the message back that is still in its slot.
fn unsent<T>(slot: Option<T>, stop: impl FnOnce(T) -> SendStop<T>) -> SendStop<T> {
    stop(slot.expect("what was not sent is in its slot"))
}

#[inline(always)]
fn received<T>(slot: Option<T>) -> Result<T, ReceiveStop> {
    Ok(slot.expect("what was received is in its slot"))
}
