//! Signals of the operating system, waited for by parking.
//!
//! A [`Signals`] is a listener: it gets each signal of the kinds it was made for, from when it was
//! made until it is dropped, and [`recv`](Signals::recv) waits for the next. Any number of listeners
//! get each signal, wherever they wait: in coroutines of any runtime, or on plain OS threads.
//!
//! ```no_run
//! use pirn::signal::{SignalKind, Signals};
//!
//! let signals = Signals::new([SignalKind::hangup(), SignalKind::terminate()])?;
//! pirn::spawn(move || {
//!     for signal in &signals {
//!         match signal? {
//!             kind if kind == SignalKind::hangup() => println!("reading the configuration"),
//!             _ => std::process::exit(0),
//!         }
//!     }
//!     std::io::Result::Ok(())
//! });
//! # std::io::Result::Ok(())
//! ```
//!
//! To wait for a signal or something else, have a coroutine send to a channel what it receives.
//!
//! # What the system does with signals
//!
//! - **They coalesce.** Of several signals of one kind that come before the first is received, a
//!   listener gets at least one: a signal says that something has happened, not how often.
//! - **Default actions end with the first listener** for a kind, for the rest of the process' life:
//!   once something has listened for [`interrupt`](SignalKind::interrupt), Ctrl-C does not end the
//!   process, even if nobody listens any more.
//! - **Children** start with default actions for what is listened for, as always after `exec`.
//!
//! Handlers that other libraries have installed before are called too. Those that are installed
//! later, past this crate and past `signal-hook`, take the signal away from all listeners.
//!
//! # How it works
//!
//! The handler, which is [`signal-hook-registry`]'s, sets a bit for each listener and writes a byte
//! to a socket of its own. Who listens waits for that socket as for any other descriptor. So there
//! is no thread for signals, and a runtime's end concerns nobody else.
//!
//! A handler runs on the stack of the thread that the system picks. That is the main thread, as long
//! as it is there and does not block the signal. Only a signal that is sent to a worker's thread
//! needs a coroutine's stack: some 5 KiB of it.
//!
//! Rejected: one thread that reads a pipe and passes signals on, since it is one more thread and one
//! more switch for each signal; one pipe for all listeners, since somebody would have to read it for
//! the others, and a runtime that ends might be that one; `signalfd`, which wants the signal blocked
//! in each thread of the process, and has children inherit that; handlers on the threads' alternate
//! stacks, since `std::process::exit` in a coroutine unmaps that of the main thread, where the next
//! signal would be a fault (rust-lang/rust#111272).
//!
//! [`signal-hook-registry`]: https://docs.rs/signal-hook-registry

mod kind;
mod listener;
mod sys;
mod token;

pub use kind::SignalKind;
pub use listener::{Iter, Signals};
pub use token::token_on;

use std::io;

/// Waits for the next signal of one of these kinds.
///
/// What comes before the call is not seen, and neither is what comes between two of them: make a
/// [`Signals`] for more than one signal.
///
/// # Errors
///
/// Those of [`Signals::new`] and [`Signals::recv`].
///
/// # Examples
///
/// ```no_run
/// use pirn::signal::{self, SignalKind};
///
/// let signal = signal::recv([SignalKind::interrupt(), SignalKind::terminate()])?;
/// println!("ended by {signal:?}");
/// # std::io::Result::Ok(())
/// ```
pub fn recv(kinds: impl IntoIterator<Item = SignalKind>) -> io::Result<SignalKind> {
    Signals::new(kinds)?.recv()
}

/// Waits for Ctrl-C: for the next [`SignalKind::interrupt`].
///
/// Once this was called, Ctrl-C does not end the process by itself any more.
///
/// # Errors
///
/// As [`recv`].
///
/// # Examples
///
/// ```no_run
/// pirn::spawn(|| {
///     // What is to be done until somebody presses Ctrl-C.
/// });
/// pirn::signal::ctrl_c()?;
/// # std::io::Result::Ok(())
/// ```
pub fn ctrl_c() -> io::Result<()> {
    recv([SignalKind::interrupt()]).map(drop)
}
