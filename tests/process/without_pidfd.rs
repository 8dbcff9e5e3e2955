//! All of it once more where the system has no `pidfd_open`: before Linux 5.3, in containers that
//! do not know the call, and on other systems.

use pirn::os::unix::process::CommandExt;
use pirn::process::Command;
use std::io;

/// Set where this program runs itself.
const WITHOUT: &str = "PIRN_TEST_WITHOUT_PIDFD";

#[test]
fn everything_works_by_threads() {
    if std::env::var_os(WITHOUT).is_some() {
        assert_eq!(pidfd_open().unwrap_err().raw_os_error(), Some(libc::ENOSYS));
        return;
    }
    assert!(pidfd_open().is_ok(), "the other tests are to show how it is with the call");
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.env(WITHOUT, "1");
    #[expect(unsafe_code, reason = "pre_exec")]
    // SAFETY: the closure makes two system calls.
    unsafe {
        command.pre_exec(refuse_pidfd_open);
    }
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("everything_works_by_threads ... ok"), "{text}");
}

#[expect(unsafe_code, reason = "a system call")]
fn pidfd_open() -> io::Result<()> {
    // SAFETY: two numbers, and a descriptor of nobody's comes of it.
    match unsafe { libc::syscall(libc::SYS_pidfd_open, std::process::id(), 0) } {
        -1 => Err(io::Error::last_os_error()),
        fd => {
            // SAFETY: it has just been made here.
            unsafe { libc::close(fd as libc::c_int) };
            Ok(())
        }
    }
}

/// Has the system say that it does not know the call, to this process and its children.
#[expect(unsafe_code, reason = "system calls")]
fn refuse_pidfd_open() -> io::Result<()> {
    let instruction =
        |code: u32, jf: u8, k: u32| libc::sock_filter { code: code as u16, jt: 0, jf, k };
    let mut program = [
        // The number of the call is the first word of what the filter looks at.
        instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0),
        instruction(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 1, libc::SYS_pidfd_open as u32),
        instruction(libc::BPF_RET | libc::BPF_K, 0, libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32),
        instruction(libc::BPF_RET | libc::BPF_K, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let filter =
        libc::sock_fprog { len: program.len() as libc::c_ushort, filter: program.as_mut_ptr() };
    // SAFETY: the filter is of that many instructions, which the system copies.
    let refused = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == -1
            || libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const filter) == -1
    };
    if refused { Err(io::Error::last_os_error()) } else { Ok(()) }
}
