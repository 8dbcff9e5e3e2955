//! Guards: what makes the bottom of a slot fault, and how a run of slots becomes usable.

#![expect(unsafe_code, reason = "opens and guards memory of a slab")]

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

use super::class::{Class, GUARD};
use super::limits::{self, Want};
use super::sys;

/// How guards are made, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub(crate) enum GuardStrategy {
    /// `madvise(MADV_GUARD_INSTALL)`, Linux 6.13: a marker in the page table.
    Madvise,
    /// `UFFDIO_POISON` on a userfaultfd, Linux 6.6: a marker in the page table.
    Userfault,
    /// Pages that were never made accessible: two map entries a stack, of which a process may have
    /// some 65,000.
    Mprotect,
}

/// The guards of one runtime.
pub(super) struct Guards {
    /// What new slabs are guarded with. Changes at most once, to `Mprotect`.
    strategy: AtomicU8,
    forced: bool,
    #[cfg(target_os = "linux")]
    userfault: Option<sys::Userfault>,
    /// How many map entries all stacks of the process may use.
    map_budget: Option<usize>,
}

/// Map entries that a slab has taken from the process's budget.
pub(super) struct MapEntries(usize);

static MAP_ENTRIES: AtomicUsize = AtomicUsize::new(0);

/// Why a run of slots could not be opened.
pub(super) enum Refusal {
    /// This strategy does not work on this memory, or no longer: `mlockall` came, or a filter.
    Unsuitable(io::Error),
    /// A limit is reached.
    Exhausted(io::Error),
}

impl GuardStrategy {
    const ALL: [GuardStrategy; 3] =
        [GuardStrategy::Madvise, GuardStrategy::Userfault, GuardStrategy::Mprotect];

    /// The one that is displayed as `name`.
    pub(crate) fn named(name: &str) -> Option<GuardStrategy> {
        GuardStrategy::ALL.into_iter().find(|strategy| strategy.name() == name)
    }

    const fn name(self) -> &'static str {
        match self {
            GuardStrategy::Madvise => "madvise",
            GuardStrategy::Userfault => "uffd",
            GuardStrategy::Mprotect => "mprotect",
        }
    }

    /// Whether a guard is still one after the memory around and under it was discarded.
    pub(super) fn survives_discard(self) -> bool {
        self != GuardStrategy::Userfault
    }

    /// Whether a guard can be made where there is one. A poisoned page cannot be told from one that
    /// was touched.
    pub(super) fn is_repeatable(self) -> bool {
        self != GuardStrategy::Userfault
    }
}

impl fmt::Display for GuardStrategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Guards {
    /// Picks the best strategy that works here, or sees whether `forced` does.
    pub(super) fn new(
        forced: Option<GuardStrategy>,
        map_budget: Option<usize>,
    ) -> io::Result<Guards> {
        let page = sys::page_size();
        if page > GUARD {
            let message = format!("pages of {page} bytes are larger than a guard of {GUARD}");
            return Err(io::Error::new(io::ErrorKind::Unsupported, message));
        }
        let mut guards = Guards {
            strategy: AtomicU8::new(GuardStrategy::Mprotect as u8),
            forced: forced.is_some(),
            #[cfg(target_os = "linux")]
            userfault: None,
            map_budget,
        };
        let strategy = match forced {
            Some(strategy) => guards.try_out(strategy).map(|()| strategy)?,
            None => GuardStrategy::ALL
                .into_iter()
                .find(|&strategy| guards.try_out(strategy).is_ok())
                .expect("inaccessible pages need no trial"),
        };
        guards.strategy.store(strategy as u8, Ordering::Relaxed);
        Ok(guards)
    }

    /// What the next slab will be guarded with.
    pub(super) fn strategy(&self) -> GuardStrategy {
        GuardStrategy::ALL[usize::from(self.strategy.load(Ordering::Relaxed))]
    }

    /// Uses inaccessible pages from now on, since `strategy` was found unsuitable. Says whether that
    /// is a change.
    pub(super) fn fall_back_from(&self, strategy: GuardStrategy) -> bool {
        if self.forced || strategy == GuardStrategy::Mprotect {
            return false;
        }
        self.strategy.store(GuardStrategy::Mprotect as u8, Ordering::Relaxed);
        true
    }

    /// Makes one guard, and sees whether it bites.
    #[cfg(target_os = "linux")]
    fn try_out(&mut self, strategy: GuardStrategy) -> io::Result<()> {
        let class = Class::K32;
        match strategy {
            GuardStrategy::Mprotect => return Ok(()),
            GuardStrategy::Userfault => self.userfault = Some(sys::Userfault::new()?),
            GuardStrategy::Madvise => {}
        }
        let start = sys::reserve(class.size(), class.size())?;
        let tried = self.prepare(strategy, start, class.size()).and_then(|()| {
            // SAFETY: the memory was mapped just now.
            match unsafe { self.open(strategy, class, start, 1, &mut MapEntries::none()) } {
                Ok(()) => Ok(()),
                Err(Refusal::Unsuitable(error) | Refusal::Exhausted(error)) => Err(error),
            }
        });
        let bites = tried.is_ok()
            // SAFETY: the memory was mapped just now.
            && unsafe { sys::refuses_access(start) && !sys::refuses_access(start + GUARD) };
        // SAFETY: the memory was mapped just now, and nothing refers to it.
        unsafe { sys::release(start, class.size()) };
        tried?;
        bites.then_some(()).ok_or_else(|| {
            let message = format!("guards made by {strategy} do not stop an access");
            io::Error::new(io::ErrorKind::Unsupported, message)
        })
    }

    #[cfg(not(target_os = "linux"))]
    fn try_out(&mut self, strategy: GuardStrategy) -> io::Result<()> {
        if strategy == GuardStrategy::Mprotect {
            return Ok(());
        }
        let message = format!("guards made by {strategy} are known on Linux only");
        Err(io::Error::new(io::ErrorKind::Unsupported, message))
    }

    /// Readies a slab just reserved for guards made by `strategy`.
    pub(super) fn prepare(
        &self,
        strategy: GuardStrategy,
        start: usize,
        len: usize,
    ) -> io::Result<()> {
        #[cfg(target_os = "linux")]
        if strategy == GuardStrategy::Userfault {
            return self.userfault().register(start, len);
        }
        let _ = (strategy, start, len);
        Ok(())
    }

    /// Makes the `count` slots of `class` from `start` on usable, each above its guard. It may fail
    /// half way.
    ///
    /// # Safety
    ///
    /// The memory belongs to the caller, is reserved and [prepared](Guards::prepare), and was never
    /// opened before, except by an attempt that failed and is
    /// [repeatable](GuardStrategy::is_repeatable).
    pub(super) unsafe fn open(
        &self,
        strategy: GuardStrategy,
        class: Class,
        start: usize,
        count: usize,
        entries: &mut MapEntries,
    ) -> Result<(), Refusal> {
        if strategy == GuardStrategy::Mprotect {
            entries.take(2 * count, self.map_budget).map_err(|budget| {
                let want = Want::MapEntries { budget };
                Refusal::Exhausted(limits::exhausted(class, want, None))
            })?;
            let len = class.size() - GUARD;
            for slot in 0..count {
                // SAFETY: the caller's promise.
                unsafe { sys::open(start + slot * class.size() + GUARD, len) }
                    .map_err(|error| Refusal::new(error, class, Want::Access(len)))?;
            }
            return Ok(());
        }
        let len = count * class.size();
        // The run makes one mapping with the open slots in front of it.
        // SAFETY: the caller's promise.
        unsafe { sys::open(start, len) }
            .map_err(|error| Refusal::new(error, class, Want::Access(len)))?;
        // SAFETY: the caller's promise.
        unsafe { self.install(strategy, class, start, count) }
    }

    /// Makes the guards of `count` open slots.
    ///
    /// # Safety
    ///
    /// As for [`open`](Guards::open).
    #[cfg(target_os = "linux")]
    unsafe fn install(
        &self,
        strategy: GuardStrategy,
        class: Class,
        start: usize,
        count: usize,
    ) -> Result<(), Refusal> {
        let installed = if strategy == GuardStrategy::Userfault {
            let mut starts = (0..count).map(|slot| start + slot * class.size());
            starts.try_for_each(|start| self.userfault().poison(start, GUARD))
        } else {
            // SAFETY: the caller's promise.
            unsafe { sys::guard(start, GUARD, class.size(), count) }
        };
        installed.map_err(|error| Refusal::new(error, class, Want::Guards))
    }

    /// There is no strategy that would come here.
    #[cfg(not(target_os = "linux"))]
    unsafe fn install(
        &self,
        _strategy: GuardStrategy,
        _class: Class,
        _start: usize,
        _count: usize,
    ) -> Result<(), Refusal> {
        Err(Refusal::Unsuitable(io::ErrorKind::Unsupported.into()))
    }

    #[cfg(target_os = "linux")]
    fn userfault(&self) -> &sys::Userfault {
        self.userfault.as_ref().expect("opened when the strategy was tried out")
    }
}

impl Refusal {
    fn new(error: io::Error, class: Class, want: Want) -> Refusal {
        if error.kind() == io::ErrorKind::OutOfMemory {
            Refusal::Exhausted(limits::exhausted(class, want, Some(&error)))
        } else {
            Refusal::Unsuitable(error)
        }
    }
}

impl MapEntries {
    pub(super) fn none() -> MapEntries {
        MapEntries(0)
    }

    pub(super) fn join(&mut self, mut more: MapEntries) {
        self.0 += std::mem::take(&mut more.0);
    }

    /// Takes `count` more out of the budget, which is returned if it has not got them.
    fn take(&mut self, count: usize, budget: Option<usize>) -> Result<(), usize> {
        let budget = budget.unwrap_or_else(limits::map_budget);
        MAP_ENTRIES
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
                used.checked_add(count).filter(|&sum| sum <= budget)
            })
            .map_err(|_| budget)?;
        self.0 += count;
        Ok(())
    }
}

impl Drop for MapEntries {
    fn drop(&mut self) {
        MAP_ENTRIES.fetch_sub(self.0, Ordering::Relaxed);
    }
}
