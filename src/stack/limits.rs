//! Which limit stands in the way of another stack, and what to do about it.

use std::io;

use super::class::Class;

/// What could not be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Want {
    /// So many bytes of address space.
    AddressSpace(usize),
    /// Access to so many bytes of it.
    Access(usize),
    /// The page tables behind guards.
    #[cfg(target_os = "linux")]
    Guards,
    /// Two more map entries a stack than the budget has.
    MapEntries { budget: usize },
    /// Heap memory, to keep the books in.
    Books,
}

/// The error that `spawn` returns when `want` was refused with `cause` while stacks of `class` were
/// being made.
#[cold]
pub(super) fn exhausted(class: Class, want: Want, cause: Option<&io::Error>) -> io::Error {
    let limit = describe(want);
    let message = match cause {
        Some(cause) => format!("no room for another stack of {class}: {limit} ({cause})"),
        None => format!("no room for another stack of {class}: {limit}"),
    };
    io::Error::new(io::ErrorKind::OutOfMemory, message)
}

fn describe(want: Want) -> String {
    match want {
        Want::MapEntries { budget } => format!(
            "without guard pages that need no map entry of their own (Linux 6.13, or userfaultfd \
             with UFFDIO_POISON), stacks may use {budget} of the vm.max_map_count entries that a \
             process has, two for each; raise it with `sysctl -w vm.max_map_count=N`"
        ),
        Want::Books => "the allocator is out of memory".to_owned(),
        Want::AddressSpace(bytes) | Want::Access(bytes) => system_limit(bytes, want)
            .unwrap_or_else(|| "the system is out of memory or of address space".to_owned()),
        #[cfg(target_os = "linux")]
        Want::Guards => {
            system_limit(0, want).unwrap_or_else(|| "the system is out of memory".to_owned())
        }
    }
}

#[cfg(target_os = "linux")]
use linux::system_limit;
#[cfg(target_os = "linux")]
pub(super) use linux::{address_space_left, map_budget};

#[cfg(not(target_os = "linux"))]
fn system_limit(_bytes: usize, _want: Want) -> Option<String> {
    None
}

/// Address space that may still be used for stacks; `None` if there is no limit.
#[cfg(not(target_os = "linux"))]
pub(super) fn address_space_left() -> Option<usize> {
    None
}

/// How many map entries stacks may use.
#[cfg(not(target_os = "linux"))]
pub(super) fn map_budget() -> usize {
    usize::MAX
}

#[cfg(target_os = "linux")]
mod linux {
    use std::fs;
    use std::io::{ErrorKind, Read};
    use std::sync::OnceLock;

    use super::Want;
    use crate::stack::sys::{self, Resource};

    /// Address space that is left to the rest of the process, whose allocator aborts when it has
    /// none.
    const SPARE: usize = 64 << 20;

    /// What `vm.max_map_count` is unless somebody changed it.
    const USUAL_MAP_COUNT: usize = 65_530;

    /// Address space that may still be used for stacks; `None` if there is no limit.
    pub(in crate::stack) fn address_space_left() -> Option<usize> {
        let limit = sys::limit(Resource::AddressSpace)?;
        let spare = SPARE.min(limit / 8);
        Some(limit.saturating_sub(used_pages(0)? * sys::page_size()).saturating_sub(spare))
    }

    /// How many map entries stacks may use, in all of the process: seven eighths of what was left
    /// when it was first asked.
    pub(in crate::stack) fn map_budget() -> usize {
        static BUDGET: OnceLock<usize> = OnceLock::new();
        *BUDGET.get_or_init(|| {
            let left = max_map_count().saturating_sub(map_count().unwrap_or(0));
            left - left / 8
        })
    }

    pub(super) fn system_limit(bytes: usize, want: Want) -> Option<String> {
        if map_count().is_some_and(|count| count + 2 >= max_map_count()) {
            let max = max_map_count();
            return Some(format!(
                "the process has used up the {max} map entries that vm.max_map_count allows; raise \
                 it with `sysctl -w vm.max_map_count=N`"
            ));
        }
        if let Want::AddressSpace(_) = want
            && address_space_left().is_some_and(|left| left < bytes)
        {
            let limit = sys::limit(Resource::AddressSpace)? >> 20;
            return Some(format!(
                "RLIMIT_AS allows {limit} MiB of address space; raise it with `ulimit -v`, or use \
                 smaller stacks"
            ));
        }
        if let Want::Access(_) = want
            && let Some(limit) = sys::limit(Resource::Data)
            && used_pages(5).is_some_and(|pages| pages * sys::page_size() + bytes > limit)
        {
            let limit = limit >> 20;
            return Some(format!(
                "RLIMIT_DATA allows {limit} MiB; raise it with `ulimit -d`, or use smaller stacks"
            ));
        }
        if number("/proc/sys/vm/overcommit_memory") == Some(2) {
            return Some(
                "vm.overcommit_memory=2 forbids to promise more memory than there is, and counts \
                 stacks in full; raise vm.overcommit_ratio, or use smaller stacks"
                    .to_owned(),
            );
        }
        None
    }

    fn max_map_count() -> usize {
        number("/proc/sys/vm/max_map_count").unwrap_or(USUAL_MAP_COUNT)
    }

    /// How many map entries the process has. Counted piece by piece: when they are used up, there is no
    /// memory to be had for the megabytes of text that they make.
    fn map_count() -> Option<usize> {
        let mut maps = fs::File::open("/proc/self/maps").ok()?;
        let mut piece = [0; 1024];
        let mut count = 0;
        loop {
            match maps.read(&mut piece) {
                Ok(0) => return Some(count),
                Ok(len) => count += piece[..len].iter().filter(|&&byte| byte == b'\n').count(),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return None,
            }
        }
    }

    /// A figure from `statm`: 0 for all address space, 5 for data and stack.
    fn used_pages(column: usize) -> Option<usize> {
        fs::read_to_string("/proc/self/statm").ok()?.split_whitespace().nth(column)?.parse().ok()
    }

    fn number(path: &str) -> Option<usize> {
        fs::read_to_string(path).ok()?.trim().parse().ok()
    }
}
