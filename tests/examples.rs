//! Examples that come to their end by themselves say what they are to say.

use std::process::Command;

/// Runs an example, and gives what it printed.
#[track_caller]
fn run(name: &str) -> String {
    let mut program = std::env::current_exe().unwrap();
    // From deps/ up, where cargo has put the examples for this very run.
    program.pop();
    program.pop();
    let output = Command::new(program.join("examples").join(name)).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

#[test]
fn timeout() {
    let text = run("timeout");
    // How far the talk gets depends on the machine.
    assert!(text.starts_with("0: "), "{text}");
    assert!(text.ends_with("the talk: deadline has elapsed\n"), "{text}");
}

#[test]
fn race() {
    let expected =
        "the first answer: quick\nno answer: 2 failures\nno answer in time: deadline has elapsed\n";
    assert_eq!(run("race"), expected);
}

#[test]
fn supervisor() {
    let text = run("supervisor");
    assert_eq!(text.matches("again in").count(), 4, "{text}");
    assert!(text.ends_with("gave up after 3 restarts: no disk\n"), "{text}");
}

#[test]
fn crawler() {
    let text = run("crawler");
    assert!(text.contains("Totals {"), "{text}");
}

#[test]
fn panic_abort() {
    assert!(run("panic_abort").ends_with("join: it was cancelled\n"));
}
