//! A machine's timers, as pure data: no clock, no lock, no coroutine.
//!
//! A heap of small entries over a slab of values. The heap moves 16-byte entries and never touches the
//! values. Cancelling frees the value at once and leaves a dead entry behind; when the
//! dead outnumber the living the heap is rebuilt, so cancelled timers cost memory in proportion to
//! the living ones and no search. A heap, since machines ask for "the next one" far more precisely
//! than a timing wheel answers, and since sleeping a hundred thousand times costs less than the
//! wakes that end those sleeps.

mod heap;

use crate::primitive::prefetch;
use heap::Heap;
use std::num::NonZeroU32;

/// Names a timer; stale once it has fired or been cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TimerKey {
    slot: u32,
    generation: NonZeroU32,
}

impl TimerKey {
    /// Names no timer.
    const NONE: TimerKey = TimerKey { slot: u32::MAX, generation: NonZeroU32::MAX };
}

/// See the module's description.
#[derive(Debug)]
pub(crate) struct Timers<T> {
    heap: Heap,
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
    dead: usize,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    /// Nanoseconds, in whatever clock the owner keeps.
    when: u64,
    key: TimerKey,
}

#[derive(Debug)]
struct Slot<T> {
    generation: NonZeroU32,
    /// As in the timer's entry.
    when: u64,
    value: Option<T>,
}

/// How many timers are taken together at most.
pub(crate) const SEVERAL: usize = 8;
/// Below this many dead entries a rebuild is not worth its while.
const FEW: usize = 64;

impl<T> Timers<T> {
    pub(crate) fn new() -> Self {
        Timers { heap: Heap::new(), slots: Vec::new(), free: Vec::new(), dead: 0 }
    }

    /// The number of living timers.
    pub(crate) fn len(&self) -> usize {
        self.heap.len() - self.dead
    }

    /// Sets a timer.
    pub(crate) fn insert(&mut self, when: u64, value: T) -> TimerKey {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot { generation: NonZeroU32::MIN, when, value: None });
            u32::try_from(self.slots.len() - 1).expect("four thousand million timers")
        });
        let entry = &mut self.slots[slot as usize];
        entry.value = Some(value);
        entry.when = when;
        let key = TimerKey { slot, generation: entry.generation };
        self.heap.push(Entry { when, key });
        key
    }

    /// When a timer fires that is set.
    #[inline]
    pub(crate) fn when(&self, key: TimerKey) -> u64 {
        debug_assert!(self.is_alive(key), "asked after a timer that is not set");
        self.slots[key.slot as usize].when
    }

    /// What was set to fire, if it has not.
    #[inline]
    pub(crate) fn get(&self, key: TimerKey) -> Option<&T> {
        let slot = &self.slots[key.slot as usize];
        slot.value.as_ref().filter(|_| slot.generation == key.generation)
    }

    /// Takes a timer back, if it has not fired.
    pub(crate) fn cancel(&mut self, key: TimerKey) -> Option<T> {
        let value = self.release(key)?;
        self.dead += 1;
        if self.dead > FEW && self.dead > self.heap.len() / 2 {
            self.rebuild();
        }
        Some(value)
    }

    /// When the next timer fires. May name a cancelled one that has not been cleared away yet.
    #[inline]
    pub(crate) fn next(&self) -> Option<u64> {
        self.heap.first().map(|entry| entry.when)
    }

    /// Takes the next timer that is due at `now`.
    pub(crate) fn pop_due(&mut self, now: u64) -> Option<(TimerKey, T)> {
        while let Some(key) = self.pop_entry(now) {
            match self.release(key) {
                Some(value) => return Some((key, value)),
                None => self.dead -= 1,
            }
        }
        self.clear_away();
        None
    }

    /// Takes the next timers that are due at `now`, as many as there is room for. How many they are.
    ///
    /// They are taken together step by step, so that what has left the caches comes back for all at once.
    pub(crate) fn pop_several(&mut self, now: u64, due: &mut [T; SEVERAL]) -> usize
    where
        T: Copy,
    {
        let mut keys = [TimerKey::NONE; SEVERAL];
        loop {
            let mut taken = 0;
            while taken < SEVERAL
                && let Some(key) = self.pop_entry(now)
            {
                prefetch(&raw const self.slots[key.slot as usize], 1);
                keys[taken] = key;
                taken += 1;
            }
            if taken == 0 {
                self.clear_away();
                return 0;
            }
            let mut living = 0;
            for &key in &keys[..taken] {
                match self.release(key) {
                    Some(value) => {
                        due[living] = value;
                        living += 1;
                    }
                    None => self.dead -= 1,
                }
            }
            if living > 0 {
                return living;
            }
        }
    }

    /// Takes the next entry that is due at `now`, dead or alive.
    #[inline]
    fn pop_entry(&mut self, now: u64) -> Option<TimerKey> {
        let entry = self.heap.first().filter(|entry| entry.when <= now)?;
        let key = entry.key;
        self.heap.pop();
        Some(key)
    }

    /// Has the next entry be one that is alive.
    fn clear_away(&mut self) {
        while let Some(&Entry { key, .. }) = self.heap.first() {
            if self.is_alive(key) {
                break;
            }
            self.heap.pop();
            self.dead -= 1;
        }
    }

    fn is_alive(&self, key: TimerKey) -> bool {
        self.slots[key.slot as usize].generation == key.generation
    }

    fn release(&mut self, key: TimerKey) -> Option<T> {
        if !self.is_alive(key) {
            return None;
        }
        let slot = &mut self.slots[key.slot as usize];
        slot.generation = slot.generation.checked_add(1).unwrap_or(NonZeroU32::MIN);
        self.free.push(key.slot);
        slot.value.take()
    }

    fn rebuild(&mut self) {
        let slots = &self.slots;
        self.heap.retain(|entry| slots[entry.key.slot as usize].generation == entry.key.generation);
        self.dead = 0;
        self.heap.shrink_to(2 * self.heap.len() + FEW);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};
    use std::collections::BTreeMap;

    #[test]
    fn fires_in_order_and_only_when_due() {
        let mut timers = Timers::new();
        timers.insert(30, 'c');
        timers.insert(10, 'a');
        timers.insert(20, 'b');
        assert_eq!(timers.next(), Some(10));
        assert!(timers.pop_due(9).is_none());
        assert_eq!(timers.pop_due(25).map(|due| due.1), Some('a'));
        assert_eq!(timers.pop_due(25).map(|due| due.1), Some('b'));
        assert!(timers.pop_due(25).is_none());
        assert_eq!(timers.len(), 1);
    }

    #[test]
    fn a_stale_key_cancels_nothing() {
        let mut timers = Timers::new();
        let first = timers.insert(1, 'a');
        assert_eq!(timers.get(first), Some(&'a'));
        assert_eq!(timers.cancel(first), Some('a'));
        assert_eq!(timers.get(first), None);
        let second = timers.insert(2, 'b');
        assert_eq!((timers.get(first), timers.get(second)), (None, Some(&'b')));
        assert_eq!(timers.cancel(first), None);
        assert_eq!(timers.pop_due(2).map(|due| due.1), Some('b'));
        assert_eq!(timers.cancel(second), None);
    }

    /// Against a sorted map, with many seeds.
    #[test]
    fn agrees_with_a_sorted_map() {
        for seed in 0..50 {
            let mut random = StdRng::seed_from_u64(seed);
            let mut timers = Timers::new();
            let mut model = BTreeMap::new();
            let mut keys = Vec::new();
            let mut now = 0;
            for id in 0..2_000_u64 {
                match random.random_range(0..4) {
                    0 | 1 => {
                        let when = now + random.random_range(0..1_000);
                        keys.push((when, id, timers.insert(when, id)));
                        model.insert((when, id), ());
                    }
                    2 if !keys.is_empty() => {
                        let (when, id, key) = keys.swap_remove(random.random_range(0..keys.len()));
                        let expected = model.remove(&(when, id)).map(|()| id);
                        assert!(expected.is_none() || timers.when(key) == when);
                        assert_eq!(timers.cancel(key), expected);
                    }
                    _ => {
                        now += random.random_range(0..200);
                        let mut fired = Vec::new();
                        if id % 2 == 0 {
                            while let Some((_, id)) = timers.pop_due(now) {
                                fired.push(id);
                            }
                        }
                        let mut due = [0; SEVERAL];
                        loop {
                            let count = timers.pop_several(now, &mut due);
                            if count == 0 {
                                break;
                            }
                            fired.extend(&due[..count]);
                        }
                        assert!(timers.next().is_none_or(|next| next > now), "seed {seed}");
                        let rest = model.split_off(&(now + 1, 0));
                        let mut expected: Vec<_> = model.keys().map(|&(_, id)| id).collect();
                        model = rest;
                        fired.sort_unstable();
                        expected.sort_unstable();
                        assert_eq!(fired, expected, "seed {seed}");
                    }
                }
                assert_eq!(timers.len(), model.len());
            }
        }
    }

    #[test]
    fn cancelled_timers_do_not_pile_up() {
        let mut timers = Timers::new();
        for when in 0..1_000_000 {
            let key = timers.insert(1_000_000 + when, ());
            timers.cancel(key);
        }
        assert!(timers.heap.len() <= 2 * FEW, "{}", timers.heap.len());
        assert!(timers.slots.len() <= 2, "{}", timers.slots.len());
    }
}
