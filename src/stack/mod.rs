#![doc = include_str!("../../docs/stacks.md")]

mod altstack;
mod bits;
mod cache;
mod class;
mod guard;
mod handle;
mod limits;
mod overflow;
mod pool;
mod registry;
mod slab;
mod stats;
mod sys;
mod trim;

#[cfg(test)]
mod test_util;
#[cfg(test)]
mod tests;

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

pub(crate) use self::altstack::AltStack;
pub(crate) use self::cache::Cache;
pub(crate) use self::class::{Class, DEFAULT_STACK_SIZE};
pub(crate) use self::guard::GuardStrategy;
pub(crate) use self::handle::Stack;
pub(crate) use self::overflow::set_describe;
pub(crate) use self::trim::Trim;

use self::guard::Guards;
use self::pool::{Claim, Pool};

/// Has the allocator give what it does not use back to the system, if it is one that keeps it
/// (glibc's keeps the pages between what is in use). Holds the allocator's locks: some 15 ms for the
/// 240 MB that a million coroutines leave.
pub(crate) fn release_heap() {
    sys::release_heap();
}

/// All stacks of a runtime.
///
/// Dropping it unmaps them, but for slabs that have a stack which was never given back.
pub(crate) struct Stacks {
    guards: Guards,
    pools: [Pool; Class::COUNT],
}

/// How stacks are made.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct StackOptions {
    /// Makes guards in this way or not at all, instead of in the best way that works.
    pub(crate) force_guard: Option<GuardStrategy>,
    /// How many map entries the stacks of this process may use where guards take some, instead of
    /// most of what `vm.max_map_count` allows.
    pub(crate) map_budget: Option<usize>,
}

impl Stacks {
    /// Finds out how guards can be made here, and installs the overflow report if this is the first
    /// call in the process.
    ///
    /// # Errors
    ///
    /// If a forced strategy does not work here, or pages are larger than guards.
    pub(crate) fn new(options: StackOptions) -> io::Result<Arc<Stacks>> {
        overflow::install()?;
        let guards = Guards::new(options.force_guard, options.map_budget)?;
        Ok(Arc::new(Stacks { guards, pools: Class::ALL.map(Pool::new) }))
    }

    /// How the next stacks will be guarded.
    pub(crate) fn strategy(&self) -> GuardStrategy {
        self.guards.strategy()
    }

    /// Sees to it that `count` more stacks can be [taken](Cache::take), whatever happens.
    ///
    /// # Errors
    ///
    /// `OutOfMemory` if a limit of the system is reached; the message names it and the remedy. No
    /// credit was given then.
    pub(crate) fn credit(&self, class: Class, count: usize) -> io::Result<()> {
        self.claim(class, Claim::Credit, count)
    }

    /// Gives credits back: unused ones, or ones whose stacks were given back before.
    pub(crate) fn uncredit(&self, class: Class, count: usize) {
        self.pool(class).unclaim(Claim::Credit, count);
    }

    /// Gives memory that nobody has needed since the last call back to the system: some
    /// milliseconds of work at most for each class.
    pub(crate) fn trim(&self) -> Trim {
        self.pools.iter().map(Pool::trim).max().unwrap_or(Trim::Settled)
    }

    /// How many stacks [`trim`](Stacks::trim) has released the memory of, since that was forgotten.
    pub(crate) fn released(&self) -> usize {
        self.pools.iter().map(|pool| pool.released.load(Ordering::Relaxed)).sum()
    }

    pub(crate) fn forget_released(&self) {
        self.pools.iter().for_each(|pool| pool.released.store(0, Ordering::Relaxed));
    }

    fn claim(&self, class: Class, claim: Claim, count: usize) -> io::Result<()> {
        let pool = self.pool(class);
        pool.claim(&self.guards, claim, count).or_else(|error| match self.make_room(class) {
            true => pool.claim(&self.guards, claim, count),
            false => Err(error),
        })
    }

    /// There is none for a stack of this class: whether others leave some.
    #[cold]
    fn make_room(&self, class: Class) -> bool {
        let others = self.pools.iter().filter(|pool| pool.class() != class);
        others.filter(|pool| pool.make_room()).count() > 0
    }

    fn pool(&self, class: Class) -> &Pool {
        &self.pools[class as usize]
    }
}
