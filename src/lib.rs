//! Green threads for Rust: goroutines and gevent's greenlets with `std`'s API.
//!
//! Replace `std::` by `pirn::` in blocking code, and each `spawn` is a coroutine instead of an OS
//! thread: cheap enough to have a million of them, run by a few worker threads. Where std would
//! block the thread, pirn parks the coroutine, and the worker runs another.
//!
//! ```
//! use std::io::{Read, Write};
//!
//! # fn main() -> std::io::Result<()> {
//! let listener = pirn::net::TcpListener::bind("127.0.0.1:0")?;
//! let address = listener.local_addr()?;
//! pirn::spawn(move || {
//!     for stream in listener.incoming().flatten() {
//!         pirn::go!(move || {
//!             let mut line = [0; 5];
//!             (&stream).read_exact(&mut line).and_then(|()| (&stream).write_all(&line)).ok();
//!         });
//!     }
//! });
//! let mut stream = pirn::net::TcpStream::connect(address)?;
//! stream.write_all(b"hello")?;
//! let mut echo = String::new();
//! stream.read_to_string(&mut echo)?;
//! assert_eq!(echo, "hello");
//! # Ok(())
//! # }
//! ```
//!
//! - [`spawn`](crate::spawn()) and [`thread`] for coroutines, with [`go!`] as sugar;
//! - [`channel`] for messages between them, and [`select!`](channel::select!) to wait for one of
//!   several; [`sync::mpsc`] if std's suffice;
//! - [`sync`] for locks, conditions and initialisers, and for semaphores, events and more;
//! - [`block_on`] and [`future`] for what is async;
//! - [`coroutine_local!`] for values of each coroutine's own;
//! - [`time`] for timeouts around any code, [`CancelToken`] and [`shield`](crate::shield()) for
//!   cancellation, [`task`] for coroutines that belong together;
//! - [`net`] for sockets and servers, and [`os::unix::net`] for sockets of Unix;
//! - [`io`] for pipes, standard streams, any other descriptor, and copies between them;
//! - [`fs`] for files, [`process`] for child processes, [`signal`] for signals of the system;
//! - [`blocking`](crate::blocking()) and [`block_in_place`] for what can only block;
//! - [`dump`](crate::dump()) for what each coroutine is doing, [`trace`](crate::trace()) for what the
//!   workers have done;
//! - [`Builder`] and [`Runtime`] for a runtime of one's own: the first `spawn` starts a default one.
//!
//! Everything that blocks can be called from plain OS threads too, and blocks those.
//!
//! What std blocks with blocks the whole worker: a coroutine that waits for a lock or a channel of
//! std's, reads a file by `std::fs`, or computes for long holds up the others that live on its thread.
//!
//! `docs/std-differences.md` lists what is not as in std; `docs/from-go.md` and `docs/from-gevent.md`
//! are for those who come from Go or gevent.
//!
//! # Soundness
//!
//! A coroutine may start on any worker thread, but from its first instruction it stays there. So
//! thread-locals, `!Send` values and lock guards on its stack are what they are in a thread, and
//! safe code stays safe. `docs/soundness.md` has the contract, and the hazards that are left.

#[cfg(not(loom))]
mod blocking;
#[cfg(not(loom))]
mod cancel;
#[cfg(not(loom))]
pub mod channel;
#[cfg(not(loom))]
mod coroutine;
#[cfg(not(loom))]
mod dump;
#[cfg(not(loom))]
pub mod fs;
#[cfg(not(loom))]
pub mod future;
#[cfg(not(loom))]
mod inspect;
#[cfg(not(loom))]
pub mod io;
#[cfg(not(loom))]
pub mod net;
#[cfg(not(loom))]
mod netpoller;
#[cfg(not(loom))]
pub mod os;
#[cfg(not(loom))]
mod park;
mod primitive;
#[cfg(not(loom))]
pub mod process;
mod protocol;
#[cfg(not(loom))]
mod runtime;
#[cfg(not(loom))]
mod sched;
#[cfg(not(loom))]
pub mod signal;
#[cfg(not(loom))]
mod stack;
#[cfg(not(loom))]
pub mod sync;
#[cfg(not(loom))]
pub mod task;
#[cfg(not(loom))]
pub mod thread;
#[cfg(not(loom))]
pub mod time;
#[cfg(not(loom))]
mod timers;
#[cfg(all(feature = "tokio", not(loom)))]
pub mod tokio;
#[cfg(not(loom))]
mod trace;
#[cfg(all(feature = "tracing", not(loom)))]
pub mod tracing;
mod util;

#[cfg(not(loom))]
mod exports {
    pub use crate::blocking::blocking;
    pub use crate::cancel::{CancelCallback, CancelCause, CancelGuard, CancelToken, shield};
    pub use crate::dump::{
        CoroutineDump, CoroutineState, Dump, Held, LockWait, Party, RuntimeDump, StackFrame,
        StackTrace, ThreadDump, WorkerDump,
    };
    pub use crate::future::block_on;
    pub use crate::park::{HeldGuard, SwallowedCancel};
    pub use crate::runtime::{
        Builder, GuardKind, Metrics, Runtime, ShutdownTimeout, StackClassMetrics, WorkerMetrics,
        WorkerState,
    };
    pub use crate::sched::{OnDeadlock, Stall, WorkerCounters};
    pub use crate::thread::{Cancelled, spawn};
    pub use crate::trace::Trace;
    #[cfg(feature = "macros")]
    pub use pirn_macros::{main, test};
}

#[cfg(not(loom))]
pub use exports::*;

/// Runs `f`, which may block its thread and may borrow, right here, while other workers take over
/// what can move: coroutines that have not started, and descriptors that others wait for.
///
/// The coroutines that live on this worker wait until `f` is done; use [`blocking`] where that
/// matters. If `f` parks, the coroutine parks as ever.
///
/// # Examples
///
/// ```
/// let text = pirn::spawn(|| {
///     let name = String::from("/proc/version");
///     pirn::block_in_place(|| std::fs::read_to_string(&name))
/// });
/// assert!(text.join().unwrap().is_ok());
/// ```
#[cfg(not(loom))]
pub fn block_in_place<F, R>(f: F) -> R
where
    F: FnOnce() -> R,
{
    sched::block_in_place(f)
}

/// What each coroutine of the process is doing, whatever its runtime.
///
/// May be called from anywhere, also while everything runs at full load: see [`Runtime::dump`].
///
/// ```
/// # let dump = loop {
/// let dump = pirn::spawn(pirn::dump).join().unwrap();
/// #     if dump.runtimes[0].workers.iter().all(|worker| worker.answered) { break dump }
/// # };
/// println!("{dump}");
/// assert!(dump.to_json().contains(r#""waits_for":"dump""#));
/// ```
#[cfg(not(loom))]
#[must_use]
pub fn dump() -> Dump {
    dump::dump(sched::Shared::all())
}

/// What the workers of all runtimes that [record](Builder::trace) have done of late.
///
/// May be called from anywhere; nobody is asked or stopped: see [`Runtime::trace`].
#[cfg(not(loom))]
#[must_use]
pub fn trace() -> Trace {
    trace::trace(&sched::Shared::all())
}

/// The metrics of the runtime to which the caller belongs, from one of its coroutines.
///
/// ```
/// let metrics = pirn::spawn(pirn::current_metrics).join().unwrap().unwrap();
/// assert!(metrics.live >= 1);
/// assert!(pirn::current_metrics().is_none());
/// ```
#[cfg(not(loom))]
pub fn current_metrics() -> Option<Metrics> {
    sched::current_shared().map(|shared| Metrics::of(&shared))
}

/// Spawns a coroutine from a block or a closure, as Go's `go` statement does.
///
/// - `go!(move || …)`, with or without `move` and `-> T`, spawns that closure.
/// - `go!(f)`, with the name of a closure or function, a path or a field, moves it into a coroutine
///   that calls it. What is no closure is the coroutine's result.
/// - `go! { … }` moves what the block uses and runs the block. So `go! { f(x) }` calls `f` in the
///   coroutine, as Go does.
///
/// All forms give the [`thread::JoinHandle`].
///
/// ```
/// let (here, there) = (1, 2);
/// let sum = pirn::go! { here + there };
/// let product = pirn::go!(move || -> i32 { here * there });
/// let f = move || here - there;
/// let difference = pirn::go!(f);
/// let all = sum.join().unwrap() + product.join().unwrap() + difference.join().unwrap();
/// assert_eq!(all, 4);
/// ```
///
/// A block that gives a closure would leave it uncalled, so that does not compile. Give it a name
/// first:
///
/// ```compile_fail,E0283
/// fn doubler(n: i32) -> impl FnOnce() -> i32 + Send {
///     move || 2 * n
/// }
/// pirn::go!(doubler(21));
/// ```
///
/// ```
/// # fn doubler(n: i32) -> impl FnOnce() -> i32 + Send {
/// #     move || 2 * n
/// # }
/// let f = doubler(21);
/// assert_eq!(pirn::go!(f).join().unwrap(), 42);
/// ```
///
/// What is moved must be `Send`, in each form:
///
/// ```compile_fail,E0277
/// let shared = std::rc::Rc::new(5);
/// let f = move || *shared;
/// pirn::go!(f);
/// ```
#[macro_export]
macro_rules! go {
    (move || $($rest:tt)*) => {
        $crate::spawn(move || $($rest)*)
    };
    (|| $($rest:tt)*) => {
        $crate::spawn(|| $($rest)*)
    };
    // Is it a path or a field? `@name` expects a name, `@more` what may follow one.
    (@name [$($body:tt)*] $name:ident $($rest:tt)*) => {
        $crate::go!(@more [$($body)*] $($rest)*)
    };
    (@more [$($path:tt)*]) => {
        $crate::spawn(move || {
            let value = $($path)*;
            // By the type of the value: `ByCall` is found first, and `ByValue` for what cannot
            // be called.
            let end = {
                use $crate::__private::{ByCall as _, ByValue as _};
                (&$crate::__private::Of::value(&value)).end()
            };
            end.finish(value)
        })
    };
    (@more [$($body:tt)*] :: < $($rest:tt)*) => {
        $crate::go!(@generic [$($body)*] $($rest)*)
    };
    (@more [$($body:tt)*] :: $($rest:tt)*) => {
        $crate::go!(@name [$($body)*] $($rest)*)
    };
    (@more [$($body:tt)*] . $field:tt $($rest:tt)*) => {
        $crate::go!(@more [$($body)*] $($rest)*)
    };
    // Arguments up to the end: a path. Anything else is left to the block.
    (@generic [$($body:tt)*] >) => {
        $crate::go!(@more [$($body)*])
    };
    (@generic [$($body:tt)*] >>) => {
        $crate::go!(@more [$($body)*])
    };
    (@generic [$($body:tt)*] ; $($rest:tt)*) => {
        $crate::go!(@block [$($body)*])
    };
    (@generic [$($body:tt)*] $first:tt $($rest:tt)*) => {
        $crate::go!(@generic [$($body)*] $($rest)*)
    };
    (@$other:ident [$($body:tt)*] $($rest:tt)*) => {
        $crate::__private::spawn_block(move || { $($body)* })
    };
    (return) => {
        $crate::go!(@block [return])
    };
    (:: $($rest:tt)+) => {
        $crate::go!(@name [:: $($rest)+] $($rest)+)
    };
    ($($body:tt)*) => {
        $crate::go!(@name [$($body)*] $($body)*)
    };
}

/// What the macros expand to.
#[cfg(not(loom))]
#[doc(hidden)]
pub mod __private {
    use crate::{Builder, runtime, thread};
    use std::marker::PhantomData;
    use std::process::{ExitCode, Termination};

    /// The type of a value that `go!` was given.
    #[derive(Debug)]
    pub struct Of<T>(PhantomData<fn() -> T>);

    impl<T> Of<T> {
        /// Of this one.
        pub fn value(_: &T) -> Of<T> {
            Of(PhantomData)
        }
    }

    /// The coroutine ends by a call of the value.
    #[derive(Debug)]
    pub struct Call;

    /// The coroutine ends with the value as its result.
    #[derive(Debug)]
    pub struct Give;

    /// For what can be called.
    pub trait ByCall {
        /// How the coroutine ends.
        fn end(&self) -> Call {
            Call
        }
    }

    /// For everything: method lookup gets here by one more reference, and so only if `ByCall` does
    /// not apply.
    pub trait ByValue {
        /// How the coroutine ends.
        fn end(&self) -> Give {
            Give
        }
    }

    impl<F: FnOnce() -> T, T> ByCall for Of<F> {}
    impl<T> ByValue for &Of<T> {}

    impl Call {
        /// Calls it.
        pub fn finish<F: FnOnce() -> T, T>(self, f: F) -> T {
            f()
        }
    }

    impl Give {
        /// Gives it back.
        pub fn finish<T>(self, value: T) -> T {
            value
        }
    }

    /// What a block may give: anything but a closure, which would never be called. For a closure
    /// both implementations apply, so that the compiler cannot tell which `How` is meant.
    pub trait NoClosure<How> {}

    /// A value.
    #[derive(Debug)]
    pub struct Value;

    /// A closure.
    #[derive(Debug)]
    pub struct Closure;

    impl<T> NoClosure<Value> for T {}
    impl<F: FnOnce() -> T, T> NoClosure<Closure> for F {}

    /// `go!` with a block.
    #[track_caller]
    pub fn spawn_block<F, T, How>(block: F) -> thread::JoinHandle<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: NoClosure<How> + Send + 'static,
    {
        crate::spawn(block)
    }

    /// The options of `#[pirn::main]` and `#[pirn::test]`.
    #[derive(Debug, Default)]
    pub struct Options {
        /// Worker threads.
        pub workers: Option<usize>,
        /// Bytes of stack.
        pub stack_size: Option<usize>,
    }

    impl Options {
        fn is_default(&self) -> bool {
            self.workers.is_none() && self.stack_size.is_none()
        }

        fn build(self) -> crate::Runtime {
            let mut builder = Builder::new();
            if let Some(workers) = self.workers {
                builder = builder.workers(workers);
            }
            if let Some(stack_size) = self.stack_size {
                builder = builder.stack_size(stack_size);
            }
            builder.build().expect("failed to start the runtime")
        }
    }

    /// Runs a program's main function. As with std's threads, its return ends the process.
    #[track_caller]
    pub fn run_main<T: Send>(options: Options, f: impl FnOnce() -> T + Send) -> T {
        if options.is_default() {
            let shared = runtime::with_current_or_default(|shared| Ok(shared.clone()));
            return thread::run_to_end(&shared.expect("failed to start the runtime"), f);
        }
        let runtime = std::mem::ManuallyDrop::new(options.build());
        runtime.run(f)
    }

    /// The same, and reports what it returns, which may be nothing that another thread can have.
    #[track_caller]
    pub fn report_main<T: Termination>(options: Options, f: impl FnOnce() -> T + Send) -> ExitCode {
        run_main(options, || f().report())
    }

    /// Runs a test in a runtime of its own.
    #[track_caller]
    pub fn run_test<T: Send>(options: Options, f: impl FnOnce() -> T + Send) -> T {
        options.build().run(f)
    }

    /// The same, and reports what it returns, as [`report_main`] does.
    #[track_caller]
    pub fn report_test<T: Termination>(options: Options, f: impl FnOnce() -> T + Send) -> ExitCode {
        run_test(options, || f().report())
    }
}

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

#[cfg(doctest)]
#[doc = include_str!("../docs/from-go.md")]
struct FromGo;

#[cfg(doctest)]
#[doc = include_str!("../docs/from-gevent.md")]
struct FromGevent;
