//! Asking for memory before it is needed.
//!
//! A poll of a thousand connections makes coroutines ready whose headers and stacks nobody has
//! touched for a while. To run the first of them waits for memory line by line; meanwhile the lines
//! of the next ones can be on their way.

#![expect(unsafe_code, reason = "an instruction that only hints")]

/// What is asked for at a time; no machine that is known has shorter ones.
const LINE: usize = 64;

/// Asks for so many lines from that address on, none of which has to exist.
#[inline(always)]
pub(crate) fn prefetch<T>(from: *const T, lines: usize) {
    for line in 0..lines {
        prefetch_line(from.cast::<u8>().wrapping_add(line * LINE));
    }
}

#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn prefetch_line(at: *const u8) {
    use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};

    // SAFETY: a hint: it reads nothing, and faults nowhere.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) };
}

#[cfg(all(target_arch = "aarch64", not(miri)))]
#[inline(always)]
fn prefetch_line(at: *const u8) {
    // SAFETY: as above.
    unsafe {
        std::arch::asm!(
            "prfm pldl1keep, [{at}]",
            at = in(reg) at,
            options(nostack, preserves_flags, readonly),
        );
    }
}

#[cfg(not(any(target_arch = "x86_64", all(target_arch = "aarch64", not(miri)))))]
#[inline(always)]
fn prefetch_line(_at: *const u8) {}
