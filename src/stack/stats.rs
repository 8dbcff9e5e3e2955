//! Figures for dumps and tests.

use super::Stacks;
use super::class::Class;
use super::pool::Pool;
use super::slab::Slab;

/// A look at all classes, each by itself consistent.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct StackStats([ClassStats; Class::COUNT]);

/// Figures of one class, in stacks unless they say otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ClassStats {
    /// Mappings.
    pub(crate) slabs: usize,
    /// Bytes of address space.
    pub(crate) mapped: usize,
    /// Opened and guarded.
    pub(crate) carved: usize,
    /// Promised to coroutines, or in the reserves of caches.
    pub(crate) credited: usize,
    /// Set apart for caches to keep hot: the most that may lie there, and be in `out`.
    pub(crate) reserved: usize,
    /// Bound to coroutines, or hot in a cache.
    pub(crate) out: usize,
    /// In the shared pool.
    pub(crate) free: usize,
    /// Those in the shared pool that have memory.
    pub(crate) warm: usize,
    /// How often a cache had none left and came to the shared pool.
    pub(crate) refills: u64,
}

impl StackStats {
    pub(crate) fn class(&self, class: Class) -> ClassStats {
        self.0[class as usize]
    }
}

impl Stacks {
    pub(crate) fn stats(&self) -> StackStats {
        StackStats(Class::ALL.map(|class| self.pool(class).stats()))
    }
}

impl Pool {
    fn stats(&self) -> ClassStats {
        let books = self.books();
        ClassStats {
            slabs: books.slabs.len(),
            mapped: books.slabs.iter().map(Slab::len).sum(),
            carved: books.carved,
            credited: books.credited,
            reserved: books.reserved,
            out: books.carved - books.free,
            free: books.free,
            warm: books.warm,
            refills: books.refills,
        }
    }
}
