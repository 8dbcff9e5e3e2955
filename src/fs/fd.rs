//! Files from descriptors and descriptors from files, by std's traits.
//!
//! Giving a descriptor away while work that a cancellation has left behind still uses it takes a
//! duplicate. These traits cannot say that there is none left for it: they panic.

#![expect(unsafe_code, reason = "implements FromRawFd")]

use crate::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::process::Stdio;

const NO_DUPLICATE: &str = "failed to duplicate the descriptor of a file that is in use";

impl AsFd for File {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.handle().file().as_fd()
    }
}

impl AsRawFd for File {
    fn as_raw_fd(&self) -> RawFd {
        self.handle().file().as_raw_fd()
    }
}

impl From<OwnedFd> for File {
    fn from(fd: OwnedFd) -> File {
        File::from_std(fd.into())
    }
}

impl From<std::fs::File> for File {
    /// As [`File::from_std`].
    fn from(file: std::fs::File) -> File {
        File::from_std(file)
    }
}

impl FromRawFd for File {
    unsafe fn from_raw_fd(fd: RawFd) -> File {
        // SAFETY: the caller's promise, which is the same.
        File::from(unsafe { OwnedFd::from_raw_fd(fd) })
    }
}

impl From<File> for OwnedFd {
    /// Gives the descriptor away; see [`File::into_std`].
    ///
    /// # Panics
    ///
    /// If abandoned work still uses the file, and the descriptor cannot be duplicated.
    fn from(file: File) -> OwnedFd {
        file.into_std().expect(NO_DUPLICATE).into()
    }
}

impl From<File> for Stdio {
    /// For the standard streams of a child process.
    ///
    /// # Panics
    ///
    /// If abandoned work still uses the file, and the descriptor cannot be duplicated.
    fn from(file: File) -> Stdio {
        OwnedFd::from(file).into()
    }
}

impl IntoRawFd for File {
    fn into_raw_fd(self) -> RawFd {
        OwnedFd::from(self).into_raw_fd()
    }
}
