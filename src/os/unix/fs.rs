//! Files on Unix systems: `std::os::unix::fs`.
//!
//! The traits are std's own, so code that imports them from there finds pirn's types too.

use crate::fs::paths::{with_descriptor, with_path, with_paths};
use std::io;
use std::os::fd::AsFd;
use std::path::Path;

pub use std::os::unix::fs::{
    DirBuilderExt, DirEntryExt, FileExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt,
};

/// Makes a symbolic link.
///
/// # Errors
///
/// What the system says.
///
/// # Examples
///
/// ```
/// let link = std::env::temp_dir().join(format!("pirn-symlink-{}", std::process::id()));
/// pirn::os::unix::fs::symlink("there", &link)?;
/// assert_eq!(pirn::fs::read_link(&link)?.to_str(), Some("there"));
/// pirn::fs::remove_file(link)?;
/// # std::io::Result::Ok(())
/// ```
pub fn symlink<P: AsRef<Path>, Q: AsRef<Path>>(original: P, link: Q) -> io::Result<()> {
    with_paths(original, link, |original, link| std::os::unix::fs::symlink(original, link))
}

/// Sets the owner and the group; `None` leaves them.
///
/// # Errors
///
/// What the system says, such as `PermissionDenied`.
pub fn chown<P: AsRef<Path>>(dir: P, uid: Option<u32>, gid: Option<u32>) -> io::Result<()> {
    with_path(dir, move |dir| std::os::unix::fs::chown(dir, uid, gid))
}

/// As [`chown`], for an open file.
///
/// # Errors
///
/// What the system says; in a coroutine also that of duplicating the descriptor.
pub fn fchown<F: AsFd>(fd: F, uid: Option<u32>, gid: Option<u32>) -> io::Result<()> {
    with_descriptor(fd.as_fd(), move |fd| std::os::unix::fs::fchown(fd, uid, gid))
}

/// As [`chown`], for a symbolic link itself.
///
/// # Errors
///
/// What the system says.
pub fn lchown<P: AsRef<Path>>(dir: P, uid: Option<u32>, gid: Option<u32>) -> io::Result<()> {
    with_path(dir, move |dir| std::os::unix::fs::lchown(dir, uid, gid))
}

/// Changes the root of the whole process.
///
/// # Errors
///
/// What the system says, such as `PermissionDenied`.
pub fn chroot<P: AsRef<Path>>(dir: P) -> io::Result<()> {
    with_path(dir, |dir| std::os::unix::fs::chroot(dir))
}
