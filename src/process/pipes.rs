//! Our ends of a child's pipes.
//!
//! Each end of a pipe has an open file description of its own, and nobody else has ours, so it is
//! nonblocking. It blocks again once it is given away, to another child for example. One that was
//! made from a descriptor may be anybody's, and keeps its flags.

use crate::io::Descriptor;
use std::fmt;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, OwnedFd, RawFd};
use std::process::Stdio;

/// Why [`From`] may rely on a descriptor's flags being changed.
const FLAGS: &str = "the flags of an open pipe can be set";

macro_rules! pipe {
    ($(#[$attribute:meta])* $name:ident) => {
        $(#[$attribute])*
        pub struct $name {
            pipe: Descriptor,
        }

        impl $name {
            /// Takes over what std has made: a pipe of which nobody else has this end.
            pub(super) fn ours(pipe: std::process::$name) -> io::Result<$name> {
                Ok($name { pipe: Descriptor::ours(pipe.into())? })
            }

            /// Takes a pipe of std's over. Its flags stay as they are.
            #[must_use]
            pub fn from_std(pipe: std::process::$name) -> $name {
                OwnedFd::from(pipe).into()
            }

            /// Turns this into a pipe of std's, which blocks.
            ///
            /// # Errors
            ///
            /// That of setting the descriptor's flags.
            pub fn into_std(self) -> io::Result<std::process::$name> {
                Ok(self.pipe.into_fd()?.into())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($name)).finish_non_exhaustive()
            }
        }

        impl From<OwnedFd> for $name {
            /// Takes a descriptor over. Its flags stay as they are.
            fn from(fd: OwnedFd) -> $name {
                $name { pipe: Descriptor::shared(fd) }
            }
        }

        impl From<$name> for OwnedFd {
            /// Gives the descriptor away, which blocks from then on.
            fn from(pipe: $name) -> OwnedFd {
                pipe.pipe.into_fd().expect(FLAGS)
            }
        }

        impl From<$name> for Stdio {
            /// Gives the descriptor to a child.
            fn from(pipe: $name) -> Stdio {
                OwnedFd::from(pipe).into()
            }
        }

        impl AsFd for $name {
            fn as_fd(&self) -> BorrowedFd<'_> {
                self.pipe.as_fd()
            }
        }

        impl AsRawFd for $name {
            fn as_raw_fd(&self) -> RawFd {
                self.as_fd().as_raw_fd()
            }
        }

        impl IntoRawFd for $name {
            fn into_raw_fd(self) -> RawFd {
                OwnedFd::from(self).into_raw_fd()
            }
        }
    };
}

pipe! {
    /// Our end of a child's standard input: [`std::process::ChildStdin`] that parks.
    ///
    /// Dropping it closes the pipe, so that the child reads the end.
    ChildStdin
}

pipe! {
    /// Our end of a child's standard output: [`std::process::ChildStdout`] that parks.
    ChildStdout
}

pipe! {
    /// Our end of a child's standard error: [`std::process::ChildStderr`] that parks.
    ChildStderr
}

impl Write for ChildStdin {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.pipe.write(buf)
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        self.pipe.write_vectored(bufs)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Write for &ChildStdin {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.pipe.write(buf)
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        self.pipe.write_vectored(bufs)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for ChildStdout {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.pipe.read(buf)
    }

    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.pipe.read_vectored(bufs)
    }
}

impl Read for ChildStderr {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.pipe.read(buf)
    }

    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.pipe.read_vectored(bufs)
    }
}

/// Reads both to their ends, whichever has something: a child that waits for one of its pipes to
/// be emptied must not be kept waiting for the other.
pub(super) fn read_both(
    (out, stdout): (&ChildStdout, &mut Vec<u8>),
    (err, stderr): (&ChildStderr, &mut Vec<u8>),
) -> io::Result<()> {
    /// What a pipe holds, on Linux.
    const ROOM: usize = 64 * 1024;

    let mut buf = vec![0; ROOM];
    loop {
        let (which, count) = Descriptor::read_either([&out.pipe, &err.pipe], &mut buf)?;
        match (which, count) {
            (0, 0) => return rest(&err.pipe, stderr),
            (_, 0) => return rest(&out.pipe, stdout),
            (0, count) => stdout.extend_from_slice(&buf[..count]),
            (_, count) => stderr.extend_from_slice(&buf[..count]),
        }
    }
}

fn rest(pipe: &Descriptor, into: &mut Vec<u8>) -> io::Result<()> {
    struct Reader<'a>(&'a Descriptor);

    impl Read for Reader<'_> {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            self.0.read(buf)
        }
    }

    Reader(pipe).read_to_end(into).map(drop)
}
