//! Any descriptor, blocking-style: pipes, terminals, what the kernel signals by a descriptor.
//!
//! `O_NONBLOCK` belongs to the open file description, which other handles and other processes may
//! share. So there are two sorts of descriptors:
//!
//! - **Ours**: nobody else has the description. It is nonblocking, and system calls are made as
//!   they are.
//! - **Shared**: it came from elsewhere (descriptors 0 to 2, whatever a user hands over). Its flags
//!   are neither changed nor believed: others may change them at any time.
//!
//! In a coroutine, and on a plain thread in a scope that may end (a timeout, a token), a call on a shared
//! descriptor goes like this:
//!
//! 1. It is tried with `RWF_NOWAIT`, which Linux has for sockets, files and the pipes of `pipe(2)`,
//!    but not for named pipes and terminals. This settles nearly everything.
//! 2. If that gave `EAGAIN`, or is not possible, poll(2) says whether there is readiness. If not,
//!    the coroutine waits for it as for a socket.
//! 3. If there is, the call is made as it is, in a `block_in_place`. A regular file comes here when
//!    it is not in memory: it is always ready, and epoll would refuse it. Its thread then waits for
//!    the disk, while other workers take over what can move.
//!
//! In the third step the call may block for longer than a disk takes, though never a worker's other
//! work that can move:
//!
//! - Somebody else was faster and has taken what was there. On a terminal or a named pipe, the
//!   thread waits for what comes next.
//! - A write needs more room than there is. So no more than `PIPE_BUF` bytes are written to
//!   something that is not a regular file: a pipe that polls as writable has room for those. A
//!   terminal whose output is stopped (Ctrl-S) may hold its writer up.
//!
//! On a plain thread in no scope the call is made as it is, and may block the thread.

use crate::io::sys;
use crate::netpoller::{Done, Side, Source};
use crate::park::{self, WaitReason};
use crate::sched;
use std::fmt;
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Instant;

/// Whose open file description it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Description {
    /// Nobody else has it: it is nonblocking.
    Ours,
    /// Others may use it and change it.
    Shared,
}

/// See the module's description.
pub(crate) struct Descriptor {
    source: Source,
    description: Description,
}

impl Descriptor {
    /// Takes over a descriptor whose description is nobody else's, and makes it nonblocking.
    pub(crate) fn ours(fd: OwnedFd) -> io::Result<Descriptor> {
        sys::set_nonblocking(fd.as_fd(), true)?;
        Ok(Descriptor { source: Source::new(fd), description: Description::Ours })
    }

    /// Takes over a descriptor whose description others may use too.
    pub(crate) fn shared(fd: OwnedFd) -> Descriptor {
        Descriptor { source: Source::new(fd), description: Description::Shared }
    }

    /// Gives the descriptor away. One of ours blocks from then on, as std's do.
    pub(crate) fn into_fd(self) -> io::Result<OwnedFd> {
        let fd = self.source.into_fd();
        if self.description == Description::Ours {
            sys::set_nonblocking(fd.as_fd(), false)?;
        }
        Ok(fd)
    }

    /// A descriptor for the same thing, to be given away while this one is still used.
    ///
    /// One of ours is opened once more, so that the new one can block while this one does not.
    /// Where the system cannot do that (it has no `/proc`, or the pipe is another user's by now),
    /// it is a duplicate, which is nonblocking.
    pub(crate) fn blocking_duplicate(&self) -> io::Result<OwnedFd> {
        let reopened = match self.description {
            Description::Ours => sys::reopen(self.as_fd()),
            Description::Shared => None,
        };
        reopened.map_or_else(|| self.as_fd().try_clone_to_owned(), Ok)
    }

    pub(crate) fn read(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.read_vectored(&mut [IoSliceMut::new(buf)])
    }

    pub(crate) fn read_vectored(&self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let description = self.description;
        self.io(Side::Read, None, |fd| match description {
            Description::Ours => sys::read(fd, bufs),
            Description::Shared => read_shared(fd, bufs),
        })
    }

    /// Reads from the one of two that has something first, and says from which.
    pub(crate) fn read_either(
        pair: [&Descriptor; 2],
        buf: &mut [u8],
    ) -> io::Result<(usize, usize)> {
        let sources = pair.map(|descriptor| &descriptor.source);
        Source::io_either(sources, Side::Read, WaitReason::Read, |at, fd| {
            let bufs = &mut [IoSliceMut::new(buf)];
            let count = match pair[at].description {
                Description::Ours => sys::read(fd, bufs)?,
                // To be asked first, on a plain thread too, where a read would wait for this one.
                Description::Shared => {
                    ready(fd, Side::Read)?;
                    read_shared(fd, bufs)?
                }
            };
            Ok(Done { value: (at, count), drained: false })
        })
    }

    pub(crate) fn write(&self, buf: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(buf)])
    }

    pub(crate) fn write_vectored(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        let description = self.description;
        self.io(Side::Write, None, |fd| match description {
            Description::Ours => sys::write(fd, bufs),
            Description::Shared => write_shared(fd, bufs),
        })
    }

    /// Waits until there is something to read, or the end, or an error.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if the deadline comes first.
    pub(crate) fn readable(&self, deadline: Option<Instant>) -> io::Result<()> {
        self.io(Side::Read, deadline, |fd| ready(fd, Side::Read))
    }

    /// Waits until there is room to write, or an error.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if the deadline comes first.
    pub(crate) fn writable(&self, deadline: Option<Instant>) -> io::Result<()> {
        self.io(Side::Write, deadline, |fd| ready(fd, Side::Write))
    }

    /// Calls `op`, which must not block, until it gives something else than `WouldBlock`.
    pub(crate) fn io<T>(
        &self,
        side: Side,
        deadline: Option<Instant>,
        mut op: impl FnMut(BorrowedFd<'_>) -> io::Result<T>,
    ) -> io::Result<T> {
        let reason = match side {
            Side::Read => WaitReason::Read,
            Side::Write => WaitReason::Write,
        };
        // What is short here need not be the end of what there is: a pipe may have packets.
        self.source.io(side, reason, deadline, |fd| Ok(Done { value: op(fd)?, drained: false }))
    }
}

impl fmt::Debug for Descriptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Descriptor")
            .field("fd", &self.as_fd().as_raw_fd())
            .field("description", &self.description)
            .finish()
    }
}

impl AsFd for Descriptor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.source.as_fd()
    }
}

fn ready(fd: BorrowedFd<'_>, side: Side) -> io::Result<()> {
    if sys::is_ready(fd, side)? { Ok(()) } else { Err(io::ErrorKind::WouldBlock.into()) }
}

/// Whether a call is made as it is, since nothing could end the wait for what it needs.
fn blocks_here() -> bool {
    !sched::in_coroutine() && !park::is_in_scope()
}

/// Reads from a description of which nothing is known. `WouldBlock`: it is to be waited for.
pub(super) fn read_shared(fd: BorrowedFd<'_>, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
    if blocks_here() {
        return sys::read(fd, bufs);
    }
    match sys::read_now(fd, bufs) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
        result => return result,
    }
    ready(fd, Side::Read)?;
    sched::block_in_place(|| sys::read(fd, bufs))
}

/// Writes to a description of which nothing is known. `WouldBlock`: it is to be waited for.
pub(super) fn write_shared(fd: BorrowedFd<'_>, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
    if blocks_here() {
        return sys::write(fd, bufs);
    }
    match sys::write_now(fd, bufs) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
        result => return result,
    }
    ready(fd, Side::Write)?;
    let total: usize = bufs.iter().map(|buf| buf.len()).sum();
    let first = bufs.iter().find(|buf| !buf.is_empty());
    match first {
        Some(first) if total > libc::PIPE_BUF && !sys::is_regular_file(fd) => {
            let first = IoSlice::new(&first[..first.len().min(libc::PIPE_BUF)]);
            sched::block_in_place(|| sys::write(fd, &[first]))
        }
        _ => sched::block_in_place(|| sys::write(fd, bufs)),
    }
}
