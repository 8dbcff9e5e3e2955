//! Address space and pages.

#![expect(unsafe_code, reason = "system calls that map, open and discard memory")]

use std::io;
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::check;

/// How many guards one `process_madvise` installs.
#[cfg(target_os = "linux")]
const GUARDS_PER_CALL: usize = 64;

/// `MADV_GUARD_INSTALL`, Linux 6.13.
#[cfg(target_os = "linux")]
const MADV_GUARD_INSTALL: libc::c_int = 102;

/// `PIDFD_SELF_THREAD_GROUP`: this process, without opening a descriptor. Linux 6.14.
#[cfg(target_os = "linux")]
const PIDFD_SELF: libc::c_int = -10_001;

pub(in crate::stack) fn page_size() -> usize {
    static PAGE_SIZE: AtomicUsize = AtomicUsize::new(0);
    let known = PAGE_SIZE.load(Ordering::Relaxed);
    if known != 0 {
        return known;
    }
    // SAFETY: no requirements.
    let asked = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    let size = usize::try_from(asked).expect("the system states its page size");
    PAGE_SIZE.store(size, Ordering::Relaxed);
    size
}

/// Reserves `len` bytes of inaccessible address space that start at a multiple of `align`, and
/// returns their start. Huge pages are ruled out: one would back thirty-two stacks at once.
pub(in crate::stack) fn reserve(len: usize, align: usize) -> io::Result<usize> {
    debug_assert!(align.is_power_of_two() && len.is_multiple_of(page_size()));
    // Any page boundary may come back, so ask for enough to cut an aligned piece out of it.
    let asked = len + (align - page_size());
    // Without it, `vm.overcommit_memory=0` weighs the size of a mapping against all of memory.
    #[cfg(target_os = "linux")]
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    #[cfg(not(target_os = "linux"))]
    let flags = libc::MAP_PRIVATE | libc::MAP_ANON;
    // SAFETY: a new private mapping, at an address of the system's choice.
    let mapped = unsafe { libc::mmap(ptr::null_mut(), asked, libc::PROT_NONE, flags, -1, 0) };
    if mapped == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    let mapped = mapped.expose_provenance();
    let start = mapped.next_multiple_of(align);
    // SAFETY: both pieces are the unused ends of the mapping just made.
    unsafe {
        release(mapped, start - mapped);
        release(start + len, mapped + asked - (start + len));
    }
    // Refused where the kernel has no huge pages, which is as good.
    #[cfg(target_os = "linux")]
    // SAFETY: only sets a flag on the mapping just made.
    let _ = unsafe { libc::madvise(at(start), len, libc::MADV_NOHUGEPAGE) };
    Ok(start)
}

/// Unmaps `len` bytes at `start`; nothing to do for none.
///
/// # Safety
///
/// The pages belong to the caller, and nothing refers to them any more.
pub(in crate::stack) unsafe fn release(start: usize, len: usize) {
    if len == 0 {
        return;
    }
    // SAFETY: the caller's promise.
    let unmapped = check(unsafe { libc::munmap(at(start), len) });
    if unmapped.is_err() {
        // For want of a map entry to split a mapping with, or a filter of system calls forbids it. The
        // pages stay mapped and unused; what they have of memory goes back.
        // SAFETY: the caller's promise.
        unsafe { discard(start, len) };
    }
}

/// Makes `len` bytes at `start` readable and writable.
///
/// # Safety
///
/// The pages belong to the caller, who wants none of them to fault.
pub(in crate::stack) unsafe fn open(start: usize, len: usize) -> io::Result<()> {
    // SAFETY: the caller's promise.
    check(unsafe { libc::mprotect(at(start), len, libc::PROT_READ | libc::PROT_WRITE) })
}

/// Gives the memory behind `len` bytes at `start` back. What the bytes hold afterwards is zero or
/// what they held. Locked pages stay.
///
/// # Safety
///
/// The pages belong to the caller, and nobody counts on what they hold.
pub(in crate::stack) unsafe fn discard(start: usize, len: usize) {
    #[cfg(target_os = "linux")]
    let advice = libc::MADV_DONTNEED;
    #[cfg(not(target_os = "linux"))]
    let advice = libc::MADV_FREE;
    // A refusal (locked pages) leaves the memory where it is, and it is still usable.
    // SAFETY: the caller's promise.
    let _ = unsafe { libc::madvise(at(start), len, advice) };
}

/// Whether any of the `pages` pages at `start` is in memory.
#[cfg(target_os = "linux")]
pub(in crate::stack) fn resident(start: usize, pages: usize) -> bool {
    let mut present = [0_u8; 8];
    debug_assert!(pages <= present.len());
    let len = pages.min(present.len()) * page_size();
    // SAFETY: writes one byte a page, and there are at most as many pages as bytes. The pages
    // themselves are only looked up: a range that is not mapped is an error.
    let looked = check(unsafe { libc::mincore(at(start), len, present.as_mut_ptr()) });
    looked.is_ok() && present.iter().any(|page| page & 1 != 0)
}

/// There is no answer that means the same on every Unix; "perhaps" costs one more `madvise`.
#[cfg(not(target_os = "linux"))]
pub(in crate::stack) fn resident(_start: usize, _pages: usize) -> bool {
    true
}

/// Turns `len` bytes at `start`, then at `start + stride`, and so on `count` times, into guards.
///
/// # Safety
///
/// The pages belong to the caller, and nobody counts on what they hold.
#[cfg(target_os = "linux")]
pub(in crate::stack) unsafe fn guard(
    start: usize,
    len: usize,
    stride: usize,
    count: usize,
) -> io::Result<()> {
    let mut done = 0;
    while done < count {
        // SAFETY: the caller's promise.
        done += unsafe { guard_some(start + done * stride, len, stride, count - done) }?;
    }
    Ok(())
}

/// Installs at least one guard, and returns how many.
///
/// # Safety
///
/// As for [`guard`].
#[cfg(target_os = "linux")]
unsafe fn guard_some(start: usize, len: usize, stride: usize, count: usize) -> io::Result<usize> {
    let guards: [libc::iovec; GUARDS_PER_CALL] = std::array::from_fn(|index| libc::iovec {
        iov_base: at(start.wrapping_add(index.wrapping_mul(stride))),
        iov_len: len,
    });
    // SAFETY:
    // - `guards` holds at least as many ranges as are announced;
    // - the caller owns the first `count` of them.
    let bytes = unsafe {
        libc::syscall(
            libc::SYS_process_madvise,
            PIDFD_SELF,
            guards.as_ptr(),
            count.min(GUARDS_PER_CALL),
            MADV_GUARD_INSTALL,
            0,
        )
    };
    // Anything else is an older kernel, a filter, or an error that `madvise` will tell plainly.
    if let Ok(bytes) = usize::try_from(bytes)
        && bytes >= len
    {
        return Ok(bytes / len);
    }
    // SAFETY: the caller owns the range.
    unsafe { guard_one(start, len) }?;
    Ok(1)
}

/// Installs one guard, as Linux 6.13 can.
///
/// # Safety
///
/// As for [`guard`].
#[cfg(target_os = "linux")]
unsafe fn guard_one(start: usize, len: usize) -> io::Result<()> {
    loop {
        // SAFETY: the caller owns the range.
        match check(unsafe { libc::madvise(at(start), len, MADV_GUARD_INSTALL) }) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

/// Whether the page at `address` refuses access, found out without a signal: the kernel, asked to
/// write there, answers `EFAULT`. An emulator that ignores advice it does not know is caught here.
///
/// # Safety
///
/// The page belongs to the caller, and nobody counts on what it holds.
#[cfg(target_os = "linux")]
pub(in crate::stack) unsafe fn refuses_access(address: usize) -> bool {
    // SAFETY: `uname` writes a `utsname`, which fits a page, or fails.
    let answer = check(unsafe { libc::uname(at(address).cast()) });
    answer.is_err_and(|error| error.raw_os_error() == Some(libc::EFAULT))
}

/// The soft limit on a resource of this process, if there is one.
#[cfg(target_os = "linux")]
pub(in crate::stack) fn limit(resource: Resource) -> Option<usize> {
    let resource = match resource {
        Resource::AddressSpace => libc::RLIMIT_AS,
        Resource::Data => libc::RLIMIT_DATA,
    };
    let mut limit = libc::rlimit { rlim_cur: libc::RLIM_INFINITY, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: writes one `rlimit`.
    let known = check(unsafe { libc::getrlimit(resource, &raw mut limit) }).is_ok();
    (known && limit.rlim_cur != libc::RLIM_INFINITY)
        .then(|| usize::try_from(limit.rlim_cur).unwrap_or(usize::MAX))
}

/// What [`limit`] can be asked about.
#[cfg(target_os = "linux")]
#[derive(Clone, Copy)]
pub(in crate::stack) enum Resource {
    AddressSpace,
    Data,
}

/// Gives unused pages of the C allocator back. Of no use, but no harm, if that is not Rust's.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub(in crate::stack) fn release_heap() {
    // SAFETY: no requirements.
    let _released = unsafe { libc::malloc_trim(0) };
}

/// Other allocators give their pages back by themselves.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(in crate::stack) fn release_heap() {}

fn at(address: usize) -> *mut libc::c_void {
    ptr::with_exposed_provenance_mut(address)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn reserved_memory_is_aligned_and_opens_where_asked() {
        let align = 1 << 20;
        let start = reserve(2 * align, align).unwrap();
        assert!(start.is_multiple_of(align));
        // SAFETY: mapped just now, and unmapped at the end.
        unsafe {
            assert!(refuses_access(start));
            open(start + align, align).unwrap();
            assert!(refuses_access(start) && !refuses_access(start + align));
            assert!(resident(start + align, 1) && !resident(start + align + page_size(), 4));
            discard(start + align, page_size());
            assert!(!resident(start + align, 1));
            release(start, 2 * align);
        }
    }

    /// As when all map entries are used up, and these pages are in the middle of a mapping.
    #[test]
    fn what_cannot_be_unmapped_is_emptied() {
        /// Linux 6.10. From then on the pages cannot be unmapped.
        const SYS_MSEAL: libc::c_long = 462;

        let page = page_size();
        let start = reserve(page, page).unwrap();
        // SAFETY: mapped just now, and nobody else's; it stays mapped for good if it is sealed.
        unsafe {
            open(start, page).unwrap();
            at(start).cast::<u8>().write(1);
            assert!(resident(start, 1));
            let sealed = libc::syscall(SYS_MSEAL, at(start), page, 0) == 0;
            release(start, page);
            assert!(!sealed || check(libc::mprotect(at(start), page, 0)).is_err(), "no seal");
            assert!(!resident(start, 1));
        }
    }

    #[test]
    fn guards_made_one_by_one_and_together_are_the_same() {
        let (page, count) = (page_size(), GUARDS_PER_CALL + 3);
        let start = reserve(2 * count * page, page).unwrap();
        // SAFETY: mapped just now, and unmapped at the end.
        unsafe {
            open(start, 2 * count * page).unwrap();
            if guard_one(start + 2 * page, page).is_ok() {
                assert!(!refuses_access(start) && refuses_access(start + 2 * page));
                guard(start, page, 2 * page, count).unwrap();
                for index in 0..count {
                    assert!(refuses_access(start + 2 * index * page));
                    assert!(!refuses_access(start + (2 * index + 1) * page));
                }
            }
            release(start, 2 * count * page);
        }
    }
}
