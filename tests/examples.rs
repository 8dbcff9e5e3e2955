//! Examples say what they are to say: those that come to their end by themselves, and `inspect`, which
//! is asked.
//!
//! They are part of this program, which runs itself once more for each.

#[path = "../examples/crawler.rs"]
mod crawler;
mod harness;
#[path = "../examples/inspect.rs"]
mod inspect;
#[path = "../examples/panic_abort.rs"]
mod panic_abort;
#[path = "../examples/race.rs"]
mod race;
#[path = "../examples/stall.rs"]
mod stall;
#[path = "../examples/supervisor.rs"]
mod supervisor;
#[path = "../examples/timeout.rs"]
mod timeout;

use harness::Chosen;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Names the example for a child.
const EXAMPLE: &str = "PIRN_TEST_EXAMPLE";

/// An example, what runs it, and what its output is to be like.
type Test = (&'static str, fn(), fn(&str) -> bool);

const TESTS: [Test; 6] = [
    // How far the talk gets depends on the machine.
    (
        "timeout",
        || timeout::main().expect("it works"),
        |text| text.ends_with("the talk: deadline has elapsed\n"),
    ),
    (
        "race",
        || race::main().expect("it works"),
        |text| {
            text == "the first answer: quick\nno answer: 2 failures\n\
                 no answer in time: deadline has elapsed\n"
        },
    ),
    ("supervisor", supervisor::main, |text| {
        text.matches("again in").count() == 4
            && text.ends_with("gave up after 3 restarts: no disk\n")
    }),
    ("stall", stall::main, |text| {
        let says = |part: &str, who: &str| {
            let line = text.lines().find(|line| line.starts_with(part) && line.contains(who));
            line.is_some_and(|line| line.contains("examples/stall.rs:"))
        };
        ["hog", "wanting"].into_iter().all(|who| {
            let who = format!("\"{who}\"");
            // Once in the watch's words, and once in the dump's.
            says("stall: worker 0 has run coroutine ", &format!("{who}, "))
                && says("coroutine ", &format!("{who} [running"))
        }) && text.matches("worker 0 is busy: 1 of its 2 coroutines cannot be listed").count() == 2
            && text.ends_with("both end: 2\n")
    }),
    ("crawler", || crawler::main().expect("it works"), |text| text.contains("Totals {")),
    ("panic_abort", panic_abort::main, |text| text.ends_with("join: it was cancelled\n")),
];

fn main() {
    if let Ok(name) = std::env::var(EXAMPLE) {
        if name == "inspect" {
            return inspect::main().expect("it works");
        }
        let test = TESTS.iter().find(|test| test.0 == name).expect("an example");
        return test.1();
    }
    let chosen = Chosen::by_arguments();
    let mut failed = Vec::new();
    for (name, _, is_right) in TESTS.iter().filter(|test| chosen.wants(test.0)) {
        let output = example(name).output().expect("a child");
        let text = String::from_utf8_lossy(&output.stdout);
        let ok = output.status.success() && is_right(&text);
        println!("test {name} ... {}", if ok { "ok" } else { "FAILED" });
        if !ok {
            println!("{text}{}", String::from_utf8_lossy(&output.stderr));
            failed.push(name);
        }
    }
    if chosen.wants("inspect") {
        the_market_is_inspected();
        println!("test inspect ... ok");
    }
    assert!(failed.is_empty(), "failed: {failed:?}");
}

/// This program, to be run as the example.
fn example(name: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.env(EXAMPLE, name);
    if cfg!(feature = "sanitizer") {
        // Some end while coroutines wait, and what only those own is no leak: the search for leaks does
        // not look at their stacks.
        let options = std::env::var("ASAN_OPTIONS").unwrap_or_default();
        command.env("ASAN_OPTIONS", format!("{options}:detect_leaks=0"));
    }
    command
}

/// Runs the example, and asks until each of its coroutines is where it is to be.
fn the_market_is_inspected() {
    let path = std::env::temp_dir().join(format!("pirn-market-{}", std::process::id()));
    let mut child = example("inspect")
        .arg(&path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a child");
    let mut said = String::new();
    let mut out = BufReader::new(child.stdout.take().expect("piped"));
    out.read_line(&mut said).expect("it says where it is");
    assert_eq!(said, format!("inspect {}\n", path.display()));
    let mut stream = BufReader::new(UnixStream::connect(&path).expect("it is there"));
    let mut until = |request: &str, parts: &[&str]| {
        let deadline = Instant::now() + Duration::from_secs(120);
        loop {
            let mut answer = String::new();
            stream.get_mut().write_all(format!("{request}\n").as_bytes()).expect("it listens");
            stream.read_line(&mut answer).expect("it answers");
            if parts.iter().all(|part| answer.contains(part)) {
                return;
            }
            assert!(Instant::now() < deadline, "{parts:?}: {answer}");
        }
    };
    until(
        r#"{"request":"summary"}"#,
        &[
            r#""name":"market","live":1024,"#,
            // The sleepers, and now and then whoever has the till.
            r#"{"reason":"sleep","count":100"#,
            r#"{"reason":"mutex","count":"#,
            r#"{"reason":"channel send","count":4,"#,
            r#""count":1000,"#,
            r#""count":20,"#,
            "examples/inspect.rs:",
        ],
    );
    let producers = r#"{"request":"coroutines","text":"producer","reason":"channel send"}"#;
    until(producers, &[r#""total":4,"#, r#""name":"producer 0""#, r#""name":"producer 3""#]);
    let queue = r#"{"request":"coroutines","reason":"mutex","limit":1}"#;
    let holder =
        if cfg!(any(debug_assertions, feature = "holders")) { "\"held_by\":[{" } else { "" };
    until(queue, &[r#""waits_for":"mutex at 0x"#, holder]);
    drop(child.stdin.take());
    assert!(child.wait().expect("it ends").success());
    assert!(!path.exists());
}
