//! Who holds which lock: for dumps, in debug builds and with the feature `holders`.
//!
//! A table beside the locks, by their addresses: the locks stay as small as they are, and a dump
//! finds the holder of a lock whose home does not answer, too. A guard that is forgotten stays in it
//! until the next one of its address, as its lock stays locked.
//!
//! Whoever reads under a lock is not in it: there may be a billion of them, as std's own tests have.

use crate::park::held::{Access, Held, Party};
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, DefaultHasher};
use std::panic::Location;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// So that locks of different addresses seldom meet in the table.
const SHARDS: usize = 64;

type Shard = HashMap<usize, Vec<Held>, BuildHasherDefault<DefaultHasher>>;

static TABLE: [Mutex<Shard>; SHARDS] =
    [const { Mutex::new(HashMap::with_hasher(BuildHasherDefault::new())) }; SHARDS];

fn shard(lock: usize) -> MutexGuard<'static, Shard> {
    // Locks are aligned to words, and often lie in a row.
    TABLE[lock / align_of::<usize>() % SHARDS].lock().unwrap_or_else(PoisonError::into_inner)
}

/// The guards of the lock at that address.
pub(super) fn of(lock: usize) -> Vec<Held> {
    shard(lock).get(&lock).cloned().unwrap_or_default()
}

fn insert(lock: usize, held: Held) {
    let mut shard = shard(lock);
    let all = shard.entry(lock).or_default();
    // Those before are unlocked, and about to be taken out.
    all.clear();
    all.push(held);
}

fn remove(lock: usize, by: &Party) -> Option<Held> {
    let mut shard = shard(lock);
    let all = shard.get_mut(&lock)?;
    let place = all.iter().position(|held| held.by.is(by))?;
    let removed = all.swap_remove(place);
    if all.is_empty() {
        shard.remove(&lock);
    }
    Some(removed)
}

/// A guard that is in the table.
pub(super) struct Listed {
    lock: usize,
    access: Access,
}

impl Listed {
    #[track_caller]
    pub(super) fn begin(lock: usize, access: Access) -> Listed {
        if access == Access::Exclusive {
            insert(lock, Held { by: Party::current(), locked_at: Location::caller() });
        }
        Listed { lock, access }
    }

    /// Takes it out until what this gives is dropped.
    pub(super) fn suspend(&self) -> Suspended<'_> {
        let held = (self.access == Access::Exclusive).then(|| remove(self.lock, &Party::current()));
        Suspended { listed: self, held: held.flatten() }
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        if self.access == Access::Exclusive {
            remove(self.lock, &Party::current());
        }
    }
}

/// Puts a guard back into the table when it is dropped.
pub(super) struct Suspended<'a> {
    listed: &'a Listed,
    held: Option<Held>,
}

impl Drop for Suspended<'_> {
    fn drop(&mut self) {
        if let Some(held) = self.held.take() {
            insert(self.listed.lock, held);
        }
    }
}
