//! Every kind of wait ends, by each way of cancelling, in a coroutine and on a thread.

use crate::support::{Drops, LONG, SHORT, runtime, until};
use pirn::sync::{
    Barrier, Condvar, Event, Mutex, Notify, Once, RwLock, Semaphore, WaitGroup, mpsc,
};
use pirn::{CancelCause, CancelToken, channel, fs, net, process, thread, time};
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Something to wait for that does not come, kept alive for as long as it is waited for.
type Wait = Box<dyn FnOnce() + Send>;
/// A kind of wait: its name, and what makes one.
type Kind = (&'static str, fn() -> Wait);

/// Each kind by its name: calling it makes what is waited for, and returns the wait.
fn kinds() -> Vec<Kind> {
    vec![
        ("park", || {
            Box::new(|| {
                loop {
                    thread::park()
                }
            })
        }),
        ("park_timeout", || {
            Box::new(|| {
                loop {
                    thread::park_timeout(LONG)
                }
            })
        }),
        ("sleep", || Box::new(|| thread::sleep(LONG))),
        ("join", || {
            let other = pirn::spawn(|| thread::sleep(LONG));
            let cancel = other.cancel_handle();
            Box::new(move || {
                let _ended = CancelOnDrop(cancel);
                other.join().unwrap();
            })
        }),
        ("mutex", || {
            let mutex = Arc::new(Mutex::new(()));
            std::mem::forget(mutex.lock().unwrap());
            Box::new(move || drop(mutex.lock().unwrap()))
        }),
        ("read lock", || {
            let lock = Arc::new(RwLock::new(()));
            std::mem::forget(lock.write().unwrap());
            Box::new(move || drop(lock.read().unwrap()))
        }),
        ("write lock", || {
            let lock = Arc::new(RwLock::new(()));
            std::mem::forget(lock.read().unwrap());
            Box::new(move || drop(lock.write().unwrap()))
        }),
        ("condvar", || {
            let both = Arc::new((Mutex::new(()), Condvar::new()));
            Box::new(move || {
                let mut guard = both.0.lock().unwrap();
                loop {
                    guard = both.1.wait(guard).unwrap();
                }
            })
        }),
        ("condvar timeout", || {
            let both = Arc::new((Mutex::new(()), Condvar::new()));
            Box::new(move || {
                let mut guard = both.0.lock().unwrap();
                loop {
                    guard = both.1.wait_timeout(guard, LONG).unwrap().0;
                }
            })
        }),
        ("barrier", || {
            let barrier = Arc::new(Barrier::new(2));
            Box::new(move || assert!(!barrier.wait().is_leader()))
        }),
        ("once", || {
            let once = Arc::new(Once::new());
            Box::new(move || once.wait())
        }),
        ("semaphore", || {
            let semaphore = Arc::new(Semaphore::new(0));
            Box::new(move || drop(semaphore.acquire()))
        }),
        ("event", || {
            let event = Arc::new(Event::new());
            Box::new(move || event.wait())
        }),
        ("notify", || {
            let notify = Arc::new(Notify::new());
            Box::new(move || notify.notified())
        }),
        ("wait group", || {
            let group = WaitGroup::new();
            let other = group.clone();
            Box::new(move || {
                let _other = other;
                group.wait();
            })
        }),
        ("mpsc", || {
            let (sender, receiver) = mpsc::channel::<()>();
            Box::new(move || {
                let _sender = sender;
                receiver.recv().unwrap();
            })
        }),
        ("receive, unbounded", || {
            let (sender, receiver) = channel::unbounded::<()>();
            Box::new(move || {
                let _sender = sender;
                receiver.recv().unwrap();
            })
        }),
        ("receive, without a buffer", || {
            let (sender, receiver) = channel::bounded::<()>(0);
            Box::new(move || {
                let _sender = sender;
                receiver.recv_timeout(LONG).unwrap();
            })
        }),
        ("send, full", || {
            let (sender, receiver) = channel::bounded(1);
            sender.send(1).unwrap();
            Box::new(move || {
                let _receiver = receiver;
                sender.send(2).unwrap();
            })
        }),
        ("send, without a buffer", || {
            let (sender, receiver) = channel::bounded(0);
            Box::new(move || {
                let _receiver = receiver;
                sender.send(2).unwrap();
            })
        }),
        ("select", || {
            let (sender, receiver) = channel::bounded::<u32>(0);
            Box::new(move || {
                channel::select! {
                    send(sender, 1) -> sent => sent.unwrap(),
                    recv(channel::never::<()>()) -> _ => {}
                }
                drop(receiver);
            })
        }),
        ("clock", || Box::new(|| assert!(channel::after(LONG).recv().is_err()))),
        ("blocking work", || {
            let (keep, released) = std::sync::mpsc::channel::<()>();
            Box::new(move || {
                let _keep = keep;
                pirn::blocking(move || released.recv().unwrap_err());
            })
        }),
        ("child", || {
            let mut command = process::Command::new("sleep");
            let mut child = command.arg("600").kill_on_drop(true).spawn().unwrap();
            Box::new(move || assert!(!child.wait().unwrap().success()))
        }),
        ("file lock", || {
            let path = unlinked_path();
            let holder = std::fs::File::create(&path).unwrap();
            holder.lock().unwrap();
            let other = fs::File::open(&path).unwrap();
            std::fs::remove_file(&path).unwrap();
            Box::new(move || {
                let _holder = holder;
                other.lock_shared().unwrap();
            })
        }),
        ("foreign pipe, read", || {
            let (reader, writer) = std::io::pipe().unwrap();
            let mut reader = process::ChildStdout::from(OwnedFd::from(reader));
            Box::new(move || {
                let _writer = writer;
                reader.read_exact(&mut [0]).unwrap();
            })
        }),
        ("foreign pipe, write", || {
            let (reader, writer) = std::io::pipe().unwrap();
            let mut writer = process::ChildStdin::from(OwnedFd::from(writer));
            Box::new(move || {
                let _reader = reader;
                loop {
                    writer.write_all(&[0; 65536]).unwrap();
                }
            })
        }),
        ("pipe as a file, read", || {
            let (reader, writer) = std::io::pipe().unwrap();
            let mut reader = fs::File::from(OwnedFd::from(reader));
            Box::new(move || {
                let _writer = writer;
                reader.read_exact(&mut [0]).unwrap();
            })
        }),
        ("pipe as a file, write", || {
            let (reader, writer) = std::io::pipe().unwrap();
            let mut writer = fs::File::from(OwnedFd::from(writer));
            Box::new(move || {
                let _reader = reader;
                loop {
                    writer.write_all(&[0; 65536]).unwrap();
                }
            })
        }),
        ("accept", || {
            let listener = net::TcpListener::bind("127.0.0.1:0").unwrap();
            Box::new(move || drop(listener.accept().unwrap()))
        }),
        ("read", || {
            let (mut near, far) = connection();
            Box::new(move || {
                let _far = far;
                near.read_exact(&mut [0]).unwrap();
            })
        }),
        ("write", || {
            let (mut near, far) = connection();
            Box::new(move || {
                let _far = far;
                loop {
                    near.write_all(&[0; 65536]).unwrap();
                }
            })
        }),
    ]
}

struct CancelOnDrop(thread::CancelHandle);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

/// For a file that is not there yet, and is going to be removed while it is open.
fn unlinked_path() -> std::path::PathBuf {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let number = NUMBER.fetch_add(1, Ordering::SeqCst);
    std::env::temp_dir().join(format!("pirn-cancel-{}-{number}", std::process::id()))
}

fn connection() -> (net::TcpStream, net::TcpStream) {
    let listener = net::TcpListener::bind("127.0.0.1:0").unwrap();
    let near = net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (near, listener.accept().unwrap().0)
}

#[test]
fn a_handle_ends_every_wait() {
    let runtime = runtime(2);
    for (name, make) in kinds() {
        // As early and as late as it comes.
        for pause in 0..4 {
            let (drops, begun) = (Drops::default(), Arc::new(AtomicUsize::new(0)));
            let (guard, begins, wait) = (drops.guard(), begun.clone(), make());
            let coroutine = runtime.spawn(move || {
                let _guard = guard;
                begins.store(1, Ordering::SeqCst);
                wait();
            });
            if pause > 0 {
                until(|| begun.load(Ordering::SeqCst) == 1);
            }
            (0..pause).for_each(|_| std::thread::sleep(SHORT / 4));
            coroutine.cancel();
            let payload = coroutine.join().expect_err(name);
            assert!(payload.is::<pirn::Cancelled>(), "{name}");
            assert_eq!(drops.get(), 1, "{name}");
        }
    }
}

/// Calls `test` with each kind, in a coroutine and on this thread.
fn everywhere(test: fn(&str, Wait)) {
    for (name, make) in kinds() {
        test(name, make());
    }
    runtime(2).run(|| {
        for (name, make) in kinds() {
            test(name, make());
        }
    });
}

#[test]
fn a_timeout_ends_every_wait() {
    everywhere(|name, wait| {
        let drops = Drops::default();
        let guard = drops.guard();
        let result = time::timeout(SHORT, move || {
            let _guard = guard;
            wait();
        });
        assert!(result.is_err(), "{name}");
        assert_eq!(drops.get(), 1, "{name}");
        // Nothing is left of it.
        time::timeout(LONG, || thread::sleep(SHORT / 10)).unwrap();
    });
}

#[test]
fn a_token_ends_every_wait() {
    everywhere(|name, wait| {
        let (drops, token) = (Drops::default(), CancelToken::new());
        let (guard, theirs) = (drops.guard(), token.clone());
        let canceller = std::thread::spawn(move || {
            std::thread::sleep(SHORT);
            theirs.cancel();
        });
        let cause = token.run(move || {
            let _guard = guard;
            wait();
        });
        assert!(matches!(cause, Err(CancelCause::Requested)), "{name}");
        assert_eq!(drops.get(), 1, "{name}");
        canceller.join().unwrap();
    });
}

/// Of one that is cancelled before nothing runs, and a deadline that has passed counts.
#[test]
fn a_cancelled_token_runs_nothing() {
    let token = CancelToken::new();
    assert!(token.cancel() && !token.cancel());
    assert!(token.run(|| unreachable!()).is_err());
    assert!(token.child().run(|| unreachable!()).is_err());
    let late = CancelToken::with_deadline(std::time::Instant::now());
    assert!(matches!(late.run(|| unreachable!()), Err(CancelCause::DeadlineExceeded)));
}

/// Blocking work goes on; who waits for it does not.
#[test]
fn a_wait_for_blocking_work_ends_without_it() {
    let runtime = runtime(1);
    let (release, released) = std::sync::mpsc::channel::<()>();
    let (begins, begun) = std::sync::mpsc::channel::<()>();
    let done = Drops::default();
    let guard = done.guard();
    let coroutine = runtime.spawn(move || {
        pirn::blocking(move || {
            begins.send(()).unwrap();
            released.recv().unwrap();
            drop(guard);
        });
    });
    begun.recv().unwrap();
    coroutine.cancel();
    assert!(coroutine.join().unwrap_err().is::<pirn::Cancelled>());
    assert_eq!(done.get(), 0);
    release.send(()).unwrap();
    until(|| done.get() == 1);
}

#[test]
fn what_has_not_begun_never_does() {
    let runtime = runtime(1);
    let drops = Drops::default();
    runtime.run(|| {
        let guard = drops.guard();
        let coroutine = pirn::spawn(move || {
            let _guard = guard;
            unreachable!("it was cancelled before it began");
        });
        assert_eq!(coroutine.cancel(), thread::CancelOutcome::Requested);
        assert_eq!(coroutine.cancel(), thread::CancelOutcome::Already);
        assert!(coroutine.join().unwrap_err().is::<pirn::Cancelled>());
    });
    assert_eq!(drops.get(), 1);
}

#[test]
fn what_has_ended_keeps_its_result() {
    let coroutine = pirn::spawn(|| 7);
    until(|| coroutine.is_finished());
    assert_eq!(coroutine.cancel(), thread::CancelOutcome::Finished);
    assert_eq!(coroutine.join().unwrap(), 7);
}

#[test]
fn a_timeout_that_is_over_says_no_more() {
    let over = pirn::time::timeout(std::time::Duration::ZERO, pirn::thread::park).unwrap_err();
    assert_eq!(format!("{over:?}: {over}"), "Elapsed: deadline has elapsed");
}
