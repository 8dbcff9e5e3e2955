//! A slab: one mapping, cut into slots of one class.

#![expect(unsafe_code, reason = "slots are made from addresses, and slabs unmapped")]

use std::io;

use super::bits::Bits;
use super::class::{Class, GUARD};
use super::guard::{GuardStrategy, Guards, MapEntries, Refusal};
use super::handle::Slot;
use super::limits::{self, Want};
use super::registry::{self, Entry, MAX_SLOTS_LOG2};
use super::sys;

/// No slab is larger: it must be empty to go back to the system, and the larger, the rarer that is.
const MAX_SLAB: usize = if cfg!(target_pointer_width = "64") { 1 << 30 } else { 64 << 20 };

/// A slab with the books on its free slots. Slots are numbered by address.
pub(super) struct Slab {
    class: Class,
    start: usize,
    slots: usize,
    strategy: GuardStrategy,
    /// The slots below this number are open and guarded; the rest is bare address space.
    carved: usize,
    /// Free slots that may have memory: up to `class::WARM` bytes, or more if also in `unchecked`.
    warm: Bits,
    /// Free slots without memory.
    cold: Bits,
    /// Those of `warm` that may have been used deeply.
    unchecked: Bits,
    entries: MapEntries,
    registered: Option<Entry>,
}

/// What it takes to carve the slots of a slab, while others use those there are.
pub(super) struct Quarry {
    class: Class,
    start: usize,
    strategy: GuardStrategy,
    carved: usize,
    slots: usize,
}

/// Slots just carved, on their way into the books of their slab.
#[must_use]
pub(super) struct Carved {
    pub(super) start: usize,
    pub(super) count: usize,
    entries: MapEntries,
}

/// Free slots of one slab, taken out of its books for their memory to be released.
pub(super) struct Limbo {
    class: Class,
    start: usize,
    strategy: GuardStrategy,
    /// Highest first.
    numbers: Vec<usize>,
}

impl Slab {
    /// Maps a slab of about `slots` slots, fewer if need be. None of them is carved yet.
    pub(super) fn map(guards: &Guards, class: Class, slots: usize) -> io::Result<(Slab, Quarry)> {
        let most = (MAX_SLAB / class.size()).min(1 << MAX_SLOTS_LOG2);
        let mut slots = slots.next_power_of_two().min(most);
        let (start, slots) = loop {
            let len = slots * class.size();
            let refusal = match limits::address_space_left() {
                Some(left) if left < len => None,
                _ => match sys::reserve(len, class.size()) {
                    Ok(start) => break (start, slots),
                    Err(error) => Some(error),
                },
            };
            if slots == 1 {
                let want = Want::AddressSpace(len);
                return Err(limits::exhausted(class, want, refusal.as_ref()));
            }
            slots /= 2;
        };
        let strategy = guards.strategy();
        let mut slab = Slab {
            class,
            start,
            slots,
            strategy,
            carved: 0,
            warm: Bits::none(),
            cold: Bits::none(),
            unchecked: Bits::none(),
            entries: MapEntries::none(),
            registered: None,
        };
        for bits in [&mut slab.warm, &mut slab.cold, &mut slab.unchecked] {
            *bits = Bits::new(slots).map_err(|_| limits::exhausted(class, Want::Books, None))?;
        }
        guards.prepare(strategy, start, slots * class.size())?;
        slab.registered = Some(registry::register(class, start, slots.trailing_zeros()));
        Ok((slab, Quarry { class, start, strategy, carved: 0, slots }))
    }

    pub(super) fn class(&self) -> Class {
        self.class
    }

    pub(super) fn start(&self) -> usize {
        self.start
    }

    pub(super) fn len(&self) -> usize {
        self.slots * self.class.size()
    }

    pub(super) fn carved(&self) -> usize {
        self.carved
    }

    pub(super) fn warm(&self) -> usize {
        self.warm.len()
    }

    pub(super) fn unchecked(&self) -> usize {
        self.unchecked.len()
    }

    /// Free slots.
    pub(super) fn free(&self) -> usize {
        self.warm.len() + self.cold.len()
    }

    /// Whether nobody holds a slot of it.
    pub(super) fn is_idle(&self) -> bool {
        self.free() == self.carved
    }

    /// Enters slots that its quarry has carved.
    pub(super) fn add(&mut self, carved: Carved) {
        debug_assert_eq!(carved.start, self.start + self.carved * self.class.size());
        for number in self.carved..self.carved + carved.count {
            self.cold.insert(number);
        }
        self.carved += carved.count;
        self.entries.join(carved.entries);
    }

    /// Takes a free slot out that may have memory.
    pub(super) fn take_warm(&mut self) -> Option<Slot> {
        let number = self.warm.pop_first()?;
        self.unchecked.remove(number);
        Some(self.slot(number))
    }

    /// Takes a free slot out that has no memory.
    pub(super) fn take_cold(&mut self) -> Option<Slot> {
        let number = self.cold.pop_first()?;
        Some(self.slot(number))
    }

    /// Takes a slot back. `checked` says that it has no memory deep down.
    pub(super) fn give(&mut self, slot: Slot, checked: bool) {
        let number = (slot.address() - self.start) >> self.class.shift();
        debug_assert!(number < self.carved && !self.cold.contains(number));
        let missing = self.warm.insert(number);
        debug_assert!(missing, "a slot came back twice");
        if !checked {
            self.unchecked.insert(number);
        }
    }

    /// Takes up to `most` warm slots out, those first that are given out last.
    pub(super) fn take_out_warm(&mut self, most: usize) -> Limbo {
        let numbers: Vec<_> = self.warm.descending().take(most).collect();
        self.take_out(numbers)
    }

    /// Takes up to `most` unchecked slots out.
    pub(super) fn take_out_unchecked(&mut self, most: usize) -> Limbo {
        let numbers: Vec<_> = self.unchecked.descending().take(most).collect();
        self.take_out(numbers)
    }

    fn take_out(&mut self, numbers: Vec<usize>) -> Limbo {
        for &number in &numbers {
            self.warm.remove(number);
            self.unchecked.remove(number);
        }
        Limbo { class: self.class, start: self.start, strategy: self.strategy, numbers }
    }

    /// Takes slots back whose memory was released.
    pub(super) fn put_back_cold(&mut self, limbo: Limbo) {
        for number in limbo.numbers {
            self.cold.insert(number);
        }
    }

    /// Takes slots back whose deep memory was released.
    pub(super) fn put_back_warm(&mut self, limbo: Limbo) {
        for number in limbo.numbers {
            self.warm.insert(number);
        }
    }

    fn slot(&self, number: usize) -> Slot {
        // SAFETY: the number comes from the books on free slots, all of them carved, and has just
        // been taken out of them. The slab is not unmapped while one is out.
        unsafe { Slot::new(self.class, self.start + number * self.class.size()) }
    }
}

impl Drop for Slab {
    /// Unmaps the slab, unless somebody still holds a slot of it: then it is left as it is, guarded
    /// and findable, for as long as the process lives.
    fn drop(&mut self) {
        if self.is_idle() {
            self.registered = None;
            // SAFETY: the slab's own mapping, whose slots are all free.
            unsafe { sys::release(self.start, self.len()) };
        } else {
            std::mem::forget(self.registered.take());
            std::mem::forget(std::mem::replace(&mut self.entries, MapEntries::none()));
        }
    }
}

impl Quarry {
    pub(super) fn start(&self) -> usize {
        self.start
    }

    pub(super) fn carved(&self) -> usize {
        self.carved
    }

    /// Slots that can still be carved.
    pub(super) fn left(&self) -> usize {
        self.slots - self.carved
    }

    /// Whether new slots would be guarded in the way that is in use now.
    pub(super) fn is_up_to_date(&self, guards: &Guards) -> bool {
        self.strategy == guards.strategy()
    }

    /// Carves `count` slots, no more than are left. What could not be guarded at all, or not twice,
    /// is given up.
    pub(super) fn carve(&mut self, guards: &Guards, count: usize) -> Result<Carved, Refusal> {
        let start = self.start + self.carved * self.class.size();
        let mut entries = MapEntries::none();
        // SAFETY: slots of a slab that is mapped while its quarry is in use, prepared when it was
        // mapped, and never carved before, except by a failed attempt that may be repeated.
        let opened = unsafe { guards.open(self.strategy, self.class, start, count, &mut entries) };
        match opened {
            Ok(()) => {
                self.carved += count;
                Ok(Carved { start, count, entries })
            }
            Err(refusal) => {
                let again =
                    matches!(refusal, Refusal::Exhausted(_)) && self.strategy.is_repeatable();
                if !again {
                    self.slots = self.carved;
                }
                Err(refusal)
            }
        }
    }

    /// What its guards are made by.
    pub(super) fn strategy(&self) -> GuardStrategy {
        self.strategy
    }
}

impl Limbo {
    pub(super) fn start(&self) -> usize {
        self.start
    }

    pub(super) fn len(&self) -> usize {
        self.numbers.len()
    }

    /// Gives all memory of the slots back, in as few calls as their guards allow.
    pub(super) fn release(&mut self) {
        let together =
            |high: &usize, low: &usize| *high == *low + 1 && self.strategy.survives_discard();
        for run in self.numbers.chunk_by(together) {
            let (Some(&last), Some(&first)) = (run.first(), run.last()) else { continue };
            let start = self.start + first * self.class.size() + GUARD;
            let end = self.start + (last + 1) * self.class.size();
            // SAFETY: slots that were taken out of the books are held by nobody else. The guards
            // in between outlive this, or else there are none in between.
            unsafe { sys::discard(start, end - start) };
        }
    }

    /// Gives back the memory that lies deep in the slots.
    pub(super) fn release_deep(&mut self) {
        for &number in &self.numbers {
            // SAFETY: taken out of the books, and so held by nobody else. The value dies here.
            let mut slot =
                unsafe { Slot::new(self.class, self.start + number * self.class.size()) };
            slot.release_deep(self.class);
        }
    }
}
