//! What a process says whose coroutine has used up its stack, for every way of guarding stacks.

use pirn::GuardKind;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Output};

const CHILD: &str = "PIRN_OVERFLOW_CHILD";
const GUARDS: [(&str, GuardKind); 3] = [
    ("madvise", GuardKind::Madvise),
    ("userfault", GuardKind::Userfault),
    ("mprotect", GuardKind::Mprotect),
];

/// Which variant this process was started for.
fn variant() -> Option<String> {
    std::env::var(CHILD).ok()
}

/// Runs one test of this file in a process of its own.
fn in_child(test: &str, variant: &str) -> (Output, String) {
    let output = Command::new(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture", "--test-threads=1"])
        .env(CHILD, variant)
        .output()
        .unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(stdout.contains("running 1 test"), "{stdout}");
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    (output, stderr)
}

fn dies_of_overflow(test: &str, variant: &str) -> String {
    let (output, stderr) = in_child(test, variant);
    assert_eq!(output.status.signal(), Some(libc::SIGABRT), "{variant}: {stderr}");
    assert!(stderr.contains("has overflowed its stack"), "{variant}: {stderr}");
    stderr
}

/// The guards that this system has. The best one is the first that works; `mprotect` always does.
fn available() -> Vec<(&'static str, GuardKind)> {
    let works = |guard: GuardKind| pirn::Builder::new().workers(1).guard(guard).build().is_ok();
    let guards: Vec<_> = GUARDS.into_iter().filter(|guard| works(guard.1)).collect();
    assert!(guards.iter().any(|guard| guard.1 == GuardKind::Mprotect));
    guards
}

fn runtime(guard: &str) -> pirn::Runtime {
    let (_, guard) = GUARDS.into_iter().find(|each| each.0 == guard).unwrap();
    let runtime = pirn::Builder::new().workers(2).guard(guard).build().unwrap();
    assert_eq!(runtime.metrics().guard, guard);
    runtime
}

#[expect(unconditional_recursion, reason = "that is the point")]
fn recurse(depth: &mut u64) {
    let mut next = std::hint::black_box(*depth + 1);
    recurse(&mut next);
    *depth = std::hint::black_box(next);
}

#[test]
fn the_report_names_coroutine_place_size_and_remedy() {
    if let Some(guard) = variant() {
        let runtime = runtime(&guard);
        // Others beside it, so that there is somebody else to blame.
        let _others: Vec<_> = (0..10).map(|_| runtime.spawn(pirn::thread::park)).collect();
        return runtime.run(|| {
            let deep = pirn::thread::Builder::new().name("the deep one".into());
            let deep = deep.stack_size(64 * 1024).spawn(|| recurse(&mut 0));
            deep.unwrap().join().unwrap();
        });
    }
    for (guard, _) in available() {
        let stderr = dies_of_overflow("the_report_names_coroutine_place_size_and_remedy", guard);
        assert!(stderr.contains("\"the deep one\""), "{guard}: {stderr}");
        assert!(stderr.contains("tests/overflow.rs:"), "{guard}: {stderr}");
        assert!(stderr.contains("64 KiB"), "{guard}: {stderr}");
        assert!(stderr.contains("stack_size"), "{guard}: {stderr}");
        assert!(stderr.contains("PIRN_STACK_SIZE"), "{guard}: {stderr}");
    }
}

#[test]
fn every_size_is_guarded() {
    const SIZES: [(usize, &str); 5] = [
        (32 << 10, "32 KiB"),
        (64 << 10, "64 KiB"),
        (256 << 10, "256 KiB"),
        (1 << 20, "1 MiB"),
        (8 << 20, "8 MiB"),
    ];
    if let Some(variant) = variant() {
        let (guard, size) = variant.split_once(' ').unwrap();
        let size = size.parse().unwrap();
        return runtime(guard).run(move || {
            let deep = pirn::thread::Builder::new().stack_size(size);
            deep.spawn(|| recurse(&mut 0)).unwrap().join().unwrap();
        });
    }
    for (guard, _) in available() {
        for (size, text) in SIZES {
            let stderr = dies_of_overflow("every_size_is_guarded", &format!("{guard} {size}"));
            assert!(stderr.contains(text), "{guard} {size}: {stderr}");
        }
    }
}

/// One that has parked and come back, on a stack that another has used before.
#[test]
fn a_used_stack_is_guarded_as_a_new_one() {
    if let Some(guard) = variant() {
        let runtime = runtime(&guard);
        for _ in 0..3 {
            let used: Vec<_> = (0..200).map(|_| runtime.spawn(pirn::thread::yield_now)).collect();
            used.into_iter().for_each(|used| used.join().unwrap());
        }
        let deep = runtime.spawn(|| {
            (0..10).for_each(|_| pirn::thread::yield_now());
            pirn::thread::sleep(std::time::Duration::from_millis(1));
            recurse(&mut 0);
        });
        return deep.join().unwrap();
    }
    for (guard, _) in available() {
        let stderr = dies_of_overflow("a_used_stack_is_guarded_as_a_new_one", guard);
        assert!(stderr.contains("tests/overflow.rs:"), "{guard}: {stderr}");
    }
}

/// In a destructor that runs while the coroutine unwinds.
#[test]
fn an_overflow_while_unwinding_is_reported() {
    struct Deep;

    impl Drop for Deep {
        fn drop(&mut self) {
            pirn::thread::yield_now();
            recurse(&mut 0);
        }
    }

    if let Some(guard) = variant() {
        let runtime = runtime(&guard);
        let coroutine = runtime.spawn(|| {
            let _deep = Deep;
            std::panic::resume_unwind(Box::new(()));
        });
        return coroutine.join().unwrap();
    }
    for (guard, _) in available() {
        dies_of_overflow("an_overflow_while_unwinding_is_reported", guard);
    }
}

/// Depth that fits is no overflow.
#[test]
fn a_stack_can_be_used_to_nearly_its_end() {
    const SIZE: usize = 1 << 20;

    fn descend_to(address: usize) -> usize {
        let frame = std::hint::black_box([1_u8; 512]);
        let here = frame.as_ptr().addr();
        if here <= address { here } else { descend_to(address).min(here) }
    }
    if let Some(guard) = variant() {
        let runtime = runtime(&guard);
        return runtime.run(|| {
            let deep = pirn::thread::Builder::new().stack_size(SIZE).spawn(|| {
                let bytes = std::hint::black_box([0_u8; 8]);
                let top = bytes.as_ptr().addr();
                // Guard, first frames and last frames have their share.
                let goal = top - (SIZE - 32 * 1024);
                assert!(descend_to(goal) <= goal);
            });
            deep.unwrap().join().unwrap();
        });
    }
    for (guard, _) in available() {
        let (output, stderr) = in_child("a_stack_can_be_used_to_nearly_its_end", guard);
        assert!(output.status.success(), "{guard}: {stderr}");
    }
}
