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
//! - [`channel`] and [`sync::mpsc`] for messages between them;
//! - [`net`] for sockets;
//! - [`blocking`](crate::blocking()) and [`block_in_place`] for what can only block;
//! - [`Builder`] and [`Runtime`] for a runtime of one's own: the first `spawn` starts a default one.
//!
//! Everything that blocks can be called from plain OS threads too, and blocks those.
//!
//! # Soundness
//!
//! A coroutine may start on any worker thread, but from its first instruction it stays there. So
//! thread-locals, `!Send` values and lock guards on its stack are what they are in a thread, and
//! safe code stays safe. `docs/soundness.md` has the contract, and the hazards that are left.

#[cfg(not(loom))]
mod blocking;
#[cfg(not(loom))]
pub mod channel;
#[cfg(not(loom))]
mod coroutine;
#[cfg(not(loom))]
pub mod net;
#[cfg(not(loom))]
mod netpoller;
#[cfg(not(loom))]
mod park;
mod primitive;
mod protocol;
#[cfg(not(loom))]
mod runtime;
#[cfg(not(loom))]
mod sched;
#[cfg(not(loom))]
mod stack;
#[cfg(not(loom))]
pub mod sync;
#[cfg(not(loom))]
pub mod thread;
#[cfg(not(loom))]
mod timers;
mod util;

#[cfg(not(loom))]
mod exports {
    pub use crate::blocking::blocking;
    pub use crate::runtime::{
        Builder, GuardKind, Metrics, Runtime, ShutdownTimeout, StackClassMetrics, WorkerMetrics,
    };
    pub use crate::sched::Stall;
    pub use crate::thread::{Cancelled, spawn};
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
/// `go! { … }` moves what the block uses. Both forms give the [`thread::JoinHandle`].
///
/// ```
/// let (here, there) = (1, 2);
/// let sum = pirn::go! { here + there };
/// let product = pirn::go!(move || here * there);
/// assert_eq!(sum.join().unwrap() + product.join().unwrap(), 5);
/// ```
#[macro_export]
macro_rules! go {
    (move || $body:expr) => {
        $crate::spawn(move || $body)
    };
    (|| $body:expr) => {
        $crate::spawn(|| $body)
    };
    ($($body:tt)*) => {
        $crate::spawn(move || { $($body)* })
    };
}

/// What the attribute macros expand to.
#[cfg(not(loom))]
#[doc(hidden)]
pub mod __private {
    use crate::{Builder, runtime, thread};

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

    /// Runs a test in a runtime of its own.
    #[track_caller]
    pub fn run_test<T: Send>(options: Options, f: impl FnOnce() -> T + Send) -> T {
        options.build().run(f)
    }
}
