//! System calls on files that never wait, and what is asked of a descriptor once.

#![expect(unsafe_code, reason = "preadv2, pwritev2, poll, fcntl and fstatfs")]

use crate::netpoller::Side;
use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::fs::FileTypeExt;

/// What an attempt without waiting came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "nothing is ever known there"))]
pub(super) enum Attempt {
    /// So many bytes.
    Done(usize),
    /// It would have to wait.
    WouldWait,
    /// There is no telling: the system has no such call for this file.
    Unknown,
    /// An error, which is to be had from the call that may wait.
    Failed,
}

/// Reads what is in memory, at the file's position or at an offset.
#[cfg(target_os = "linux")]
pub(super) fn read_now(
    fd: BorrowedFd<'_>,
    bufs: &mut [IoSliceMut<'_>],
    at: Option<u64>,
) -> Attempt {
    // SAFETY: `IoSliceMut` is laid out as `iovec`, and each is a buffer that may be written to.
    let attempt =
        unsafe { linux::vectored(libc::SYS_preadv2, fd, bufs.as_ptr().cast(), bufs.len(), at) };
    let asked_for_none = || bufs.iter().all(|buf| buf.is_empty());
    if attempt == Attempt::Done(0) && !end_is_sure() && !asked_for_none() {
        return Attempt::Unknown;
    }
    attempt
}

/// Writes what takes no waiting, at the file's position or at an offset.
#[cfg(target_os = "linux")]
pub(super) fn write_now(fd: BorrowedFd<'_>, bufs: &[IoSlice<'_>], at: Option<u64>) -> Attempt {
    // SAFETY: `IoSlice` is laid out as `iovec`, and each is a buffer, which is read only.
    unsafe { linux::vectored(libc::SYS_pwritev2, fd, bufs.as_ptr().cast(), bufs.len(), at) }
}

/// There is no such call.
#[cfg(not(target_os = "linux"))]
pub(super) fn read_now(_: BorrowedFd<'_>, _: &mut [IoSliceMut<'_>], _: Option<u64>) -> Attempt {
    Attempt::Unknown
}

/// There is no such call.
#[cfg(not(target_os = "linux"))]
pub(super) fn write_now(_: BorrowedFd<'_>, _: &[IoSlice<'_>], _: Option<u64>) -> Attempt {
    Attempt::Unknown
}

#[cfg(target_os = "linux")]
pub(crate) use linux::end_is_sure;

#[cfg(target_os = "linux")]
mod linux {
    //! `preadv2` and `pwritev2` with `RWF_NOWAIT`.

    use super::{Attempt, MOST_BUFFERS};
    use std::ffi::CStr;
    use std::io;
    use std::mem::MaybeUninit;
    use std::os::fd::{AsRawFd, BorrowedFd};
    use std::sync::OnceLock;

    /// Fail with `EAGAIN` instead of waiting for the disk or for a lock.
    const RWF_NOWAIT: libc::c_long = 8;

    /// # Safety
    ///
    /// `bufs` points to `count` buffers which `call`, one of the two, may use.
    pub(super) unsafe fn vectored(
        call: libc::c_long,
        fd: BorrowedFd<'_>,
        bufs: *const libc::iovec,
        count: usize,
        at: Option<u64>,
    ) -> Attempt {
        // -1 is the file's own position. An offset beyond the system's reach is an error, which
        // the call that may wait gives too.
        let offset = match at.map(i64::try_from) {
            None => -1,
            Some(Ok(offset)) => offset,
            Some(Err(_)) => return Attempt::Failed,
        };
        let count = count.min(MOST_BUFFERS) as libc::c_long;
        let (fd, low, high) = (libc::c_long::from(fd.as_raw_fd()), offset, offset >> 32);
        // SAFETY:
        // - The descriptor is open.
        // - The caller vouches for the buffers.
        // - The kernel takes an offset in two halves, and of the second nothing where the first
        //   has room for all.
        let done = unsafe {
            let (low, high) = (low as libc::c_long, high as libc::c_long);
            libc::syscall(call, fd, bufs, count, low, high, RWF_NOWAIT)
        };
        if let Ok(done) = usize::try_from(done) {
            return Attempt::Done(done);
        }
        match io::Error::last_os_error().raw_os_error() {
            Some(libc::EAGAIN) => Attempt::WouldWait,
            // The file system has it not, for reading or for writing; the kernel is old; a filter
            // of system calls is in force.
            Some(libc::EOPNOTSUPP | libc::EINVAL | libc::ENOSYS | libc::EPERM) => Attempt::Unknown,
            _ => Attempt::Failed,
        }
    }

    /// Whether a read with `RWF_NOWAIT` that gives nothing is the end of the file. Linux 5.9 and 5.10
    /// also say so of what is not in memory: preadv(2), "Bugs".
    pub(crate) fn end_is_sure() -> bool {
        static SURE: OnceLock<bool> = OnceLock::new();
        *SURE.get_or_init(|| {
            let mut names = MaybeUninit::<libc::utsname>::uninit();
            // SAFETY: there is room for the names.
            if unsafe { libc::uname(names.as_mut_ptr()) } != 0 {
                return false;
            }
            // SAFETY: the call has succeeded, so all names are there, each ended by a zero.
            let names = unsafe { names.assume_init() };
            // SAFETY: as above.
            let release = unsafe { CStr::from_ptr(names.release.as_ptr()) };
            is_sure_on(&release.to_string_lossy())
        })
    }

    pub(super) fn is_sure_on(release: &str) -> bool {
        let mut numbers = release.split(['.', '-', '+']);
        !matches!((numbers.next(), numbers.next()), (Some("5"), Some("9" | "10")))
    }
}

/// Buffers in one call, as in std; the system takes no more.
const MOST_BUFFERS: usize = 1024;

/// What can be written to a pipe that is ready, without waiting for a reader.
pub(super) const PIPE_ROOM: usize = libc::PIPE_BUF;

/// Whether a read or write of a pipe, a terminal or the like would not wait now.
pub(super) fn is_ready(fd: BorrowedFd<'_>, side: Side) -> bool {
    let events = match side {
        Side::Read => libc::POLLIN,
        Side::Write => libc::POLLOUT,
    };
    let mut entry = libc::pollfd { fd: fd.as_raw_fd(), events, revents: 0 };
    // SAFETY: one valid entry, and the count says so.
    let ready = unsafe { libc::poll(&raw mut entry, 1, 0) };
    // Of an error the read itself tells more.
    ready != 0
}

/// Whether an operation on the open file never waits: it has `O_NONBLOCK`, or was not opened for
/// that and fails.
pub(super) fn never_waits(fd: BorrowedFd<'_>, side: Side) -> bool {
    // SAFETY: the descriptor is open, and the command takes no argument.
    let flags = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFL) };
    let other = match side {
        Side::Read => libc::O_WRONLY,
        Side::Write => libc::O_RDONLY,
    };
    flags < 0 || flags & libc::O_NONBLOCK != 0 || flags & libc::O_ACCMODE == other
}

/// What kind of thing a descriptor is, as far as waiting goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Nature {
    /// On a file system of this machine: its data may have to be fetched, but its position, its
    /// metadata and its locks are in memory.
    Local,
    /// Somebody else has to be asked about everything, through a network or another process.
    Remote,
    /// A pipe, a terminal, a device or a socket: who waits, waits for another party.
    Stream,
}

/// May take its time.
pub(super) fn nature_of(file: &File) -> Nature {
    let Ok(metadata) = file.metadata() else { return Nature::Remote };
    let kind = metadata.file_type();
    if kind.is_fifo() || kind.is_char_device() || kind.is_socket() {
        return Nature::Stream;
    }
    let is_plain = kind.is_file() || kind.is_dir();
    if is_plain && is_local(file) { Nature::Local } else { Nature::Remote }
}

fn is_local(file: &File) -> bool {
    let mut about = MaybeUninit::<libc::statfs>::uninit();
    // SAFETY: the descriptor is open, and there is room for the answer.
    if unsafe { libc::fstatfs(file.as_raw_fd(), about.as_mut_ptr()) } != 0 {
        return false;
    }
    // SAFETY: the call has succeeded, so the answer is there.
    local_type(unsafe { about.assume_init_ref() })
}

/// A file system that is not known here may be one that asks somebody.
#[cfg(target_os = "linux")]
fn local_type(about: &libc::statfs) -> bool {
    const LOCAL: [u32; 19] = [
        0xef53,      // ext2, ext3, ext4
        0x5846_5342, // xfs
        0x9123_683e, // btrfs
        0xca45_1a4e, // bcachefs
        0x2fc1_2fc1, // zfs
        0xf2f5_2010, // f2fs
        0x0102_1994, // tmpfs
        0x8584_58f6, // ramfs
        0x794c_7630, // overlayfs
        0x7371_7368, // squashfs
        0xe0f5_e1e2, // erofs
        0x4d44,      // vfat
        0x2011_bab0, // exfat
        0x7366_746e, // ntfs3
        0x9660,      // iso9660
        0x9fa0,      // proc
        0x6265_6572, // sysfs
        0x6367_7270, // cgroup2
        0x5249_4653, // reiserfs
    ];
    // The field's width and sign differ between platforms; the numbers have 32 bits.
    LOCAL.contains(&(about.f_type as u32))
}

#[cfg(not(target_os = "linux"))]
fn local_type(about: &libc::statfs) -> bool {
    // The flag is an `int` there and the field is not.
    u64::from(about.f_flags) & libc::MNT_LOCAL as u64 != 0
}

/// What may be closed without waiting. The last close of a file that has been unlinked frees its
/// blocks, so it is no longer cheap if there are many.
pub(super) fn closes_at_once(file: &File, nature: Nature) -> bool {
    use std::os::unix::fs::MetadataExt;

    /// Of 512 bytes: a MiB.
    const MANY_BLOCKS: u64 = 2048;
    if nature == Nature::Remote {
        return false;
    }
    let Ok(metadata) = file.metadata() else { return false };
    match nature {
        Nature::Local => metadata.nlink() > 0 || metadata.blocks() < MANY_BLOCKS,
        // A terminal or a device may have to get rid of what was written first.
        Nature::Stream => !metadata.file_type().is_char_device(),
        Nature::Remote => false,
    }
}

/// The bytes in the buffers that one call takes.
pub(super) fn total(lengths: impl Iterator<Item = usize>) -> usize {
    lengths.take(MOST_BUFFERS).fold(0, usize::saturating_add)
}

/// Reads into all buffers in one call that may wait.
pub(super) fn read_here(
    mut file: &File,
    bufs: &mut [IoSliceMut<'_>],
    at: Option<u64>,
) -> io::Result<usize> {
    use std::io::Read;
    use std::os::unix::fs::FileExt;

    match (at, bufs) {
        (None, [buf]) => file.read(buf),
        (None, bufs) => file.read_vectored(bufs),
        (Some(at), [buf]) => file.read_at(buf, at),
        (Some(_), _) => unreachable!("there is no vectored read at an offset"),
    }
}

/// Writes all buffers in one call that may wait.
pub(super) fn write_here(
    mut file: &File,
    bufs: &[IoSlice<'_>],
    at: Option<u64>,
) -> io::Result<usize> {
    use std::io::Write;
    use std::os::unix::fs::FileExt;

    match (at, bufs) {
        (None, [buf]) => file.write(buf),
        (None, bufs) => file.write_vectored(bufs),
        (Some(at), [buf]) => file.write_at(buf, at),
        (Some(_), _) => unreachable!("there is no vectored write at an offset"),
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_os = "linux")]
    #[test]
    fn the_kernels_with_the_bug_are_known() {
        use super::linux::is_sure_on;

        for unsure in ["5.10.0-28-amd64", "5.9.1", "5.10.223+", "5.9"] {
            assert!(!is_sure_on(unsure), "{unsure}");
        }
        for sure in ["6.18.0", "5.11.0", "5.8.18", "4.9.10", "5.100.1", "6.9.10"] {
            assert!(is_sure_on(sure), "{sure}");
        }
    }
}
