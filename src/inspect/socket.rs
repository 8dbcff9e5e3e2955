//! The socket's place in the file system.
//!
//! A name that others may connect to must never stand there with more than mode 0600. `umask` belongs
//! to the whole process, other threads included, so it is not touched. Instead the socket is bound in
//! a folder of its own that nobody else may enter, is given its mode there, and is then *linked* to
//! its place: under its public name it has never been anything else. A link also fails where a name
//! is taken, which a rename does not.
//!
//! A name that is taken is tried. If nobody listens there, its process has died, and it is moved into
//! the private folder and tried *again* before it goes: another process may have replaced it in
//! between, and gets its socket back.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// How often a name is tried that others take and leave meanwhile.
const TRIES: usize = 16;

/// A socket's name, and which file it was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    path: PathBuf,
    file: (u64, u64),
    process: u32,
}

impl Place {
    /// Removes the name, if it still is this socket's, and if this is not a child that has inherited
    /// it.
    pub(super) fn remove(&self) {
        let ours = fs::symlink_metadata(&self.path)
            .is_ok_and(|meta| (meta.dev(), meta.ino()) == self.file);
        if ours && self.process == std::process::id() {
            // There is nobody to be told of a failure, and the next process replaces what is left.
            let _left = fs::remove_file(&self.path);
        }
    }
}

/// A folder that nobody else may enter.
struct Private(PathBuf);

impl Private {
    /// One beside `path`, so that what is in it can be linked there.
    fn beside(path: &Path) -> io::Result<Private> {
        static NEXT: AtomicU32 = AtomicU32::new(0);

        let parent = path.parent().unwrap_or(Path::new(""));
        loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let mut name = OsString::from(".p");
            name.push(format!("{:x}.{number:x}", std::process::id()));
            let folder = parent.join(name);
            match DirBuilder::new().mode(0o700).create(&folder) {
                Ok(()) => {
                    let private = Private(folder);
                    // A strict umask may have locked out its owner, too.
                    fs::set_permissions(&private.0, Permissions::from_mode(0o700))?;
                    return Ok(private);
                }
                // Left behind by a process of the same number that was killed.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn name(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Private {
    fn drop(&mut self) {
        let _left = fs::remove_dir_all(&self.0);
    }
}

/// A socket that only this user may connect to.
///
/// # Errors
///
/// `AddrInUse` if somebody listens there, `AlreadyExists` for a file that is no socket, and what the
/// system says.
pub(super) fn listen(path: &Path) -> io::Result<(UnixListener, Place)> {
    let private = Private::beside(path)?;
    let new = private.name("s");
    let listener = UnixListener::bind(&new)?;
    fs::set_permissions(&new, Permissions::from_mode(0o600))?;
    let meta = fs::symlink_metadata(&new)?;
    let place = Place {
        path: std::path::absolute(path)?,
        file: (meta.dev(), meta.ino()),
        process: std::process::id(),
    };
    for _ in 0..TRIES {
        match fs::hard_link(&new, path) {
            Ok(()) => return Ok((listener, place)),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
        match fs::symlink_metadata(path) {
            Ok(meta) if !meta.file_type().is_socket() => {
                let message = format!("{} is there and is no socket", path.display());
                return Err(io::Error::new(ErrorKind::AlreadyExists, message));
            }
            Ok(_) => clear(path, &private)?,
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Err(in_use(path))
}

/// Takes a dead process's socket away.
fn clear(path: &Path, private: &Private) -> io::Result<()> {
    if is_live(path)? {
        return Err(in_use(path));
    }
    let old = private.name("old");
    match fs::rename(path, &old) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        other => other?,
    }
    if is_live(&old)? {
        // Whoever else has taken the name meanwhile found it free.
        let _taken = fs::hard_link(&old, path);
        return Err(in_use(path));
    }
    fs::remove_file(old)
}

/// Whether somebody listens there.
fn is_live(path: &Path) -> io::Result<bool> {
    match UnixStream::connect(path) {
        Ok(_) => Ok(true),
        Err(error) => match error.kind() {
            ErrorKind::ConnectionRefused | ErrorKind::NotFound => Ok(false),
            _ => Err(error),
        },
    }
}

fn in_use(path: &Path) -> io::Error {
    let message = format!("another process can be inspected at {}", path.display());
    io::Error::new(ErrorKind::AddrInUse, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Shutdown;
    use std::os::fd::OwnedFd;

    #[test]
    fn what_is_replaced_between_two_looks_is_put_back() {
        let folder = std::env::temp_dir().join(format!("pirn-place-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("s");
        // Dead: its listener is closed, and where a child of another test has it open for a moment,
        // between fork and exec, nobody can connect to it.
        let dead = UnixStream::from(OwnedFd::from(UnixListener::bind(&path).unwrap()));
        let _shut = dead.shutdown(Shutdown::Both);
        drop(dead);
        let private = Private::beside(&path).unwrap();
        clear(&path, &private).unwrap();
        assert!(!path.exists());
        // Live: refused, and still there.
        let live = UnixListener::bind(&path).unwrap();
        assert_eq!(clear(&path, &private).unwrap_err().kind(), ErrorKind::AddrInUse);
        assert!(path.exists());
        drop((live, private));
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1, "the private folder is gone");
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_name_that_is_another_files_is_not_removed() {
        let folder = std::env::temp_dir().join(format!("pirn-other-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("s");
        let (listener, place) = listen(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::rename(&path, folder.join("kept")).unwrap();
        fs::write(&path, "another's").unwrap();
        place.remove();
        assert!(path.exists());
        drop(listener);
        fs::remove_dir_all(folder).unwrap();
    }
}
