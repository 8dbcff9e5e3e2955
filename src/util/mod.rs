//! Small tools without an opinion of their own.

pub(crate) mod wait_list;

#[cfg(not(loom))]
pub(crate) mod json;
#[cfg(not(loom))]
pub(crate) mod rng;
#[cfg(not(loom))]
pub(crate) mod thread_end;

#[cfg(not(loom))]
use std::{
    sync::{Condvar, MutexGuard, PoisonError},
    time::Instant,
};

/// Ends the process, saying why if that can be said: not by a macro that would panic.
#[cfg(not(loom))]
#[cold]
pub(crate) fn die(message: &str) -> ! {
    use std::io::{self, Write};
    let _unheard = writeln!(io::stderr(), "fatal runtime error: {message}, aborting");
    std::process::abort()
}

/// Waits while something is `busy`, until `deadline` at most. `None`: the time was over first.
#[cfg(not(loom))]
pub(crate) fn wait_while<'a, T>(
    changed: &Condvar,
    mut guard: MutexGuard<'a, T>,
    deadline: Option<Instant>,
    busy: impl Fn(&T) -> bool,
) -> Option<MutexGuard<'a, T>> {
    while busy(&guard) {
        guard = match deadline {
            None => changed.wait(guard).unwrap_or_else(PoisonError::into_inner),
            Some(deadline) => {
                let left = deadline.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return None;
                }
                changed.wait_timeout(guard, left).unwrap_or_else(PoisonError::into_inner).0
            }
        };
    }
    Some(guard)
}
