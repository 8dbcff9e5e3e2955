//! `pirn-top --once` says what a program does.

#[expect(dead_code, reason = "its main is not run")]
#[path = "../../examples/inspect.rs"]
mod inspect;

use serde_json::Value;
use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs};

/// Tells a child which path to open.
const CHILD: &str = "PIRN_TEST_TOP";

fn top(arguments: &[&str]) -> (bool, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_pirn-top")).args(arguments).output().unwrap();
    let text = if output.status.success() { output.stdout } else { output.stderr };
    (output.status.success(), String::from_utf8(text).unwrap())
}

/// Looks until it sees what is to be seen: on a busy machine a worker may not come to its answer in
/// time, which is then left out.
#[track_caller]
fn until(arguments: &[&str], is_right: impl Fn(&str) -> bool) {
    let deadline = Instant::now() + Duration::from_secs(120);
    loop {
        let (ok, text) = top(arguments);
        assert!(ok, "{text}");
        if is_right(&text) {
            return;
        }
        assert!(Instant::now() < deadline, "{text}");
    }
}

#[test]
fn the_market_is_seen() {
    if let Ok(path) = env::var(CHILD) {
        let runtime = inspect::market(&path).unwrap();
        println!("open");
        std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
        drop(runtime);
        return;
    }
    let folder = env::temp_dir().join(format!("pirn-top-{}", std::process::id()));
    fs::create_dir(&folder).unwrap();
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["--exact", "the_market_is_seen", "--nocapture"])
        .env(CHILD, &folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = child.stdout.take().unwrap();
    let mut seen = String::new();
    while !seen.contains("open\n") {
        let mut byte = [0];
        assert_eq!(out.read(&mut byte).unwrap(), 1, "it has ended: {seen}");
        seen.push(char::from(byte[0]));
    }
    // The one socket in a folder is found.
    let path = folder.to_str().unwrap();
    until(&[path, "--once"], |text| {
        text.contains("market: 1024 coroutines") && text.contains("inspect.rs:")
    });
    until(&[path, "--once", "--json"], |text| {
        let all: Value = serde_json::from_str(text).unwrap();
        assert_eq!(all["hello"]["process"], child.id());
        let places = all["summary"]["runtimes"][0]["places"].as_array().unwrap();
        all["metrics"]["runtimes"][0]["live"] == 1024
            && places.iter().any(|place| place["count"] == 1000)
    });

    child.stdin.take().unwrap().flush().unwrap();
    assert!(child.wait().unwrap().success());
    let (ok, text) = top(&[path, "--once"]);
    assert!(!ok && text.contains("no program can be inspected there"), "{text}");
    fs::remove_dir(&folder).unwrap();
}
