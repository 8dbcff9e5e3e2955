//! What a runtime leaves behind, and what an idle one does: nothing. One test, in a process where
//! nothing else runs, since it counts what the whole process has.

use std::fs;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

/// Long enough for any machine: a test that gets there has failed.
const PATIENCE: Duration = Duration::from_secs(120);

#[derive(Debug, PartialEq, Eq, Clone, Copy)]
struct Possessions {
    threads: usize,
    fds: usize,
    mappings: usize,
}

fn possessions() -> Possessions {
    let entries = |path| fs::read_dir(path).unwrap().count();
    Possessions {
        threads: entries("/proc/self/task"),
        fds: entries("/proc/self/fd"),
        mappings: fs::read_to_string("/proc/self/maps").unwrap().lines().count(),
    }
}

/// A thread that was joined may still be listed for a moment: the kernel reaps it after the
/// joiner has been woken. Nothing else needs patience.
fn settled(threads: usize, patience: Duration) -> Possessions {
    let end = Instant::now() + patience;
    while possessions().threads > threads && Instant::now() < end {
        std::thread::yield_now();
    }
    possessions()
}

fn use_it(runtime: &pirn::Runtime, workers: usize) {
    let (sent, received) = mpsc::channel();
    for number in 0..50 * workers {
        let sent = sent.clone();
        drop(runtime.spawn(move || {
            pirn::thread::yield_now();
            if number % 3 == 0 {
                pirn::blocking(|| ());
            }
            if number % 7 == 0 {
                struct Parks;
                impl Drop for Parks {
                    fn drop(&mut self) {
                        pirn::thread::sleep(Duration::from_micros(100));
                    }
                }
                let _parks = Parks;
                sent.send(()).unwrap();
                std::panic::resume_unwind(Box::new(()));
            }
            sent.send(()).unwrap();
            pirn::thread::park();
        }));
    }
    (0..50 * workers).for_each(|_| received.recv().unwrap());
    // A connection, so that a poller has something to forget.
    runtime.run(|| {
        use std::io::{Read, Write};
        let listener = pirn::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = pirn::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            stream.write_all(&byte).unwrap();
        });
        let mut stream = pirn::net::TcpStream::connect(address).unwrap();
        stream.write_all(b"x").unwrap();
        stream.read_exact(&mut [0]).unwrap();
        server.join().unwrap();
    });
}

fn runtimes_leave_nothing_behind() {
    let round = |round: usize| {
        let workers = [1, 2, 4, 8][round % 4];
        let runtime = pirn::Builder::new().workers(workers).build().unwrap();
        use_it(&runtime, workers);
        if round.is_multiple_of(2) {
            drop(runtime);
        } else {
            runtime.shutdown(Duration::from_secs(60)).unwrap();
        }
    };
    let threads = possessions().threads;
    // The allocator keeps arenas for threads that were, and the process keeps its slot table.
    (0..20).for_each(round);
    let before = settled(threads, PATIENCE);
    for number in 0..200 {
        round(number);
    }
    let after = settled(threads, PATIENCE);
    assert_eq!((after.threads, after.fds), (threads, before.fds));
    // How many threads there are at once depends on how busy the system is, and with them the stacks
    // that libc keeps and the arenas of its allocator: two mappings each. AddressSanitizer's adds some
    // now and then. A runtime that leaves one behind would leave 200.
    const OWN: usize = 64;
    assert!(
        after.mappings <= before.mappings + OWN,
        "mappings grew from {} to {} in 200 runtimes",
        before.mappings,
        after.mappings
    );
    println!("after 20 runtimes {before:?}, after 220 {after:?}");
}

fn a_shutdown_says_what_did_not_end() {
    let threads = possessions().threads;
    let runtime = pirn::Builder::new().workers(2).build().unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let (sent, received) = mpsc::channel();
    let theirs = stop.clone();
    let runaway = runtime.spawn(move || {
        sent.send(()).unwrap();
        while !theirs.load(Ordering::Relaxed) {
            std::hint::spin_loop();
        }
        "ended after all"
    });
    received.recv().unwrap();
    /// Parks while it unwinds, for which the runtime has a thread.
    struct ParksInDrop;

    impl Drop for ParksInDrop {
        fn drop(&mut self) {
            pirn::thread::sleep(Duration::from_millis(1));
        }
    }

    let parked = runtime.spawn(|| {
        let _guard = ParksInDrop;
        // Starts a thread of the blocking pool.
        pirn::blocking(|| ());
        pirn::thread::park();
    });
    while runtime.metrics().blocking_jobs == 0 {
        std::thread::yield_now();
    }
    let start = Instant::now();
    // The other one has to unwind in that time, though a processor is taken.
    let limit = Duration::from_secs(3);
    let outcome = runtime.shutdown(limit).unwrap_err();
    assert!(start.elapsed() >= limit);
    assert!(start.elapsed() < Duration::from_secs(60));
    assert_eq!(outcome.coroutines(), 1);
    assert!(outcome.to_string().contains('1'), "{outcome}");
    assert!(parked.join().unwrap_err().is::<pirn::Cancelled>());
    assert!(!runaway.is_finished());
    // Its thread is kept, and it goes on undisturbed.
    assert!(possessions().threads > threads);
    stop.store(true, Ordering::Relaxed);
    assert_eq!(runaway.join().unwrap(), "ended after all");
    // In less time than the pool's threads take to retire by themselves.
    let after = settled(threads, Duration::from_secs(8));
    assert_eq!(after.threads, threads, "the last coroutine takes its threads with it");
}

fn a_shutdown_does_not_wait_for_a_report_that_does_not_end() {
    let threads = possessions().threads;
    let (told, reported) = mpsc::channel();
    let (let_go, held) = mpsc::channel::<()>();
    let held = std::sync::Mutex::new(held);
    let runtime = pirn::Builder::new()
        .workers(1)
        .stall_after(Duration::from_millis(20))
        .on_stall(move |_| {
            let _gone = told.send(());
            let _gone = held.lock().unwrap().recv();
        })
        .build()
        .unwrap();
    runtime.run(move || reported.recv().unwrap());
    let outcome = runtime.shutdown(Duration::from_millis(50)).unwrap_err();
    assert_eq!(outcome.coroutines(), 0);
    assert!(outcome.to_string().starts_with("threads"), "{outcome}");
    drop(let_go);
    assert_eq!(settled(threads, PATIENCE).threads, threads);
}

fn a_shutdown_does_not_wait_for_destructors_of_thread_locals_that_do_not_end() {
    struct Waits(mpsc::Receiver<()>);

    impl Drop for Waits {
        fn drop(&mut self) {
            let _gone = self.0.recv();
        }
    }

    thread_local! {
        static WAITS: std::cell::Cell<Option<Waits>> = const { std::cell::Cell::new(None) };
    }

    let threads = possessions().threads;
    for on_the_pool in [false, true] {
        let (let_go, held) = mpsc::channel::<()>();
        let runtime = pirn::Builder::new().workers(1).build().unwrap();
        runtime.run(move || match on_the_pool {
            false => WAITS.set(Some(Waits(held))),
            true => pirn::blocking(move || WAITS.set(Some(Waits(held)))),
        });
        let outcome = runtime.shutdown(Duration::from_millis(50)).unwrap_err();
        assert!(outcome.to_string().starts_with("threads"), "{outcome}");
        drop(let_go);
        assert_eq!(settled(threads, PATIENCE).threads, threads);
    }
}

fn a_hundred_thousand_parked_coroutines_unwind() {
    struct Counted(Arc<AtomicUsize>);

    impl Drop for Counted {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    const MANY: usize = 100_000;
    let runtime = pirn::Builder::new().workers(2).stack_size(64 * 1024).build().unwrap();
    let dropped = Arc::new(AtomicUsize::new(0));
    let parked = Arc::new(AtomicUsize::new(0));
    runtime.run(|| {
        for _ in 0..MANY {
            let (held, parked) = (Counted(dropped.clone()), parked.clone());
            drop(pirn::spawn(move || {
                let _held = held;
                parked.fetch_add(1, Ordering::Relaxed);
                pirn::thread::park();
            }));
        }
        while parked.load(Ordering::Relaxed) < MANY {
            pirn::thread::sleep(Duration::from_millis(1));
        }
    });
    let start = Instant::now();
    drop(runtime);
    let took = start.elapsed();
    assert_eq!(dropped.load(Ordering::Relaxed), MANY);
    println!("dropping a runtime with {MANY} parked coroutines took {took:?}");
    assert!(took < Duration::from_secs(60), "{took:?}");
}

fn switches() -> u64 {
    let threads = fs::read_dir("/proc/self/task").unwrap();
    let of = |path: std::path::PathBuf| {
        // Nothing of one that has ended meanwhile.
        let status = fs::read_to_string(path.join("status")).unwrap_or_default();
        let line = status.lines().find(|line| line.starts_with("voluntary_ctxt_switches"));
        line.map_or(0, |line| line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap())
    };
    threads.map(|thread| of(thread.unwrap().path())).sum()
}

fn an_idle_process_makes_no_wakeups() {
    let runtime = pirn::Builder::new().workers(4).build().unwrap();
    let parked: Vec<_> = (0..1000).map(|_| runtime.spawn(pirn::thread::park)).collect();
    let listening = runtime.spawn(|| {
        let listener = pirn::net::TcpListener::bind("127.0.0.1:0").unwrap();
        drop(listener.accept());
    });
    runtime.run(|| pirn::thread::sleep(Duration::from_millis(20)));
    // The watch, the stacks' upkeep and the like come to rest. What must hold is that there comes
    // a time of three seconds without a single wakeup.
    let patience = Instant::now() + Duration::from_secs(120);
    loop {
        let before = switches();
        std::thread::sleep(Duration::from_secs(3));
        // The counting thread's own: the sleep, and nothing else that blocks.
        let woken = switches().abs_diff(before);
        println!("wakeups in 3 s: {woken}, the test's own sleep among them");
        if woken <= 1 {
            break;
        }
        assert!(Instant::now() < patience, "never idle: {woken} wakeups in 3 s");
    }
    parked.iter().for_each(|parked| parked.thread().unpark());
    parked.into_iter().for_each(|parked| parked.join().unwrap());
    drop(runtime);
    assert!(listening.join().unwrap_err().is::<pirn::Cancelled>());
}

#[test]
fn lifecycle() {
    runtimes_leave_nothing_behind();
    a_shutdown_says_what_did_not_end();
    a_shutdown_does_not_wait_for_a_report_that_does_not_end();
    a_shutdown_does_not_wait_for_destructors_of_thread_locals_that_do_not_end();
    a_hundred_thousand_parked_coroutines_unwind();
    an_idle_process_makes_no_wakeups();
}
