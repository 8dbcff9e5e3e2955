//! What this process has of the machine's memory.

use std::fs;

/// The memory that a process costs, all told.
#[derive(Clone, Copy)]
pub(crate) struct Memory {
    /// Bytes of RAM, `VmRSS`.
    pub(crate) resident: u64,
    /// Bytes of page tables, `VmPTE`, which `VmRSS` leaves out.
    pub(crate) page_tables: u64,
}

impl Memory {
    /// As of now; zeros where there is no `/proc`.
    pub(crate) fn now() -> Memory {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let kibibytes = |name| field(&status, name).unwrap_or(0);
        Memory { resident: kibibytes("VmRSS:") * 1024, page_tables: kibibytes("VmPTE:") * 1024 }
    }

    /// Both together.
    pub(crate) fn total(self) -> u64 {
        self.resident + self.page_tables
    }
}

/// How many coroutines the memory at hand is enough for, at about 5 KiB each. No answer where there
/// is no `/proc`.
pub(crate) fn room_for_coroutines() -> Option<u64> {
    let meminfo = fs::read_to_string("/proc/meminfo").ok()?;
    let machine = field(&meminfo, "MemAvailable:")? * 1024;
    let limit = |path| fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
    let cgroup = limit("/sys/fs/cgroup/memory.max")
        .zip(limit("/sys/fs/cgroup/memory.current"))
        .map_or(u64::MAX, |(most, now)| most.saturating_sub(now));
    // An eighth is left to others.
    Some(machine.min(cgroup) / 8 * 7 / (5 * 1024))
}

/// The number behind `name` at the start of a line.
fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}
