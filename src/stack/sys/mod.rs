//! The one door from the stack module to the system.
//!
//! Everything here is a thin, typed call: an `errno` becomes an [`io::Error`], an interrupted call
//! is repeated, a constant that `libc` lacks is named. Policy lives above.

mod memory;
mod signal;
#[cfg(target_os = "linux")]
mod userfault;

use std::io;

pub(super) use memory::*;
pub(super) use signal::*;
#[cfg(target_os = "linux")]
pub(super) use userfault::Userfault;

/// The result of a call that answers `-1` and sets `errno` when it fails.
fn check(returned: libc::c_int) -> io::Result<()> {
    if returned == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
