//! Signals of the system reach all who listen for them, wherever they wait.

use pirn::os::unix::process::{ChildExt, ExitStatusExt};
use pirn::process::{Command, Stdio};
use pirn::signal::{self, SignalKind, Signals};
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Barrier};
use std::time::Duration;

/// Long enough for anything that is going to happen.
const PATIENCE: Duration = Duration::from_secs(240);

/// A signal that no other test uses.
fn own_kind() -> SignalKind {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let next = NEXT.fetch_add(1, Ordering::Relaxed) as i32;
    assert!(libc::SIGRTMIN() + next <= libc::SIGRTMAX());
    SignalKind::from_raw(libc::SIGRTMIN() + next)
}

/// Sends a signal to this process.
#[expect(unsafe_code, reason = "kill")]
fn send(kind: SignalKind) {
    // SAFETY: somebody listens for it.
    assert_eq!(unsafe { libc::kill(std::process::id() as libc::pid_t, kind.as_raw_value()) }, 0);
}

fn runtime(workers: usize) -> pirn::Runtime {
    pirn::Builder::new().workers(workers).build().unwrap()
}

/// Kills the process if `f` takes too long.
fn guarded<T>(f: impl FnOnce() -> T) -> T {
    let (done, is_done) = channel::<()>();
    let stuck = format!("{:?} is stuck", std::thread::current().name());
    let watchdog = std::thread::spawn(move || {
        if is_done.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
            eprintln!("{stuck}");
            std::process::abort();
        }
    });
    let result = f();
    drop(done);
    watchdog.join().unwrap();
    result
}

#[test]
fn every_listener_gets_every_signal() {
    const ROUNDS: usize = 50;
    guarded(|| {
        let kind = own_kind();
        let runtimes = [runtime(1), runtime(2)];
        let (got, all) = channel();
        let mut listeners = 0;
        let mut listen = || {
            listeners += 1;
            let (signals, got) = (Signals::new([kind]).unwrap(), got.clone());
            move || {
                for _ in 0..ROUNDS {
                    assert_eq!(signals.recv().unwrap(), kind);
                    got.send(()).unwrap();
                }
            }
        };
        let coroutines: Vec<_> = runtimes
            .iter()
            .flat_map(|runtime| (0..5).map(move |_| runtime))
            .map(|runtime| runtime.spawn(listen()))
            .collect();
        let threads: Vec<_> = (0..3).map(|_| std::thread::spawn(listen())).collect();
        for _ in 0..ROUNDS {
            send(kind);
            assert_eq!(all.iter().take(listeners).count(), listeners);
        }
        coroutines.into_iter().for_each(|listener| listener.join().unwrap());
        threads.into_iter().for_each(|listener| listener.join().unwrap());
    });
}

#[test]
fn a_wait_parks_its_coroutine_alone() {
    guarded(|| {
        let kind = own_kind();
        runtime(1).run(|| {
            let signals = Signals::new([kind]).unwrap();
            let listener = pirn::spawn(move || signals.recv().unwrap());
            // On the same worker, where the listener has come to wait by then.
            let sender = pirn::spawn(move || {
                pirn::thread::yield_now();
                send(kind);
            });
            assert_eq!(listener.join().unwrap(), kind);
            sender.join().unwrap();
        });
    });
}

#[test]
fn a_signal_that_came_before_the_wait_is_received() {
    guarded(|| {
        let kinds = [own_kind(), own_kind()];
        for on_thread in [true, false] {
            let signals = Signals::new(kinds).unwrap();
            assert_eq!(signals.try_recv(), None);
            kinds.into_iter().for_each(send);
            let receive = move || {
                let first = signals.recv().unwrap();
                let second = signals.recv_timeout(PATIENCE).unwrap().unwrap();
                assert_eq!(BTreeSet::from([first, second]), BTreeSet::from(kinds));
                assert_eq!(signals.try_recv(), None);
                assert_eq!(signals.recv_timeout(Duration::from_millis(1)).unwrap(), None);
                assert_eq!(signals.recv_timeout(Duration::ZERO).unwrap(), None);
            };
            if on_thread { receive() } else { runtime(1).run(receive) }
        }
    });
}

#[test]
fn the_receivers_of_one_listener_share_its_signals() {
    guarded(|| {
        for on_threads in [true, false] {
            let kinds = [own_kind(), own_kind(), own_kind()];
            for _ in 0..100 {
                let signals = Arc::new(Signals::new(kinds).unwrap());
                let runtime = runtime(2);
                let receive = || {
                    let signals = signals.clone();
                    move || signals.recv().unwrap()
                };
                let mut got = BTreeSet::new();
                if on_threads {
                    let all: Vec<_> = kinds.map(|_| std::thread::spawn(receive())).into();
                    kinds.into_iter().for_each(send);
                    got.extend(all.into_iter().map(|one| one.join().unwrap()));
                } else {
                    let all: Vec<_> = kinds.map(|_| runtime.spawn(receive())).into();
                    kinds.into_iter().for_each(send);
                    got.extend(all.into_iter().map(|one| one.join().unwrap()));
                }
                assert_eq!(got, BTreeSet::from(kinds));
            }
        }
    });
}

#[test]
fn a_storm_of_one_kind_hides_no_other() {
    guarded(|| {
        let (storm, other) = (own_kind(), own_kind());
        let runtime = runtime(2);
        let going = Arc::new(AtomicBool::new(true));
        let listeners: Vec<_> = (0..4)
            .map(|_| {
                let signals = Signals::new([storm, other]).unwrap();
                runtime.spawn(move || {
                    signals.iter().take_while(|kind| *kind.as_ref().unwrap() != other).count()
                })
            })
            .collect();
        let started = Arc::new(Barrier::new(3));
        let storms: Vec<_> = (0..2)
            .map(|_| {
                let (going, started) = (going.clone(), started.clone());
                std::thread::spawn(move || {
                    (0..100).for_each(|_| send(storm));
                    started.wait();
                    while going.load(Ordering::Relaxed) {
                        send(storm);
                    }
                })
            })
            .collect();
        started.wait();
        send(other);
        // Each finds it in the middle of the storm.
        for listener in listeners {
            listener.join().unwrap();
        }
        going.store(false, Ordering::Relaxed);
        for storm in storms {
            storm.join().unwrap();
        }
    });
}

#[test]
fn the_last_signal_is_never_missed() {
    guarded(|| {
        let kind = own_kind();
        let runtime = runtime(2);
        let signals = Signals::new([kind]).unwrap();
        let sent = Arc::new(AtomicUsize::new(0));
        const LAST: usize = 20_000;
        let listener = {
            let sent = sent.clone();
            runtime.spawn(move || {
                // Ends only if the one that follows the last count is received.
                while sent.load(Ordering::Acquire) < LAST {
                    assert_eq!(signals.recv().unwrap(), kind);
                }
            })
        };
        for number in 1..=LAST {
            sent.store(number, Ordering::Release);
            send(kind);
        }
        listener.join().unwrap();
    });
}

#[test]
fn a_runtime_that_ends_takes_nothing_from_others() {
    guarded(|| {
        let kind = own_kind();
        let signals = Arc::new(Signals::new([kind]).unwrap());
        for workers in [1, 2] {
            let (first, second) = (runtime(workers), runtime(1));
            let (told, waiting) = channel();
            for _ in 0..3 {
                let (signals, told) = (signals.clone(), told.clone());
                drop(first.spawn(move || {
                    told.send(()).unwrap();
                    signals.recv()
                }));
            }
            assert_eq!(waiting.iter().take(3).count(), 3);
            let survivor = {
                let signals = signals.clone();
                second.spawn(move || signals.recv().unwrap())
            };
            drop(first);
            send(kind);
            assert_eq!(survivor.join().unwrap(), kind);
        }
    });
}

#[test]
fn what_ends_of_children_is_told_beside_their_waits() {
    guarded(|| {
        runtime(2).run(|| {
            let signals = Signals::new([SignalKind::child()]).unwrap();
            for _ in 0..50 {
                let mut child = Command::new("cat")
                    .stdin(Stdio::piped())
                    .stdout(Stdio::null())
                    .spawn()
                    .unwrap();
                let stdin = child.stdin.take();
                let waiter = pirn::spawn(move || child.wait().unwrap().success());
                drop(stdin);
                assert_eq!(signals.recv().unwrap(), SignalKind::child());
                assert!(waiter.join().unwrap());
            }
        });
    });
}

#[test]
fn waits_for_children_go_on_after_signals() {
    guarded(|| {
        let kind = own_kind();
        let signals = Signals::new([kind]).unwrap();
        let wait = || {
            let script = "read line; head -c 200000 /dev/zero; exit 3";
            let mut child = Command::new("/bin/sh")
                .args(["-c", script])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let stdin = child.stdin.take();
            #[expect(unsafe_code, reason = "pthread_self")]
            // SAFETY: always succeeds.
            let thread = unsafe { libc::pthread_self() };
            let storm = std::thread::spawn(move || {
                for _ in 0..2000 {
                    #[expect(unsafe_code, reason = "pthread_kill")]
                    // SAFETY: the thread waits for the child, which waits for this one.
                    unsafe {
                        libc::pthread_kill(thread, kind.as_raw_value());
                    }
                }
                drop(stdin);
            });
            let output = child.wait_with_output().unwrap();
            assert_eq!((output.stdout.len(), output.status.code()), (200_000, Some(3)));
            storm.join().unwrap();
        };
        wait();
        runtime(1).run(wait);
        assert_eq!(signals.recv().unwrap(), kind);
    });
}

#[test]
fn what_cannot_be_listened_for_is_refused() {
    let faults = [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE];
    for signal in [libc::SIGKILL, libc::SIGSTOP, 0, -1, 65, 1000].into_iter().chain(faults) {
        let error = Signals::new([SignalKind::from_raw(signal)]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{signal}");
    }
    let nothing = Signals::new([]).unwrap();
    assert_eq!(nothing.recv_timeout(Duration::from_millis(1)).unwrap(), None);
    let kind = own_kind();
    let signals = Signals::new([kind, kind]).unwrap();
    assert_eq!(format!("{signals:?}"), format!("Signals {{ kinds: [{kind:?}], .. }}"));
}

#[test]
fn a_listener_leaves_nothing_behind() {
    let kind = own_kind();
    let descriptor = |signals: &Signals| {
        // The lowest that is free, which others may take meanwhile.
        send(kind);
        signals.recv().unwrap();
    };
    // A limit of some systems is a million, which would take long.
    let (limit, hard) = rlimit::Resource::NOFILE.get().unwrap();
    let limit = limit.min(4096);
    rlimit::Resource::NOFILE.set(limit, hard).unwrap();
    for _ in 0..limit {
        // Two descriptors each: they run out soon if they are not closed.
        descriptor(&Signals::new([kind]).unwrap());
    }
}

/// A child that is this program, running one test as another role.
fn role(test: &str, role: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture"]).env("PIRN_TEST_ROLE", role);
    command
}

/// Says to the parent how far it is.
fn say(text: &str) {
    println!("\n{text}");
}

#[test]
fn ctrl_c_is_received_and_does_not_end_the_process_any_more() {
    const TEST: &str = "ctrl_c_is_received_and_does_not_end_the_process_any_more";
    match std::env::var("PIRN_TEST_ROLE").as_deref() {
        Ok("listen") => {
            let both = Signals::new([SignalKind::interrupt()]).unwrap();
            let coroutine = pirn::spawn(|| {
                say("ready");
                signal::ctrl_c().unwrap();
            });
            // Until that one is woken: it may be about to listen.
            while !coroutine.is_finished() {
                both.recv().unwrap();
                say("again");
                pirn::thread::sleep(Duration::from_millis(1));
            }
            coroutine.join().unwrap();
            drop(both);
            // Nobody listens, and the default action does not come back.
            send(SignalKind::interrupt());
            std::process::exit(7);
        }
        Ok("ignore") => {
            #[expect(unsafe_code, reason = "signal")]
            // SAFETY: nobody has a handler yet. A shell that started all this in the background has the
            // signal ignored, and that is inherited.
            unsafe {
                libc::signal(libc::SIGINT, libc::SIG_DFL);
            }
            say("ready");
            pirn::spawn(pirn::thread::park).join().unwrap();
        }
        _ => guarded(|| {
            let mut child = role(TEST, "listen").stdout(Stdio::piped()).spawn().unwrap();
            let lines = BufReader::new(child.stdout.take().unwrap()).lines();
            for line in lines.map_while(Result::ok) {
                if ["ready", "again"].contains(&line.as_str()) {
                    child.send_signal(libc::SIGINT).unwrap();
                }
            }
            assert_eq!(child.wait().unwrap().code(), Some(7));

            // Before somebody listens, the default is as ever.
            let mut child = role(TEST, "ignore").stdout(Stdio::piped()).spawn().unwrap();
            let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
            assert!(lines.any(|line| line.unwrap() == "ready"));
            child.send_signal(libc::SIGINT).unwrap();
            assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGINT));
        }),
    }
}

#[test]
fn signals_that_come_while_the_process_exits_do_no_harm() {
    const TEST: &str = "signals_that_come_while_the_process_exits_do_no_harm";
    if std::env::var_os("PIRN_TEST_ROLE").is_some() {
        let signals = Signals::new([SignalKind::interrupt()]).unwrap();
        let coroutine = pirn::spawn(move || {
            signals.recv().unwrap();
            pirn::process::exit(7);
        });
        say("ready");
        coroutine.join().unwrap();
    }
    guarded(|| {
        for _ in 0..50 {
            let mut child = role(TEST, "exit").stdout(Stdio::piped()).spawn().unwrap();
            let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
            assert!(lines.any(|line| line.unwrap() == "ready"));
            let status = loop {
                child.send_signal(libc::SIGINT).unwrap();
                if let Some(status) = child.try_wait().unwrap() {
                    break status;
                }
            };
            assert_eq!(status.code(), Some(7), "{status}");
        }
    });
}

#[test]
fn children_start_with_default_actions() {
    guarded(|| {
        let _listening = Signals::new([SignalKind::terminate()]).unwrap();
        let mut child = Command::new("/bin/sh")
            .args(["-c", "echo; exec sleep 100000"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
        child.send_signal(libc::SIGTERM).unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGTERM));
    });
}

#[test]
fn a_token_is_cancelled_by_a_signal() {
    guarded(|| {
        let kind = own_kind();
        let runtime = runtime(2);
        let theirs = runtime.run(move || {
            let token = signal::token_on([kind]).unwrap();
            let waiting: Vec<_> = (0..3)
                .map(|_| {
                    let token = token.child();
                    pirn::spawn(move || token.run(pirn::thread::park).unwrap_err().to_string())
                })
                .collect();
            assert!(!token.is_cancelled());
            send(kind);
            token.wait();
            waiting.into_iter().map(|one| one.join().unwrap()).collect::<Vec<_>>()
        });
        assert!(theirs.iter().all(|cause| *cause == format!("{kind:?}")), "{theirs:?}");
    });
}

#[test]
fn a_token_that_goes_listens_no_more() {
    guarded(|| {
        let kind = own_kind();
        let runtime = runtime(1);
        let (token, child) = runtime.run(move || {
            let token = signal::token_on([kind]).unwrap();
            (token.clone(), token.child())
        });
        drop(token);
        // What `run` ran may not have been counted out yet.
        while runtime.metrics().live > 1 {
            pirn::thread::sleep(Duration::from_micros(100));
        }
        pirn::thread::sleep(Duration::from_millis(2));
        assert_eq!(runtime.metrics().live, 1);
        drop(child);
        while runtime.metrics().live > 0 {
            pirn::thread::sleep(Duration::from_micros(100));
        }
    });
}

/// Who listens is cut short with its runtime. The token is not, and neither is what comes meanwhile.
#[test]
fn a_token_listens_beyond_the_end_of_a_runtime() {
    guarded(|| {
        for workers in [1, 2] {
            let kind = own_kind();
            let runtime = runtime(workers);
            let (begun, begins) = channel();
            let ending = SendsAtItsEnd(kind);
            let token = runtime.run(move || {
                pirn::spawn(move || {
                    let _ending = ending;
                    begun.send(()).unwrap();
                    pirn::thread::park();
                });
                signal::token_on([kind]).unwrap()
            });
            begins.recv().unwrap();
            drop(runtime);
            assert_eq!(token.wait().to_string(), format!("{kind:?}"));
        }
        let kind = own_kind();
        let runtime = runtime(1);
        let token = runtime.run(move || signal::token_on([kind]).unwrap());
        drop(runtime);
        assert!(!token.is_cancelled());
        send(kind);
        assert_eq!(token.wait().to_string(), format!("{kind:?}"));
    });
}

struct SendsAtItsEnd(SignalKind);

impl Drop for SendsAtItsEnd {
    fn drop(&mut self) {
        send(self.0);
    }
}
