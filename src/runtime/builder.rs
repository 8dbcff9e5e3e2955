//! How a runtime is configured.

use crate::blocking::BlockingPool;
use crate::coroutine;
use crate::dump;
use crate::inspect::{self, Inspector};
use crate::netpoller::PollDriver;
use crate::park::{HeldGuard, SwallowedCancel};
use crate::runtime::{Metrics, Runtime};
use crate::sched::{
    Config, Driver, OnDeadlock, OnHeldGuard, OnStall, OnSwallowedCancel, Shared, Stall,
};
use crate::stack::{self, Class, DEFAULT_STACK_SIZE, GuardStrategy, StackOptions, Stacks};
use crate::trace;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

/// The residency slack within which a coroutine starts where it was spawned.
const SLACK: usize = 2;
const MAX_BLOCKING_THREADS: usize = 512;
const MAX_SURPLUS: usize = 64;
const STALL_AFTER: Duration = Duration::from_millis(100);
/// More workers than any machine has processors are a mistake.
const MAX_WORKERS: usize = 4096;
/// What a worker keeps for `PIRN_TRACE`: a megabyte and a half.
const TRACED: usize = (1 << 16) - 1;
const MAX_TRACED: usize = (1 << 24) - 1;

/// Configures a [`Runtime`].
///
/// Each setting that is not made here is taken from its environment variable, if that is set and not
/// empty, and has a default otherwise.
///
/// | method | variable | default |
/// |---|---|---|
/// | [`workers`](Builder::workers) | `PIRN_WORKERS` | the processors this process may use |
/// | [`stack_size`](Builder::stack_size) | `PIRN_STACK_SIZE`, in bytes | 256 KiB |
/// | [`name`](Builder::name) | `PIRN_NAME` | `pirn` |
/// | [`max_blocking_threads`](Builder::max_blocking_threads) | `PIRN_MAX_BLOCKING_THREADS` | 512 |
/// | [`stall_after`](Builder::stall_after) | `PIRN_STALL_AFTER_MS` | 100 ms |
/// | [`on_deadlock`](Builder::on_deadlock) | `PIRN_DEADLOCK`: `off`, `report` or `abort` | `report` |
/// | [`dump_on_sigquit`](Builder::dump_on_sigquit) | `PIRN_DUMP`: `sigquit` | no |
/// | [`inspect`](Builder::inspect) | `PIRN_INSPECT`: a path | no |
/// | [`trace`](Builder::trace) | `PIRN_TRACE`, a file | no |
/// | [`guard`](Builder::guard) | `PIRN_STACK_GUARD` | the best one that works |
///
/// # Examples
///
/// ```
/// let runtime = pirn::Builder::new().workers(2).stack_size(64 * 1024).name("web").build()?;
/// assert_eq!(runtime.run(|| 6 * 7), 42);
/// # std::io::Result::Ok(())
/// ```
#[must_use = "a builder does nothing until it builds"]
#[derive(Default)]
pub struct Builder {
    workers: Option<usize>,
    stack_size: Option<usize>,
    name: Option<String>,
    max_blocking_threads: Option<usize>,
    stall_after: Option<Duration>,
    on_stall: Option<OnStall>,
    on_held_guard: Option<OnHeldGuard>,
    on_swallowed_cancel: Option<OnSwallowedCancel>,
    guard: Option<crate::GuardKind>,
    on_deadlock: Option<OnDeadlock>,
    dump_on_sigquit: bool,
    inspect: Option<PathBuf>,
    slack: Option<usize>,
    trace: Option<usize>,
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("workers", &self.workers)
            .field("stack_size", &self.stack_size)
            .field("name", &self.name)
            .field("max_blocking_threads", &self.max_blocking_threads)
            .field("stall_after", &self.stall_after)
            .finish_non_exhaustive()
    }
}

impl Builder {
    /// Everything by default.
    pub fn new() -> Builder {
        Builder::default()
    }

    /// How many worker threads run coroutines, from 1 to 4096.
    pub fn workers(mut self, workers: usize) -> Builder {
        self.workers = Some(workers);
        self
    }

    /// The address space of a coroutine's stack in bytes, guard included; rounded up to 32 KiB,
    /// 64 KiB, 256 KiB, 1 MiB or 8 MiB. Memory is used as the stack is.
    pub fn stack_size(mut self, bytes: usize) -> Builder {
        self.stack_size = Some(bytes);
        self
    }

    /// What the names of the runtime's threads begin with.
    pub fn name(mut self, name: impl Into<String>) -> Builder {
        self.name = Some(name.into());
        self
    }

    /// How many threads [`blocking`](crate::blocking) may use; at least 1. They start when needed.
    pub fn max_blocking_threads(mut self, threads: usize) -> Builder {
        self.max_blocking_threads = Some(threads);
        self
    }

    /// How long a worker may run one coroutine that neither parks nor yields before
    /// [`on_stall`](Builder::on_stall) is told.
    pub fn stall_after(mut self, limit: Duration) -> Builder {
        self.stall_after = Some(limit);
        self
    }

    /// Calls `report` when a worker is stalled: after [`stall_after`](Builder::stall_after), and
    /// again each time the stall has doubled. It runs on a thread of the runtime's that must not be
    /// blocked for long.
    pub fn on_stall(mut self, report: impl Fn(&Stall) + Send + Sync + 'static) -> Builder {
        self.on_stall = Some(Box::new(report));
        self
    }

    /// In a debug build, calls `report` when a coroutine is about to wait while it holds a guard of
    /// `pirn::sync`, other than for a lock or a condition variable. That is allowed, but whoever
    /// wants the lock then waits as well. A release build does not check.
    ///
    /// `report` runs in the coroutine and must not wait itself; a panic of its own ends there. A
    /// guard of *std's* that is held across a wait is worse, and cannot be seen from outside: when
    /// another coroutine of that worker wants the lock, the worker stands still, and
    /// [`on_stall`](Builder::on_stall) is told.
    pub fn on_held_guard(mut self, report: impl Fn(&HeldGuard) + Send + Sync + 'static) -> Builder {
        self.on_held_guard = Some(Box::new(report));
        self
    }

    /// Calls `report` when a cancellation has been delivered again and again, since a `catch_unwind`
    /// in what it is to end swallows it: at the 16th time, and whenever that has doubled; of the
    /// cancellation of a whole coroutine, the 128th is the last. It runs in that coroutine.
    pub fn on_swallowed_cancel(
        mut self,
        report: impl Fn(&SwallowedCancel) + Send + Sync + 'static,
    ) -> Builder {
        self.on_swallowed_cancel = Some(Box::new(report));
        self
    }

    /// What to do when all coroutines, and all threads of the process, wait for each other in pirn, so
    /// that nobody can ever go on. By default a [dump](crate::Dump) is written to standard error.
    ///
    /// A thread that does anything else, or waits elsewhere, might come and wake somebody, and
    /// nothing is said then. Nor is it if somebody waits for a descriptor or with a timeout. Of several
    /// runtimes in one process, the strictest one decides. Only on Linux.
    pub fn on_deadlock(mut self, action: OnDeadlock) -> Builder {
        self.on_deadlock = Some(action);
        self
    }

    /// Has a [dump](crate::dump()) of all runtimes written to standard error whenever the process gets
    /// SIGQUIT (`kill -QUIT`, or Ctrl-\\ in a terminal), which does not end it any more.
    ///
    /// This takes one thread for the process, and stays when the runtime has ended.
    pub fn dump_on_sigquit(mut self) -> Builder {
        self.dump_on_sigquit = true;
        self
    }

    /// Opens a Unix socket at `path` at which this process can be inspected: by `pirn-top`, or by
    /// whatever speaks the protocol in `docs/inspect.md`. If `path` is a folder, the socket is
    /// `pirn-<process>.sock` in it.
    ///
    /// Only this user and root may connect. What is told is of all runtimes of the process, by one
    /// thread for each such path. The socket of a process that has died is replaced, and the socket
    /// is removed when the last runtime that has asked for it has been dropped, or the process exits.
    pub fn inspect(mut self, path: impl Into<PathBuf>) -> Builder {
        self.inspect = Some(path.into());
        self
    }

    /// Has each worker record what it does, for [`Runtime::trace`]: at least the last `events` events,
    /// from 1 to 16,777,215, of 24 bytes each. The number is rounded up, to one less than a power of
    /// two.
    ///
    /// With `PIRN_TRACE` set to the name of a file, each runtime records, 65,535 events if nothing else
    /// is said here, and what those have recorded that still run when the process exits is written to
    /// that file. To exit is to return from `main` or to call `exit`: what aborts, or is killed, writes
    /// nothing.
    pub fn trace(mut self, events: usize) -> Builder {
        self.trace = Some(events);
        self
    }

    /// Insists on one way of guarding stacks. Without this, the best one that works here is used;
    /// [`Metrics`](crate::Metrics) tells which.
    pub fn guard(mut self, guard: crate::GuardKind) -> Builder {
        self.guard = Some(guard);
        self
    }

    /// How far residency may be out of balance before starts move; for the benches.
    #[doc(hidden)]
    pub fn residency_slack(mut self, slack: usize) -> Builder {
        self.slack = Some(slack);
        self
    }

    /// Starts the runtime.
    ///
    /// # Errors
    ///
    /// - [`InvalidInput`](io::ErrorKind::InvalidInput) for a setting out of range, or a variable
    ///   that says nothing of its kind.
    /// - [`Unsupported`](io::ErrorKind::Unsupported) or another kind for a guard that does not
    ///   work here.
    /// - [`AddrInUse`](io::ErrorKind::AddrInUse) if another process listens where this one is to be
    ///   inspected, and [`AlreadyExists`](io::ErrorKind::AlreadyExists) if a file that is no socket
    ///   stands there.
    /// - What the system says if it refuses a thread, a descriptor or memory; nothing is left
    ///   behind then.
    pub fn build(self) -> io::Result<Runtime> {
        let (shared, inspector) = self.build_parts()?;
        Ok(Runtime::from_parts(shared, inspector))
    }

    pub(crate) fn build_parts(self) -> io::Result<(Arc<Shared>, Option<Arc<Inspector>>)> {
        let workers = match self.workers.map_or_else(|| number("PIRN_WORKERS"), |n| Ok(Some(n)))? {
            Some(workers) => workers,
            None => thread::available_parallelism().map_or(1, usize::from),
        };
        in_range("the number of workers", workers, 1, MAX_WORKERS)?;
        let stack_size = match self.stack_size {
            Some(size) => size,
            None => number("PIRN_STACK_SIZE")?.unwrap_or(DEFAULT_STACK_SIZE),
        };
        let threads = match self.max_blocking_threads {
            Some(threads) => threads,
            None => number("PIRN_MAX_BLOCKING_THREADS")?.unwrap_or(MAX_BLOCKING_THREADS),
        };
        in_range("the number of blocking threads", threads, 1, usize::MAX)?;
        let stall_after = match self.stall_after {
            Some(limit) => limit,
            None => number("PIRN_STALL_AFTER_MS")?
                .map_or(STALL_AFTER, |millis| Duration::from_millis(millis as u64)),
        };
        let name = match self.name {
            Some(name) => name,
            None => variable("PIRN_NAME")?.unwrap_or_else(|| "pirn".into()),
        };
        let on_deadlock = match self.on_deadlock {
            Some(action) => action,
            None => deadlock_from_environment()?.unwrap_or_default(),
        };
        if self.dump_on_sigquit || dumps_on_sigquit_by_environment()? {
            dump::dump_on_sigquit()?;
        }
        let trace_file = std::env::var_os("PIRN_TRACE").filter(|file| !file.is_empty());
        let traced = self.trace.or(trace_file.as_ref().map(|_| TRACED));
        in_range("the number of events to record", traced.unwrap_or(TRACED), 1, MAX_TRACED)?;
        if let Some(file) = trace_file {
            trace::write_at_exit(PathBuf::from(file))?;
        }
        if name.contains('\0') {
            return Err(invalid("a runtime's name contains a null byte".into()));
        }
        let force_guard = match self.guard {
            Some(guard) => Some(guard.strategy()),
            None => guard_from_environment()?,
        };
        let stacks = Stacks::new(StackOptions { force_guard, ..StackOptions::default() })?;
        let path = self.inspect.or_else(|| {
            std::env::var_os("PIRN_INSPECT").filter(|path| !path.is_empty()).map(PathBuf::from)
        });
        let metrics = |shared: &Shared| Metrics::of(shared).to_json();
        let inspector = path.map(|path| inspect::open(&path, metrics)).transpose()?;
        stack::set_describe(coroutine::describe);
        let config = Config {
            workers,
            class: Class::for_size(stack_size)?,
            slack: self.slack.unwrap_or(SLACK),
            stall_after,
            on_stall: self.on_stall,
            on_held_guard: self.on_held_guard,
            on_swallowed_cancel: self.on_swallowed_cancel,
            on_rest: dump::check_for_deadlock,
            on_deadlock,
            max_surplus: MAX_SURPLUS,
            trace: traced,
            blocking: BlockingPool::new(name.clone(), threads),
            name,
            driver: Box::new(|_| Ok(Box::new(PollDriver::new()?) as Box<dyn Driver>)),
        };
        Ok((Shared::start(config, stacks)?, inspector))
    }
}

fn guard_from_environment() -> io::Result<Option<GuardStrategy>> {
    let Some(guard) = variable("PIRN_STACK_GUARD")? else { return Ok(None) };
    let named = GuardStrategy::named(&guard).map(Some);
    named.ok_or_else(|| {
        invalid(format!("PIRN_STACK_GUARD is {guard:?}: not madvise, uffd or mprotect"))
    })
}

fn deadlock_from_environment() -> io::Result<Option<OnDeadlock>> {
    let Some(action) = variable("PIRN_DEADLOCK")? else { return Ok(None) };
    let named = OnDeadlock::named(&action).map(Some);
    named.ok_or_else(|| invalid(format!("PIRN_DEADLOCK is {action:?}: not off, report or abort")))
}

fn dumps_on_sigquit_by_environment() -> io::Result<bool> {
    match variable("PIRN_DUMP")?.as_deref() {
        Some("sigquit") => Ok(true),
        None => Ok(false),
        Some(other) => Err(invalid(format!("PIRN_DUMP is {other:?}: not sigquit"))),
    }
}

/// A number from the environment.
fn number(variable: &str) -> io::Result<Option<usize>> {
    let Some(text) = self::variable(variable)? else { return Ok(None) };
    let parsed = text.trim().parse();
    parsed.map(Some).map_err(|_| invalid(format!("{variable} is {text:?}, which is no number")))
}

/// What the environment says; `None` if the variable is not set, or empty.
fn variable(name: &str) -> io::Result<Option<String>> {
    let Some(value) = std::env::var_os(name).filter(|value| !value.is_empty()) else {
        return Ok(None);
    };
    let text = value.into_string();
    text.map(Some).map_err(|value| invalid(format!("{name} is {value:?}, which is not UTF-8")))
}

fn in_range(what: &str, value: usize, least: usize, most: usize) -> io::Result<()> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(invalid(format!("{what} is {value}: not from {least} to {most}")))
}

fn invalid(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, message)
}
