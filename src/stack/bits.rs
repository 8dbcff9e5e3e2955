//! A set of small numbers that knows how many it holds and gives them out from one end.

use std::collections::TryReserveError;

/// A subset of `0..capacity`.
pub(super) struct Bits {
    words: Vec<u64>,
    len: usize,
    /// No word before this one has a bit set.
    first: usize,
}

impl Bits {
    /// The empty subset of nothing.
    pub(super) const fn none() -> Bits {
        Bits { words: Vec::new(), len: 0, first: 0 }
    }

    /// The empty set.
    pub(super) fn new(capacity: usize) -> Result<Bits, TryReserveError> {
        let len = capacity.div_ceil(64);
        let mut words = Vec::new();
        words.try_reserve_exact(len)?;
        words.resize(len, 0);
        Ok(Bits { words, len: 0, first: len })
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn contains(&self, number: usize) -> bool {
        self.words[number / 64] & (1 << (number % 64)) != 0
    }

    /// Adds `number`; says whether it was missing.
    pub(super) fn insert(&mut self, number: usize) -> bool {
        let (word, bit) = (number / 64, 1 << (number % 64));
        let missing = self.words[word] & bit == 0;
        self.words[word] |= bit;
        self.len += usize::from(missing);
        self.first = self.first.min(word);
        missing
    }

    /// Takes `number` out; says whether it was there.
    pub(super) fn remove(&mut self, number: usize) -> bool {
        let (word, bit) = (number / 64, 1 << (number % 64));
        let present = self.words[word] & bit != 0;
        self.words[word] &= !bit;
        self.len -= usize::from(present);
        present
    }

    /// Takes the lowest number out.
    pub(super) fn pop_first(&mut self) -> Option<usize> {
        while let Some(&word) = self.words.get(self.first) {
            if word != 0 {
                let number = self.first * 64 + word.trailing_zeros() as usize;
                self.words[self.first] = word & (word - 1);
                self.len -= 1;
                return Some(number);
            }
            self.first += 1;
        }
        None
    }

    /// The members, highest first.
    pub(super) fn descending(&self) -> impl Iterator<Item = usize> + '_ {
        let from = self.first.min(self.words.len());
        self.words[from..].iter().enumerate().rev().flat_map(move |(index, &word)| {
            (0..64)
                .rev()
                .filter(move |bit| word & (1 << bit) != 0)
                .map(move |bit| (from + index) * 64 + bit)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_what_was_put_in() {
        let mut bits = Bits::new(200).unwrap();
        assert_eq!(bits.pop_first(), None);
        for number in [3, 64, 199, 130] {
            assert!(bits.insert(number));
            assert!(!bits.insert(number));
        }
        assert_eq!(bits.len(), 4);
        assert!(bits.contains(130) && !bits.contains(129));
        assert!(bits.remove(64) && !bits.remove(64));
        assert_eq!(bits.descending().collect::<Vec<_>>(), [199, 130, 3]);
        assert_eq!(bits.pop_first(), Some(3));
        assert_eq!(bits.pop_first(), Some(130));
        assert!(bits.insert(1), "below where the search for the first had come");
        assert_eq!(bits.pop_first(), Some(1));
        assert_eq!(bits.pop_first(), Some(199));
        assert_eq!(bits.len(), 0);
        assert_eq!(bits.descending().next(), None);
    }
}
