//! System calls that signals interrupt all the time.

#![expect(unsafe_code, reason = "sets a timer and a handler that does nothing")]

use crate::support::{everywhere, pattern};
use pirn::io::{Async, Read, Write, copy, pipe, stdin};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::ptr;

const CHILD: &str = "PIRN_IO_INTERRUPTED";

extern "C" fn nothing(_: libc::c_int) {}

/// A signal every half millisecond, and no system call that goes on after it by itself.
fn interrupt_always() {
    let pause = libc::timeval { tv_sec: 0, tv_usec: 500 };
    let timer = libc::itimerval { it_interval: pause, it_value: pause };
    // SAFETY: zeros are a value of it; the handler has the right type and does nothing; the rest
    // reads two structures of ours.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = nothing as *const () as libc::sighandler_t;
        // Not on the small stacks of coroutines.
        action.sa_flags = libc::SA_ONSTACK;
        assert_eq!(libc::sigaction(libc::SIGALRM, &action, ptr::null_mut()), 0);
        assert_eq!(libc::setitimer(libc::ITIMER_REAL, &timer, ptr::null_mut()), 0);
    }
}

#[test]
fn signals_interrupt_nothing() {
    if std::env::var_os(CHILD).is_some() {
        interrupt_always();
        let mut text = String::new();
        stdin().read_to_string(&mut text).unwrap();
        assert_eq!(text, "input");
        everywhere(|world| {
            let (reader, mut writer) = pipe().unwrap();
            let (ours, theirs) = UnixStream::pair().unwrap();
            let (ours, mut theirs) = (Async::new(ours).unwrap(), Async::new(theirs).unwrap());
            let (mut end, mut copied) = pipe().unwrap();
            let sent = || pattern(2_000_000);
            let writing = world.spawn(move || writer.write_all(&sent()).unwrap());
            let copying = world.spawn(move || copy(&mut (&reader), &mut copied).unwrap());
            let passing = world.spawn(move || {
                let mut all = Vec::new();
                end.read_to_end(&mut all).unwrap();
                theirs.write_all(&all).unwrap();
            });
            let mut received = Vec::new();
            (&ours).read_to_end(&mut received).unwrap();
            writing.join();
            assert_eq!(copying.join(), 2_000_000);
            passing.join();
            assert!(received == sent());
        });
        return;
    }
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["interrupted::signals_interrupt_nothing", "--exact", "--test-threads=1"]);
    command.env(CHILD, "1").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"input").unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"), "{output:?}");
}
