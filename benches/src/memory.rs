//! What a process has of the machine's memory.

/// Bytes, resident and of page tables. Zero where there is no `/proc`.
pub(crate) fn now() -> u64 {
    of("self")
}

/// The same of a process.
pub(crate) fn of(process: &str) -> u64 {
    field(process, "VmRSS:") + field(process, "VmPTE:")
}

/// What each of `count` has added.
pub(crate) fn each_since(before: u64, count: u64) -> f64 {
    now().saturating_sub(before) as f64 / count as f64
}

fn field(process: &str, name: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    let kibibytes = line.trim().trim_end_matches(" kB").parse::<u64>();
    kibibytes.map_or(0, |kibibytes| kibibytes * 1024)
}
