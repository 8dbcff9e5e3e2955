//! Std's addresses of Unix sockets, and those that system calls take.

use socket2::SockAddr;
use std::ffi::OsStr;
use std::io;
#[cfg(target_os = "android")]
use std::os::android::net::SocketAddrExt;
#[cfg(target_os = "linux")]
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::SocketAddr;
use std::path::Path;

/// For a system call.
pub(super) fn to_system(addr: &SocketAddr) -> io::Result<SockAddr> {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    if let Some(name) = addr.as_abstract_name() {
        return SockAddr::unix(OsStr::from_bytes(&[b"\0", name].concat()));
    }
    SockAddr::unix(addr.as_pathname().unwrap_or(Path::new("")))
}

/// From a system call.
pub(super) fn from_system(addr: &SockAddr) -> io::Result<SocketAddr> {
    // Linux gives a family with unnamed addresses only where it is asked for one's own.
    if !addr.is_unix() && addr.len() != 0 {
        let error = "file descriptor did not correspond to a Unix socket";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, error));
    }
    #[cfg(any(target_os = "linux", target_os = "android"))]
    if let Some(name) = addr.as_abstract_namespace() {
        return SocketAddr::from_abstract_name(name);
    }
    SocketAddr::from_pathname(addr.as_pathname().unwrap_or(Path::new("")))
}
