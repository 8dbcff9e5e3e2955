//! Pipes.

use crate::io::Descriptor;
use std::fmt;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

/// Makes an anonymous pipe: [`std::io::pipe`], whose waits park the coroutine.
///
/// What is written to the one end is read from the other. A read gives 0 when every writer is gone
/// and everything is read; a write fails with `BrokenPipe` when every reader is gone.
///
/// # Errors
///
/// What the system says, such as that there are too many descriptors.
///
/// # Examples
///
/// ```
/// use pirn::io::{Read, Write};
///
/// let (mut reader, mut writer) = pirn::io::pipe()?;
/// let writing = pirn::spawn(move || writer.write_all(b"through the pipe"));
/// let mut text = String::new();
/// reader.read_to_string(&mut text)?;
/// assert_eq!(text, "through the pipe");
/// writing.join().unwrap()?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn pipe() -> io::Result<(PipeReader, PipeWriter)> {
    let (reader, writer) = io::pipe()?;
    let reader = Descriptor::ours(reader.into())?;
    let writer = Descriptor::ours(writer.into())?;
    Ok((PipeReader::new(reader), PipeWriter::new(writer)))
}

/// The end of a [`pipe`] from which to read.
///
/// Any number of coroutines and threads may read at once, through `&PipeReader` or clones: each
/// byte goes to one of them.
pub struct PipeReader {
    descriptor: Arc<Descriptor>,
}

/// The end of a [`pipe`] to which to write.
///
/// Any number of coroutines and threads may write at once, through `&PipeWriter` or clones. What is
/// no longer than the system's `PIPE_BUF` stays in one piece.
pub struct PipeWriter {
    descriptor: Arc<Descriptor>,
}

/// The descriptor, for whoever may expect that it blocks.
fn give_away(descriptor: Arc<Descriptor>) -> io::Result<OwnedFd> {
    match Arc::try_unwrap(descriptor) {
        Ok(last) => last.into_fd(),
        Err(shared) => shared.blocking_duplicate(),
    }
}

impl PipeReader {
    pub(super) fn new(descriptor: Descriptor) -> PipeReader {
        PipeReader { descriptor: Arc::new(descriptor) }
    }

    #[cfg(target_os = "linux")]
    pub(super) fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }

    pub(super) fn into_fd(self) -> io::Result<OwnedFd> {
        give_away(self.descriptor)
    }

    /// Another handle to this end. Both share the descriptor.
    ///
    /// # Errors
    ///
    /// None; the `Result` is std's.
    pub fn try_clone(&self) -> io::Result<PipeReader> {
        Ok(PipeReader { descriptor: Arc::clone(&self.descriptor) })
    }
}

impl PipeWriter {
    pub(super) fn new(descriptor: Descriptor) -> PipeWriter {
        PipeWriter { descriptor: Arc::new(descriptor) }
    }

    #[cfg(target_os = "linux")]
    pub(super) fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }

    pub(super) fn into_fd(self) -> io::Result<OwnedFd> {
        give_away(self.descriptor)
    }

    /// Another handle to this end. Both share the descriptor, and readers meet the end of the
    /// stream when the last of them is gone.
    ///
    /// # Errors
    ///
    /// None; the `Result` is std's.
    pub fn try_clone(&self) -> io::Result<PipeWriter> {
        Ok(PipeWriter { descriptor: Arc::clone(&self.descriptor) })
    }
}

impl Read for &PipeReader {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.descriptor.read(buf)
    }

    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.descriptor.read_vectored(bufs)
    }
}

impl Read for PipeReader {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.descriptor.read(buf)
    }

    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.descriptor.read_vectored(bufs)
    }
}

impl Write for &PipeWriter {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.descriptor.write(buf)
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        self.descriptor.write_vectored(bufs)
    }

    /// Does nothing: what is written is in the pipe.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Write for PipeWriter {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.descriptor.write(buf)
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        self.descriptor.write_vectored(bufs)
    }

    /// Does nothing: what is written is in the pipe.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsFd for PipeReader {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

impl AsFd for PipeWriter {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

impl fmt::Debug for PipeReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PipeReader").field("fd", &self.as_fd().as_raw_fd()).finish()
    }
}

impl fmt::Debug for PipeWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PipeWriter").field("fd", &self.as_fd().as_raw_fd()).finish()
    }
}
