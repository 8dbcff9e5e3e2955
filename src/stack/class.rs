//! Sizes of stacks, and the geometry of a slot.
//!
//! A slot is `size` bytes of address space at a multiple of `size`:
//!
//! ```text
//!  start            start + GUARD                     control block          start + size
//!    |    guard        |   stack, growing down    <---- |  64 B  |  0 to 15 x 64 B  |
//! ```
//!
//! The control block, and with it the base of the stack, stands a few cache lines below the end of
//! the slot, in a place that the slot's address alone decides. Were all bases the same distance from
//! a power of two, the frames of every parked coroutine would compete for the same few sets of the
//! first-level cache.

use std::fmt;
use std::io;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// What a coroutine gets unless it or the runtime asks for something else.
pub(crate) const DEFAULT_STACK_SIZE: usize = 256 * KIB;

/// Bytes at the low end of a slot that fault when touched. Four pages cost what one does, and stop
/// code compiled without stack probes unless a frame of it is larger than this.
pub(super) const GUARD: usize = 16 * KIB;

/// Size and alignment of a control block, and the step between bases.
pub(super) const LINE: usize = 64;

/// How many different distances from the end of a slot bases have. With sixteen, a base is at most
/// 1 KiB down, and 3 KiB of the page it shares with the control block are left for frames: a shallow
/// coroutine touches one page.
const COLOURS: usize = 16;

/// How many bytes below its base a stack keeps when deep pages are released: what shallow
/// coroutines touch again and again.
pub(super) const WARM: usize = 16 * KIB;

/// How much address space a stack takes, everything included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub(crate) enum Class {
    /// 32 KiB, half of which is guard: for code that is known to need little.
    K32,
    /// 64 KiB.
    K64,
    /// 256 KiB.
    K256,
    /// 1 MiB.
    M1,
    /// 8 MiB, what Linux gives a process's first thread.
    M8,
}

impl Class {
    pub(crate) const COUNT: usize = 5;
    pub(crate) const ALL: [Class; Class::COUNT] =
        [Class::K32, Class::K64, Class::K256, Class::M1, Class::M8];
    pub(super) const LARGEST: Class = Class::M8;

    /// The smallest class of at least `bytes` of address space.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if `bytes` is more than 8 MiB.
    pub(crate) fn for_size(bytes: usize) -> io::Result<Class> {
        Class::ALL.into_iter().find(|class| bytes <= class.size()).ok_or_else(|| too_large(bytes))
    }

    /// Bytes of address space of a stack, guard and control block included.
    pub(crate) const fn size(self) -> usize {
        1 << self.shift()
    }

    /// Bytes that code on a stack can count on.
    #[cfg(test)]
    pub(crate) const fn usable(self) -> usize {
        self.size() - GUARD - COLOURS * LINE
    }

    /// Binary logarithm of the size.
    pub(super) const fn shift(self) -> u32 {
        match self {
            Class::K32 => 15,
            Class::K64 => 16,
            Class::K256 => 18,
            Class::M1 => 20,
            Class::M8 => 23,
        }
    }

    /// How many credits or stacks pass at a time between a cache and its pool. For the large
    /// classes fewer: what lies in caches takes address space, and page tables behind its guards.
    pub(super) const fn batch(self) -> usize {
        match self {
            Class::K32 | Class::K64 | Class::K256 => 64,
            Class::M1 => 16,
            Class::M8 => 4,
        }
    }

    /// The start of the slot that `address` lies in.
    pub(crate) fn slot_start(self, address: usize) -> usize {
        address & !(self.size() - 1)
    }

    /// The address of the control block of the slot at `start`, which is the base of its stack too.
    pub(super) const fn control(self, start: usize) -> usize {
        let colour = (start >> self.shift()) % COLOURS;
        start + self.size() - (1 + colour) * LINE
    }

    /// What lies below the bytes that a free stack may keep: start and length, or nothing.
    pub(super) const fn deep(self, start: usize) -> Option<(usize, usize)> {
        let len = self.size() - GUARD - WARM;
        if len == 0 { None } else { Some((start + GUARD, len)) }
    }
}

#[cold]
fn too_large(bytes: usize) -> io::Error {
    let limit = Class::LARGEST;
    let message = format!("a stack of {bytes} bytes is too large: the limit is {limit}");
    io::Error::new(io::ErrorKind::InvalidInput, message)
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let size = self.size();
        if size >= MIB { write!(f, "{} MiB", size / MIB) } else { write!(f, "{} KiB", size / KIB) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_round_up_to_a_class() {
        for (bytes, class) in [
            (0, Class::K32),
            (1, Class::K32),
            (32 * KIB, Class::K32),
            (32 * KIB + 1, Class::K64),
            (64 * KIB, Class::K64),
            (DEFAULT_STACK_SIZE, Class::K256),
            (MIB, Class::M1),
            (MIB + 1, Class::M8),
            (8 * MIB, Class::M8),
        ] {
            assert_eq!(Class::for_size(bytes).unwrap(), class, "{bytes}");
        }
    }

    #[test]
    fn a_size_above_the_limit_is_an_error_that_names_it() {
        for bytes in [8 * MIB + 1, usize::MAX] {
            let error = Class::for_size(bytes).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
            assert!(error.to_string().contains("8 MiB"), "{error}");
        }
    }

    #[test]
    fn control_blocks_share_the_top_page_and_spread_over_cache_sets() {
        for class in Class::ALL {
            let mut distances = std::collections::BTreeSet::new();
            for slot in 0..64 {
                let start = 0x1_0000_0000 + slot * class.size();
                let control = class.control(start);
                assert_eq!(class.slot_start(control), start);
                assert_eq!(class.slot_start(start), start);
                assert!(control.is_multiple_of(LINE));
                assert!(start + class.size() - control <= 1024);
                assert!(control - (start + GUARD) >= class.usable());
                distances.insert(start + class.size() - control);
            }
            assert_eq!(distances.len(), COLOURS);
        }
    }
}
