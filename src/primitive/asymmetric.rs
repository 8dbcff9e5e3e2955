//! Fences of which one side costs nothing.
//!
//! Two threads that each write one word and then read the other's need a full fence each, or both
//! may miss what the other wrote. Where one side is on a hot path and the other one is rare, the
//! rare side can pay for both: `membarrier(2)` makes every thread of the process that runs execute a
//! full fence, wherever it is, so that the hot side only has to keep the compiler in order. (Linux
//! since 4.14; the technique is that of userspace RCU and of C++'s P1202.) Where the system does not
//! have it, both sides are full fences.

#[cfg(not(loom))]
use std::sync::atomic::{AtomicBool, Ordering, compiler_fence, fence};

/// Whether the heavy side pays for both.
#[cfg(not(loom))]
static ONE_SIDED: AtomicBool = AtomicBool::new(false);

/// The hot side's fence, between its write and its read.
#[cfg(not(loom))]
#[inline]
pub(crate) fn light_fence() {
    if ONE_SIDED.load(Ordering::Relaxed) {
        compiler_fence(Ordering::SeqCst);
    } else {
        fence(Ordering::SeqCst);
    }
}

/// The rare side's fence, between its write and its read.
#[cfg(not(loom))]
pub(crate) fn heavy_fence() {
    fence(Ordering::SeqCst);
    if ONE_SIDED.load(Ordering::Relaxed) {
        sys::everywhere();
    }
}

/// Makes the light fence light, if the system can. Called before there are threads to fence.
#[cfg(not(loom))]
pub(crate) fn prepare_fences() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    // A thread that has seen the fence to be light uses nothing else from there on; one that has
    // not yet uses the full one, which is right with either.
    ONCE.call_once(|| ONE_SIDED.store(sys::register(), Ordering::Relaxed));
}

#[cfg(all(not(loom), any(target_os = "linux", target_os = "android")))]
#[expect(unsafe_code, reason = "calls membarrier(2)")]
mod sys {
    fn membarrier(command: libc::c_int) -> libc::c_long {
        // SAFETY: the call touches no memory of the caller's.
        unsafe { libc::syscall(libc::SYS_membarrier, command, 0, 0) }
    }

    /// Whether the process may ask for fences from here on.
    pub(super) fn register() -> bool {
        let wanted = libc::MEMBARRIER_CMD_PRIVATE_EXPEDITED
            | libc::MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED;
        let offered = membarrier(libc::MEMBARRIER_CMD_QUERY);
        offered >= 0
            && offered & libc::c_long::from(wanted) == libc::c_long::from(wanted)
            && membarrier(libc::MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED) == 0
    }

    /// A full fence on each thread of the process that runs.
    pub(super) fn everywhere() {
        let done = membarrier(libc::MEMBARRIER_CMD_PRIVATE_EXPEDITED);
        // A registered process is refused nothing.
        assert_eq!(done, 0, "membarrier: {}", std::io::Error::last_os_error());
    }
}

#[cfg(all(not(loom), not(any(target_os = "linux", target_os = "android"))))]
mod sys {
    pub(super) fn register() -> bool {
        false
    }

    pub(super) fn everywhere() {
        unreachable!("nobody was registered");
    }
}

#[cfg(loom)]
pub(crate) use full_fence as heavy_fence;
#[cfg(loom)]
pub(crate) use full_fence as light_fence;

/// A model has no hardware to save on.
#[cfg(loom)]
pub(crate) fn full_fence() {
    loom::sync::atomic::fence(loom::sync::atomic::Ordering::SeqCst);
}
