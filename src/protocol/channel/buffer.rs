//! Where messages stand between a send and a receive.

use std::collections::VecDeque;
use std::mem;

/// Messages in the first piece of an unbounded buffer.
const FIRST_PIECE: usize = 32;
/// Bytes of messages in a piece, beyond which pieces grow no further.
const PIECE_BYTES: usize = 16 << 10;

/// A piece of an unbounded buffer: it is never filled beyond the capacity that it was made with.
pub(super) type Piece<T> = VecDeque<T>;

/// A queue of messages that neither allocates nor frees nor copies messages about while the
/// channel is locked.
pub(super) struct Buffer<T> {
    len: usize,
    /// 0 for a rendezvous, `usize::MAX` for an unbounded one.
    capacity: usize,
    store: Store<T>,
}

enum Store<T> {
    /// One allocation, made with the channel. A rendezvous has none, but for what was received and
    /// given back.
    Ring(VecDeque<T>),
    /// Pieces of bounded size, so that growing does not move what is there.
    Pieces { pieces: VecDeque<Piece<T>>, spare: Option<Piece<T>> },
}

impl<T> Buffer<T> {
    pub(super) fn bounded(capacity: usize) -> Self {
        Buffer { len: 0, capacity, store: Store::Ring(VecDeque::with_capacity(capacity)) }
    }

    pub(super) fn unbounded() -> Self {
        let store = Store::Pieces { pieces: VecDeque::new(), spare: None };
        Buffer { len: 0, capacity: usize::MAX, store }
    }

    #[inline]
    pub(super) fn is_rendezvous(&self) -> bool {
        self.capacity == 0
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Whether there is room for one more message beside `promised` others.
    #[inline]
    pub(super) fn has_room_beside(&self, promised: usize) -> bool {
        self.len + promised < self.capacity
    }

    /// `None`: without limit.
    pub(super) fn capacity(&self) -> Option<usize> {
        match &self.store {
            Store::Ring(_) => Some(self.capacity),
            Store::Pieces { .. } => None,
        }
    }

    /// The capacity of the piece that has to be made before the next [`Buffer::push`], if one has.
    #[inline]
    pub(super) fn wants_piece(&self) -> Option<usize> {
        let Store::Pieces { pieces, spare } = &self.store else { return None };
        let full = pieces.back().is_none_or(|last| last.len() == last.capacity());
        if !full || spare.is_some() {
            return None;
        }
        let most = (PIECE_BYTES / size_of::<T>().max(1)).max(FIRST_PIECE);
        Some(pieces.back().map_or(FIRST_PIECE, |last| (last.capacity() * 4).min(most)))
    }

    /// Takes a piece, or gives it back if another one has come meanwhile.
    pub(super) fn give_piece(&mut self, piece: Piece<T>) -> Option<Piece<T>> {
        match &mut self.store {
            Store::Pieces { spare: spare @ None, .. } => {
                *spare = Some(piece);
                None
            }
            _ => Some(piece),
        }
    }

    /// Adds a message; the caller has seen that there is room, and that no piece is wanted.
    #[inline]
    pub(super) fn push(&mut self, message: T) {
        self.len += 1;
        match &mut self.store {
            Store::Ring(ring) => ring.push_back(message),
            Store::Pieces { pieces, spare } => {
                match pieces.back_mut().filter(|last| last.len() < last.capacity()) {
                    Some(last) => last.push_back(message),
                    None => {
                        let mut piece = spare.take().expect("a piece was made before this");
                        piece.push_back(message);
                        pieces.push_back(piece);
                    }
                }
            }
        }
    }

    /// Takes the oldest message, unless that leaves a piece over.
    #[inline]
    pub(super) fn pop_plainly(&mut self) -> Option<T> {
        let queue = match &mut self.store {
            Store::Ring(ring) => ring,
            Store::Pieces { pieces, .. } => {
                let only = pieces.len() == 1;
                pieces.front_mut().filter(|first| only || first.len() > 1)?
            }
        };
        let message = queue.pop_front()?;
        self.len -= 1;
        Some(message)
    }

    /// Takes the oldest message, and a piece that is not wanted any more, to be freed without the
    /// lock.
    #[inline]
    pub(super) fn pop(&mut self) -> Option<(T, Option<Piece<T>>)> {
        if let Some(message) = self.pop_plainly() {
            return Some((message, None));
        }
        let Store::Pieces { pieces, spare } = &mut self.store else { return None };
        let message = pieces.front_mut()?.pop_front()?;
        self.len -= 1;
        let empty = pieces.pop_front();
        if spare.is_none() {
            *spare = empty;
            return Some((message, None));
        }
        Some((message, empty))
    }

    /// Takes everything, to be dropped without the lock.
    pub(super) fn take(&mut self) -> Buffer<T> {
        let store = match &mut self.store {
            Store::Ring(ring) => Store::Ring(mem::take(ring)),
            Store::Pieces { pieces, spare } => {
                Store::Pieces { pieces: mem::take(pieces), spare: spare.take() }
            }
        };
        Buffer { len: mem::take(&mut self.len), capacity: self.capacity, store }
    }
}

/// A message whose destructor panics leaves the others undropped, as in crossbeam-channel: a second
/// panic would end the process.
impl<T> Drop for Buffer<T> {
    fn drop(&mut self) {
        struct Leak<'a, T>(&'a mut Buffer<T>);

        impl<T> Drop for Leak<'_, T> {
            fn drop(&mut self) {
                mem::forget(self.0.take());
            }
        }

        if mem::needs_drop::<T>() {
            let left = Leak(self);
            while let Some((message, _)) = left.0.pop() {
                drop(message);
            }
            mem::forget(left);
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn push(buffer: &mut Buffer<u32>, value: u32) {
        if let Some(capacity) = buffer.wants_piece() {
            assert!(buffer.give_piece(Piece::with_capacity(capacity)).is_none());
        }
        buffer.push(value);
    }

    fn addresses(buffer: &Buffer<u32>) -> Vec<*const u32> {
        let Store::Pieces { pieces, .. } = &buffer.store else { unreachable!("it is unbounded") };
        pieces.iter().map(|piece| piece.as_slices().0.as_ptr()).collect()
    }

    #[test]
    fn an_unbounded_buffer_keeps_the_order_and_moves_nothing() {
        let mut buffer = Buffer::unbounded();
        let (mut next, mut expected) = (0, 0);
        for round in 1..60 {
            for _ in 0..round * 37 {
                let before = addresses(&buffer);
                push(&mut buffer, next);
                assert!(addresses(&buffer).starts_with(&before));
                next += 1;
            }
            for _ in 0..round * 36 {
                assert_eq!(buffer.pop().map(|(value, _)| value), Some(expected));
                expected += 1;
            }
            assert_eq!(buffer.len(), (next - expected) as usize);
        }
        while let Some((value, _)) = buffer.pop() {
            assert_eq!(value, expected);
            expected += 1;
        }
        assert_eq!(expected, next);
    }

    #[test]
    fn one_message_at_a_time_needs_one_piece() {
        let mut buffer = Buffer::unbounded();
        push(&mut buffer, 0);
        let Store::Pieces { pieces, .. } = &buffer.store else { unreachable!("it is unbounded") };
        let allocation = pieces[0].as_slices().0.as_ptr();
        for value in 1..1000 {
            assert_eq!(buffer.pop().unwrap().0, value - 1);
            assert!(buffer.wants_piece().is_none());
            push(&mut buffer, value);
        }
        let Store::Pieces { pieces, .. } = &buffer.store else { unreachable!("it is unbounded") };
        let slices = pieces[0].as_slices();
        assert_eq!(pieces.len(), 1);
        let offset = slices.0.as_ptr().addr() - allocation.addr();
        assert!(offset < FIRST_PIECE * size_of::<u32>() + 1, "it moved by {offset} bytes");
    }
}
