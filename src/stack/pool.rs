//! The slots of one class, shared by all caches.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

use super::class::Class;
use super::guard::{Guards, Refusal};
use super::handle::Slot;
use super::limits::{self, Want};
use super::slab::{Carved, Limbo, Quarry, Slab};

/// The shared part of a class. `quarry` is locked before `books` where both are.
pub(super) struct Pool {
    class: Class,
    /// Where the next slots are carved. Held during the system calls that carve, so that `books`,
    /// which every cache needs now and then, is not.
    quarry: Mutex<Option<Quarry>>,
    books: Mutex<Books>,
    /// Whether `trim` might find something to do.
    pub(super) stirred: AtomicBool,
    /// Slots whose memory was released. Written by `trim` alone.
    pub(super) released: AtomicUsize,
}

/// Who may have which slots. The invariant: `carved >= credited + reserved`.
///
/// Slots that are carved and not free are bound, which takes a credit, or lie in a cache or in
/// `trim`'s hands, which takes a reservation. So whoever has a credit, and has not bound a slot for
/// it, and has none in his own cache, finds a free one here.
pub(super) struct Books {
    /// By age, which is also the order of preference: the oldest is the smallest, and the large ones fall
    /// idle. There are few, since each is as large as all before it.
    pub(super) slabs: Vec<Slab>,
    pub(super) carved: usize,
    pub(super) credited: usize,
    pub(super) reserved: usize,
    pub(super) free: usize,
    pub(super) warm: usize,
    /// How often a cache had to come for more.
    pub(super) refills: u64,
    /// The least that `free` and `warm` were since `trim` last looked: what nobody needed. Never more
    /// than they are.
    pub(super) low_free: usize,
    pub(super) low_warm: usize,
    /// No slab before this one has a free slot, or a warm one.
    first_free: usize,
    first_warm: usize,
}

/// What slots are claimed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Claim {
    /// For coroutines.
    Credit,
    /// To lie in a cache.
    Reservation,
}

impl Pool {
    pub(super) fn new(class: Class) -> Pool {
        Pool {
            class,
            quarry: Mutex::new(None),
            books: Mutex::new(Books::new()),
            stirred: AtomicBool::new(false),
            released: AtomicUsize::new(0),
        }
    }

    pub(super) fn class(&self) -> Class {
        self.class
    }

    /// Nothing that is done under this lock panics, or waits for anything but memory.
    pub(super) fn books(&self) -> MutexGuard<'_, Books> {
        lock(&self.books)
    }

    /// What whoever removes a slab must hold; `None` while somebody is carving.
    pub(super) fn idle_quarry(&self) -> Option<MutexGuard<'_, Option<Quarry>>> {
        match self.quarry.try_lock() {
            Ok(quarry) => Some(quarry),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// Sets `count` slots apart, carving what is missing.
    pub(super) fn claim(&self, guards: &Guards, claim: Claim, count: usize) -> io::Result<()> {
        while !self.books().claim(claim, count) {
            self.grow(guards, count)?;
        }
        Ok(())
    }

    /// Undoes [`claim`](Pool::claim).
    pub(super) fn unclaim(&self, claim: Claim, count: usize) {
        let mut books = self.books();
        let claimed = match claim {
            Claim::Credit => &mut books.credited,
            Claim::Reservation => &mut books.reserved,
        };
        debug_assert!(*claimed >= count, "more given back than was claimed");
        *claimed = claimed.saturating_sub(count);
        self.stirred.store(true, Ordering::Relaxed);
    }

    /// Takes up to `count` free slots for a cache, warm ones first.
    pub(super) fn take(&self, count: usize, mut into: impl FnMut(Slot)) {
        let mut books = self.books();
        books.refills += 1;
        for _ in 0..count {
            match books.take() {
                Some(slot) => into(slot),
                None => break,
            }
        }
    }

    /// Takes slots back. `checked` says that none of them has memory deep down.
    pub(super) fn give(&self, slots: impl Iterator<Item = Slot>, checked: bool) {
        let checked = checked || self.class.deep(0).is_none();
        let mut books = self.books();
        slots.for_each(|slot| books.give(slot, checked));
        self.stirred.store(true, Ordering::Relaxed);
    }

    /// Carves until `count` slots can be claimed, unless somebody is faster in claiming them.
    #[cold]
    fn grow(&self, guards: &Guards, count: usize) -> io::Result<()> {
        let mut quarry = lock(&self.quarry);
        loop {
            let (short, carved) = {
                let books = self.books();
                (count.saturating_sub(books.unclaimed()), books.carved)
            };
            if short == 0 {
                return Ok(());
            }
            // Rounded up, so that single claims do not carve one by one.
            let wanted = short.max(self.class.batch());
            let current = match &mut *quarry {
                Some(current) if current.left() > 0 && current.is_up_to_date(guards) => current,
                used_up => {
                    // As much again as there is: few mappings for many stacks.
                    let (slab, fresh) = Slab::map(guards, self.class, wanted.max(carved))?;
                    self.books().add_slab(slab)?;
                    used_up.insert(fresh)
                }
            };
            let refusal = match current.carve(guards, wanted.min(current.left())) {
                Ok(carved) => {
                    self.books().add_slots(carved);
                    continue;
                }
                Err(refusal) => refusal,
            };
            let (start, strategy) = (current.start(), current.strategy());
            if current.carved() == 0 {
                *quarry = None;
                let _unmapped = self.books().remove_slab(start);
            }
            match refusal {
                Refusal::Unsuitable(_) if guards.fall_back_from(strategy) => {}
                Refusal::Unsuitable(error) | Refusal::Exhausted(error) => return Err(error),
            }
        }
    }
}

impl Books {
    const fn new() -> Books {
        Books {
            slabs: Vec::new(),
            carved: 0,
            credited: 0,
            reserved: 0,
            free: 0,
            warm: 0,
            refills: 0,
            low_free: 0,
            low_warm: 0,
            first_free: 0,
            first_warm: 0,
        }
    }

    /// Slots that are free and will not be needed by anybody who has claimed one.
    pub(super) fn unclaimed(&self) -> usize {
        self.carved - self.credited - self.reserved
    }

    pub(super) fn claim(&mut self, claim: Claim, count: usize) -> bool {
        if self.unclaimed() < count {
            return false;
        }
        match claim {
            Claim::Credit => self.credited += count,
            Claim::Reservation => self.reserved += count,
        }
        true
    }

    fn take(&mut self) -> Option<Slot> {
        let slot = if self.warm > 0 {
            let slot = first(&mut self.slabs, &mut self.first_warm, Slab::take_warm)?;
            self.warm -= 1;
            self.low_warm = self.low_warm.min(self.warm);
            slot
        } else {
            first(&mut self.slabs, &mut self.first_free, Slab::take_cold)?
        };
        self.free -= 1;
        self.low_free = self.low_free.min(self.free);
        debug_assert!(
            self.carved - self.free <= self.credited + self.reserved,
            "whoever takes a stack holds a credit for it"
        );
        Some(slot)
    }

    fn give(&mut self, slot: Slot, checked: bool) {
        let index = self.index_of(slot.address()).expect("a stack goes back to its own runtime");
        self.slabs[index].give(slot, checked);
        self.free += 1;
        self.warm += 1;
        self.first_free = self.first_free.min(index);
        self.first_warm = self.first_warm.min(index);
    }

    fn add_slab(&mut self, slab: Slab) -> io::Result<()> {
        if self.slabs.try_reserve(1).is_err() {
            return Err(limits::exhausted(slab.class(), Want::Books, None));
        }
        self.slabs.push(slab);
        Ok(())
    }

    fn add_slots(&mut self, carved: Carved) {
        let index = self.index_of(carved.start).expect("a quarry's slab is in the books");
        self.carved += carved.count;
        self.free += carved.count;
        self.first_free = self.first_free.min(index);
        self.slabs[index].add(carved);
    }

    /// Takes a slab out of which nobody holds a slot. Its quarry, if there is one, must go too.
    pub(super) fn remove_slab(&mut self, start: usize) -> Option<Slab> {
        let index = self.index_of(start).filter(|&index| self.slabs[index].is_idle())?;
        let slab = self.slabs.remove(index);
        self.carved -= slab.carved();
        self.free -= slab.free();
        self.warm -= slab.warm();
        self.low_free = self.low_free.saturating_sub(slab.free());
        self.low_warm = self.low_warm.saturating_sub(slab.warm());
        self.first_free = 0;
        self.first_warm = 0;
        Some(slab)
    }

    /// Takes up to `most` warm slots of one slab out, of those that have rested: of the slab that is
    /// used last.
    pub(super) fn take_out_warm(&mut self, most: usize) -> Option<Limbo> {
        let most = most.min(self.unclaimed());
        let slab = self.slabs.iter_mut().rfind(|slab| most > 0 && slab.warm() > 0)?;
        let limbo = slab.take_out_warm(most);
        Some(self.taken_out(limbo))
    }

    /// Takes up to `most` unchecked slots of one slab out, of those that have rested.
    pub(super) fn take_out_unchecked(&mut self, most: usize) -> Option<Limbo> {
        let most = most.min(self.unclaimed());
        let slab = self.slabs.iter_mut().rfind(|slab| most > 0 && slab.unchecked() > 0)?;
        let limbo = slab.take_out_unchecked(most);
        Some(self.taken_out(limbo))
    }

    /// Slots in limbo are reserved, so that nobody who has a credit counts on them.
    fn taken_out(&mut self, limbo: Limbo) -> Limbo {
        self.reserved += limbo.len();
        self.free -= limbo.len();
        self.warm -= limbo.len();
        self.low_warm -= limbo.len();
        limbo
    }

    pub(super) fn put_back_cold(&mut self, limbo: Limbo) {
        let index = self.put_back(&limbo);
        self.first_free = self.first_free.min(index);
        self.slabs[index].put_back_cold(limbo);
    }

    pub(super) fn put_back_warm(&mut self, limbo: Limbo) {
        let index = self.put_back(&limbo);
        self.warm += limbo.len();
        self.low_warm += limbo.len();
        self.first_free = self.first_free.min(index);
        self.first_warm = self.first_warm.min(index);
        self.slabs[index].put_back_warm(limbo);
    }

    fn put_back(&mut self, limbo: &Limbo) -> usize {
        self.reserved -= limbo.len();
        self.free += limbo.len();
        self.index_of(limbo.start()).expect("a slab with slots out is not removed")
    }

    /// The slab that `address` lies in.
    pub(super) fn index_of(&self, address: usize) -> Option<usize> {
        // The last ones have most of the slots.
        self.slabs.iter().rposition(|slab| address.wrapping_sub(slab.start()) < slab.len())
    }
}

/// What `take` finds in the first slab, `from` or later, that has it. `from` moves up to there.
fn first(
    slabs: &mut [Slab],
    from: &mut usize,
    take: impl Fn(&mut Slab) -> Option<Slot>,
) -> Option<Slot> {
    while let Some(slab) = slabs.get_mut(*from) {
        if let Some(slot) = take(slab) {
            return Some(slot);
        }
        *from += 1;
    }
    None
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
