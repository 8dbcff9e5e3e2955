//! A ring of records of a few words each: one thread writes over the oldest, others copy meanwhile.
//!
//! ```text
//!   writer, record n                    reader
//!   fence(Release)                      end  <- written (Acquire)
//!   words of slot n % length (Relaxed)  copies the slots of end - length + 1 .. end (Relaxed)
//!   written <- n + 1 (Release)          fence(Acquire)
//!                                       now  <- written (Relaxed)
//!                                       keeps those from now - length + 1 on
//! ```
//!
//! The writer waits for nobody, and nobody has to answer for it: what a stuck thread has written can
//! be read. What a reader keeps is whole. That a record was finished is what the first look at the
//! counter says. That none was begun in its slot is what the second one says: a word of record *n*
//! that a copy has picked up was written behind a fence which *n* finished records stood before, so
//! the second look finds *n* at least, and then whatever *n* overwrites is not kept. So one slot of
//! the ring is always the one that may be being written, and is never read.

use crate::primitive::sync::atomic::{AtomicU64, Ordering, fence};
use std::cell::Cell;
use std::sync::Arc;

struct Ring<const WORDS: usize> {
    /// A power of two of them.
    slots: Box<[[AtomicU64; WORDS]]>,
    /// Records that have been written, those that are gone included.
    written: AtomicU64,
}

/// The one who writes.
pub(crate) struct Writer<const WORDS: usize> {
    ring: Arc<Ring<WORDS>>,
    /// What only this one changes, where it is at hand; and it makes the writer one thread's.
    written: Cell<u64>,
}

/// One of those who read.
pub(crate) struct Reader<const WORDS: usize>(Arc<Ring<WORDS>>);

/// What the ring held at one moment.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Copied<const WORDS: usize> {
    /// How many records came before these.
    pub(crate) lost: u64,
    /// The oldest first.
    pub(crate) records: Vec<[u64; WORDS]>,
}

/// A ring in which at least the last `records` records can be found.
pub(crate) fn ring<const WORDS: usize>(records: usize) -> (Writer<WORDS>, Reader<WORDS>) {
    let length = (records + 1).next_power_of_two();
    let slots = (0..length).map(|_| std::array::from_fn(|_| AtomicU64::new(0))).collect();
    let ring = Arc::new(Ring { slots, written: AtomicU64::new(0) });
    (Writer { ring: ring.clone(), written: Cell::new(0) }, Reader(ring))
}

impl<const WORDS: usize> Ring<WORDS> {
    #[inline]
    fn slot(&self, record: u64) -> &[AtomicU64; WORDS] {
        &self.slots[record as usize & (self.slots.len() - 1)]
    }
}

impl<const WORDS: usize> Writer<WORDS> {
    /// Writes a record over the oldest.
    #[inline]
    pub(crate) fn push(&self, record: [u64; WORDS]) {
        let index = self.written.get();
        // Whoever sees a word of this record sees that all before it were finished.
        fence(Ordering::Release);
        for (room, word) in self.ring.slot(index).iter().zip(record) {
            room.store(word, Ordering::Relaxed);
        }
        self.written.set(index + 1);
        self.ring.written.store(index + 1, Ordering::Release);
    }
}

impl<const WORDS: usize> Reader<WORDS> {
    /// Copies what is there.
    pub(crate) fn copy(&self) -> Copied<WORDS> {
        let ring = &*self.0;
        let length = ring.slots.len() as u64;
        let end = ring.written.load(Ordering::Acquire);
        let first = (end + 1).saturating_sub(length);
        let mut records = Vec::with_capacity((end - first) as usize);
        for index in first..end {
            let slot = ring.slot(index);
            records.push(std::array::from_fn(|word| slot[word].load(Ordering::Relaxed)));
        }
        // If a word was one of a later record, that shows below.
        fence(Ordering::Acquire);
        let now = ring.written.load(Ordering::Relaxed);
        let lost = (now + 1).saturating_sub(length).clamp(first, end);
        records.drain(..(lost - first) as usize);
        Copied { lost, records }
    }

    /// Whether the one who wrote is still there.
    pub(crate) fn is_written(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_last_records_are_there_and_the_rest_is_counted() {
        let (writer, reader) = ring::<2>(7);
        for pushed in 0..30_u64 {
            let copied = reader.copy();
            assert_eq!(copied.lost, pushed.saturating_sub(7));
            assert_eq!(copied.records, (copied.lost..pushed).map(|n| [n, !n]).collect::<Vec<_>>());
            writer.push([pushed, !pushed]);
        }
        assert!(reader.is_written());
        drop(writer);
        assert!(!reader.is_written());
        assert_eq!(reader.copy().records.len(), 7);
    }

    #[test]
    fn what_is_copied_from_a_busy_ring_is_whole() {
        let (writer, reader) = ring::<3>(64);
        let pushes = 300_000_u64;
        let busy =
            std::thread::spawn(move || (0..pushes).for_each(|n| writer.push([n, !n, n * 3])));
        while reader.is_written() {
            let copied = reader.copy();
            for (index, record) in (copied.lost..).zip(&copied.records) {
                assert_eq!(*record, [index, !index, index * 3]);
            }
        }
        busy.join().unwrap();
        let last = reader.copy();
        assert_eq!((last.lost, last.records.len()), (pushes - 127, 127));
    }
}

#[cfg(all(test, loom))]
mod models {
    use super::*;

    /// Writes so many records while somebody copies them, twice.
    fn copied_while_written(records: usize, pushes: u64) {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(3);
        model.check(move || {
            let (writer, reader) = ring::<2>(records);
            let busy = loom::thread::spawn(move || {
                (0..pushes).for_each(|n| writer.push([n + 1, n + 101]));
            });
            let mut seen = 0;
            for _ in 0..2 {
                let copied = reader.copy();
                for (index, record) in (copied.lost..).zip(&copied.records) {
                    assert_eq!(*record, [index + 1, index + 101]);
                }
                let end = copied.lost + copied.records.len() as u64;
                assert!(end >= seen);
                seen = end;
            }
            busy.join().unwrap();
            let last = reader.copy();
            assert_eq!(last.lost + last.records.len() as u64, pushes);
            assert!(last.records.len() >= records.min(pushes as usize));
        });
    }

    #[test]
    fn no_copy_is_torn_where_each_record_overwrites_another() {
        copied_while_written(1, 4);
    }

    #[test]
    fn no_copy_is_torn_in_a_longer_ring() {
        copied_while_written(3, 5);
    }
}
