//! What has been taken off a pipe or a terminal for somebody who does not want it any more.
//!
//! A file that is read for nobody moves its position, and the bytes are still there. A stream has them no
//! more. So they are kept here, for whoever reads next.

use std::collections::VecDeque;
use std::io::IoSliceMut;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

#[derive(Default)]
pub(super) struct Unread {
    /// Whether there are any, so that nobody looks for nothing.
    any: AtomicBool,
    bytes: Mutex<VecDeque<u8>>,
}

impl Unread {
    fn lock(&self) -> MutexGuard<'_, VecDeque<u8>> {
        self.bytes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// After what is there already.
    pub(super) fn put(&self, bytes: &[u8]) {
        let mut all = self.lock();
        all.extend(bytes);
        self.any.store(!all.is_empty(), Ordering::Release);
    }

    /// Reads the first of them. `None`: there are none, or there is no room.
    pub(super) fn take(&self, bufs: &mut [IoSliceMut<'_>]) -> Option<usize> {
        if !self.any.load(Ordering::Acquire) {
            return None;
        }
        let mut all = self.lock();
        let before = all.len();
        for buf in bufs {
            let count = buf.len().min(all.len());
            buf.iter_mut().zip(all.drain(..count)).for_each(|(to, byte)| *to = byte);
        }
        self.any.store(!all.is_empty(), Ordering::Release);
        Some(before - all.len()).filter(|count| *count > 0)
    }
}
