//! What is done with paths.

use crate::fs::ReadDir;
use crate::fs::handle::away;
use crate::sched;
use std::fs::{Metadata, Permissions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

/// Runs `work` with a path, elsewhere if need be.
pub(crate) fn with_path<T: Send + 'static>(
    path: impl AsRef<Path>,
    work: impl FnOnce(&Path) -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    if !sched::in_coroutine() {
        return work(path.as_ref());
    }
    let path = path.as_ref().to_owned();
    away(move || work(&path))
}

/// As [`with_path`], with two.
pub(crate) fn with_paths<T: Send + 'static>(
    one: impl AsRef<Path>,
    other: impl AsRef<Path>,
    work: impl FnOnce(&Path, &Path) -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let other = other.as_ref().to_owned();
    with_path(one, move |one| work(one, &other))
}

/// Runs `work` with a descriptor; elsewhere with a duplicate, which is the pool's own.
pub(crate) fn with_descriptor<T: Send + 'static>(
    fd: BorrowedFd<'_>,
    work: impl FnOnce(BorrowedFd<'_>) -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    if !sched::in_coroutine() {
        return work(fd);
    }
    let fd = fd.try_clone_to_owned()?;
    away(move || work(fd.as_fd()))
}

/// Reads a whole file.
///
/// # Errors
///
/// Those of opening and of reading it.
///
/// # Examples
///
/// ```
/// assert!(pirn::fs::read("Cargo.toml")?.starts_with(b"["));
/// # std::io::Result::Ok(())
/// ```
pub fn read<P: AsRef<Path>>(path: P) -> io::Result<Vec<u8>> {
    with_path(path, |path| std::fs::read(path))
}

/// Reads a whole file of text.
///
/// # Errors
///
/// `InvalidData` if it is not UTF-8, and those of opening and of reading it.
///
/// # Examples
///
/// ```
/// assert!(pirn::fs::read_to_string("Cargo.toml")?.contains("[package]"));
/// # std::io::Result::Ok(())
/// ```
pub fn read_to_string<P: AsRef<Path>>(path: P) -> io::Result<String> {
    with_path(path, |path| std::fs::read_to_string(path))
}

/// Writes a whole file, in place of what it was.
///
/// In a coroutine the contents are copied first.
///
/// # Errors
///
/// Those of making and of writing it.
///
/// # Examples
///
/// ```
/// let path = std::env::temp_dir().join(format!("pirn-write-{}", std::process::id()));
/// pirn::fs::write(&path, "weft")?;
/// assert_eq!(pirn::fs::read(&path)?, b"weft");
/// pirn::fs::remove_file(&path)?;
/// # std::io::Result::Ok(())
/// ```
pub fn write<P: AsRef<Path>, C: AsRef<[u8]>>(path: P, contents: C) -> io::Result<()> {
    if !sched::in_coroutine() {
        return std::fs::write(path, contents);
    }
    let contents = contents.as_ref().to_owned();
    with_path(path, move |path| std::fs::write(path, contents))
}

/// Copies a file with its permissions; gives the number of bytes.
///
/// A cancellation ends the wait for it; it is copied to the end nevertheless.
///
/// # Errors
///
/// What the system says; `InvalidInput` if `from` is not a file.
pub fn copy<P: AsRef<Path>, Q: AsRef<Path>>(from: P, to: Q) -> io::Result<u64> {
    with_paths(from, to, |from, to| std::fs::copy(from, to))
}

/// Renames a file or folder; what has the new name already is replaced.
///
/// # Errors
///
/// What the system says.
pub fn rename<P: AsRef<Path>, Q: AsRef<Path>>(from: P, to: Q) -> io::Result<()> {
    with_paths(from, to, |from, to| std::fs::rename(from, to))
}

/// Gives a file another name.
///
/// # Errors
///
/// What the system says.
pub fn hard_link<P: AsRef<Path>, Q: AsRef<Path>>(original: P, link: Q) -> io::Result<()> {
    with_paths(original, link, |original, link| std::fs::hard_link(original, link))
}

/// Makes a symbolic link.
///
/// # Errors
///
/// What the system says.
#[deprecated(note = "replaced with pirn::os::unix::fs::symlink, as in std")]
pub fn soft_link<P: AsRef<Path>, Q: AsRef<Path>>(original: P, link: Q) -> io::Result<()> {
    with_paths(original, link, |original, link| std::os::unix::fs::symlink(original, link))
}

/// Where a symbolic link leads.
///
/// # Errors
///
/// What the system says; `InvalidInput` if it is no link.
pub fn read_link<P: AsRef<Path>>(path: P) -> io::Result<PathBuf> {
    with_path(path, |path| std::fs::read_link(path))
}

/// The absolute path without links and dots.
///
/// # Errors
///
/// What the system says; `NotFound` if there is no such thing.
pub fn canonicalize<P: AsRef<Path>>(path: P) -> io::Result<PathBuf> {
    with_path(path, |path| std::fs::canonicalize(path))
}

/// What is known about a file or folder, to which symbolic links are followed.
///
/// # Errors
///
/// What the system says.
///
/// # Examples
///
/// ```
/// assert!(pirn::fs::metadata("Cargo.toml")?.is_file());
/// # std::io::Result::Ok(())
/// ```
pub fn metadata<P: AsRef<Path>>(path: P) -> io::Result<Metadata> {
    with_path(path, |path| std::fs::metadata(path))
}

/// What is known about a file, a folder or a symbolic link itself.
///
/// # Errors
///
/// What the system says.
pub fn symlink_metadata<P: AsRef<Path>>(path: P) -> io::Result<Metadata> {
    with_path(path, |path| std::fs::symlink_metadata(path))
}

/// Whether there is something at the path.
///
/// # Errors
///
/// What the system says, if it cannot tell.
///
/// # Examples
///
/// ```
/// assert!(pirn::fs::exists("Cargo.toml")?);
/// assert!(!pirn::fs::exists("no such file")?);
/// # std::io::Result::Ok(())
/// ```
pub fn exists<P: AsRef<Path>>(path: P) -> io::Result<bool> {
    with_path(path, |path| std::fs::exists(path))
}

/// Sets who may do what with a file or folder.
///
/// # Errors
///
/// What the system says.
pub fn set_permissions<P: AsRef<Path>>(path: P, perm: Permissions) -> io::Result<()> {
    with_path(path, move |path| std::fs::set_permissions(path, perm))
}

/// Makes a folder.
///
/// # Errors
///
/// What the system says, such as `AlreadyExists` or `NotFound`.
pub fn create_dir<P: AsRef<Path>>(path: P) -> io::Result<()> {
    with_path(path, |path| std::fs::create_dir(path))
}

/// Makes a folder, and those that lead there.
///
/// # Errors
///
/// What the system says. That a folder exists is none.
pub fn create_dir_all<P: AsRef<Path>>(path: P) -> io::Result<()> {
    with_path(path, |path| std::fs::create_dir_all(path))
}

/// Removes a file's name, and with the last one the file.
///
/// # Errors
///
/// What the system says.
pub fn remove_file<P: AsRef<Path>>(path: P) -> io::Result<()> {
    with_path(path, |path| std::fs::remove_file(path))
}

/// Removes an empty folder.
///
/// # Errors
///
/// What the system says, such as `DirectoryNotEmpty`.
pub fn remove_dir<P: AsRef<Path>>(path: P) -> io::Result<()> {
    with_path(path, |path| std::fs::remove_dir(path))
}

/// Removes a folder with all that is in it. Symbolic links are removed, not followed.
///
/// A cancellation ends the wait for it; everything is removed nevertheless.
///
/// # Errors
///
/// What the system says of the first thing that cannot be removed.
pub fn remove_dir_all<P: AsRef<Path>>(path: P) -> io::Result<()> {
    with_path(path, |path| std::fs::remove_dir_all(path))
}

/// The entries of a folder, in no particular order, without `.` and `..`.
///
/// # Errors
///
/// What the system says. Each entry may be an error too.
pub fn read_dir<P: AsRef<Path>>(path: P) -> io::Result<ReadDir> {
    ReadDir::open(path.as_ref())
}
