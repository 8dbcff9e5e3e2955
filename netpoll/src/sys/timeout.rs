//! Timeouts in the shapes that the system calls take.

use std::time::Duration;

/// The longest that one system call is told to wait: about three years. macOS calls anything more
/// an invalid argument, and 32-bit systems have no room for it.
const LONGEST: Duration = Duration::from_secs(100_000_000);

/// A timeout in seconds and nanoseconds, as the integers that the caller's structure is made of.
pub(super) fn parts<S: From<i32>, N: From<i32>>(timeout: Duration) -> (S, N) {
    let timeout = timeout.min(LONGEST);
    (S::from(timeout.as_secs() as i32), N::from(timeout.subsec_nanos() as i32))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_exact_up_to_the_limit() {
        assert_eq!(parts::<i32, i64>(Duration::new(3, 999_999_999)), (3, 999_999_999));
        assert_eq!(parts::<i64, i64>(Duration::MAX), (100_000_000, 0));
    }
}
