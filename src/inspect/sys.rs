//! What std does not have: who is at the other end, and a word at the process's end.

#![expect(unsafe_code, reason = "asks for the peer of a socket, and registers a function for exit")]

use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;

/// The user that this process acts as.
pub(super) fn own_user() -> u32 {
    // SAFETY: has no conditions.
    unsafe { libc::geteuid() }
}

/// The user whose process has connected.
#[cfg(target_os = "linux")]
pub(super) fn peer_user(stream: &UnixStream) -> io::Result<u32> {
    let mut peer = libc::ucred { pid: 0, uid: 0, gid: 0 };
    let mut len = size_of::<libc::ucred>() as libc::socklen_t;
    let buffer: *mut libc::ucred = &mut peer;
    // SAFETY: the socket is open, and the pointer and length are those of what the option fills.
    let failed = unsafe {
        libc::getsockopt(
            stream.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            buffer.cast(),
            &mut len,
        )
    };
    if failed == 0 { Ok(peer.uid) } else { Err(io::Error::last_os_error()) }
}

/// The user whose process has connected.
#[cfg(not(target_os = "linux"))]
pub(super) fn peer_user(stream: &UnixStream) -> io::Result<u32> {
    let (mut user, mut group) = (0, 0);
    // SAFETY: the socket is open, and there is room for both.
    let failed = unsafe { libc::getpeereid(stream.as_raw_fd(), &mut user, &mut group) };
    if failed == 0 { Ok(user) } else { Err(io::Error::last_os_error()) }
}

/// Has `last` called when the process ends by `exit` or by a return from `main`.
pub(super) fn at_exit(last: extern "C" fn()) {
    // SAFETY: the function is one of the program's own, which is never unloaded before it exits.
    // Without room for it, the socket is left behind, as after a kill.
    let _no_room = unsafe { libc::atexit(last) };
}
