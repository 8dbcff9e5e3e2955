//! What the environment says of runtimes.
//!
//! It is the whole process's, so each case is another process.

use pirn::Builder;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStringExt;
use std::process::Command;

/// Marks the child.
const CHILD: &str = "PIRN_ENVIRONMENT_CHILD";

/// What a runtime is like with these variables, or why there is none.
fn built(variables: &[(&str, &OsStr)]) -> String {
    let mut command = Command::new(std::env::current_exe().unwrap());
    NAMES.iter().for_each(|name| {
        command.env_remove(name);
    });
    command.args(["--exact", "child", "--nocapture"]).envs(variables.iter().copied());
    let output = command.env(CHILD, "").output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let line = text.lines().find_map(|line| line.split_once("built: "));
    line.unwrap_or_else(|| panic!("{text}")).1.to_owned()
}

#[test]
fn child() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    match Builder::new().build().map(|runtime| runtime.metrics()) {
        Ok(metrics) => {
            println!("built: {} {} {}", metrics.name, metrics.workers.len(), metrics.guard)
        }
        Err(error) => println!("built: {:?}: {error}", error.kind()),
    }
}

const NAMES: [&str; 10] = [
    "PIRN_WORKERS",
    "PIRN_STACK_SIZE",
    "PIRN_NAME",
    "PIRN_MAX_BLOCKING_THREADS",
    "PIRN_STALL_AFTER_MS",
    "PIRN_DEADLOCK",
    "PIRN_DUMP",
    "PIRN_STACK_GUARD",
    "PIRN_INSPECT",
    "PIRN_TRACE",
];

#[test]
fn what_is_set_counts() {
    let variables = [
        ("PIRN_WORKERS", OsStr::new(" 3 ")),
        ("PIRN_NAME", OsStr::new("web")),
        ("PIRN_STACK_GUARD", OsStr::new("mprotect")),
    ];
    assert_eq!(built(&variables), "web 3 mprotect");
}

/// As scripts say it that pass on what they may not have: `PIRN_WORKERS=$WORKERS`.
#[test]
fn what_is_empty_is_as_if_it_were_not_set() {
    let by_default = built(&[]);
    assert!(by_default.starts_with("pirn "), "{by_default}");
    for name in NAMES {
        assert_eq!(built(&[(name, OsStr::new(""))]), by_default, "{name}");
    }
}

#[test]
fn what_is_wrong_is_said() {
    let free = ["PIRN_NAME", "PIRN_INSPECT", "PIRN_TRACE"];
    for name in NAMES.into_iter().filter(|name| !free.contains(name)) {
        let built = built(&[(name, OsStr::new("x"))]);
        assert!(built.starts_with(&format!("InvalidInput: {name} is \"x\"")), "{built}");
    }
    for name in ["PIRN_WORKERS", "PIRN_NAME", "PIRN_DEADLOCK"] {
        let no_text = OsString::from_vec(b"4\xff".to_vec());
        let built = built(&[(name, &no_text)]);
        assert!(built.starts_with(&format!("InvalidInput: {name} is ")), "{built}");
    }
    let built = built(&[("PIRN_WORKERS", OsStr::new("0"))]);
    assert!(built.starts_with("InvalidInput: the number of workers is 0"), "{built}");
}
