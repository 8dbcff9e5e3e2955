//! Sends and receives with a buffer in between.
//!
//! A message that is in the buffer belongs to whoever takes it first. Who is woken for it looks
//! again, and waits again, first in its queue, if another one was faster.

use super::buffer::Piece;
use super::exchange::Step;
use super::state::{Guard, State};
use super::{Channel, Host, Side};

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

    /// Adds the message in the slot, if there is room.
    #[inline(never)]
    pub(super) fn step_to_put<'a>(
        &'a self,
        mut state: Guard<'a, State<T, H>>,
        slot: &mut Option<T>,
    ) -> Step<'a, T, H> {
        if state.receivers_gone {
            return Step::Disconnected;
        }
        if !state.has_room() {
            return Step::Wait(state);
        }
        let Some(message) = slot.take() else { return Step::Done };
        let wake = state.put(message);
        drop(state);
        self.wake(wake, Side::Receivers);
        Step::Done
    }

    /// Takes a message, if there is one.
    #[inline(never)]
    pub(super) fn step_to_take<'a>(
        &'a self,
        mut state: Guard<'a, State<T, H>>,
        slot: &mut Option<T>,
    ) -> Step<'a, T, H> {
        match state.take() {
            Some((message, wake)) => {
                *slot = Some(message);
                drop(state);
                self.wake(wake, Side::Senders);
                Step::Done
            }
            None if state.senders_gone => Step::Disconnected,
            None => Step::Wait(state),
        }
    }
}
