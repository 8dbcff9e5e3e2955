//! What a process says that can never go on, and that it says nothing if somebody might.
//!
//! Each test starts this program once more for a child whose main thread is in the case itself: the
//! usual harness would keep one of its own waiting elsewhere, who might come and wake somebody. So it
//! is not used.

#[path = "../examples/deadlock.rs"]
mod deadlock;
mod harness;
#[path = "../examples/leak.rs"]
mod leak;

use harness::Chosen;
use pirn::channel::{bounded, unbounded};
use pirn::{Builder, OnDeadlock, Runtime, thread};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

const CHILD: &str = "PIRN_DEADLOCK_CHILD";

/// Long enough for any machine: a test that gets there has failed.
const PATIENCE: Duration = Duration::from_secs(120);

fn is_child() -> bool {
    std::env::var_os(CHILD).is_some()
}

/// Starts one test of this file in a process of its own.
fn child(test: &str, variables: &[(&str, &str)]) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .arg(test)
        .env(CHILD, "1")
        .envs(variables.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// What it writes to standard error before it aborts.
fn aborts(test: &str) -> String {
    let output = child(test, &[("PIRN_DEADLOCK", "abort")]).wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.signal(), Some(libc::SIGABRT), "{stderr}");
    assert!(stderr.contains("pirn: deadlock: everybody waits"), "{stderr}");
    stderr
}

/// It ends well, and reports nothing.
fn is_quiet(test: &str) {
    let output = child(test, &[("PIRN_DEADLOCK", "abort")]).wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && !stderr.contains("deadlock"), "{stderr}");
}

macro_rules! tests {
    ($($name:ident),* $(,)?) => {
        const TESTS: &[(&str, fn())] = &[$((stringify!($name), $name)),*];
    };
}

tests![
    the_example_is_reported,
    a_report_does_not_end_the_process,
    a_forgotten_sender_is_a_deadlock,
    a_thread_that_comes_late_is_waited_for,
    all_runtimes_count,
    a_thread_elsewhere_may_come_and_wake_somebody,
    a_sleeper_wakes_up,
    blocking_work_comes_to_an_end,
    a_socket_may_become_ready,
    a_runtime_may_be_told_to_be_silent,
    a_process_that_waits_is_left_in_peace,
    the_leak_is_found,
    sigquit_writes_a_dump,
    who_looks_from_outside_changes_nothing,
    who_looks_from_outside_makes_no_deadlock,
];

fn main() {
    if !cfg!(target_os = "linux") {
        return;
    }
    let chosen = Chosen::by_arguments();
    let wanted = |name: &str| match &chosen.filter {
        Some(exact) if is_child() => name == exact,
        _ => chosen.wants(name),
    };
    let mut failed: Vec<&str> = Vec::new();
    for (name, test) in TESTS.iter().filter(|test| wanted(test.0)) {
        if is_child() {
            return test();
        }
        let ok = std::panic::catch_unwind(test).is_ok();
        println!("test {name} ... {}", if ok { "ok" } else { "FAILED" });
        failed.extend((!ok).then_some(name));
    }
    assert!(failed.is_empty(), "failed: {failed:?}");
}

fn runtime() -> Runtime {
    Builder::new().workers(2).build().unwrap()
}

fn the_example_is_reported() {
    if is_child() {
        return deadlock::main();
    }
    let report = aborts("the_example_is_reported");
    for name in ["saving", "spending"] {
        assert!(report.contains(&format!("\"{name}\" [mutex at 0x")), "{report}");
    }
    assert!(report.contains("[join]\n"), "the main thread: {report}");
    assert!(report.contains("examples/deadlock.rs:"), "{report}");
    if cfg!(any(debug_assertions, feature = "holders")) {
        assert!(report.contains("waiting for each other's locks:\n    coroutine "), "{report}");
        assert_eq!(report.matches(", held by coroutine ").count(), 2, "{report}");
        assert_eq!(report.matches(" has locked at ").count(), 2, "{report}");
    }
}

/// It reports and goes on waiting, and does not report again.
fn a_report_does_not_end_the_process() {
    if is_child() {
        return deadlock::main();
    }
    let mut child = child("a_report_does_not_end_the_process", &[]);
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.starts_with("pirn: deadlock") {
        line.clear();
        assert!(stderr.read_line(&mut line).unwrap() > 0, "no report");
    }
    // For as long as it would take to look once more, twice over.
    std::thread::sleep(Duration::from_millis(1000));
    assert!(child.try_wait().unwrap().is_none());
    child.kill().unwrap();
    child.wait().unwrap();
    let mut rest = String::new();
    stderr.read_to_string(&mut rest).unwrap();
    assert!(!rest.contains("pirn: deadlock"), "{rest}");
}

fn a_forgotten_sender_is_a_deadlock() {
    if is_child() {
        let (sender, receiver) = bounded::<()>(1);
        runtime().run(|| pirn::spawn(move || receiver.recv()).join().unwrap()).unwrap();
        drop(sender);
        return;
    }
    let report = aborts("a_forgotten_sender_is_a_deadlock");
    assert!(report.contains(" [channel receive at 0x"), "{report}");
}

/// The main thread comes to rest long after the runtime has.
fn a_thread_that_comes_late_is_waited_for() {
    if is_child() {
        let runtime = runtime();
        let parked = runtime.spawn(thread::park);
        std::thread::sleep(Duration::from_millis(700));
        return parked.join().unwrap();
    }
    let report = aborts("a_thread_that_comes_late_is_waited_for");
    assert!(report.contains(" [park, "), "{report}");
}

fn all_runtimes_count() {
    if is_child() {
        let (one, other) = (runtime(), runtime());
        let (sender, receiver) = unbounded::<()>();
        let waiting = one.spawn(move || receiver.recv());
        let holding = other.spawn(move || {
            thread::park();
            drop(sender);
        });
        waiting.join().unwrap().unwrap_err();
        return holding.join().unwrap();
    }
    let report = aborts("all_runtimes_count");
    assert_eq!(report.matches("runtime \"pirn\": 1 coroutine").count(), 2, "{report}");
}

/// All wait, for longer than it takes to look, and each is woken in the end: by `wake`, which is given
/// what does so.
fn is_woken(wake: impl FnOnce(Box<dyn FnOnce() + Send>)) {
    let runtime = runtime();
    let parked = runtime.spawn(thread::park);
    let theirs = parked.thread().clone();
    wake(Box::new(move || theirs.unpark()));
    parked.join().unwrap();
}

const LONG: Duration = Duration::from_millis(1200);

fn a_thread_elsewhere_may_come_and_wake_somebody() {
    if is_child() {
        return is_woken(|wake| {
            drop(std::thread::spawn(move || {
                std::thread::sleep(LONG);
                wake();
            }));
        });
    }
    is_quiet("a_thread_elsewhere_may_come_and_wake_somebody");
}

fn a_sleeper_wakes_up() {
    if is_child() {
        return is_woken(|wake| {
            drop(pirn::spawn(|| {
                thread::sleep(LONG);
                wake();
            }));
        });
    }
    is_quiet("a_sleeper_wakes_up");
}

fn blocking_work_comes_to_an_end() {
    if is_child() {
        return is_woken(|wake| {
            let work = || {
                std::thread::sleep(LONG);
                wake();
            };
            drop(pirn::spawn(|| pirn::blocking(work)));
        });
    }
    is_quiet("blocking_work_comes_to_an_end");
}

fn a_socket_may_become_ready() {
    if is_child() {
        // Its peer is another process, for all that is known here.
        let listener = pirn::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let mut peer = Command::new("bash")
            .args(["-c", &format!("sleep 1.2; exec 3<>/dev/tcp/127.0.0.1/{}", address.port())])
            .spawn()
            .unwrap();
        is_woken(|wake| {
            drop(pirn::spawn(move || {
                listener.accept().unwrap();
                wake();
            }));
        });
        assert!(peer.wait().unwrap().success());
        return;
    }
    is_quiet("a_socket_may_become_ready");
}

/// How often the threads of a process have gone to sleep, and for how many nanoseconds they ran.
fn activity(process: u32) -> (u64, u64) {
    let (mut sleeps, mut ran) = (0, 0);
    for task in std::fs::read_dir(format!("/proc/{process}/task")).unwrap() {
        let task = task.unwrap().path();
        let read = |file| std::fs::read_to_string(task.join(file)).unwrap_or_default();
        let status = read("status");
        let switches =
            status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        sleeps += switches.map_or(0, |switches| switches.trim().parse::<u64>().unwrap());
        ran += read("schedstat").split(' ').next().map_or(0, |ran| ran.parse().unwrap_or(0));
    }
    (sleeps, ran)
}

/// Many wait for others, and one for a socket: that is found out once, and then nobody wakes up.
fn a_process_that_waits_is_left_in_peace() {
    if is_child() {
        let runtime = runtime();
        let socket = pirn::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let waiting = runtime.spawn(move || socket.recv(&mut [0]).map(drop));
        (0..20_000).for_each(|_| drop(runtime.spawn(thread::park)));
        println!("all are there");
        return waiting.join().unwrap().unwrap();
    }
    let mut child = child("a_process_that_waits_is_left_in_peace", &[]);
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let begun = std::time::Instant::now();
    loop {
        let before = activity(child.id());
        std::thread::sleep(Duration::from_millis(500));
        if activity(child.id()) == before {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "never at rest");
    }
    child.kill().unwrap();
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(!stderr.contains("deadlock"), "{stderr}");
}

fn a_runtime_may_be_told_to_be_silent() {
    if is_child() {
        let runtime = Builder::new().workers(1).on_deadlock(OnDeadlock::Off).build().unwrap();
        return runtime.run(thread::park);
    }
    let mut child = child("a_runtime_may_be_told_to_be_silent", &[]);
    std::thread::sleep(LONG);
    assert!(child.try_wait().unwrap().is_none());
    child.kill().unwrap();
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(!stderr.contains("deadlock"), "{stderr}");
}

fn the_leak_is_found() {
    if is_child() {
        return leak::main();
    }
    let output = child("the_leak_is_found", &[]).wait_with_output().unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{stdout}");
    assert!(stdout.contains("10 of 100 requests are not answered"), "{stdout}");
    assert!(stdout.contains("\n10 coroutines [channel receive, "), "{stdout}");
    assert!(stdout.contains("\"worker\" [channel receive at 0x"), "{stdout}");
    assert!(stdout.contains("parked for long: 11 coroutines"), "{stdout}");
}

/// All that can be asked; and what keeps the workers busiest.
const ALL: &[&str] = &["summary", "coroutines", "tree", "metrics", "text"];
const SUMMARY: &[&str] = &["summary"];

/// A child that can be inspected, and a thread that asks it, without a pause, until the child has
/// ended. How often it was answered is what the thread returns; of the first time it tells at once.
fn watched(
    test: &str,
    deadlock: &str,
    requests: &'static [&str],
) -> (Child, std::thread::JoinHandle<usize>, Receiver<()>) {
    let path = std::env::temp_dir().join(format!("pirn-{test}-{}", std::process::id()));
    let variables = [("PIRN_DEADLOCK", deadlock), ("PIRN_INSPECT", path.to_str().unwrap())];
    let child = child(test, &variables);
    let (tells, first) = channel();
    let ask = move || {
        let mut answers = 0;
        let deadline = std::time::Instant::now() + PATIENCE;
        let mut stream = loop {
            match UnixStream::connect(&path) {
                Ok(stream) => break BufReader::new(stream),
                Err(error) if std::time::Instant::now() > deadline => panic!("{error}"),
                // It is not there yet.
                Err(_) => std::thread::sleep(Duration::from_millis(1)),
            }
        };
        for request in requests.iter().cycle() {
            let line = format!("{{\"request\":\"{request}\"}}\n");
            let mut answer = String::new();
            if stream.get_mut().write_all(line.as_bytes()).is_err()
                || stream.read_line(&mut answer).is_err()
                // Nothing, or what it had said when it ended.
                || !answer.ends_with('\n')
            {
                break;
            }
            assert!(answer.contains("\"ok\":"), "{answer}");
            answers += 1;
            if answers == 1 {
                // Whether or not anybody wants to know.
                let _told = tells.send(());
            }
        }
        // Whoever aborts leaves it behind.
        let _gone = std::fs::remove_file(path);
        answers
    };
    (child, std::thread::spawn(ask), first)
}

/// Somebody who asks all the time keeps the machines awake: it is a deadlock all the same, and one.
fn who_looks_from_outside_changes_nothing() {
    if is_child() {
        // So that each answer takes its time.
        (0..10_000).for_each(|_| drop(pirn::spawn(thread::park)));
        return deadlock::main();
    }
    let test = "who_looks_from_outside_changes_nothing";
    let (child, asks, _) = watched(test, "abort", SUMMARY);
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.signal(), Some(libc::SIGABRT), "{stderr}");
    assert_eq!(stderr.matches("[mutex at 0x").count(), 2, "{stderr}");
    println!("{} answers before the report", asks.join().unwrap());

    let (mut child, asks, _) = watched(test, "report", ALL);
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.starts_with("pirn: deadlock") {
        line.clear();
        assert!(stderr.read_line(&mut line).unwrap() > 0, "no report");
    }
    // It is asked on, and reports nothing again.
    std::thread::sleep(Duration::from_millis(1500));
    child.kill().unwrap();
    child.wait().unwrap();
    let mut rest = String::new();
    stderr.read_to_string(&mut rest).unwrap();
    assert!(!rest.contains("pirn: deadlock"), "{rest}");
    println!("{} answers in all", asks.join().unwrap());
}

fn who_looks_from_outside_makes_no_deadlock() {
    if is_child() {
        // Not before somebody looks, for which there has to be a runtime.
        pirn::spawn(|| ()).join().unwrap();
        std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
        // At rest again and again, for longer than it takes to look; and one comes back by itself.
        for pause in [300, 10, 600, 250, 1] {
            is_woken(|wake| {
                drop(pirn::spawn(move || {
                    thread::sleep(Duration::from_millis(pause));
                    wake();
                }));
            });
        }
        return;
    }
    let (mut child, asks, first) =
        watched("who_looks_from_outside_makes_no_deadlock", "abort", ALL);
    first.recv().unwrap();
    drop(child.stdin.take());
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && !stderr.contains("deadlock"), "{stderr}");
    assert!(asks.join().unwrap() > 0);
}

/// Each SIGQUIT writes a dump, and the process goes on.
fn sigquit_writes_a_dump() {
    const READY: &str = "the sleeper is there";
    if is_child() {
        let runtime = runtime();
        let sleep = || {
            eprintln!("{READY}");
            thread::sleep(Duration::from_secs(1000));
        };
        let name = || thread::Builder::new().name("sleeper".into());
        return runtime.run(|| name().spawn(sleep).unwrap().join().unwrap());
    }
    let mut child = child("sigquit_writes_a_dump", &[("PIRN_DUMP", "sigquit")]);
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut read_to = |part: &str| {
        let mut line = String::new();
        while !line.contains(part) {
            line.clear();
            assert!(stderr.read_line(&mut line).unwrap() > 0, "no {part}");
        }
    };
    // A dump that comes earlier may have nobody in it.
    read_to(READY);
    for _ in 0..2 {
        let command = format!("kill -QUIT {}", child.id());
        assert!(Command::new("bash").args(["-c", &command]).status().unwrap().success());
        read_to("\"sleeper\" [");
    }
    child.kill().unwrap();
    child.wait().unwrap();
}
