//! `PIRN_TRACE`: a trace in a file when the process exits.

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
        "exits" => {
            let exit = || std::process::exit(3);
            thread::Builder::new().name("last".into()).spawn(exit).unwrap();
            std::thread::park();
        }
        other => panic!("{other}"),
    }
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
