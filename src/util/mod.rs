//! Small tools without an opinion of their own.

pub(crate) mod wait_list;

#[cfg(not(loom))]
pub(crate) mod json;
#[cfg(not(loom))]
pub(crate) mod rng;

/// Ends the process, saying why if that can be said: not by a macro that would panic.
#[cfg(not(loom))]
#[cold]
pub(crate) fn die(message: &str) -> ! {
    use std::io::{self, Write};
    let _unheard = writeln!(io::stderr(), "fatal runtime error: {message}, aborting");
    std::process::abort()
}
