//! A short backtrace shows what a coroutine has called, and not what has called the coroutine.
//!
//! The variable that asks for it is the whole process's, so the panic is in another one.

use std::process::Command;

/// Marks the child.
const CHILD: &str = "PIRN_BACKTRACE_CHILD";

#[test]
fn child() {
    if std::env::var_os(CHILD).is_some() {
        let _panicked = pirn::spawn(|| this_panics(&[])).join();
    }
}

#[inline(never)]
fn this_panics(numbers: &[u32]) -> u32 {
    numbers[std::hint::black_box(7)]
}

fn backtrace(how: &str) -> String {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "child", "--nocapture"]).envs([(CHILD, ""), ("RUST_BACKTRACE", how)]);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("this_panics"), "{text}");
    text
}

#[test]
fn a_short_backtrace_ends_where_the_coroutine_begins() {
    assert!(backtrace("full").contains("corosensei"), "a full one has all");
    let short = backtrace("1");
    assert!(!short.contains("corosensei"), "{short}");
}
