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
        if membarrier(libc::MEMBARRIER_CMD_PRIVATE_EXPEDITED) != 0 {
            // A registered process is refused nothing, but for what it has had refused to itself since.
            // The other side's fences are light already; and a panic would leave whoever cancels what
            // borrows from it.
            crate::util::die("membarrier(2) is refused since the runtime was started");
        }
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

#[cfg(all(test, not(loom), target_os = "linux"))]
#[expect(unsafe_code, reason = "installs a filter of system calls")]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;
    use std::process::{Command, Stdio};

    /// From here on `membarrier` fails in all threads, as a sandbox may have it. `false`: no filter
    /// is to be had.
    fn refuse_membarrier() -> bool {
        let step = |code: u32, k: u32| libc::sock_filter { code: code as u16, jt: 0, jf: 0, k };
        let is_it = step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, libc::SYS_membarrier as u32);
        let mut program = [
            step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0),
            libc::sock_filter { jf: 1, ..is_it },
            step(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ERRNO | libc::EPERM as u32),
            step(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW),
        ];
        let filter = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
        // SAFETY: the filter and its program live until the calls have returned.
        unsafe {
            libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
                && libc::syscall(
                    libc::SYS_seccomp,
                    libc::SECCOMP_SET_MODE_FILTER,
                    libc::SECCOMP_FILTER_FLAG_TSYNC,
                    &raw const filter,
                ) == 0
        }
    }

    /// To go on would lose cancellations; to panic would leave scopes whose coroutines still borrow.
    #[test]
    fn a_fence_that_is_refused_ends_the_process() {
        const CHILD: &str = "PIRN_TEST_REFUSED_FENCE";
        const NOT_HERE: i32 = 77;
        if std::env::var_os(CHILD).is_some() {
            prepare_fences();
            if !ONE_SIDED.load(Ordering::Relaxed) || !refuse_membarrier() {
                std::process::exit(NOT_HERE);
            }
            heavy_fence();
            return;
        }
        let name = "primitive::asymmetric::tests::a_fence_that_is_refused_ends_the_process";
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", name, "--nocapture"])
            .env(CHILD, "1")
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let output = child.wait_with_output().unwrap();
        if output.status.code() == Some(NOT_HERE) {
            return;
        }
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.signal(), Some(libc::SIGABRT), "{said}");
        assert!(said.contains("fatal runtime error: membarrier"), "{said}");
    }
}
