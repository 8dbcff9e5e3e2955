//! Pipes for what is on its way from one descriptor to another.

use std::io::{self, PipeReader, PipeWriter};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Mutex, PoisonError};

/// Bytes that are on their way at most: what a pipe has room for by default.
pub(super) const ROOM: usize = 1 << 16;

/// Pipes that are kept for later.
pub(super) const KEPT: usize = 16;

static EMPTY: Mutex<Vec<(PipeReader, PipeWriter)>> = Mutex::new(Vec::new());

/// A pipe and how many bytes are in it. If it is empty, it is kept for others when it is dropped.
pub(super) struct TransferPipe {
    /// `None` while it is dropped.
    ends: Option<(PipeReader, PipeWriter)>,
    bytes: usize,
}

impl TransferPipe {
    /// An empty pipe.
    pub(super) fn get() -> io::Result<TransferPipe> {
        let kept = EMPTY.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let ends = match kept {
            Some(ends) => ends,
            None => io::pipe()?,
        };
        Ok(TransferPipe { ends: Some(ends), bytes: 0 })
    }

    fn ends(&self) -> &(PipeReader, PipeWriter) {
        self.ends.as_ref().expect("only a drop takes them")
    }

    pub(super) fn reader(&self) -> BorrowedFd<'_> {
        self.ends().0.as_fd()
    }

    pub(super) fn writer(&self) -> BorrowedFd<'_> {
        self.ends().1.as_fd()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// So many bytes were put in.
    pub(super) fn filled(mut self, count: usize) -> TransferPipe {
        self.bytes += count;
        self
    }

    /// So many bytes were taken out.
    pub(super) fn emptied(&mut self, count: usize) {
        self.bytes -= count;
    }
}

impl Drop for TransferPipe {
    fn drop(&mut self) {
        let mut kept = EMPTY.lock().unwrap_or_else(PoisonError::into_inner);
        if self.bytes == 0 && kept.len() < KEPT {
            kept.extend(self.ends.take());
        }
    }
}
