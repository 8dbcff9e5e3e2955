//! Std's addresses of Unix sockets, and those that system calls take.

use socket2::SockAddr;
use std::io;
use std::os::unix::net::SocketAddr;
use std::path::Path;

/// For a system call.
pub(super) fn to_system(addr: &SocketAddr) -> io::Result<SockAddr> {
    match abstract_names::to_system(addr) {
        Some(result) => result,
        None => SockAddr::unix(addr.as_pathname().unwrap_or(Path::new(""))),
    }
}

/// From a system call.
pub(super) fn from_system(addr: &SockAddr) -> io::Result<SocketAddr> {
    // Where a datagram comes from a socket without a name, Linux gives nothing at all.
    if !addr.is_unix() && addr.len() != 0 {
        let error = "file descriptor did not correspond to a Unix socket";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, error));
    }
    match abstract_names::from_system(addr) {
        Some(result) => result,
        None => SocketAddr::from_pathname(addr.as_pathname().unwrap_or(Path::new(""))),
    }
}

/// Names that are no paths, which are the business of these systems alone.
#[cfg(any(target_os = "linux", target_os = "android"))]
mod abstract_names {
    use super::*;
    use std::ffi::OsStr;
    #[cfg(target_os = "android")]
    use std::os::android::net::SocketAddrExt;
    #[cfg(target_os = "linux")]
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::ffi::OsStrExt;

    pub(super) fn to_system(addr: &SocketAddr) -> Option<io::Result<SockAddr>> {
        let name = addr.as_abstract_name()?;
        Some(SockAddr::unix(OsStr::from_bytes(&[b"\0", name].concat())))
    }

    pub(super) fn from_system(addr: &SockAddr) -> Option<io::Result<SocketAddr>> {
        addr.as_abstract_namespace().map(SocketAddr::from_abstract_name)
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod abstract_names {
    use super::*;

    pub(super) fn to_system(_addr: &SocketAddr) -> Option<io::Result<SockAddr>> {
        None
    }

    pub(super) fn from_system(_addr: &SockAddr) -> Option<io::Result<SocketAddr>> {
        None
    }
}
