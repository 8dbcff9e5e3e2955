//! What the example `processes` does with commands and signals.

#[path = "../examples/support/jobs.rs"]
mod jobs;

use jobs::{Done, End};
use pirn::signal::{SignalKind, Signals};
use std::collections::BTreeMap;
use std::time::Duration;

fn listen(kind: SignalKind) -> Signals {
    Signals::new([kind]).unwrap()
}

#[test]
fn every_command_is_run_and_reported() {
    let commands = (0..40).map(|number| format!("echo {number}; exit {}", number % 3)).collect();
    let mut codes = BTreeMap::new();
    let end = jobs::run(commands, 4, listen(SignalKind::user_defined2()), |done| {
        let Done { command, output, took } = done;
        let output = output.unwrap();
        assert!(took > Duration::ZERO);
        let text = String::from_utf8(output.stdout).unwrap();
        let number: i32 = text.trim().parse().unwrap();
        assert!(command.starts_with(&format!("echo {number};")));
        codes.insert(number, output.status.code());
    });
    assert_eq!(end.unwrap(), End::All);
    assert!(codes.into_iter().eq((0..40).map(|number| (number, Some(number % 3)))));
}

#[test]
fn results_come_as_they_are_there() {
    // The first ends only when the second has: with two at a time both are there in the end.
    let folder = std::env::temp_dir().join(format!("pirn-processes-{}", std::process::id()));
    std::fs::create_dir(&folder).unwrap();
    let pipe = folder.join("pipe");
    let commands = vec![
        format!(
            "mkfifo {pipe}; echo > {folder}/made; cat {pipe}",
            pipe = pipe.display(),
            folder = folder.display()
        ),
        format!("until [ -e {}/made ]; do sleep 0.01; done", folder.display()),
        format!("echo last > {}", pipe.display()),
    ];
    let mut order = Vec::new();
    let end = jobs::run(commands, 2, listen(SignalKind::user_defined2()), |done| {
        order.push(String::from_utf8(done.output.unwrap().stdout).unwrap());
    });
    std::fs::remove_dir_all(&folder).unwrap();
    assert_eq!(end.unwrap(), End::All);
    assert_eq!(order[0], "");
    assert!(order.contains(&"last\n".to_owned()), "{order:?}");
}

#[test]
fn a_signal_kills_what_runs() {
    // The first says so by a signal to this process.
    let us = std::process::id();
    let mut commands = vec![format!("kill -USR1 {us}; exec sleep 100000")];
    commands.resize(10, "exec sleep 100000".to_owned());
    let end = jobs::run(commands, 3, listen(SignalKind::user_defined1()), |done| {
        panic!("{} has ended", done.command);
    });
    assert_eq!(end.unwrap(), End::Stopped);
    // Those of the other tests are not endless.
    let children = std::fs::read_to_string(format!("/proc/self/task/{us}/children"));
    if let Ok(children) = children {
        for child in children.split_whitespace() {
            let line = std::fs::read(format!("/proc/{child}/cmdline")).unwrap_or_default();
            assert!(!line.starts_with(b"sleep\x00100000"), "{child} still runs");
        }
    }
}
