//! What the kernel can copy from and to, found behind a type parameter.

#![expect(unsafe_code, reason = "looks through type parameters")]

use crate::io::{PipeReader, PipeWriter, sys};
use crate::net::TcpStream;
use crate::netpoller::Side;
use crate::sched;
use std::any::TypeId;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::ptr;

type Op<'a> = dyn FnMut(BorrowedFd<'_>) -> io::Result<usize> + 'a;

/// Something with a descriptor that knows how to wait for it.
pub(super) trait Endpoint {
    /// Calls `op`, which gives `WouldBlock` rather than block, until it gives something else.
    fn io(&self, side: Side, op: &mut Op<'_>) -> io::Result<usize>;

    /// Whether splices will not block, nor do harm.
    fn is_suitable(&self) -> bool;

    /// Whether there may be something to read where a splice has found nothing, also since it was
    /// called `readable`.
    fn may_be_stuck(&self, _readable: bool) -> bool {
        false
    }
}

impl Endpoint for TcpStream {
    fn io(&self, side: Side, op: &mut Op<'_>) -> io::Result<usize> {
        self.io_by_flag(side, op)
    }

    fn is_suitable(&self) -> bool {
        sys::status_flags(self.as_fd()).is_ok_and(|flags| flags & libc::O_NONBLOCK != 0)
            && sys::is_sigpipe_ignored()
    }

    /// In front of an urgent byte. A poller tells of one, but not whoever waits in a thread.
    fn may_be_stuck(&self, readable: bool) -> bool {
        readable || self.end_was_reported()
    }
}

/// Between two pipes the call's own flag is enough.
impl Endpoint for PipeReader {
    fn io(&self, side: Side, op: &mut Op<'_>) -> io::Result<usize> {
        self.descriptor().io(side, None, op)
    }

    fn is_suitable(&self) -> bool {
        sys::is_fifo(self.as_fd())
    }
}

impl Endpoint for PipeWriter {
    fn io(&self, side: Side, op: &mut Op<'_>) -> io::Result<usize> {
        self.descriptor().io(side, None, op)
    }

    fn is_suitable(&self) -> bool {
        sys::is_fifo(self.as_fd())
    }
}

/// The disk is waited for on the spot.
impl Endpoint for File {
    fn io(&self, _side: Side, op: &mut Op<'_>) -> io::Result<usize> {
        loop {
            match sched::block_in_place(|| op(self.as_fd())) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }

    fn is_suitable(&self) -> bool {
        sys::is_regular_file(self.as_fd())
    }
}

/// The `T` that `value` is, or refers to.
pub(in crate::io) fn refers_to<V: ?Sized, T: 'static>(value: &V) -> Option<&T> {
    let id = typeid::of::<V>();
    let address = ptr::from_ref(value);
    if id == TypeId::of::<T>() {
        // SAFETY: that is its type.
        return Some(unsafe { &*address.cast::<T>() });
    }
    if id == typeid::of::<&T>() {
        // SAFETY: that is its type, but for the lifetime, which is at least as long as the one for
        // which `value` is borrowed.
        return Some(unsafe { *address.cast::<&T>() });
    }
    if id == typeid::of::<&mut T>() {
        // SAFETY: as above, and what is borrowed exclusively is borrowed through `value` here.
        return Some(unsafe { &**address.cast::<&mut T>() });
    }
    None
}

/// What `writer` is, if it is something to which the kernel can copy.
pub(super) fn sink_of<W: ?Sized>(writer: &W) -> Option<&dyn Endpoint> {
    if let Some(stream) = refers_to::<W, TcpStream>(writer) {
        return Some(stream);
    }
    if let Some(pipe) = refers_to::<W, PipeWriter>(writer) {
        return Some(pipe);
    }
    refers_to::<W, File>(writer).map(|file| file as &dyn Endpoint)
}
