//! Memory of coroutines that have gone, kept at hand for the next ones.
//!
//! A coroutine is one allocation, and most come and go on the same machine, so the machine keeps
//! the memory of some: taking a block off a list is a tenth of an allocator's work, which after a
//! burst has to cut up and join what it got back. Blocks are as long as glibc's allocator makes them
//! anyway (a multiple of 16 with its own word of 8), so that any of a length serves any coroutine of
//! that length, whatever its closure is.
//!
//! The lists are short, and are given back when nothing goes on. Debug builds keep nothing: there the
//! allocator is to see each use after the end.

#![expect(unsafe_code, reason = "links free blocks through themselves")]

use crate::sched;
use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::cell::Cell;
use std::ptr::{self, NonNull};

/// Blocks and the allocator's word together are multiples of this; blocks are aligned to it.
const GRAIN: usize = 16;
/// What the allocator keeps with each block.
const WORD: usize = 8;
/// The largest block that is kept; larger closures are the allocator's.
const LARGEST: usize = len_of(LISTS - 1);
const LISTS: usize = 64;
/// The most blocks that one machine keeps.
const MOST: usize = 1024;

/// A free block.
struct Free {
    next: *mut Free,
}

/// What one machine keeps: a list for each length.
pub(crate) struct Frames {
    lists: [Cell<*mut Free>; LISTS],
    kept: Cell<usize>,
}

/// The list for blocks of that layout, and the layout that they are allocated with.
#[inline]
const fn list_of(layout: Layout) -> Option<(usize, Layout)> {
    if layout.align() > GRAIN || layout.size() == 0 || layout.size() > LARGEST {
        return None;
    }
    let list = (layout.size() + WORD).div_ceil(GRAIN) - 1;
    match Layout::from_size_align(len_of(list), GRAIN) {
        Ok(whole) => Some((list, whole)),
        Err(_) => None,
    }
}

/// The length of the blocks in a list.
const fn len_of(list: usize) -> usize {
    (list + 1) * GRAIN - WORD
}

/// Room for a `T`, to be given back to [`free`].
#[inline]
pub(super) fn allocate<T>() -> NonNull<T> {
    const { assert!(size_of::<T>() > 0) };
    let layout = const { Layout::new::<T>() };
    let Some((list, whole)) = (const { list_of(Layout::new::<T>()) }) else { return fresh(layout) };
    match sched::with_frames(|frames| frames.take(list)).flatten() {
        Some(block) => block.cast(),
        None => fresh(whole),
    }
}

fn fresh<T>(layout: Layout) -> NonNull<T> {
    // SAFETY: the layout has a size.
    let block = unsafe { alloc(layout) };
    NonNull::new(block.cast()).unwrap_or_else(|| handle_alloc_error(layout))
}

/// Takes back the room of a `T` that is there no more.
///
/// # Safety
///
/// It is from [`allocate`], for this very type, and not used any more.
#[inline]
pub(super) unsafe fn free<T>(block: NonNull<T>) {
    let (block, layout) = (block.cast(), const { Layout::new::<T>() });
    let Some((list, whole)) = (const { list_of(Layout::new::<T>()) }) else {
        // SAFETY: allocated with this layout, by the caller's promise.
        return unsafe { dealloc(block.as_ptr(), layout) };
    };
    // SAFETY: the caller gives the block away, and it is of the list's length.
    let kept = sched::with_frames(|frames| unsafe { frames.keep(list, block) });
    if kept != Some(true) {
        // SAFETY: allocated with this layout, here or by a machine that kept it.
        unsafe { dealloc(block.as_ptr(), whole) };
    }
}

impl Frames {
    pub(crate) fn new() -> Frames {
        Frames { lists: [const { Cell::new(ptr::null_mut()) }; LISTS], kept: Cell::new(0) }
    }

    #[inline]
    fn take(&self, list: usize) -> Option<NonNull<u8>> {
        let first = NonNull::new(self.lists[list].get())?;
        // SAFETY: what is in a list is a free block with a link.
        self.lists[list].set(unsafe { first.as_ref() }.next);
        self.kept.set(self.kept.get() - 1);
        Some(first.cast())
    }

    /// `false`: there are enough.
    ///
    /// # Safety
    ///
    /// The block is free, and of the list's length.
    #[inline]
    unsafe fn keep(&self, list: usize, block: NonNull<u8>) -> bool {
        let keeps = !cfg!(debug_assertions) && self.kept.get() < MOST;
        if keeps {
            // SAFETY: the caller's promise.
            unsafe { self.put(list, block) };
        }
        keeps
    }

    /// # Safety
    ///
    /// As [`Frames::keep`].
    #[inline]
    unsafe fn put(&self, list: usize, block: NonNull<u8>) {
        let block = block.cast::<Free>();
        // SAFETY: a block has room for a link, is aligned for one, and is nobody else's.
        unsafe { block.write(Free { next: self.lists[list].get() }) };
        self.lists[list].set(block.as_ptr());
        self.kept.set(self.kept.get() + 1);
    }

    /// Gives everything back.
    pub(crate) fn settle(&self) {
        for list in 0..self.lists.len() {
            while let Some(block) = self.take(list) {
                let whole = Layout::from_size_align(len_of(list), GRAIN);
                let whole = whole.expect("as it was allocated");
                // SAFETY: blocks of this list were allocated with this layout.
                unsafe { dealloc(block.as_ptr(), whole) };
            }
        }
    }
}

impl Drop for Frames {
    fn drop(&mut self) {
        self.settle();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(len: usize) -> NonNull<u8> {
        fresh(Layout::from_size_align(len, GRAIN).unwrap())
    }

    #[test]
    fn a_block_comes_back_from_its_list_alone() {
        let frames = Frames::new();
        let (a, b, c) = (block(24), block(24), block(40));
        // SAFETY: the blocks are this test's, and of the lengths of the lists.
        let keep = |list, block| unsafe { frames.put(list, block) };
        keep(1, a);
        keep(1, b);
        keep(2, c);
        assert_eq!(frames.take(0), None);
        assert_eq!(frames.take(1), Some(b));
        assert_eq!(frames.take(2), Some(c));
        assert_eq!(frames.take(2), None);
        keep(2, c);
        keep(1, b);
        assert_eq!(frames.kept.get(), 3);
        // The rest is freed with them, which leak checkers see.
    }

    #[test]
    fn no_more_are_kept_than_the_limit() {
        let frames = Frames::new();
        let blocks: Vec<_> = (0..MOST + 3).map(|_| block(len_of(3))).collect();
        let mut refused = 0;
        for block in blocks {
            // SAFETY: the block is this test's, and of the length of list 3.
            if !unsafe { frames.keep(3, block) } {
                refused += 1;
                // SAFETY: as it was allocated.
                unsafe {
                    dealloc(block.as_ptr(), Layout::from_size_align(len_of(3), GRAIN).unwrap())
                };
            }
        }
        let limit = if cfg!(debug_assertions) { 0 } else { MOST };
        assert_eq!((refused, frames.kept.get()), (MOST + 3 - limit, limit));
        frames.settle();
        assert_eq!((frames.take(3), frames.kept.get()), (None, 0));
    }

    #[test]
    fn what_is_too_large_or_aligned_otherwise_is_the_allocators() {
        let list = |size, align| {
            list_of(Layout::from_size_align(size, align).unwrap())
                .map(|(list, whole)| (list, whole.size()))
        };
        assert_eq!(list(1, 1), Some((0, 8)));
        assert_eq!(list(8, 16), Some((0, 8)));
        assert_eq!(list(9, 8), Some((1, 24)));
        assert_eq!(list(24, 8), Some((1, 24)));
        assert_eq!(list(LARGEST, 8), Some((LISTS - 1, LARGEST)));
        assert_eq!(list(LARGEST + 1, 8), None);
        assert_eq!(list(64, 64), None);
    }
}
