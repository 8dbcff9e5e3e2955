//! What std's own tests ask of `std::process`, asked of pirn.

use crate::support::{everywhere, runtime, shell};
use pirn::os::unix::process::{CommandExt, ExitStatusExt};
use pirn::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, Output, Stdio};
use std::io::{ErrorKind, Read, Write};

fn run_output(mut command: Command) -> String {
    let mut child = command.spawn().unwrap();
    let mut text = String::new();
    child.stdout.as_mut().unwrap().read_to_string(&mut text).unwrap();
    assert!(child.wait().unwrap().success());
    text
}

#[test]
fn exit_codes_are_reported() {
    everywhere(|| {
        assert!(shell("true").spawn().unwrap().wait().unwrap().success());
        let mut child = shell("exit 7").spawn().unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(7));
        assert_eq!(child.wait().unwrap().code(), Some(7), "again");
        assert_eq!(child.try_wait().unwrap().unwrap().code(), Some(7));
        assert_eq!(shell("exit 3").status().unwrap().code(), Some(3));
    });
}

#[test]
fn signals_are_reported() {
    everywhere(|| {
        let mut child = shell("read a").stdin(Stdio::piped()).spawn().unwrap();
        child.kill().unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(9));
    });
}

#[test]
fn a_child_that_ended_can_be_killed() {
    everywhere(|| {
        let mut child = Command::new("echo").stdout(Stdio::null()).spawn().unwrap();
        child.wait().unwrap();
        assert!(child.kill().is_ok());
        assert!(child.kill().is_ok());
    });
}

#[test]
fn standard_output_is_captured() {
    everywhere(|| {
        let mut command = shell("echo foobar");
        command.stdout(Stdio::piped());
        assert_eq!(run_output(command), "foobar\n");
    });
}

#[test]
fn the_directory_is_set() {
    everywhere(|| {
        let mut command = shell("pwd");
        command.current_dir("/").stdout(Stdio::piped());
        assert_eq!(run_output(command), "/\n");
        // By fork instead of posix_spawn.
        let mut command = shell("pwd");
        command.current_dir("/").stdout(Stdio::piped());
        #[expect(unsafe_code, reason = "does nothing")]
        // SAFETY: the closure does nothing.
        unsafe {
            command.pre_exec(|| Ok(()));
        }
        assert_eq!(run_output(command), "/\n");
    });
}

#[test]
fn standard_input_is_fed() {
    everywhere(|| {
        let mut child = shell("read line; echo $line")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.as_mut().unwrap().write_all(b"foobar").unwrap();
        drop(child.stdin.take());
        let mut out = String::new();
        child.stdout.as_mut().unwrap().read_to_string(&mut out).unwrap();
        assert!(child.wait().unwrap().success());
        assert_eq!(out, "foobar\n");
    });
}

#[test]
fn output_captures_both() {
    everywhere(|| {
        let Output { status, stdout, stderr } =
            shell("echo hello; echo world >&2; exit 4").output().unwrap();
        assert_eq!(status.code(), Some(4));
        assert_eq!(stdout, b"hello\n");
        assert_eq!(stderr, b"world\n");
    });
}

#[test]
fn wait_with_output_captures_what_is_piped() {
    everywhere(|| {
        let child = shell("echo hello").stdout(Stdio::piped()).spawn().unwrap();
        let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
        assert!(status.success());
        assert_eq!(stdout, b"hello\n");
        assert_eq!(stderr, Vec::new());
        let child = shell("echo hello >&2").stderr(Stdio::piped()).spawn().unwrap();
        assert_eq!(child.wait_with_output().unwrap().stderr, b"hello\n");
        assert!(shell("true").spawn().unwrap().wait_with_output().unwrap().status.success());
    });
}

#[test]
fn output_leaves_the_command_as_it_was() {
    everywhere(|| {
        let mut command = shell("cat; echo out; echo err >&2");
        // Without an input of its own it gets none, whatever this process has.
        assert_eq!(command.output().unwrap().stdout, b"out\n");
        command.stdout(Stdio::null());
        let output = command.output().unwrap();
        assert_eq!((output.stdout, output.stderr), (Vec::new(), b"err\n".to_vec()));
        let mut child = command.stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        assert!(child.stdin.is_none() && child.stdout.is_none() && child.stderr.is_none());
        child.wait().unwrap();
    });
}

#[test]
fn the_environment_is_made() {
    everywhere(|| {
        let environment = |command: &mut Command| {
            let output = command.output().unwrap();
            String::from_utf8(output.stdout).unwrap()
        };
        let path = std::env::var_os("PATH").unwrap();
        let mut command = Command::new("env");
        assert!(environment(command.env("PIRN_A", "1")).contains("PIRN_A=1\n"));
        assert!(!environment(command.env_remove("PIRN_A")).contains("PIRN_A"));
        command.env_clear().env("PATH", path).envs([("PIRN_B", "2"), ("PIRN_C", "3")]);
        let text = environment(&mut command);
        assert!(text.contains("PIRN_B=2\n") && text.contains("PIRN_C=3\n"), "{text}");
        assert_eq!(text.lines().count(), 3, "{text}");
    });
}

/// The error of pirn, which must be std's.
#[track_caller]
fn fails_as_std(make: impl Fn(&mut Command), make_std: impl Fn(&mut std::process::Command)) {
    let mut theirs = std::process::Command::new("echo");
    make_std(&mut theirs);
    let theirs = theirs.spawn().unwrap_err();
    let mut ours = Command::new("echo");
    make(&mut ours);
    for ours in [ours.spawn().unwrap_err(), ours.output().unwrap_err(), ours.status().unwrap_err()]
    {
        assert_eq!(ours.kind(), theirs.kind());
        assert_eq!(ours.raw_os_error(), theirs.raw_os_error());
        assert_eq!(ours.to_string(), theirs.to_string());
    }
}

macro_rules! fails_as_std {
    ($($change:tt)*) => {
        fails_as_std(
            |command| {
                command.$($change)*;
            },
            |command| {
                command.$($change)*;
            },
        )
    };
}

#[test]
fn a_spawn_that_fails_says_what_stds_says() {
    everywhere(|| {
        fails_as_std!(arg("some\0nul"));
        fails_as_std!(args(["some\0nul"]));
        fails_as_std!(current_dir("some\0nul"));
        fails_as_std!(env("some\0nul", "value"));
        fails_as_std!(env("key", "some\0nul"));
        fails_as_std!(current_dir("/no/such/directory"));
        let fails = |program: &str| {
            let theirs = std::process::Command::new(program).spawn().unwrap_err();
            let ours = Command::new(program).spawn().unwrap_err();
            assert_eq!((ours.kind(), ours.to_string()), (theirs.kind(), theirs.to_string()));
            ours.kind()
        };
        assert_eq!(fails("/no-binary-by-this-name"), ErrorKind::NotFound);
        assert_eq!(fails("no-binary-by-this-name"), ErrorKind::NotFound);
        assert_eq!(fails("/"), ErrorKind::PermissionDenied);
        assert_eq!(fails("/etc/passwd"), ErrorKind::PermissionDenied);
        assert_eq!(fails("nul\0"), ErrorKind::InvalidInput);
        fails("");
    });
}

#[test]
#[expect(unsafe_code, reason = "pre_exec")]
fn pre_exec_runs_in_the_child_and_can_fail() {
    everywhere(|| {
        let mut command = shell("true");
        // SAFETY: an error is made of a number.
        let error =
            unsafe { command.pre_exec(|| Err(std::io::Error::from_raw_os_error(libc::EXDEV))) }
                .spawn()
                .unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EXDEV));
        let us = std::process::id();
        let mut command = shell("echo $PPID");
        // SAFETY: one system call.
        unsafe {
            command.pre_exec(move || {
                if pirn::os::unix::process::parent_id() == us {
                    return Ok(());
                }
                Err(std::io::Error::from_raw_os_error(libc::EINVAL))
            });
        }
        assert_eq!(command.output().unwrap().stdout, format!("{us}\n").as_bytes());
    });
}

#[test]
fn a_name_of_its_own_and_a_group_of_its_own() {
    everywhere(|| {
        let mut command = Command::new("/bin/sh");
        command.arg0("exciting-name").arg("-c").arg("echo $0");
        assert_eq!(command.output().unwrap().stdout, b"exciting-name\n");
        let mut child = Command::new("cat")
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let group = shell(&format!("kill -TERM -{}", child.id())).status().unwrap();
        assert!(group.success());
        assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGTERM));
    });
}

#[test]
#[expect(unsafe_code, reason = "sets a thread's signal mask")]
fn a_child_inherits_the_mask_of_the_thread_that_spawns_it() {
    everywhere(|| {
        let masked = |how| {
            // SAFETY: a set of signals, emptied before it is used.
            unsafe {
                let mut set: libc::sigset_t = std::mem::zeroed();
                libc::sigemptyset(&raw mut set);
                libc::sigaddset(&raw mut set, libc::SIGINT);
                assert_eq!(libc::pthread_sigmask(how, &raw const set, std::ptr::null_mut()), 0);
            }
        };
        for fork in [false, true] {
            let mut command = Command::new("cat");
            command.stdin(Stdio::piped()).stdout(Stdio::piped());
            if fork {
                // SAFETY: the closure does nothing.
                unsafe { command.pre_exec(|| Ok(())) };
            }
            masked(libc::SIG_BLOCK);
            let mut child = command.spawn().unwrap();
            masked(libc::SIG_UNBLOCK);
            pirn::os::unix::process::ChildExt::send_signal(&child, libc::SIGINT).unwrap();
            child.stdin.take().unwrap().write_all(b"Hello").unwrap();
            let mut text = String::new();
            child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
            assert_eq!(text, "Hello");
            assert!(child.wait().unwrap().success());
        }
    });
}

#[test]
fn signal_masks_and_dispositions_of_children_are_as_stds() {
    let look = |text: Vec<u8>| {
        let text = String::from_utf8(text).unwrap();
        let lines = text.lines().filter(|line| line.starts_with("Sig") && !line.contains("SigQ"));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    let theirs = std::process::Command::new("cat").arg("/proc/self/status").output().unwrap();
    let theirs = look(theirs.stdout);
    assert!(theirs.len() >= 4, "{theirs:?}");
    everywhere(|| {
        let ours = Command::new("cat").arg("/proc/self/status").output().unwrap();
        assert_eq!(look(ours.stdout), theirs);
    });
}

#[test]
fn what_is_shown_is_as_stds() {
    let mut ours = Command::new("some-boring-name");
    let mut theirs = std::process::Command::new("some-boring-name");
    assert_eq!(format!("{ours:?} {ours:#?}"), format!("{theirs:?} {theirs:#?}"));
    ours.args(["1", "2", "3"]).env("FOO", "bar").env_remove("BAR").current_dir("/some/path");
    theirs.args(["1", "2", "3"]).env("FOO", "bar").env_remove("BAR").current_dir("/some/path");
    ours.arg0("exciting-name");
    std::os::unix::process::CommandExt::arg0(&mut theirs, "exciting-name");
    assert_eq!(format!("{ours:?} {ours:#?}"), format!("{theirs:?} {theirs:#?}"));
    assert_eq!(ours.get_program(), theirs.get_program());
    assert!(ours.get_args().eq(theirs.get_args()));
    assert!(ours.get_envs().eq(theirs.get_envs()));
    assert_eq!(ours.get_current_dir(), theirs.get_current_dir());

    let mut ours = Command::new("cat");
    let mut theirs = std::process::Command::new("cat");
    ours.stdin(Stdio::piped()).stdout(Stdio::piped());
    theirs.stdin(Stdio::piped()).stdout(Stdio::piped());
    let (ours, theirs) = (ours.spawn().unwrap(), theirs.spawn().unwrap());
    assert_eq!(format!("{ours:?}"), format!("{theirs:?}"));
    ours.wait_with_output().unwrap();
    theirs.wait_with_output().unwrap();
}

#[test]
fn a_panic_before_exec_ends_the_child_alone() {
    runtime(1).run(|| {
        let mut command = Command::new("echo");
        command.stderr(Stdio::null());
        #[expect(unsafe_code, reason = "pre_exec")]
        // SAFETY: std sees to it that a panic there aborts the child, without unwinding.
        unsafe {
            command.pre_exec(|| panic!("crash now!"));
        }
        let signal = command.status().unwrap().signal();
        assert!(
            [libc::SIGABRT, libc::SIGILL, libc::SIGTRAP].map(Some).contains(&signal),
            "{signal:?}"
        );
    });
}

#[test]
fn the_environment_is_that_of_the_spawn() {
    // Run by itself: an environment must not change while others look at it.
    if std::env::var_os("PIRN_TEST_CHILD").is_none() {
        let us = std::env::current_exe().unwrap();
        let status = Command::new(us)
            .args(["--exact", "std_parity::the_environment_is_that_of_the_spawn"])
            .env("PIRN_TEST_CHILD", "1")
            .stdout(Stdio::null())
            .status();
        assert!(status.unwrap().success());
        return;
    }
    let mut command = Command::new("env");
    command.env("PIRN_FIRST", "123");
    #[expect(unsafe_code, reason = "sets a variable")]
    // SAFETY: nobody else is here.
    unsafe {
        std::env::set_var("PIRN_SECOND", "456");
    }
    let text = String::from_utf8(command.output().unwrap().stdout).unwrap();
    assert!(text.contains("PIRN_FIRST=123\n") && text.contains("PIRN_SECOND=456\n"), "{text}");
}

/// The child's standard error is our standard output, and the other way round.
#[test]
fn streams_of_ours_are_given_to_a_child() {
    if std::env::var_os("PIRN_TEST_CHILD").is_some() {
        let mut command = shell("echo to-error >&2; echo to-output");
        command.stdout(pirn::io::stderr()).stderr(pirn::io::stdout());
        assert!(command.status().unwrap().success());
        return;
    }
    everywhere(|| {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "std_parity::streams_of_ours_are_given_to_a_child"])
            .env("PIRN_TEST_CHILD", "1")
            .output()
            .unwrap();
        let [text, errors] = [output.stdout, output.stderr].map(|o| String::from_utf8(o).unwrap());
        assert!(text.contains("to-error\n") && !text.contains("to-output"), "{text}");
        assert!(errors.contains("to-output\n") && !errors.contains("to-error"), "{errors}");
    });
}

#[test]
fn the_auto_traits_are_stds() {
    fn all<T: Send + Sync + Unpin>() {}
    all::<Command>();
    all::<Child>();
    all::<ChildStdin>();
    all::<ChildStdout>();
    all::<ChildStderr>();
}
