//! What the tests of this module share.

#![expect(unsafe_code, reason = "tells corosensei about stacks, and asks the system for its clock")]

use std::env;
use std::fs;
use std::process::{Command, ExitStatus};
use std::sync::Arc;
use std::time::Duration;

use corosensei::stack::StackPointer;
use corosensei::{Coroutine, CoroutineResult, Yielder};

use super::{Cache, Class, GuardStrategy, Stack, StackOptions, Stacks};

pub(super) fn stacks(strategy: GuardStrategy) -> Arc<Stacks> {
    let options = StackOptions { force_guard: Some(strategy), ..StackOptions::default() };
    Stacks::new(options).expect("the strategy works here")
}

/// The strategies that work here.
pub(super) fn strategies() -> Vec<GuardStrategy> {
    [GuardStrategy::Madvise, GuardStrategy::Userfault, GuardStrategy::Mprotect]
        .into_iter()
        .filter(|&strategy| {
            let force_guard = Some(strategy);
            Stacks::new(StackOptions { force_guard, ..StackOptions::default() }).is_ok()
        })
        .collect()
}

/// Credits and takes `count` stacks.
pub(super) fn fill(cache: &mut Cache, class: Class, count: usize) -> Vec<Stack> {
    let take = |_| {
        cache.credit(class).expect("there is room");
        cache.take(class, std::ptr::null())
    };
    (0..count).map(take).collect()
}

/// Gives stacks and their credits back.
pub(super) fn drain(cache: &mut Cache, held: Vec<Stack>) {
    for stack in held {
        let class = stack.class();
        cache.give(stack);
        cache.uncredit(class);
    }
}

/// A stack as corosensei wants it.
pub(super) struct Switchable(pub(super) Stack);

// SAFETY: it has a guard, and more room above it than corosensei's minimum.
unsafe impl corosensei::stack::Stack for Switchable {
    fn base(&self) -> StackPointer {
        self.0.base()
    }

    fn limit(&self) -> StackPointer {
        self.0.limit()
    }
}

pub(super) type Suspended = Coroutine<(), (), (), Switchable>;

/// Runs `body` on `stack` up to its first suspension.
pub(super) fn start(
    stack: Stack,
    body: impl FnOnce(&Yielder<(), ()>) + 'static,
) -> (Suspended, CoroutineResult<(), ()>) {
    let mut coroutine = Coroutine::with_stack(Switchable(stack), move |yielder, ()| body(yielder));
    let result = coroutine.resume(());
    (coroutine, result)
}

/// Runs `body` on `stack` to its end.
pub(super) fn run(stack: Stack, body: impl FnOnce() + 'static) -> Stack {
    let (coroutine, result) = start(stack, |_| body());
    assert!(matches!(result, CoroutineResult::Return(())));
    coroutine.into_stack().0
}

/// Uses `bytes` of the stack it runs on, and a little more.
pub(super) fn descend(bytes: usize) {
    fn down_to(address: usize) {
        let frame = std::hint::black_box([1_u8; 128]);
        if frame.as_ptr().addr() > address {
            down_to(address);
        }
        std::hint::black_box(&frame);
    }
    let here = std::hint::black_box(0_u8);
    down_to((&raw const here).addr() - bytes);
}

/// The processor's time that the calling thread has had.
pub(super) fn thread_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes one `timespec`.
    let answer = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    assert_eq!(answer, 0);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// A line of `/proc/self/status`, in KiB.
pub(super) fn status_kib(key: &str) -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(key)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// How many of the bytes from `start` on are in memory.
pub(super) fn resident_bytes(start: usize, len: usize) -> usize {
    let page = super::sys::page_size();
    (start..start + len).step_by(page).filter(|&page| super::sys::resident(page, 1)).count() * page
}

/// What became of a child process.
pub(super) struct Ended {
    pub(super) status: ExitStatus,
    pub(super) stderr: String,
}

const CHILD: &str = "PIRN_STACK_TEST_CHILD";

/// Which variant of its test this process was started for.
pub(super) fn child_variant() -> Option<String> {
    env::var(CHILD).ok()
}

/// Runs the test `name`, below `stack::tests::`, in a process of its own.
pub(super) fn in_child(name: &str, variant: &str) -> Ended {
    let output = Command::new(env::current_exe().unwrap())
        .args([&format!("stack::tests::{name}"), "--exact", "--nocapture", "--test-threads=1"])
        .env(CHILD, variant)
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(stdout.contains("running 1 test"), "{name}: {stdout}\n{stderr}");
    Ended { status: output.status, stderr }
}

/// As [`in_child`], for a child that should succeed.
pub(super) fn passes_in_child(name: &str, variant: &str) {
    let ended = in_child(name, variant);
    assert!(ended.status.success(), "{variant}: {}\n{}", ended.status, ended.stderr);
}
