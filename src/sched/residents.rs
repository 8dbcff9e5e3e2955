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
    places: RefCell<Vec<Place<T>>>,
    table: Table,
    /// The place that was left last, or [`NONE`].
    free: Cell<u32>,
    count: Cell<usize>,
}

/// Where the places are, for a debugger.
#[repr(C)]
pub(super) struct Table {
    /// Each is the address of a resident, or odd.
    begin: Cell<*const ()>,
    len: Cell<usize>,
}

/// No place.
const NONE: u32 = u32::MAX >> 1;

/// A resident; or, odd, the number of the place that was left before this one was.
struct Place<T>(*mut T);

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

impl<T> Residents<T> {
    pub(super) fn new() -> Residents<T> {
        const { assert!(align_of::<T>() > 1) };
        Residents {
            places: RefCell::default(),
            table: Table { begin: Cell::new(ptr::null()), len: Cell::new(0) },
            free: Cell::new(NONE),
            count: Cell::new(0),
        }
    }

    /// How many there are.
    #[inline]
    pub(super) fn count(&self) -> usize {
        self.count.get()
    }

    /// No place has this number or a higher one.
    pub(super) fn end(&self) -> usize {
        self.table.len.get()
    }

    pub(super) fn table(&self) -> *const Table {
        &raw const self.table
    }

    /// Someone comes. Which place it has.
    #[inline]
    pub(super) fn insert(&self, resident: NonNull<T>) -> u32 {
        let number = self.free.get();
        if number == NONE {
            return self.append(resident);
        }
        let place = &mut self.places.borrow_mut()[number as usize];
        self.free.set(place.next_free());
        *place = Place(resident.as_ptr());
        self.count.set(self.count.get() + 1);
        number
    }

    fn append(&self, resident: NonNull<T>) -> u32 {
        let mut places = self.places.borrow_mut();
        let number = u32::try_from(places.len()).ok().filter(|&number| number < NONE);
        let number = number.expect("two thousand million residents");
        places.push(Place(resident.as_ptr()));
        self.table.begin.set(places.as_ptr().cast());
        self.table.len.set(places.len());
        self.count.set(self.count.get() + 1);
        number
    }

    /// Whoever has this place leaves.
    #[inline]
    pub(super) fn remove(&self, number: u32) {
        let place = &mut self.places.borrow_mut()[number as usize];
        debug_assert!(place.resident().is_some(), "a place is left once");
        *place = Place::free(self.free.replace(number));
        self.count.set(self.count.get() - 1);
    }

    /// Who has this place, if anyone.
    #[inline]
    pub(super) fn get(&self, number: usize) -> Option<NonNull<T>> {
        self.places.borrow().get(number)?.resident()
    }

    /// Gives back the memory of places behind the last one that is taken.
    pub(super) fn settle(&self) {
        let mut places = self.places.borrow_mut();
        let end = places.iter().rposition(|place| place.resident().is_some()).map_or(0, |n| n + 1);
        if places.capacity() <= 2 * end {
            return;
        }
        places.truncate(end);
        places.shrink_to_fit();
        self.free.set(NONE);
        for (number, place) in places.iter_mut().enumerate().rev() {
            if place.resident().is_none() {
                *place = Place::free(self.free.replace(number as u32));
            }
        }
        self.table.begin.set(places.as_ptr().cast());
        self.table.len.set(end);
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
        let people: Vec<u64> = (0..300).collect();
        for seed in 0..100 {
            let mut random = StdRng::seed_from_u64(seed);
            let residents = Residents::new();
            let mut model = BTreeMap::new();
            for step in 0..2_000 {
                let person = NonNull::from(&people[random.random_range(0..people.len())]);
                // In some of the time they come, in some they go.
                let comes = random.random_range(0..10) < 2 + step / 300;
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
        residents.remove(places[3]);
        residents.settle();
        assert_eq!(residents.insert(NonNull::from(&other)), places[3]);
        assert_eq!(residents.insert(NonNull::from(&other)), places[10]);
    }
}
