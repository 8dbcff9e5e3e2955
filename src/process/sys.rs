//! The system calls of child processes that std does not make.

#![expect(unsafe_code, reason = "pidfd_open, waitid and kill")]

use std::io;
#[cfg(target_os = "linux")]
use std::os::fd::FromRawFd;
use std::os::fd::OwnedFd;

/// A descriptor that becomes readable when the process has exited. Close-on-exec.
///
/// # Errors
///
/// What the system says; `ENOSYS` before Linux 5.3, and `EPERM` from filters that do not know it.
#[cfg(target_os = "linux")]
pub(super) fn pidfd_open(pid: libc::pid_t) -> io::Result<OwnedFd> {
    // SAFETY: the call takes two numbers.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    if fd == -1 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the system has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as libc::c_int) })
}

/// There is no such call.
#[cfg(not(target_os = "linux"))]
pub(super) fn pidfd_open(_pid: libc::pid_t) -> io::Result<OwnedFd> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Blocks until the child has exited, and leaves it to be waited for. Returns as well if it is no
/// child of ours, or none any more.
pub(super) fn block_until_exit(pid: libc::pid_t) {
    loop {
        // SAFETY: a structure of numbers and pointers that nobody follows, for which zeros do.
        let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
        let options = libc::WEXITED | libc::WNOWAIT;
        // SAFETY: the structure is ours to be written to.
        let result =
            unsafe { libc::waitid(libc::P_PID, pid as libc::id_t, &raw mut info, options) };
        if result == 0 || io::Error::last_os_error().kind() != io::ErrorKind::Interrupted {
            return;
        }
    }
}

/// Sends a signal.
///
/// # Errors
///
/// What the system says.
pub(super) fn kill(pid: libc::pid_t, signal: libc::c_int) -> io::Result<()> {
    // SAFETY: the call takes two numbers.
    if unsafe { libc::kill(pid, signal) } == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
