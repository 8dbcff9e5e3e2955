//! The system calls on descriptors of any kind.

#![expect(unsafe_code, reason = "read, write and their kin")]

#[cfg(target_os = "linux")]
use crate::fs;
use crate::netpoller::Side;
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
#[cfg(target_os = "linux")]
use std::ptr;

/// Buffers in one call, as in std. More make it fail.
const MAX_BUFFERS: usize = 1024;

/// How many of `buffers` one call takes.
fn usable(buffers: usize) -> libc::c_int {
    buffers.min(MAX_BUFFERS) as libc::c_int
}

fn count(result: isize) -> io::Result<usize> {
    usize::try_from(result).map_err(|_negative| io::Error::last_os_error())
}

fn done(result: libc::c_int) -> io::Result<libc::c_int> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

pub(super) fn read(fd: BorrowedFd<'_>, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
    // SAFETY:
    // - The descriptor is open.
    // - There are that many buffers, which may be written to: `IoSliceMut` is promised to be laid
    //   out like `iovec`.
    count(unsafe { libc::readv(fd.as_raw_fd(), bufs.as_mut_ptr().cast(), usable(bufs.len())) })
}

pub(super) fn write(fd: BorrowedFd<'_>, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
    // SAFETY:
    // - The descriptor is open.
    // - There are that many buffers, which are only read: `IoSlice` is promised to be laid out
    //   like `iovec`.
    count(unsafe { libc::writev(fd.as_raw_fd(), bufs.as_ptr().cast(), usable(bufs.len())) })
}

/// Reads what is there, whatever the description's flags say.
///
/// # Errors
///
/// `WouldBlock` if there is nothing, or if this kind of descriptor cannot be asked that.
#[cfg(target_os = "linux")]
pub(super) fn read_now(fd: BorrowedFd<'_>, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
    let result = preadv2_now(fd, bufs);
    unless_doubtful(fd, bufs, result, fs::end_is_sure)
}

/// A kernel that is not `sure` says 0 at what is not the end of a file, too: it is to be asked again.
#[cfg(target_os = "linux")]
fn unless_doubtful(
    fd: BorrowedFd<'_>,
    bufs: &[IoSliceMut<'_>],
    result: io::Result<usize>,
    sure: impl FnOnce() -> bool,
) -> io::Result<usize> {
    let asked_for_none = || bufs.iter().all(|buf| buf.is_empty());
    if matches!(result, Ok(0)) && !sure() && !asked_for_none() && is_on_disk(fd)? {
        return Err(io::ErrorKind::WouldBlock.into());
    }
    result
}

#[cfg(target_os = "linux")]
fn preadv2_now(fd: BorrowedFd<'_>, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
    let fd = fd.as_raw_fd();
    // By number: not every libc has it. The offset -1 is the descriptor's own, in two halves.
    // SAFETY: as for `read`; the rest are numbers.
    would_block(count(unsafe {
        libc::syscall(
            libc::SYS_preadv2,
            fd,
            bufs.as_mut_ptr(),
            usable(bufs.len()),
            -1 as libc::c_long,
            -1 as libc::c_long,
            libc::RWF_NOWAIT,
        ) as isize
    }))
}

/// Writes what there is room for, whatever the description's flags say.
///
/// # Errors
///
/// `WouldBlock` if there is no room, or if this kind of descriptor cannot be asked that.
#[cfg(target_os = "linux")]
pub(super) fn write_now(fd: BorrowedFd<'_>, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
    let fd = fd.as_raw_fd();
    // SAFETY: as for `write`; the rest are numbers.
    would_block(count(unsafe {
        libc::syscall(
            libc::SYS_pwritev2,
            fd,
            bufs.as_ptr(),
            usable(bufs.len()),
            -1 as libc::c_long,
            -1 as libc::c_long,
            libc::RWF_NOWAIT,
        ) as isize
    }))
}

/// `EOPNOTSUPP` comes from kinds of files that do not know the flag, `EINVAL` and `ENOSYS` from
/// kernels, `EPERM` from filters of system calls.
#[cfg(target_os = "linux")]
fn would_block(result: io::Result<usize>) -> io::Result<usize> {
    result.map_err(|error| match error.raw_os_error() {
        Some(libc::EOPNOTSUPP | libc::EINVAL | libc::ENOSYS | libc::EPERM) => {
            io::ErrorKind::WouldBlock.into()
        }
        _ => error,
    })
}

#[cfg(not(target_os = "linux"))]
pub(super) fn read_now(_fd: BorrowedFd<'_>, _bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
    Err(io::ErrorKind::WouldBlock.into())
}

#[cfg(not(target_os = "linux"))]
pub(super) fn write_now(_fd: BorrowedFd<'_>, _bufs: &[IoSlice<'_>]) -> io::Result<usize> {
    Err(io::ErrorKind::WouldBlock.into())
}

/// Whether the descriptor is ready at this moment; an error or a hang-up is readiness, too.
///
/// # Errors
///
/// What poll(2) says, and `EBADF` for a descriptor that is not open.
pub(super) fn is_ready(fd: BorrowedFd<'_>, side: Side) -> io::Result<bool> {
    poll(fd, side, 0)
}

/// Has the thread wait until the descriptor is ready, or a signal comes.
///
/// # Errors
///
/// Those of [`is_ready`].
pub(super) fn wait_until_ready(fd: BorrowedFd<'_>, side: Side) -> io::Result<()> {
    match poll(fd, side, -1) {
        Err(error) if error.kind() != io::ErrorKind::Interrupted => Err(error),
        _ => Ok(()),
    }
}

fn poll(fd: BorrowedFd<'_>, side: Side, milliseconds: libc::c_int) -> io::Result<bool> {
    let events = match side {
        Side::Read => libc::POLLIN,
        Side::Write => libc::POLLOUT,
    };
    let mut entry = libc::pollfd { fd: fd.as_raw_fd(), events, revents: 0 };
    // SAFETY: one valid entry, and the count says so.
    let ready = done(unsafe { libc::poll(&raw mut entry, 1, milliseconds) })? > 0;
    if entry.revents & libc::POLLNVAL != 0 {
        return Err(io::Error::from_raw_os_error(libc::EBADF));
    }
    Ok(ready)
}

/// The kind of file, as `S_IFMT` masks it.
fn kind(fd: BorrowedFd<'_>) -> io::Result<libc::mode_t> {
    // SAFETY: a structure of numbers, for which zeros are values.
    let mut stat: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: the descriptor is open, and the structure is of the right type.
    done(unsafe { libc::fstat(fd.as_raw_fd(), &raw mut stat) })?;
    Ok(stat.st_mode & libc::S_IFMT)
}

/// Whether it is a regular file, which takes any write whole.
pub(super) fn is_regular_file(fd: BorrowedFd<'_>) -> bool {
    kind(fd).is_ok_and(|kind| kind == libc::S_IFREG)
}

/// Whether it is a pipe, named or not.
#[cfg(target_os = "linux")]
pub(super) fn is_fifo(fd: BorrowedFd<'_>) -> bool {
    kind(fd).is_ok_and(|kind| kind == libc::S_IFIFO)
}

/// Whether it is something that is always ready and that pollers refuse.
pub(super) fn is_on_disk(fd: BorrowedFd<'_>) -> io::Result<bool> {
    Ok(matches!(kind(fd)?, libc::S_IFREG | libc::S_IFDIR | libc::S_IFBLK))
}

/// The flags of the open file description.
pub(super) fn status_flags(fd: BorrowedFd<'_>) -> io::Result<libc::c_int> {
    // SAFETY: the descriptor is open, and this takes no further argument.
    done(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFL) })
}

/// Sets or clears `O_NONBLOCK` of the open file description. Whether it was set.
pub(super) fn set_nonblocking(fd: BorrowedFd<'_>, on: bool) -> io::Result<bool> {
    let flags = status_flags(fd)?;
    let was_on = flags & libc::O_NONBLOCK != 0;
    if was_on != on {
        // SAFETY: the descriptor is open, and the argument is of the type that this wants.
        done(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFL, flags ^ libc::O_NONBLOCK) })?;
    }
    Ok(was_on)
}

/// Opens what the descriptor has open once more: a description of its own, which blocks.
#[cfg(target_os = "linux")]
pub(super) fn reopen(fd: BorrowedFd<'_>) -> Option<OwnedFd> {
    let access = status_flags(fd).ok()? & libc::O_ACCMODE;
    let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
    std::fs::OpenOptions::new()
        .read(access != libc::O_WRONLY)
        .write(access != libc::O_RDONLY)
        .open(path)
        .ok()
        .map(OwnedFd::from)
}

#[cfg(not(target_os = "linux"))]
pub(super) fn reopen(_fd: BorrowedFd<'_>) -> Option<OwnedFd> {
    None
}

/// Moves bytes between a pipe and something else, or another pipe, without waiting on a pipe.
#[cfg(target_os = "linux")]
pub(super) fn splice(from: BorrowedFd<'_>, to: BorrowedFd<'_>, len: usize) -> io::Result<usize> {
    let (from, to) = (from.as_raw_fd(), to.as_raw_fd());
    let flags = libc::SPLICE_F_NONBLOCK | libc::SPLICE_F_MOVE;
    // SAFETY: the descriptors are open, and there are no offsets.
    count(unsafe { libc::splice(from, ptr::null_mut(), to, ptr::null_mut(), len, flags) })
}

/// Whether a write to a closed socket leaves the process alive.
#[cfg(target_os = "linux")]
pub(super) fn is_sigpipe_ignored() -> bool {
    // SAFETY: zeros are a value of it, and the call changes nothing but that.
    let action = unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        if libc::sigaction(libc::SIGPIPE, ptr::null(), &raw mut action) != 0 {
            return false;
        }
        action
    };
    action.sa_sigaction != libc::SIG_DFL
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    /// The kernels that read nothing of what is not in memory cannot be had here; what they say can.
    #[test]
    fn where_nothing_may_not_be_the_end_a_file_is_asked_again() {
        let says = |fd: BorrowedFd<'_>, room: usize, result: io::Result<usize>, sure: bool| {
            let result = unless_doubtful(
                fd,
                &[IoSliceMut::new(&mut []), IoSliceMut::new(&mut vec![0; room])],
                result,
                || sure,
            );
            result.map_err(|error| error.kind())
        };
        let file = std::fs::File::open(file!()).unwrap();
        let (pipe, _) = io::pipe().unwrap();
        let (file, pipe) = (file.as_fd(), pipe.as_fd());
        assert_eq!(says(file, 1, Ok(0), false), Err(io::ErrorKind::WouldBlock));
        assert_eq!(says(file, 1, Ok(0), true), Ok(0));
        assert_eq!(says(file, 0, Ok(0), false), Ok(0));
        assert_eq!(says(file, 1, Ok(1), false), Ok(1));
        assert_eq!(says(pipe, 1, Ok(0), false), Ok(0));
        let error = Err(io::ErrorKind::NotFound.into());
        assert_eq!(says(file, 1, error, false), Err(io::ErrorKind::NotFound));
    }
}
