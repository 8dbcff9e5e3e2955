//! What a processor keeps of stacks and credits, so that it rarely needs the shared pools.

use std::cell::Cell;
use std::io;
use std::marker::PhantomData;
use std::sync::Arc;

use super::Stacks;
use super::class::Class;
use super::handle::{Slot, Stack};
use super::pool::Claim;

/// One in so many stacks that stay hot is looked at for deep memory.
const LOOK_EVERY: u32 = 512;

/// How often a cache works without a reservation before it tries again to get one. A failure takes
/// several system calls.
const RESERVE_EVERY: u32 = 256;

/// Hot stacks and a few credits, for one owner.
///
/// Stacks are taken last in, first out: the one taken is the one whose memory the processor's caches
/// still hold.
pub(crate) struct Cache {
    stacks: Arc<Stacks>,
    shelves: [Shelf; Class::COUNT],
    /// Gives until the next look for deep memory.
    until_look: u32,
    looks: usize,
    not_sync: PhantomData<Cell<()>>,
}

/// A cache's part of one class: a line of the processor's cache.
#[repr(align(64))]
struct Shelf {
    hot: Vec<Slot>,
    /// How many slots are reserved for this shelf, and so the most that may lie on it. Zero until
    /// the class is used here, and while its pool cannot grow by so many.
    reserved: usize,
    /// How many times not to ask for slots, since the pool could not grow.
    reserve_later: u32,
    credits: usize,
}

impl Cache {
    /// An empty cache.
    pub(crate) fn new(stacks: Arc<Stacks>) -> Cache {
        const EMPTY: Shelf = Shelf { hot: Vec::new(), reserved: 0, reserve_later: 0, credits: 0 };
        Cache {
            stacks,
            shelves: [EMPTY; Class::COUNT],
            until_look: LOOK_EVERY,
            looks: 0,
            not_sync: PhantomData,
        }
    }

    /// Gets the right to [take](Cache::take) one stack, from any cache of the same runtime.
    ///
    /// # Errors
    ///
    /// `OutOfMemory` if a limit of the system is reached; the message names it and the remedy.
    #[inline]
    pub(crate) fn credit(&mut self, class: Class) -> io::Result<()> {
        let shelf = &mut self.shelves[class as usize];
        match shelf.credits.checked_sub(1) {
            Some(rest) => {
                shelf.credits = rest;
                Ok(())
            }
            None => self.refill_credits(class),
        }
    }

    /// Whether the next credit is at hand.
    #[inline]
    pub(crate) fn has_credit(&self, class: Class) -> bool {
        self.shelves[class as usize].credits > 0
    }

    /// Gives a credit back: an unused one, or one whose stack was given back before.
    #[inline]
    pub(crate) fn uncredit(&mut self, class: Class) {
        let shelf = &mut self.shelves[class as usize];
        shelf.credits += 1;
        if shelf.credits > 2 * class.batch() {
            self.return_credits(class);
        }
    }

    /// As [`Cache::take`], if a stack is at hand.
    #[inline]
    pub(crate) fn take_hot(&mut self, class: Class, owner: *const ()) -> Option<Stack> {
        let slot = self.shelves[class as usize].hot.pop()?;
        Some(slot.bind(class, owner))
    }

    /// Binds a stack to `owner`. The caller holds a credit for it, and keeps it until the stack was
    /// given back.
    ///
    /// # Panics
    ///
    /// If there is no stack, which means that there was no credit.
    #[inline]
    pub(crate) fn take(&mut self, class: Class, owner: *const ()) -> Stack {
        let slot = match self.shelves[class as usize].hot.pop() {
            Some(slot) => slot,
            None => self.refill(class),
        };
        slot.bind(class, owner)
    }

    /// Takes a stack back that nothing runs on any more, and that nothing refers to.
    #[inline]
    pub(crate) fn give(&mut self, stack: Stack) {
        if let Err(stack) = self.give_hot(stack) {
            self.overflow(stack.class(), stack.unbind());
        }
    }

    /// As [`Cache::give`], if there is room at hand.
    #[inline]
    pub(crate) fn give_hot(&mut self, stack: Stack) -> Result<(), Stack> {
        let class = stack.class();
        let shelf = &mut self.shelves[class as usize];
        if shelf.hot.len() >= shelf.reserved {
            return Err(stack);
        }
        shelf.hot.push(stack.unbind());
        self.until_look -= 1;
        if self.until_look == 0 {
            self.look(class);
        }
        Ok(())
    }

    /// Gives back all stacks and credits that lie here, and the room for them: for an owner that is
    /// about to have nothing to do for long, or when there is no other room, since nobody else can get
    /// at them. `false`: there was nothing.
    pub(crate) fn settle(&mut self) -> bool {
        let mut any = false;
        for class in Class::ALL {
            let pool = self.stacks.pool(class);
            let shelf = &mut self.shelves[class as usize];
            if !shelf.hot.is_empty() {
                pool.give(shelf.hot.drain(..), false);
            }
            for (claim, claimed) in [
                (Claim::Credit, std::mem::take(&mut shelf.credits)),
                (Claim::Reservation, std::mem::take(&mut shelf.reserved)),
            ] {
                if claimed > 0 {
                    pool.unclaim(claim, claimed);
                    any = true;
                }
            }
        }
        any
    }

    #[cold]
    fn refill_credits(&mut self, class: Class) -> io::Result<()> {
        let batch = class.batch();
        if self.stacks.credit(class, batch).is_ok() {
            self.shelves[class as usize].credits = batch - 1;
            return Ok(());
        }
        // Close to a limit there may be room for one still.
        self.stacks.credit(class, 1)
    }

    #[cold]
    fn return_credits(&mut self, class: Class) {
        self.shelves[class as usize].credits -= class.batch();
        self.stacks.uncredit(class, class.batch());
    }

    #[cold]
    fn refill(&mut self, class: Class) -> Slot {
        self.reserve(class);
        let shelf = &mut self.shelves[class as usize];
        let mut taken = None;
        let count = if shelf.reserved > 0 { class.batch() } else { 1 };
        self.stacks.pool(class).take(count, |slot| {
            // The first is the best; it goes to the caller, and the second best on top.
            match &taken {
                None => taken = Some(slot),
                Some(_) => shelf.hot.push(slot),
            }
        });
        shelf.hot.reverse();
        taken.expect("whoever takes a stack holds a credit for it")
    }

    #[cold]
    fn overflow(&mut self, class: Class, slot: Slot) {
        self.reserve(class);
        let Cache { stacks, shelves, looks, .. } = self;
        let shelf = &mut shelves[class as usize];
        if shelf.reserved == 0 {
            stacks.pool(class).give(std::iter::once(slot), false);
            return;
        }
        if shelf.hot.len() == shelf.reserved {
            // The coldest half goes. If a look at one shows that it went deep, so may have the
            // others, and whoever gets them next may hold on to them for long.
            *looks += 1;
            let leaving = &mut shelf.hot[..class.batch()];
            let deep = leaving[*looks % class.batch()].is_deep(class);
            if deep {
                leaving.iter_mut().for_each(|slot| slot.release_deep(class));
            }
            stacks.pool(class).give(shelf.hot.drain(..class.batch()), deep);
        }
        shelf.hot.push(slot);
    }

    /// Looks at one of the hot stacks, each in its turn, lest one that went deep once stay so large.
    #[cold]
    fn look(&mut self, class: Class) {
        self.until_look = LOOK_EVERY;
        self.looks += 1;
        let hot = &mut self.shelves[class as usize].hot;
        let index = self.looks % hot.len();
        if hot[index].is_deep(class) {
            hot[index].release_deep(class);
        }
    }

    /// Tries to have slots set apart for the shelf, if there are none yet.
    fn reserve(&mut self, class: Class) {
        let shelf = &mut self.shelves[class as usize];
        if shelf.reserved > 0 {
            return;
        }
        if shelf.reserve_later > 0 {
            shelf.reserve_later -= 1;
            return;
        }
        let wanted = 2 * class.batch();
        if shelf.hot.try_reserve_exact(wanted).is_ok()
            && self.stacks.claim(class, Claim::Reservation, wanted).is_ok()
        {
            shelf.reserved = wanted;
        } else {
            shelf.reserve_later = RESERVE_EVERY;
        }
    }
}

impl Drop for Cache {
    fn drop(&mut self) {
        self.settle();
    }
}
