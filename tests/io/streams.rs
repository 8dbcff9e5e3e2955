//! The standard streams, in processes of their own.

#![expect(unsafe_code, reason = "opens a terminal")]

use crate::support::{guarded, runtime};
use pirn::io::{Read, Write, stderr, stdin, stdout};
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::process::{Child, Command, Stdio};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

const CHILD: &str = "PIRN_IO_CHILD";

fn is_child() -> bool {
    std::env::var_os(CHILD).is_some()
}

fn same_test(test: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([&format!("streams::{test}"), "--exact", "--nocapture", "--test-threads=1"]);
    command.env(CHILD, "1");
    command
}

/// The same, started by a shell that has done something to the descriptors.
fn in_shell(test: &str, redirect: &str) -> Command {
    let this = same_test(test);
    let mut command = Command::new("sh");
    command.arg("-c").arg(format!("exec \"$0\" \"$@\" {redirect}"));
    command.arg(this.get_program()).args(this.get_args()).env(CHILD, "1");
    command
}

/// What a child wrote after `begin` and before `end`, which surround what is not of libtest.
fn between(output: &[u8]) -> String {
    let text = String::from_utf8_lossy(output).into_owned();
    let (_, rest) = text.split_once("<<").unwrap_or_else(|| panic!("{text:?}"));
    let (inner, _) = rest.split_once(">>").unwrap_or_else(|| panic!("{text:?}"));
    inner.to_owned()
}

/// Reads all lines on the only worker, while another coroutine counts.
fn read_lines_beside_others() -> ! {
    runtime(1).run(|| {
        let ended = Arc::new(AtomicBool::new(false));
        let flag = ended.clone();
        let counting = pirn::spawn(move || {
            let mut turns = 0_u64;
            while !flag.load(Ordering::Relaxed) {
                pirn::thread::sleep(Duration::from_millis(1));
                turns += 1;
                if turns == 3 {
                    // Whoever feeds this process goes on when it sees this.
                    writeln!(stderr(), "others run").unwrap();
                }
            }
        });
        let lines: Vec<String> = stdin().lines().map(|line| line.unwrap()).collect();
        ended.store(true, Ordering::Relaxed);
        counting.join().unwrap();
        writeln!(stdout(), "<<{}>>", lines.join("|")).unwrap();
    });
    std::process::exit(0);
}

/// Feeds a child when its other coroutines are seen to run, and gives what it has read.
fn feed(mut child: Child, input: impl FnOnce()) -> String {
    let mut said = [0; 11];
    child.stderr.as_mut().unwrap().read_exact(&mut said).unwrap();
    assert_eq!(&said, b"others run\n");
    input();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    between(&output.stdout)
}

fn open_terminal() -> (File, OwnedFd) {
    let (mut master, mut terminal) = (0, 0);
    let (name, settings, size) = (ptr::null_mut(), ptr::null_mut(), ptr::null_mut());
    // SAFETY: two places to write to; the rest may be null.
    let result = unsafe { libc::openpty(&mut master, &mut terminal, name, settings, size) };
    assert_eq!(result, 0);
    // SAFETY: just opened, and nobody else's.
    unsafe { (File::from_raw_fd(master), OwnedFd::from_raw_fd(terminal)) }
}

#[test]
fn input_from_a_pipe() {
    if is_child() {
        read_lines_beside_others();
    }
    guarded("pipe", || {
        let mut command = same_test("input_from_a_pipe");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut input = child.stdin.take().unwrap();
        let read = feed(child, move || input.write_all(b"one\ntwo\nthree").unwrap());
        assert_eq!(read, "one|two|three");
    });
}

#[test]
fn input_from_a_named_pipe() {
    if is_child() {
        read_lines_beside_others();
    }
    guarded("named pipe", || {
        let path = std::env::temp_dir().join(format!("pirn-io-{}", std::process::id()));
        assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
        let mut command = in_shell("input_from_a_named_pipe", &format!("<'{}'", path.display()));
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // Opens as soon as the child has.
        let mut input = File::create(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let read = feed(child, move || input.write_all(b"one\ntwo\n").unwrap());
        assert_eq!(read, "one|two");
    });
}

#[test]
fn input_from_a_terminal() {
    if is_child() {
        assert!(stdin().is_terminal() && stdin().lock().is_terminal());
        read_lines_beside_others();
    }
    guarded("terminal", || {
        let (mut master, terminal) = open_terminal();
        let mut command = same_test("input_from_a_terminal");
        command.stdin(terminal).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().unwrap();
        drop(command);
        // Two lines, and Ctrl-D.
        let read = feed(child, move || {
            master.write_all(b"typed\nmore\n\x04").unwrap();
            std::mem::forget(master);
        });
        assert_eq!(read, "typed|more");
    });
}

#[test]
fn input_from_a_file() {
    if is_child() {
        assert!(!stdin().is_terminal());
        let text = runtime(1).run(|| {
            let mut text = String::new();
            stdin().read_to_string(&mut text).unwrap();
            text
        });
        writeln!(stdout(), "<<{}>>", text.len()).unwrap();
        std::process::exit(0);
    }
    let path = "src/io/stdio.rs";
    let output = same_test("input_from_a_file").stdin(File::open(path).unwrap()).output().unwrap();
    assert_eq!(between(&output.stdout), std::fs::metadata(path).unwrap().len().to_string());
}

/// As in std, it is empty, and what is written is gone.
#[test]
fn closed_streams() {
    if is_child() {
        let report = File::options().append(true).open(std::env::var("PIRN_IO_REPORT").unwrap());
        let mut report = report.unwrap();
        // Before descriptors get these numbers that are none of this.
        let runtime = runtime(1);
        // std has opened `/dev/null` in their place when the process began.
        for stream in 0..3 {
            // SAFETY: nobody uses them but by their numbers.
            assert_eq!(unsafe { libc::close(stream) }, 0);
        }
        let check = || {
            assert_eq!(stdin().read(&mut [0]).unwrap(), 0);
            assert_eq!(stdin().read_line(&mut String::new()).unwrap(), 0);
            stdout().write_all(b"nowhere\n").unwrap();
            stdout().flush().unwrap();
            assert_eq!(stderr().write(b"nowhere").unwrap(), 7);
        };
        check();
        runtime.run(check);
        report.write_all(b"fine").unwrap();
        std::process::exit(0);
    }
    let path = std::env::temp_dir().join(format!("pirn-io-report-{}", std::process::id()));
    File::create(&path).unwrap();
    let mut command = in_shell("closed_streams", "<&- >&- 2>&-");
    let status = command.env("PIRN_IO_REPORT", &path).status().unwrap();
    let report = std::fs::read_to_string(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    assert!(status.success());
    assert_eq!(report, "fine");
}

#[test]
fn lines_go_out_whole_and_the_rest_at_exit() {
    if is_child() {
        runtime(2).run(|| {
            writeln!(stdout(), "after what libtest says").unwrap();
            let writing: Vec<_> = (0..8)
                .map(|number: u8| {
                    pirn::spawn(move || {
                        let line = String::from_utf8(vec![b'a' + number; 3000]).unwrap();
                        for _ in 0..20 {
                            writeln!(stdout(), "{line}").unwrap();
                        }
                    })
                })
                .collect();
            writing.into_iter().for_each(|writing| writing.join().unwrap());
            write!(stdout(), "without a newline").unwrap();
        });
        std::process::exit(0);
    }
    let output = same_test("lines_go_out_whole_and_the_rest_at_exit").output().unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    let whole = text.lines().filter(|line| {
        line.len() == 3000 && line.bytes().all(|byte| Some(byte) == line.bytes().next())
    });
    assert_eq!(whole.count(), 160);
    assert!(text.ends_with("without a newline"), "{:?}", &text[text.len() - 50..]);
}

/// Somebody else has made the description nonblocking, and there is no room when the process ends.
#[test]
fn the_rest_waits_for_room_at_exit() {
    if is_child() {
        write!(stdout(), "the rest").unwrap();
        let mut same = File::from(stdout().as_fd().try_clone_to_owned().unwrap());
        for size in [4096, 1] {
            while same.write(&vec![b'.'; size]).is_ok() {}
        }
        writeln!(stderr(), "it is full").unwrap();
        std::process::exit(0);
    }
    guarded("the rest", || {
        let (mut reader, writer) = std::io::pipe().unwrap();
        drop(pirn::io::Async::new(writer.try_clone().unwrap()).unwrap());
        let mut command = same_test("the_rest_waits_for_room_at_exit");
        let mut child = command.stdout(writer).stderr(Stdio::piped()).spawn().unwrap();
        drop(command);
        let mut said = [0; 11];
        child.stderr.as_mut().unwrap().read_exact(&mut said).unwrap();
        assert_eq!(&said, b"it is full\n");
        while child.try_wait().unwrap().is_none() && !sleeps(child.id()) {
            std::thread::yield_now();
        }
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert!(child.wait().unwrap().success());
        assert!(text.ends_with(".the rest"), "{} bytes", text.len());
    });
}

/// Whether all threads of a process do. It may have gone meanwhile.
fn sleeps(process: u32) -> bool {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{process}/task")) else { return true };
    threads.flatten().all(|thread| {
        let stat = std::fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        stat.rsplit(')').next().is_some_and(|rest| rest.starts_with(" S"))
    })
}

/// Nobody reads for a while: whoever writes waits, and the others on the only worker run.
#[test]
fn output_to_a_slow_reader() {
    const LINES: usize = 5000;
    if is_child() {
        runtime(1).run(|| {
            writeln!(stdout(), "after what libtest says").unwrap();
            let written = Arc::new(AtomicUsize::new(0));
            let count = written.clone();
            let writing = pirn::spawn(move || {
                for _ in 0..LINES {
                    stdout().write_all(&[b'x'; 99]).unwrap();
                    stdout().write_all(b"\n").unwrap();
                    count.fetch_add(1, Ordering::Relaxed);
                }
            });
            // It has stopped when this has run for long without any progress of it.
            let mut last = (usize::MAX, 0);
            while last.1 < 20 {
                pirn::thread::sleep(Duration::from_millis(1));
                let now = written.load(Ordering::Relaxed);
                last = if now == last.0 { (now, last.1 + 1) } else { (now, 0) };
            }
            assert!(last.0 < LINES);
            writeln!(stderr(), "stopped").unwrap();
            writing.join().unwrap();
        });
        std::process::exit(0);
    }
    guarded("slow reader", || {
        let mut command = same_test("output_to_a_slow_reader");
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut said = [0; 8];
        child.stderr.as_mut().unwrap().read_exact(&mut said).unwrap();
        assert_eq!(&said, b"stopped\n");
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(text.lines().filter(|line| *line == "x".repeat(99)).count(), LINES);
    });
}

#[test]
fn output_to_a_terminal() {
    if is_child() {
        runtime(1).run(|| {
            assert!(stdout().is_terminal());
            writeln!(stdout(), "<<{}>>", "line ".repeat(2000)).unwrap();
        });
        std::process::exit(0);
    }
    guarded("terminal", || {
        let (mut master, terminal) = open_terminal();
        let mut child = same_test("output_to_a_terminal");
        let mut child = child.stdout(terminal).spawn().unwrap();
        let mut text = Vec::new();
        let mut buf = [0; 512];
        while !text.ends_with(b">>\r\n") {
            let count = master.read(&mut buf).unwrap();
            text.extend_from_slice(&buf[..count]);
        }
        assert!(child.wait().unwrap().success());
        assert_eq!(between(&text), "line ".repeat(2000));
    });
}

#[test]
fn output_without_a_reader_is_a_broken_pipe() {
    if is_child() {
        let kind = runtime(1).run(|| {
            loop {
                if let Err(error) = stdout().write_all(&[b'\n'; 1000]) {
                    break error.kind();
                }
            }
        });
        writeln!(stderr(), "<<{kind:?}>>").unwrap();
        std::process::exit(0);
    }
    let mut command = same_test("output_without_a_reader_is_a_broken_pipe");
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // Not before libtest has said what it has to say.
    let mut stdout = child.stdout.take().unwrap();
    let mut seen = Vec::new();
    while !seen.ends_with(b"\n\n\n\n") {
        let mut byte = [0];
        stdout.read_exact(&mut byte).unwrap();
        seen.push(byte[0]);
    }
    drop(stdout);
    let output = child.wait_with_output().unwrap();
    assert_eq!(between(&output.stderr), "BrokenPipe");
}

/// As in std, writes go to whatever the descriptor is by now, also after a wait.
#[test]
fn output_that_is_put_elsewhere() {
    let path = std::env::temp_dir().join(format!("pirn-io-elsewhere-{}", std::process::id()));
    if is_child() {
        let path = std::env::var_os("PIRN_IO_REPORT").unwrap();
        runtime(1).run(|| {
            // More than a pipe holds: this waits for the reader.
            writeln!(stdout(), "{}", "before ".repeat(20_000)).unwrap();
            let file = File::create(path).unwrap();
            // SAFETY: two descriptors that are open.
            assert_eq!(unsafe { libc::dup2(file.as_raw_fd(), 1) }, 1);
            writeln!(stdout(), "after").unwrap();
        });
        std::process::exit(0);
    }
    let mut command = same_test("output_that_is_put_elsewhere");
    let output = command.env("PIRN_IO_REPORT", &path).output().unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.ends_with(&format!("{}\n", "before ".repeat(20_000))));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "after\n");
    std::fs::remove_file(path).unwrap();
}

/// Whoever has it may lock it again; others wait.
#[test]
fn the_output_is_locked_by_one_at_a_time() {
    guarded("locks", || {
        runtime(1).run(|| {
            let outer = stdout().lock();
            let inner = stdout().lock();
            // In any order.
            drop(outer);
            let (said, hears) = mpsc::channel();
            let other = pirn::spawn(move || {
                drop(stderr().lock());
                drop(stdout().lock());
                said.send(()).unwrap();
            });
            (0..20).for_each(|_| pirn::thread::yield_now());
            assert!(hears.try_recv().is_err());
            drop(inner);
            other.join().unwrap();
            hears.try_recv().unwrap();
        });
    });
}

#[test]
fn the_texts_of_debug() {
    assert_eq!(format!("{:?}", stdin()), "Stdin { .. }");
    assert_eq!(format!("{:?}", stdin().lock()), "StdinLock { .. }");
    assert_eq!(format!("{:?}", stdout()), "Stdout { .. }");
    assert_eq!(format!("{:?}", stdout().lock()), "StdoutLock { .. }");
    assert_eq!(format!("{:?}", stderr()), "Stderr { .. }");
    assert_eq!(format!("{:?}", stderr().lock()), "StderrLock { .. }");
}
