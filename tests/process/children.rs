//! Many children at once, what is left of them, and what becomes of them when their parents go.

use crate::support::{
    descriptors, endless, everywhere, guarded, runtime, shell, state, wait_until,
};
use pirn::os::unix::process::{ChildExt, ExitStatusExt};
use pirn::process::{Child, Command, Stdio};
use std::io::{ErrorKind, Read, Write};
use std::sync::mpsc::channel;

#[test]
fn a_thousand_children_at_once_under_a_small_pool() {
    const CHILDREN: usize = 1000;
    guarded("in coroutines", || {
        let runtime = pirn::Builder::new().workers(2).max_blocking_threads(1).build().unwrap();
        let (started, all) = channel();
        let (gate, release) = std::io::pipe().unwrap();
        let waits: Vec<_> = (0..CHILDREN)
            .map(|number| {
                let (started, gate) = (started.clone(), gate.try_clone().unwrap());
                runtime.spawn(move || {
                    // It ends when the gate does.
                    let mut child = shell(&format!("read line; exit {}", number % 100))
                        .stdin(gate)
                        .spawn()
                        .unwrap();
                    started.send(child.id()).unwrap();
                    let status = child.wait().unwrap();
                    (number, status.code())
                })
            })
            .collect();
        drop(gate);
        let pids: Vec<u32> = all.iter().take(CHILDREN).collect();
        assert!(pids.iter().all(|pid| state(*pid).is_some_and(|state| state != 'Z')));
        drop(release);
        for wait in waits {
            let (number, code) = wait.join().unwrap();
            assert_eq!(code, Some((number % 100) as i32));
        }
        assert!(pids.iter().all(|pid| state(*pid).is_none()), "somebody was not waited for");
    });
}

#[test]
fn a_wait_parks_its_coroutine_alone() {
    guarded("on one worker", || {
        runtime(1).run(|| {
            let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
            let stdin = child.stdin.take();
            let waiter = pirn::spawn(move || child.wait().unwrap().success());
            // On the same worker: the child ends only because this one runs.
            let closer = pirn::spawn(move || drop(stdin));
            closer.join().unwrap();
            assert!(waiter.join().unwrap());
        });
    });
}

#[test]
fn a_wait_closes_the_standard_input_first() {
    everywhere(|| {
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        assert!(child.try_wait().unwrap().is_none(), "a look closes nothing");
        assert!(child.stdin.is_some());
        assert!(child.wait().unwrap().success());
        assert!(child.stdin.is_none());
    });
}

#[test]
fn several_wait_for_one_child_in_turn() {
    everywhere(|| {
        let mut child = shell("read line; exit 5").stdin(Stdio::piped()).spawn().unwrap();
        let stdin = child.stdin.take();
        let child = std::sync::Arc::new(pirn::sync::Mutex::new(child));
        let waiters: Vec<_> = (0..8)
            .map(|_| {
                let child = child.clone();
                pirn::spawn(move || child.lock().unwrap().wait().unwrap().code())
            })
            .collect();
        drop(stdin);
        for waiter in waiters {
            assert_eq!(waiter.join().unwrap(), Some(5));
        }
    });
}

#[test]
fn a_child_that_somebody_else_has_waited_for() {
    everywhere(|| {
        let mut child = shell("exit 3").spawn().unwrap();
        let pid = child.id();
        reap(pid);
        assert_eq!(child.wait().unwrap_err().raw_os_error(), Some(libc::ECHILD));
        assert_eq!(child.try_wait().unwrap_err().raw_os_error(), Some(libc::ECHILD));
    });
}

#[test]
fn a_child_is_taken_away_during_the_wait() {
    for workers in [1, 2] {
        guarded("in a coroutine", || {
            runtime(workers).run(|| {
                let mut child = shell("read line").stdin(Stdio::piped()).spawn().unwrap();
                let (pid, stdin) = (child.id(), child.stdin.take());
                let thief = pirn::spawn(move || {
                    drop(stdin);
                    // Before the waiter's turn comes: on one worker it has to park first.
                    reap(pid);
                });
                let waited = child.wait();
                thief.join().unwrap();
                match waited {
                    Ok(status) => assert!(workers > 1 && status.code() == Some(1)),
                    Err(error) => assert_eq!(error.raw_os_error(), Some(libc::ECHILD)),
                }
            });
        });
    }
}

/// Waits for a child behind its owner's back; somebody else may be faster.
#[expect(unsafe_code, reason = "waitpid")]
fn reap(pid: u32) {
    // SAFETY: the status is not wanted.
    let result = unsafe { libc::waitpid(pid as libc::pid_t, std::ptr::null_mut(), 0) };
    let gone = std::io::Error::last_os_error().raw_os_error() == Some(libc::ECHILD);
    assert!(result == pid as libc::pid_t || result == -1 && gone);
}

#[test]
fn signals_are_sent_until_the_child_was_waited_for() {
    everywhere(|| {
        let mut child = endless().spawn().unwrap();
        assert_eq!(child.send_signal(-1).unwrap_err().kind(), ErrorKind::InvalidInput);
        child.send_signal(0).unwrap();
        child.send_signal(libc::SIGTERM).unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGTERM));
        // Its number may be anybody's now.
        child.send_signal(-1).unwrap();
    });
}

#[test]
fn much_on_both_pipes_at_once() {
    // Both are larger than what a pipe holds, so that a child that is kept waiting for one of them
    // never comes to its end.
    const SCRIPT: &str = "head -c 3000000 /dev/zero | tr '\\0' o & \
        head -c 2000000 /dev/zero | tr '\\0' e >&2; \
        wait; head -c 1000000 /dev/zero | tr '\\0' E >&2; head -c 500000 /dev/zero | tr '\\0' O";
    everywhere(|| {
        let output = shell(SCRIPT).output().unwrap();
        assert!(output.status.success());
        let count = |text: &[u8], byte| text.iter().filter(|at| **at == byte).count();
        assert_eq!(output.stdout.len(), 3_500_000);
        assert_eq!(count(&output.stdout, b'o'), 3_000_000);
        assert!(output.stdout.ends_with(&[b'O'; 500_000]));
        assert_eq!(output.stderr.len(), 3_000_000);
        assert_eq!(count(&output.stderr, b'e'), 2_000_000);
        assert!(output.stderr.ends_with(&[b'E'; 1_000_000]));
    });
}

#[test]
fn one_pipe_is_closed_long_before_the_other() {
    everywhere(|| {
        let output = shell("exec >&-; head -c 300000 /dev/zero >&2").output().unwrap();
        assert_eq!((output.stdout.len(), output.stderr.len()), (0, 300_000));
        let output = shell("exec 2>&-; head -c 300000 /dev/zero").output().unwrap();
        assert_eq!((output.stdout.len(), output.stderr.len()), (300_000, 0));
    });
}

#[test]
fn many_outputs_at_once() {
    guarded("on two workers", || {
        let runtime = runtime(2);
        let all: Vec<_> = (0..100)
            .map(|number| {
                runtime.spawn(move || {
                    shell(&format!(
                        "yes {number} | head -n 30000; yes e{number} | head -n 30000 >&2"
                    ))
                    .output()
                    .unwrap()
                })
            })
            .collect();
        for (number, output) in all.into_iter().enumerate() {
            let output = output.join().unwrap();
            assert_eq!(output.stdout, format!("{number}\n").repeat(30_000).as_bytes());
            assert_eq!(output.stderr, format!("e{number}\n").repeat(30_000).as_bytes());
        }
    });
}

#[test]
fn a_child_that_closes_its_input_breaks_the_pipe() {
    everywhere(|| {
        let mut child = shell("exec <&-; echo closed; exec sleep 100000")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut told = [0; 7];
        child.stdout.as_mut().unwrap().read_exact(&mut told).unwrap();
        let mut stdin = child.stdin.take().unwrap();
        // A child that is just being started elsewhere may still have the other end for a moment.
        let error = loop {
            if let Err(error) = stdin.write(b"hello") {
                break error;
            }
        };
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
        assert_eq!((&stdin).write(b"hello").unwrap_err().kind(), ErrorKind::BrokenPipe);
        child.kill().unwrap();
        child.wait().unwrap();
    });
}

#[test]
fn a_writer_waits_for_room_and_is_told_when_the_reader_goes() {
    everywhere(|| {
        let mut child = shell("exec sleep 100000").stdin(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let writer = pirn::spawn(move || stdin.write_all(&[7; 1 << 20]).unwrap_err().kind());
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(writer.join().unwrap(), ErrorKind::BrokenPipe);
    });
}

#[test]
fn a_pipeline_of_children() {
    everywhere(|| {
        let mut first = shell("yes | head -n 100000").stdout(Stdio::piped()).spawn().unwrap();
        let mut between = first.stdout.take().unwrap();
        // It is nonblocking for having been read from here, and must not be for the next child.
        let mut line = [0; 2];
        between.read_exact(&mut line).unwrap();
        let output = Command::new("wc").arg("-l").stdin(between).output().unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap().trim(), "99999");
        assert!(first.wait().unwrap().success());
    });
}

#[test]
fn pipes_that_are_given_away_block() {
    everywhere(|| {
        let flags = |fd: &std::os::fd::OwnedFd| {
            let info = format!("/proc/self/fdinfo/{}", std::os::fd::AsRawFd::as_raw_fd(fd));
            let text = std::fs::read_to_string(info).unwrap();
            let flags = text.lines().find_map(|line| line.strip_prefix("flags:")).unwrap();
            i32::from_str_radix(flags.trim(), 8).unwrap()
        };
        let mut child = Command::new("cat")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stdin = std::os::fd::OwnedFd::from(child.stdin.take().unwrap());
        let stdout = child.stdout.take().unwrap().into_std().unwrap().into();
        let stderr = std::os::fd::OwnedFd::from(child.stderr.take().unwrap());
        for fd in [&stdin, &stdout, &stderr] {
            assert_eq!(flags(fd) & libc::O_NONBLOCK, 0);
            assert_ne!(flags(fd) & libc::O_CLOEXEC, 0);
        }
        // And back, with whatever flags.
        let mut stdin = pirn::process::ChildStdin::from(stdin);
        let mut stdout = pirn::process::ChildStdout::from(stdout);
        stdin.write_all(b"hello").unwrap();
        drop(stdin);
        let mut text = String::new();
        stdout.read_to_string(&mut text).unwrap();
        assert_eq!(text, "hello");
        child.stderr = Some(pirn::process::ChildStderr::from(stderr));
        assert!(child.wait_with_output().unwrap().status.success());
    });
}

#[test]
fn a_child_of_stds_is_taken_over() {
    everywhere(|| {
        let child = std::process::Command::new("/bin/sh")
            .args(["-c", "cat; echo err >&2; head -c 200000 /dev/zero"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut child = Child::from_std(child);
        child.stdin.as_mut().unwrap().write_all(b"in").unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!((output.stdout.len(), &output.stderr[..]), (200_002, &b"err\n"[..]));
    });
}

#[test]
fn a_dropped_child_goes_on() {
    everywhere(|| {
        let mut child = shell("read line; exit 0")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (pid, stdin, mut stdout) =
            (child.id(), child.stdin.take().unwrap(), child.stdout.take().unwrap());
        drop(child);
        assert!(state(pid).is_some_and(|state| state != 'Z'));
        drop(stdin);
        stdout.read_to_end(&mut Vec::new()).unwrap();
        wait_until(|| state(pid) == Some('Z'));
        reap(pid);
    });
}

#[test]
fn a_child_is_killed_with_its_handle_if_that_is_wished() {
    everywhere(|| {
        let child = endless().kill_on_drop(true).spawn().unwrap();
        let pid = child.id();
        drop(child);
        assert_eq!(state(pid), None, "neither running nor left over");

        let mut child = shell("exit 0").kill_on_drop(true).spawn().unwrap();
        child.wait().unwrap();
        drop(child);

        // Somebody else has waited for it: nobody is killed in its place.
        let child = shell("exit 0").kill_on_drop(true).spawn().unwrap();
        reap(child.id());
        drop(child);
    });
}

#[test]
fn a_runtime_that_ends_takes_its_children_along_if_that_is_wished() {
    for workers in [1, 2] {
        guarded("with its handle", || {
            let runtime = runtime(workers);
            let (started, all) = channel();
            for _ in 0..10 {
                let told = started.clone();
                drop(runtime.spawn(move || {
                    let mut child = endless().kill_on_drop(true).spawn().unwrap();
                    told.send(child.id()).unwrap();
                    child.wait()
                }));
                let told = started.clone();
                drop(runtime.spawn(move || {
                    let told = told;
                    let mut command = shell("echo $$ >&2; exec sleep 100000");
                    let mut child = command
                        .stderr(Stdio::piped())
                        .stdout(Stdio::piped())
                        .kill_on_drop(true)
                        .spawn()
                        .unwrap();
                    let mut pid = [0; 1];
                    child.stderr.as_mut().unwrap().read_exact(&mut pid).unwrap();
                    told.send(child.id()).unwrap();
                    child.wait_with_output()
                }));
            }
            let pids: Vec<u32> = all.iter().take(20).collect();
            drop(runtime);
            assert!(pids.iter().all(|pid| state(*pid).is_none()));
        });
    }
}

#[test]
fn a_runtime_that_ends_leaves_its_children_as_std_does() {
    guarded("without their parents", || {
        let runtime = runtime(1);
        let (started, child) = channel();
        drop(runtime.spawn(move || {
            let mut child = endless().spawn().unwrap();
            started.send(child.id()).unwrap();
            child.wait()
        }));
        let pid = child.recv().unwrap();
        drop(runtime);
        assert!(state(pid).is_some_and(|state| state != 'Z'));
        #[expect(unsafe_code, reason = "kill")]
        // SAFETY: the child was not waited for, so the number is still its own.
        unsafe {
            libc::kill(pid as libc::pid_t, libc::SIGKILL);
        }
        reap(pid);
    });
}

#[test]
fn descriptors_do_not_leak_wherever_a_runtime_ends() {
    // In a process of its own, where nobody else opens and closes descriptors.
    if std::env::var_os("PIRN_TEST_ALONE").is_none() {
        let status = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "children::descriptors_do_not_leak_wherever_a_runtime_ends"])
            .env("PIRN_TEST_ALONE", "1")
            .stdout(Stdio::null())
            .status();
        assert!(status.unwrap().success());
        return;
    }
    let round = |delay: u32| {
        let runtime = runtime(2);
        let (started, one) = channel();
        for number in 0..6 {
            let started = started.clone();
            drop(runtime.spawn(move || {
                started.send(()).unwrap();
                let mut command = shell("head -c 300000 /dev/zero; exec sleep 100000");
                command.kill_on_drop(true);
                match number % 3 {
                    0 => drop(command.output()),
                    1 => drop(command.stdin(Stdio::piped()).stdout(Stdio::null()).status()),
                    _ => drop(endless().kill_on_drop(true).output()),
                }
            }));
        }
        one.recv().unwrap();
        // Anywhere between the first spawn and the last wait.
        std::thread::sleep(std::time::Duration::from_micros(u64::from(delay) * 100));
        drop(runtime);
    };
    round(0);
    let before = descriptors();
    (0..60).for_each(round);
    assert_eq!(descriptors(), before);
}

#[test]
fn a_wait_without_descriptors_left() {
    guarded("in a coroutine", || {
        if std::env::var_os("PIRN_TEST_ALONE").is_none() {
            let status = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "children::a_wait_without_descriptors_left"])
                .env("PIRN_TEST_ALONE", "1")
                .stdout(Stdio::null())
                .status();
            assert!(status.unwrap().success());
            return;
        }
        let runtime = runtime(1);
        runtime.run(|| {
            let mut child = shell("read line; exit 6").stdin(Stdio::piped()).spawn().unwrap();
            let stdin = child.stdin.take();
            let (soft, hard) = rlimit::Resource::NOFILE.get().unwrap();
            rlimit::Resource::NOFILE.set(0, hard).unwrap();
            let closer = pirn::spawn(move || drop(stdin));
            assert_eq!(child.wait().unwrap().code(), Some(6));
            closer.join().unwrap();
            let error = shell("true").stdin(Stdio::piped()).spawn().unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::EMFILE));
            rlimit::Resource::NOFILE.set(soft, hard).unwrap();
        });
    });
}
