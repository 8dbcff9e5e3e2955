//! Pipes from descriptors and descriptors from pipes, by std's traits.
//!
//! Clones share a descriptor, which std's do not. So giving one away while there are clones takes
//! a duplicate, and these traits cannot say that there is no descriptor left for it: they panic.

#![expect(unsafe_code, reason = "implements FromRawFd")]

use crate::io::{Descriptor, PipeReader, PipeWriter};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::process::Stdio;

const NO_DUPLICATE: &str = "failed to give the descriptor of a pipe away";

macro_rules! conversions {
    ($end:ident) => {
        impl AsRawFd for $end {
            fn as_raw_fd(&self) -> RawFd {
                self.as_fd().as_raw_fd()
            }
        }

        impl From<OwnedFd> for $end {
            /// Takes the descriptor over, without a change to its flags.
            fn from(fd: OwnedFd) -> $end {
                $end::new(Descriptor::shared(fd))
            }
        }

        impl FromRawFd for $end {
            unsafe fn from_raw_fd(fd: RawFd) -> $end {
                // SAFETY: the caller's promise, which is the same.
                $end::from(unsafe { OwnedFd::from_raw_fd(fd) })
            }
        }

        impl From<$end> for OwnedFd {
            /// Gives the descriptor away, in blocking mode. If there are clones, it is a duplicate.
            ///
            /// # Panics
            ///
            /// If there are clones and the descriptor cannot be duplicated.
            fn from(end: $end) -> OwnedFd {
                end.into_fd().expect(NO_DUPLICATE)
            }
        }

        impl IntoRawFd for $end {
            fn into_raw_fd(self) -> RawFd {
                OwnedFd::from(self).into_raw_fd()
            }
        }

        impl From<$end> for Stdio {
            /// For a child process, in blocking mode.
            fn from(end: $end) -> Stdio {
                OwnedFd::from(end).into()
            }
        }
    };
}

conversions!(PipeReader);
conversions!(PipeWriter);

impl From<std::io::PipeReader> for PipeReader {
    fn from(reader: std::io::PipeReader) -> PipeReader {
        OwnedFd::from(reader).into()
    }
}

impl From<std::io::PipeWriter> for PipeWriter {
    fn from(writer: std::io::PipeWriter) -> PipeWriter {
        OwnedFd::from(writer).into()
    }
}
