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

/// What programs could still have, in bytes. Zero where there is no `/proc`.
pub(crate) fn available() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    kibibytes(&text, "MemAvailable:")
}

fn field(process: &str, name: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    kibibytes(&status, name)
}

/// What a line with a number of them says, in bytes.
fn kibibytes(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    let kibibytes = line.trim().trim_end_matches(" kB").parse::<u64>();
    kibibytes.map_or(0, |kibibytes| kibibytes * 1024)
}
