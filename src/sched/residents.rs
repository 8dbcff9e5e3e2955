//! Who lives with a machine: a table in which each resident has a place, from its start to its end.
//!
//! Who leaves gives its place back, and the next to come takes that. So nobody else is touched when one
//! comes or goes: the header and the stack of another have left the caches, where there are many, and
//! a list through the residents would ask for both of two neighbours each time. Nor does anybody move,
//! so that a walk which lets others run in between is a number.

use std::cell::{Cell, RefCell};
use std::ptr::{self, NonNull};

/// See the module's description. Whatever a `T` is, its address is even.
pub(super) struct Residents<T> {
    blocks: RefCell<Vec<Block<T>>>,
    table: Table,
    /// The place that was left last, or [`NONE`].
    free: Cell<u32>,
    count: Cell<usize>,
}

/// The table grows by blocks, so that it never has to be copied.
type Block<T> = Box<[Place<T>; BLOCK]>;

/// How many places a block has: a page of them.
pub(super) const BLOCK: usize = 512;

/// Where the places are, for a debugger.
#[repr(C)]
pub(super) struct Table {
    /// The addresses of the blocks.
    blocks: Cell<*const ()>,
    /// Places from this one on have not been given.
    end: Cell<usize>,
}

/// No place.
const NONE: u32 = u32::MAX >> 1;

/// The address of a resident; or, odd, the number of the place that was left before this one was.
struct Place<T>(*mut T);

impl<T> Clone for Place<T> {
    fn clone(&self) -> Place<T> {
        Place(self.0)
    }
}

impl<T> Place<T> {
    #[inline]
    fn free(next: u32) -> Place<T> {
        Place(ptr::without_provenance_mut((next as usize) << 1 | 1))
    }

    #[inline]
    fn next_free(&self) -> u32 {
        debug_assert!(self.resident().is_none(), "a place that is taken is not free");
        (self.0.addr() >> 1) as u32
    }

    #[inline]
    fn resident(&self) -> Option<NonNull<T>> {
        NonNull::new(self.0).filter(|place| place.addr().get() & 1 == 0)
    }
}

#[inline]
fn at<T>(blocks: &mut [Block<T>], number: usize) -> &mut Place<T> {
    &mut blocks[number / BLOCK][number % BLOCK]
}

impl<T> Residents<T> {
    pub(super) fn new() -> Residents<T> {
        const { assert!(align_of::<T>() > 1) };
        Residents {
            blocks: RefCell::default(),
            table: Table { blocks: Cell::new(ptr::null()), end: Cell::new(0) },
            free: Cell::new(NONE),
            count: Cell::new(0),
        }
    }

    /// How many there are.
    #[inline]
    pub(super) fn count(&self) -> usize {
        self.count.get()
    }

    /// No place that is taken has this number or a higher one.
    pub(super) fn end(&self) -> usize {
        self.table.end.get()
    }

    pub(super) fn table(&self) -> *const Table {
        &raw const self.table
    }

    /// Someone comes. Which place it has.
    #[inline]
    pub(super) fn insert(&self, resident: NonNull<T>) -> u32 {
        let number = match self.free.get() {
            NONE => self.append(),
            free => {
                let next = at(&mut self.blocks.borrow_mut(), free as usize).next_free();
                self.free.set(next);
                free
            }
        };
        *at(&mut self.blocks.borrow_mut(), number as usize) = Place(resident.as_ptr());
        self.count.set(self.count.get() + 1);
        number
    }

    /// A place that has never been given.
    fn append(&self) -> u32 {
        let end = self.table.end.get();
        let number = u32::try_from(end).ok().filter(|&number| number < NONE);
        let number = number.expect("two thousand million residents");
        if end.is_multiple_of(BLOCK) {
            let mut blocks = self.blocks.borrow_mut();
            let block = vec![Place::free(NONE); BLOCK].into_boxed_slice();
            blocks.push(block.try_into().unwrap_or_else(|_| unreachable!("of this length")));
            self.table.blocks.set(blocks.as_ptr().cast());
        }
        self.table.end.set(end + 1);
        number
    }

    /// Whoever has this place leaves.
    #[inline]
    pub(super) fn remove(&self, number: u32) {
        let mut blocks = self.blocks.borrow_mut();
        let place = at(&mut blocks, number as usize);
        debug_assert!(place.resident().is_some(), "a place is left once");
        *place = Place::free(self.free.replace(number));
        self.count.set(self.count.get() - 1);
    }

    /// Who has this place, if anyone.
    #[inline]
    pub(super) fn get(&self, number: usize) -> Option<NonNull<T>> {
        self.blocks.borrow().get(number / BLOCK)?[number % BLOCK].resident()
    }

    /// Gives back the memory of blocks behind the last place that is taken.
    pub(super) fn settle(&self) {
        let end = (0..self.end()).rev().find(|&number| self.get(number).is_some());
        let end = end.map_or(0, |last| last + 1);
        let mut blocks = self.blocks.borrow_mut();
        if end.div_ceil(BLOCK) == blocks.len() {
            return;
        }
        blocks.truncate(end.div_ceil(BLOCK));
        blocks.shrink_to_fit();
        self.free.set(NONE);
        for number in (0..end).rev() {
            let place = at(&mut blocks, number);
            if place.resident().is_none() {
                *place = Place::free(self.free.replace(number as u32));
            }
        }
        self.table.blocks.set(blocks.as_ptr().cast());
        self.table.end.set(end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};
    use std::collections::BTreeMap;

    fn all<T>(residents: &Residents<T>) -> Vec<NonNull<T>> {
        (0..residents.end()).filter_map(|number| residents.get(number)).collect()
    }

    /// Against a map, with many seeds.
    #[test]
    fn agrees_with_a_map() {
        let people: Vec<u64> = (0..2_000).collect();
        for seed in 0..100 {
            let mut random = StdRng::seed_from_u64(seed);
            let residents = Residents::new();
            let mut model = BTreeMap::new();
            for step in 0..8_000 {
                let person = NonNull::from(&people[random.random_range(0..people.len())]);
                // In some of the time they come, in some they go.
                let comes = random.random_range(0..10) < 9 - step / 1_000;
                match model.remove(&person) {
                    Some(place) if !comes => residents.remove(place),
                    Some(place) => drop(model.insert(person, place)),
                    None if comes => drop(model.insert(person, residents.insert(person))),
                    None => {}
                }
                if random.random_range(0..100) == 0 {
                    residents.settle();
                }
                assert_eq!(residents.count(), model.len(), "seed {seed}");
            }
            for (person, &place) in &model {
                assert_eq!(residents.get(place as usize), Some(*person), "seed {seed}");
            }
            let mut found = all(&residents);
            found.sort_unstable();
            assert!(found.into_iter().eq(model.into_keys()), "seed {seed}");
        }
    }

    #[test]
    fn places_are_used_again_and_given_back() {
        let (one, other) = (1_u64, 2_u64);
        let residents = Residents::new();
        let places: Vec<_> = (0..1_000).map(|_| residents.insert(NonNull::from(&one))).collect();
        for &place in &places[10..] {
            residents.remove(place);
        }
        assert_eq!(residents.insert(NonNull::from(&other)), places[999]);
        residents.remove(places[999]);
        residents.settle();
        assert_eq!((residents.end(), residents.count()), (10, 10));
        assert_eq!(residents.get(999), None);
        // In the same block, of which nothing can be given back.
        residents.remove(places[3]);
        residents.settle();
        assert_eq!(residents.insert(NonNull::from(&other)), places[3]);
        assert_eq!(residents.insert(NonNull::from(&other)), places[10]);
        for place in 0..11 {
            residents.remove(place);
        }
        residents.settle();
        assert_eq!((residents.end(), residents.count()), (0, 0));
        assert_eq!(residents.insert(NonNull::from(&one)), 0);
    }
}
