//! `PIRN_TRACE`: a trace in a file when the process exits.

#![expect(unsafe_code, reason = "forks")]

use crate::reading::Trace;
use pirn::thread;
use std::path::PathBuf;
use std::process::{Command, Output};

const ROLE: &str = "PIRN_TEST_TRACE_ROLE";

/// Runs the test below in a process of its own, and takes the file that it leaves.
fn child(role: &str, file: &str) -> (Output, Option<String>) {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{role}-{file}"));
    drop(std::fs::remove_file(&path));
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "exit::plays_its_role", "--nocapture"])
        .env(ROLE, role)
        .env("PIRN_TRACE", &path)
        .output()
        .unwrap();
    let text = std::fs::read_to_string(&path);
    drop(std::fs::remove_file(&path));
    (output, text.ok())
}

/// What the child processes do; nothing in this one.
#[test]
fn plays_its_role() {
    let Ok(role) = std::env::var(ROLE) else { return };
    pirn::spawn(thread::yield_now).join().unwrap();
    match &*role {
        "returns" => {}
        "forks" => {
            let child = fork_and_exit();
            let mut status = 0;
            // SAFETY: the address is that of a status.
            assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
            assert_eq!(status, 0);
            let file = std::env::var_os("PIRN_TRACE").unwrap();
            assert!(!std::path::Path::new(&file).exists());
        }
        "exits" => {
            let exit = || std::process::exit(3);
            thread::Builder::new().name("last".into()).spawn(exit).unwrap();
            std::thread::park();
        }
        other => panic!("{other}"),
    }
}

/// The number of a child that exits as a program does.
fn fork_and_exit() -> libc::pid_t {
    // SAFETY: the child does nothing but exit.
    let child = unsafe { libc::fork() };
    if child == 0 {
        // SAFETY: what is registered for the exit takes no lock that another thread may have had.
        unsafe { libc::exit(0) };
    }
    child
}

#[test]
fn a_forked_child_leaves_it_to_its_parent() {
    let (output, text) = child("forks", "trace.json");
    assert!(output.status.success(), "{output:?}");
    Trace::read(&text.unwrap());
}

#[test]
fn a_return_from_main_leaves_a_trace() {
    let (output, text) = child("returns", "trace.json");
    assert!(output.status.success(), "{output:?}");
    let trace = Trace::read(&text.unwrap());
    assert!(trace.runs().any(|run| run.stopped_by() == "yield"), "{trace:#?}");
}

#[test]
fn an_exit_in_a_coroutine_leaves_a_trace() {
    let (output, text) = child("exits", "trace.json");
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    let trace = Trace::read(&text.unwrap());
    let last = trace.runs().find(|run| run.name == "last").unwrap();
    assert_eq!(last.stopped_by(), "running");
}

#[test]
fn a_file_that_cannot_be_written_is_reported() {
    let (output, text) = child("returns", "no/such/folder");
    assert!(output.status.success() && text.is_none());
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(errors.contains("pirn: no trace in "), "{errors}");
}
