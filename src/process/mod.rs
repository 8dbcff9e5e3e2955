#![doc = include_str!("../../docs/process.md")]

mod child;
mod command;
mod exit;
mod pipes;
mod sys;

pub use child::Child;
pub use command::Command;
pub use pipes::{ChildStderr, ChildStdin, ChildStdout};
pub use std::process::{
    CommandArgs, CommandEnvs, ExitCode, ExitStatus, Output, Stdio, Termination, abort, id,
};

/// Ends the process, as [`std::process::exit`] does: no destructors on any stack are run, but those of
/// the calling thread's thread-locals are, and the functions that were given to `atexit`.
///
/// Both of those run on the calling stack with std's function, where they may need more than a small
/// coroutine has: a debug build needs some thirty kilobytes for crossbeam's alone. With this one they
/// run on the stack of the coroutine's *worker*, which is as large as any thread's.
///
/// From there on no coroutine of that worker runs. With std's function, a thread-local's destructor that
/// waits lets them run again, among them those that have borrowed what has just been destroyed:
/// `docs/soundness.md`.
///
/// # Examples
///
/// ```no_run
/// pirn::spawn(|| pirn::process::exit(2)).join().unwrap();
/// ```
pub fn exit(code: i32) -> ! {
    crate::sched::exit(code)
}
