//! How many descriptors this process may have.

/// Raises the limit as far as the system lets it, and gives it.
///
/// Many systems allow a thousand at first and far more to whoever asks. For each connection, an end
/// of it in this process is one descriptor.
pub(crate) fn raise_limit() -> u64 {
    rlimit::increase_nofile_limit(u64::MAX)
        .or_else(|_refused| rlimit::Resource::NOFILE.get_soft())
        // The least that POSIX promises.
        .unwrap_or(20)
}
