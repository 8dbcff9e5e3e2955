//! Where the slabs are, for a signal handler.
//!
//! A slab is one word, so that a handler on any thread reads all of an entry or nothing of it. Words
//! stand in blocks that are only ever added, and used again.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::class::Class;

/// The binary logarithm of the most slots that a slab may have: what an entry can say.
pub(super) const MAX_SLOTS_LOG2: u32 = 15;

/// How many words a block has.
const ENTRIES: usize = 62;

static FIRST: Block = Block::new();

struct Block {
    /// Zero, or the start of a slab with its class and its size in the low bits.
    entries: [AtomicUsize; ENTRIES],
    next: OnceLock<Box<Block>>,
}

/// A slab's place in the registry, given up when dropped.
pub(super) struct Entry(&'static AtomicUsize);

/// A slot found by an address in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) class: Class,
    /// Where the slot starts.
    pub(super) start: usize,
}

impl Block {
    const fn new() -> Block {
        Block { entries: [const { AtomicUsize::new(0) }; ENTRIES], next: OnceLock::new() }
    }
}

/// Makes the slab of `1 << slots_log2` slots at `start` findable.
pub(super) fn register(class: Class, start: usize, slots_log2: u32) -> Entry {
    debug_assert!(start.is_multiple_of(class.size()) && slots_log2 <= MAX_SLOTS_LOG2);
    let word = start | (slots_log2 as usize) << 3 | class as usize;
    let mut block = &FIRST;
    loop {
        for entry in &block.entries {
            let claimed = entry.compare_exchange(0, word, Ordering::Relaxed, Ordering::Relaxed);
            if claimed.is_ok() {
                return Entry(entry);
            }
        }
        block = block.next.get_or_init(|| Box::new(Block::new()));
    }
}

/// The slot that `address` lies in. Safe in a signal handler.
pub(super) fn find(address: usize) -> Option<Found> {
    let mut block = Some(&FIRST);
    while let Some(here) = block {
        for entry in &here.entries {
            let word = entry.load(Ordering::Relaxed);
            if word == 0 {
                continue;
            }
            let class = Class::ALL[word & 7];
            let start = class.slot_start(word);
            let len = class.size() << ((word >> 3) & 15);
            if address.wrapping_sub(start) < len {
                return Some(Found { class, start: class.slot_start(address) });
            }
        }
        block = here.next.get().map(Box::as_ref);
    }
    None
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.0.store(0, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Addresses of the upper half: no slab of a test that runs beside is there.
    const HIGH: usize = 0xFFFF_0000_0000_0000;

    #[test]
    fn finds_what_is_registered_and_only_that() {
        let entry = register(Class::M1, HIGH, 2);
        let (size, found) = (Class::M1.size(), |start| Some(Found { class: Class::M1, start }));
        assert_eq!(find(HIGH), found(HIGH));
        assert_eq!(find(HIGH + size - 1), found(HIGH));
        assert_eq!(find(HIGH + 3 * size + 5), found(HIGH + 3 * size));
        assert_eq!(find(HIGH + 4 * size), None);
        assert_eq!(find(HIGH - 1), None);
        drop(entry);
        assert_eq!(find(HIGH), None);
    }

    #[test]
    fn grows_by_blocks() {
        let start = |index| HIGH + 0x100_0000_0000 + index * Class::K32.size();
        let entries: Vec<_> =
            (0..5 * ENTRIES).map(|index| register(Class::K32, start(index), 0)).collect();
        for index in 0..entries.len() {
            assert_eq!(find(start(index)).unwrap().start, start(index));
        }
        drop(entries);
        assert_eq!(find(start(4 * ENTRIES)), None);
    }
}
