//! Limits that are reached: an error which says so, and everything else goes on.

#![expect(unsafe_code, reason = "sets the limits of child processes")]

use pirn::GuardKind;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

const CHILD: &str = "PIRN_EXHAUSTION_CHILD";
/// Long enough for any machine: a test that gets there has failed.
const PATIENCE: Duration = Duration::from_secs(120);

fn is_child() -> bool {
    std::env::var_os(CHILD).is_some()
}

/// Runs one test of this file in a process of its own, which must succeed.
fn passes_in_child(test: &str, prepare: impl Fn(&mut Command)) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([test, "--exact", "--nocapture", "--test-threads=1"]).env(CHILD, "1");
    prepare(&mut command);
    let output = command.output().unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}\n{stdout}\n{stderr}", output.status);
    assert!(stdout.contains("running 1 test"), "{stdout}");
    print!("{stdout}");
}

fn set_limit(resource: libc::__rlimit_resource_t, limit: u64) {
    let mut current = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: both calls get a place of this function's own.
    unsafe {
        assert_eq!(libc::getrlimit(resource, &raw mut current), 0);
        current.rlim_cur = limit;
        assert_eq!(libc::setrlimit(resource, &raw const current), 0);
    }
}

fn count(path: &str) -> usize {
    fs::read_dir(path).unwrap().count()
}

/// The number that the next descriptor will have.
fn next_fd() -> u64 {
    // SAFETY: makes a descriptor and closes it.
    unsafe {
        let fd = libc::dup(0);
        assert!(fd >= 0);
        libc::close(fd);
        fd as u64
    }
}

fn address_space() -> u64 {
    let statm = fs::read_to_string("/proc/self/statm").unwrap();
    statm.split_whitespace().next().unwrap().parse::<u64>().unwrap() * 4096
}

/// A runtime all of whose threads have begun: std ends the process if a thread finds no memory for
/// its beginning. The watch is the last of them, and says that it runs by the report of a stall.
fn begun(builder: pirn::Builder) -> pirn::Runtime {
    let watched = Arc::new(AtomicBool::new(false));
    let seen = watched.clone();
    let builder = builder.stall_after(Duration::from_millis(1));
    let builder = builder.on_stall(move |_| seen.store(true, Ordering::Release));
    let runtime = builder.build().unwrap();
    runtime.run(move || {
        while !watched.load(Ordering::Acquire) {
            std::hint::spin_loop();
        }
    });
    runtime
}

/// Spawns until it is refused, and checks that those who are there do not mind.
fn spawn_until_refused(runtime: &pirn::Runtime, size: usize, most: usize) -> String {
    runtime.run(|| {
        let spawn = || {
            let builder = pirn::thread::Builder::new().stack_size(size);
            builder.spawn(|| {
                // Uses its stack, so that it is there.
                let page = std::hint::black_box([7_u8; 2048]);
                pirn::thread::park();
                page[1000]
            })
        };
        let mut parked = Vec::new();
        let error = loop {
            match spawn() {
                Ok(coroutine) => parked.push(coroutine),
                Err(error) => break error,
            }
            assert!(parked.len() < most, "no limit is in effect");
            if parked.len().is_multiple_of(64) {
                pirn::thread::yield_now();
            }
        };
        assert!(!parked.is_empty(), "refused at once: {error}");
        // Again and again: refused in the same way, not worse.
        for _ in 0..10 {
            assert_eq!(spawn().map(drop).unwrap_err().kind(), error.kind());
        }
        // A refusal frees nothing of the others'; and what ends makes room.
        let freed = parked.len().div_ceil(2);
        for coroutine in parked.drain(..freed) {
            coroutine.thread().unpark();
            assert_eq!(coroutine.join().unwrap(), 7);
        }
        for _ in 0..freed / 2 {
            parked.push(spawn().expect("there is room again"));
        }
        println!("{} then {} lived; {error}", 2 * freed, parked.len());
        for coroutine in parked {
            coroutine.thread().unpark();
            assert_eq!(coroutine.join().unwrap(), 7);
        }
        error.to_string()
    })
}

#[test]
fn address_space_runs_out() {
    if !is_child() {
        return passes_in_child("address_space_runs_out", |_| ());
    }
    let runtime = begun(pirn::Builder::new().workers(1));
    set_limit(libc::RLIMIT_AS, address_space() + (1 << 30));
    let message = spawn_until_refused(&runtime, 1 << 20, 10_000);
    assert!(message.contains("RLIMIT_AS"), "{message}");
    assert!(message.contains("ulimit -v"), "{message}");
    assert!(message.contains("1 MiB"), "{message}");
}

#[test]
fn the_map_count_runs_out() {
    if !is_child() {
        return passes_in_child("the_map_count_runs_out", |_| ());
    }
    let runtime = pirn::Builder::new().workers(2).guard(GuardKind::Mprotect).build().unwrap();
    let message = spawn_until_refused(&runtime, 32 << 10, 10_000_000);
    assert!(message.contains("vm.max_map_count"), "{message}");
    assert!(message.contains("sysctl"), "{message}");
}

/// All map entries that there are.
struct Hoard {
    start: *mut libc::c_void,
    len: usize,
}

impl Hoard {
    fn new() -> Hoard {
        const PAGE: usize = 4096;
        let most = fs::read_to_string("/proc/sys/vm/max_map_count").unwrap();
        let most: usize = most.trim().parse().unwrap();
        let len = 2 * PAGE * (most + 1);
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: a new mapping, of which nobody uses a page. What is mapped below is never unmapped.
        unsafe {
            let start = libc::mmap(std::ptr::null_mut(), len, libc::PROT_NONE, flags, -1, 0);
            assert_ne!(start, libc::MAP_FAILED);
            // Each other page becomes a mapping of its own.
            let mut pages = (0..=most).map(|number| start.byte_add(2 * PAGE * number));
            assert!(pages.any(|page| libc::mprotect(page, PAGE, libc::PROT_READ) != 0));
            // The last ones, which do not merge with each other.
            for protection in [libc::PROT_READ, libc::PROT_NONE].into_iter().cycle() {
                let one = libc::mmap(std::ptr::null_mut(), PAGE, protection, flags, -1, 0);
                if one == libc::MAP_FAILED {
                    return Hoard { start, len };
                }
            }
        }
        unreachable!("the system has no limit")
    }
}

impl Drop for Hoard {
    fn drop(&mut self) {
        // SAFETY: its own mapping.
        assert_eq!(unsafe { libc::munmap(self.start, self.len) }, 0);
    }
}

/// Not by stacks, so that nothing is left to the allocator either.
#[test]
fn others_use_up_the_map_entries() {
    if !is_child() {
        return passes_in_child("others_use_up_the_map_entries", |child| {
            // One that cannot grow then.
            child.env("MALLOC_ARENA_MAX", "1");
        });
    }
    let runtime = begun(pirn::Builder::new().workers(1));
    let error = runtime.run(|| {
        let spawn = || pirn::thread::Builder::new().stack_size(8 << 20).spawn(|| 9);
        let mut spawned = Vec::with_capacity(1000);
        let hoard = Hoard::new();
        // What lies idle makes room for some.
        let refused = loop {
            match spawn() {
                Ok(one) => spawned.push(one),
                Err(error) => break error,
            }
        };
        drop(hoard);
        spawned.push(spawn().unwrap());
        spawned.into_iter().for_each(|one| assert_eq!(one.join().unwrap(), 9));
        refused
    });
    assert_eq!(error.kind(), ErrorKind::OutOfMemory);
    let message = error.to_string();
    assert!(message.contains("vm.max_map_count") && message.contains("sysctl"), "{message}");
}

#[test]
fn the_short_forms_panic_where_the_builder_returns_an_error() {
    if !is_child() {
        return passes_in_child("the_short_forms_panic_where_the_builder_returns_an_error", |_| ());
    }
    let runtime = begun(pirn::Builder::new().workers(1).stack_size(8 << 20));
    set_limit(libc::RLIMIT_AS, address_space() + (512 << 20));
    runtime.run(|| {
        let mut parked = Vec::new();
        while let Ok(coroutine) = pirn::thread::Builder::new().spawn(pirn::thread::park) {
            parked.push(coroutine);
            assert!(parked.len() < 10_000, "no limit is in effect");
        }
        let panic = std::panic::catch_unwind(|| pirn::spawn(|| ())).map(drop).unwrap_err();
        let text = panic.downcast_ref::<String>().unwrap();
        assert!(text.contains("failed to spawn coroutine"), "{text}");
        assert!(text.contains("RLIMIT_AS"), "{text}");
        // A scope whose spawn is refused waits for the others and no longer.
        let scope = std::panic::AssertUnwindSafe(|| {
            pirn::thread::scope(|scope| drop(scope.spawn(|| ())));
        });
        assert!(std::panic::catch_unwind(scope).is_err());
        let refused = pirn::thread::scope(|scope| {
            pirn::thread::Builder::new().spawn_scoped(scope, || ()).map(drop).unwrap_err()
        });
        assert!(refused.to_string().contains("RLIMIT_AS"), "{refused}");
        // Nor if what was to be run panics when it is dropped.
        struct Dropped;
        impl Drop for Dropped {
            fn drop(&mut self) {
                panic!("dropped");
            }
        }
        let dropped = Dropped;
        let scope = std::panic::AssertUnwindSafe(|| {
            pirn::thread::scope(|scope| drop(scope.spawn(move || drop(dropped))));
        });
        let panic = std::panic::catch_unwind(scope).unwrap_err();
        assert_eq!(panic.downcast_ref::<&str>(), Some(&"dropped"));
        let refused = pirn::thread::Builder::new().spawn_local(|| ()).map(drop).unwrap_err();
        assert!(refused.to_string().contains("RLIMIT_AS"), "{refused}");
        for coroutine in parked {
            coroutine.thread().unpark();
            coroutine.join().unwrap();
        }
    });
}

/// `build` needs descriptors: fails at each point where they can run out, leaves nothing, and
/// succeeds once there are enough.
#[test]
fn descriptors_run_out_while_a_runtime_is_built() {
    if !is_child() {
        return passes_in_child("descriptors_run_out_while_a_runtime_is_built", |_| ());
    }
    // Before there are any others: one that was joined is listed for a moment longer.
    let threads = count("/proc/self/task");
    for workers in [1, 2, 4] {
        // Whatever the process sets up once is set up.
        drop(pirn::Builder::new().workers(workers).build().unwrap());
        let fds = count("/proc/self/fd");
        let mut failures = 0;
        let mut room = 0;
        loop {
            set_limit(libc::RLIMIT_NOFILE, next_fd() + room);
            let built = pirn::Builder::new().workers(workers).build();
            set_limit(libc::RLIMIT_NOFILE, 1000);
            match built {
                Ok(runtime) => {
                    assert_eq!(runtime.run(|| pirn::spawn(|| 3).join().unwrap()), 3);
                    break;
                }
                Err(error) => {
                    failures += 1;
                    assert_eq!(error.raw_os_error(), Some(libc::EMFILE), "{error}");
                    let patience = Instant::now() + PATIENCE;
                    while count("/proc/self/task") > threads && Instant::now() < patience {
                        std::thread::yield_now();
                    }
                    assert_eq!(count("/proc/self/task"), threads);
                    assert_eq!(count("/proc/self/fd"), fds);
                }
            }
            room += 1;
            assert!(room < 100, "a runtime takes {room} descriptors?");
        }
        println!("{workers} workers: {failures} failures, {room} descriptors");
        assert!(failures >= workers, "{failures}");
    }
}

/// As [`passes_in_child`]. The user's own limit of threads does not bind root, so the child gives up
/// being root.
fn passes_as_nobody(name: &'static str) {
    const NOBODY: u32 = 65_432;
    // SAFETY: asks for a number.
    let root = unsafe { libc::geteuid() } == 0;
    // Somewhere that anyone may run it from.
    let copy = std::env::temp_dir().join(format!("pirn-{name}-{}", std::process::id()));
    fs::copy(std::env::current_exe().unwrap(), &copy).unwrap();
    let test = copy.clone();
    let outcome = std::panic::catch_unwind(move || {
        let mut command = Command::new(test);
        command.args([name, "--exact", "--nocapture", "--test-threads=1"]).env(CHILD, "1");
        if root {
            command.uid(NOBODY).gid(NOBODY);
        }
        let output = loop {
            match command.output() {
                // A child of another test may have what was written open until it is another
                // program.
                Err(error) if error.kind() == ErrorKind::ExecutableFileBusy => {
                    std::thread::yield_now();
                }
                output => break output.unwrap(),
            }
        };
        let (out, err) = (output.stdout, output.stderr);
        let (out, err) = (String::from_utf8_lossy(&out), String::from_utf8_lossy(&err));
        assert!(output.status.success(), "{}\n{out}\n{err}", output.status);
        assert!(out.contains("running 1 test"), "{out}");
        print!("{out}");
    });
    fs::remove_file(copy).unwrap();
    outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
}

/// Lifts the limit of threads.
fn allow_threads() {
    let mut current = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: a place of this function's own.
    unsafe { libc::getrlimit(libc::RLIMIT_NPROC, &raw mut current) };
    set_limit(libc::RLIMIT_NPROC, current.rlim_max);
}

/// The pool's only thread waits for what another job does, for which there is no thread.
#[test]
fn a_job_that_was_refused_a_thread_gets_one_later() {
    if !is_child() {
        return passes_as_nobody("a_job_that_was_refused_a_thread_gets_one_later");
    }
    let runtime = pirn::Builder::new().workers(1).build().unwrap();
    let (sent, received) = mpsc::channel();
    let (begins, begun) = mpsc::channel();
    let first = runtime.spawn(|| {
        pirn::blocking(move || {
            begins.send(()).unwrap();
            received.recv_timeout(PATIENCE)
        })
    });
    begun.recv().unwrap();
    set_limit(libc::RLIMIT_NPROC, 1);
    let second = runtime.spawn(|| pirn::blocking(move || sent.send(7).is_ok()));
    while runtime.metrics().blocking_queued == 0 {
        std::thread::yield_now();
    }
    allow_threads();
    assert_eq!(first.join().unwrap(), Ok(7));
    assert!(second.join().unwrap());
}

/// The same for a name.
#[test]
fn a_lookup_that_was_refused_a_thread_gets_one_later() {
    if !is_child() {
        return passes_as_nobody("a_lookup_that_was_refused_a_thread_gets_one_later");
    }
    let runtime = pirn::Builder::new().workers(1).build().unwrap();
    let (sent, received) = mpsc::channel();
    let (begins, begun) = mpsc::channel();
    let first = runtime.spawn(|| {
        pirn::blocking(move || {
            begins.send(()).unwrap();
            received.recv_timeout(PATIENCE)
        })
    });
    begun.recv().unwrap();
    set_limit(libc::RLIMIT_NPROC, 1);
    let second = runtime.spawn(move || {
        // Whether there is such a name or not.
        let _answer = pirn::net::lookup_host("localhost:80");
        sent.send(7).is_ok()
    });
    while runtime.metrics().blocking_queued == 0 {
        std::thread::yield_now();
    }
    allow_threads();
    assert_eq!(first.join().unwrap(), Ok(7));
    assert!(second.join().unwrap());
}

#[test]
fn threads_run_out() {
    if !is_child() {
        return passes_as_nobody("threads_run_out");
    }
    let first = pirn::Builder::new().workers(1).build().unwrap();
    // Wakes who parks while it cannot leave its thread.
    let (sent, parked) = mpsc::channel::<(pirn::thread::Thread, Arc<AtomicBool>)>();
    let unparker = std::thread::spawn(move || {
        for (thread, unparked) in parked {
            // By then it waits, or will see the token.
            std::thread::sleep(Duration::from_millis(20));
            unparked.store(true, Ordering::Release);
            thread.unpark();
        }
    });
    let before = count("/proc/self/task");
    // Other processes of this user count, so the limit is found by trying.
    let mut failures = 0;
    for limit in (1..200).rev() {
        set_limit(libc::RLIMIT_NPROC, limit);
        match pirn::Builder::new().workers(4).build() {
            Ok(runtime) => assert_eq!(runtime.run(|| pirn::spawn(|| 4).join().unwrap()), 4),
            Err(error) => {
                failures += 1;
                assert_eq!(error.raw_os_error(), Some(libc::EAGAIN), "{error}");
            }
        }
        let patience = Instant::now() + PATIENCE;
        while count("/proc/self/task") > before && Instant::now() < patience {
            std::thread::yield_now();
        }
        assert_eq!(count("/proc/self/task"), before, "a failed build left a thread behind");
        if failures == 8 {
            break;
        }
    }
    assert!(failures > 0, "no limit was in effect");
    // No thread is to be had now. What needs one does without.
    set_limit(libc::RLIMIT_NPROC, 1);
    let sum: usize = first.run(|| {
        let coroutines: Vec<_> = (0..1000).map(|n| pirn::spawn(move || n)).collect();
        let blocking = pirn::blocking(|| 5);
        assert_eq!(blocking, 5);
        // A panic in flight that cannot be moved off the thread.
        let unwinds = pirn::spawn(move || {
            struct Parks(mpsc::Sender<(pirn::thread::Thread, Arc<AtomicBool>)>);
            impl Drop for Parks {
                fn drop(&mut self) {
                    pirn::thread::yield_now();
                    pirn::thread::sleep(Duration::from_millis(1));
                    let unparked = Arc::new(AtomicBool::new(false));
                    self.0.send((pirn::thread::current(), unparked.clone())).unwrap();
                    while !unparked.load(Ordering::Acquire) {
                        pirn::thread::park();
                    }
                }
            }
            let _parks = Parks(sent);
            std::panic::resume_unwind(Box::new(6));
        });
        let payload = unwinds.join().unwrap_err();
        assert_eq!(*payload.downcast_ref::<i32>().unwrap(), 6);
        coroutines.into_iter().map(|coroutine| coroutine.join().unwrap()).sum()
    });
    assert_eq!(sum, 499_500);
    unparker.join().unwrap();
    // The default runtime cannot start, and says so; later it can.
    let refused = pirn::thread::Builder::new().spawn(|| ()).map(drop).unwrap_err();
    assert_eq!(refused.raw_os_error(), Some(libc::EAGAIN), "{refused}");
    allow_threads();
    assert_eq!(pirn::spawn(|| 8).join().unwrap(), 8);
    println!("{failures} builds refused");
}
