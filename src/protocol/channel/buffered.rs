//! Sending and receiving with a buffer in between.
//!
//! A message that is in the buffer belongs to whoever takes it first. Who is woken for it looks
//! again, and waits again, first in its queue, if another one was faster.

#![expect(unsafe_code, reason = "queues nodes that live in waiting frames")]

use super::buffer::Piece;
use super::state::{Guard, State};
use super::{
    Channel, Ended, Host, Offer, Patience, ReceiveStop, SendStop, Side, Waiter, WaiterNode,
};
use crate::util::wait_list::Node;
use std::ptr::NonNull;
use std::time::Instant;

impl<T, H: Host> Channel<T, H> {
    /// Locks, with a piece at hand if the next message needs one.
    #[inline]
    pub(super) fn lock_to_put(&self) -> Guard<'_, State<T, H>> {
        let state = self.lock();
        match state.buffer.wants_piece() {
            None => state,
            Some(capacity) => {
                drop(state);
                self.lock_with_piece(capacity)
            }
        }
    }

    #[cold]
    fn lock_with_piece(&self, mut capacity: usize) -> Guard<'_, State<T, H>> {
        loop {
            let piece = Piece::with_capacity(capacity);
            let mut state = self.lock();
            let refused = state.buffer.give_piece(piece);
            let wanted = state.buffer.wants_piece();
            if let (None, None) = (wanted, &refused) {
                return state;
            }
            drop(state);
            drop(refused);
            match wanted {
                Some(wanted) => capacity = wanted,
                // The piece that another one brought may be taken by now.
                None => {
                    let state = self.lock();
                    match state.buffer.wants_piece() {
                        None => return state,
                        Some(wanted) => capacity = wanted,
                    }
                }
            }
        }
    }

    #[inline]
    pub(super) fn try_send_buffered(&self, message: T) -> Result<(), SendStop<T>> {
        let state = self.lock_to_put();
        if state.receivers_gone {
            return Err(SendStop::Disconnected(message));
        }
        if !state.has_room() {
            return Err(SendStop::Timeout(message));
        }
        self.put(state, message);
        Ok(())
    }

    /// Adds a message, for which there is room, unlocks, and wakes who wants it.
    #[inline]
    fn put(&self, mut state: Guard<'_, State<T, H>>, message: T) {
        if state.can_put_quietly() {
            state.buffer.push(message);
            return;
        }
        let wake = state.put(message);
        drop(state);
        self.wake(wake, Side::Receivers);
    }

    #[inline]
    pub(super) fn send_buffered(
        &self,
        host: &H,
        message: T,
        deadline: Option<Instant>,
    ) -> Result<(), SendStop<T>> {
        let mut state = self.lock_to_put();
        if !state.receivers_gone && state.has_room() && state.can_put_quietly() {
            state.buffer.push(message);
            return Ok(());
        }
        self.send_patiently(host, state, message, deadline)
    }

    /// The rest of [`Channel::send_buffered`]: somebody waits, or has to.
    #[inline(never)]
    fn send_patiently<'a>(
        &'a self,
        host: &H,
        mut state: Guard<'a, State<T, H>>,
        message: T,
        deadline: Option<Instant>,
    ) -> Result<(), SendStop<T>> {
        let mut woken = false;
        loop {
            if state.receivers_gone {
                drop(state);
                return Err(SendStop::Disconnected(message));
            }
            if state.has_room() {
                self.put(state, message);
                return Ok(());
            }
            match self.wait(host, state, Side::Senders, deadline, woken) {
                Ended::Woken => woken = true,
                Ended::Interrupted => {}
                Ended::TimedOut => return Err(SendStop::Timeout(message)),
                Ended::Cancelled => return Err(SendStop::Cancelled(message)),
            }
            state = self.lock_to_put();
        }
    }

    #[inline]
    pub(super) fn try_receive_buffered(&self) -> Result<T, ReceiveStop> {
        let mut state = self.lock();
        if let Some(message) = state.take_quietly() {
            return Ok(message);
        }
        let Some((message, wake)) = state.take() else {
            return Err(match state.senders_gone {
                true => ReceiveStop::Disconnected,
                false => ReceiveStop::Timeout,
            });
        };
        drop(state);
        self.wake(wake, Side::Senders);
        Ok(message)
    }

    #[inline]
    pub(super) fn receive_buffered(
        &self,
        host: &H,
        deadline: Option<Instant>,
    ) -> Result<T, ReceiveStop> {
        let mut state = self.lock();
        match state.take_quietly() {
            Some(message) => Ok(message),
            None => self.receive_patiently(host, state, deadline),
        }
    }

    /// The rest of [`Channel::receive_buffered`]: somebody waits, or has to.
    #[inline(never)]
    fn receive_patiently<'a>(
        &'a self,
        host: &H,
        mut state: Guard<'a, State<T, H>>,
        deadline: Option<Instant>,
    ) -> Result<T, ReceiveStop> {
        let mut woken = false;
        loop {
            if let Some((message, wake)) = state.take() {
                drop(state);
                self.wake(wake, Side::Senders);
                return Ok(message);
            }
            if state.senders_gone {
                return Err(ReceiveStop::Disconnected);
            }
            match self.wait(host, state, Side::Receivers, deadline, woken) {
                Ended::Woken => woken = true,
                Ended::Interrupted => {}
                Ended::TimedOut => return Err(ReceiveStop::Timeout),
                Ended::Cancelled => return Err(ReceiveStop::Cancelled),
            }
            state = self.lock();
        }
    }

    /// Joins the queue of `side` and unlocks; first in the queue if it was `woken` for nothing.
    #[inline]
    fn wait(
        &self,
        host: &H,
        mut state: Guard<'_, State<T, H>>,
        side: Side,
        deadline: Option<Instant>,
        woken: bool,
    ) -> Ended {
        let mut node: Option<WaiterNode<H>> = None;
        let ended = host.park(deadline, Patience::Cancellable, |ticket| {
            let waiter = Waiter { ticket, select: None, offer: Offer::None };
            let node = NonNull::from(node.insert(Node::new(waiter)));
            let list = &mut state.queue(side).list;
            // SAFETY: the node is in the frame of this wait, and leaves the queue below unless it
            // was taken off by its waker.
            unsafe {
                if woken {
                    list.push_front(node);
                } else {
                    list.push_back(node);
                }
            }
            drop(state);
            true
        });
        if ended != Ended::Woken {
            self.leave(side, node.as_mut());
        }
        ended
    }

    /// Takes a node off the queue, if it was ever put there and nobody has taken it off.
    pub(super) fn leave(&self, side: Side, node: Option<&mut WaiterNode<H>>) {
        if let Some(node) = node {
            // SAFETY: the node is alive, and if it is in a queue, it is in this one.
            unsafe { self.lock().queue(side).list.remove(NonNull::from(node)) };
        }
    }
}
