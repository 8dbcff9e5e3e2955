//! Examples that come to their end by themselves say what they are to say.
//!
//! They are part of this program, which runs itself once more for each.

#[path = "../examples/crawler.rs"]
mod crawler;
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

use std::process::Command;

/// Names the example for a child.
const EXAMPLE: &str = "PIRN_TEST_EXAMPLE";

/// An example, what runs it, and what its output is to be like.
type Test = (&'static str, fn(), fn(&str) -> bool);

const TESTS: [Test; 6] = [
    // How far the talk gets depends on the machine.
    (
        "timeout",
        || timeout::main().expect("it works"),
        |text| text.starts_with("0: ") && text.ends_with("the talk: deadline has elapsed\n"),
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
        }) && text.matches("worker 0 is busy: its 2 coroutines cannot be listed").count() == 2
            && text.ends_with("both end: 2\n")
    }),
    ("crawler", || crawler::main().expect("it works"), |text| text.contains("Totals {")),
    ("panic_abort", panic_abort::main, |text| text.ends_with("join: it was cancelled\n")),
];

fn main() {
    if let Ok(name) = std::env::var(EXAMPLE) {
        let test = TESTS.iter().find(|test| test.0 == name).expect("an example");
        return test.1();
    }
    let filter = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    let wanted = |name: &str| filter.as_ref().is_none_or(|part| name.contains(part.as_str()));
    let mut failed = Vec::new();
    for (name, _, is_right) in TESTS.iter().filter(|test| wanted(test.0)) {
        let program = std::env::current_exe().expect("this program");
        let output = Command::new(program).env(EXAMPLE, name).output().expect("a child");
        let text = String::from_utf8_lossy(&output.stdout);
        let ok = output.status.success() && is_right(&text);
        println!("test {name} ... {}", if ok { "ok" } else { "FAILED" });
        if !ok {
            println!("{text}{}", String::from_utf8_lossy(&output.stderr));
            failed.push(name);
        }
    }
    assert!(failed.is_empty(), "failed: {failed:?}");
}
