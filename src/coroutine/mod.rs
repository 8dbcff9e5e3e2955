//! Coroutines: their memory, their life, and the way onto and off their stacks.
//!
//! ```text
//!  spawn            a machine picks it       body ends            last reference goes
//!    |   unstarted -----------------> started ----------> complete --------------> freed
//!    |   (no stack; any machine       (a stack; bound     (no stack; the result
//!    |    may start it)                to its home)        is the handle's)
//! ```
//!
//! - Until it starts, a coroutine is a closure in an allocation, and may move between threads as
//!   the closure's `Send` allows.
//! - It starts on a stack of its home's, and from then on only that home's thread runs it.
//! - Its closure and an unclaimed result are dropped on its own stack, at home, before completion
//!   is published. What is left after that is memory.
//! - A coroutine that is suspended is never dropped. The scheduler's reference keeps it alive; a
//!   runtime that ends resumes it once more so that it unwinds.
//!
//! [`header`] is the allocation, [`frames`] its memory, [`switch`] the stack switch, [`execution`]
//! what runs on the stack, [`locals`] what a coroutine keeps for itself, [`spans`] what it has entered
//! of `tracing`, [`unwinding`] how a coroutine parks in the middle of a panic, [`scope`] the count that
//! scopes wait for. The atomic protocols are in [`crate::protocol`].

mod execution;
mod frames;
mod header;
mod locals;
mod scope;
#[cfg_attr(feature = "tracing", path = "spans/followed.rs")]
#[cfg_attr(not(feature = "tracing"), path = "spans/none.rs")]
mod spans;
mod switch;
mod unwinding;

pub use execution::{Cancelled, Exited};
pub(crate) use execution::{
    abort_on_unwind, contained, describe, entry, is_cancellation, set_unwound, suspend,
    unwind_cancelled, unwind_exited, unwind_if_cancelled, was_cancelled, with_locals,
};
pub(crate) use frames::Frames;
pub(crate) use header::{Coroutine, Header, Joiner, Resident, Seed, Shape, Started};
pub(crate) use locals::{Local, LocalId};
pub(crate) use scope::{Failure, ScopeCount};
pub(crate) use spans::Spans;
#[cfg(feature = "tracing")]
pub(crate) use spans::{Follows, Told, enter, exit, with_default};
pub(crate) use switch::{Resumed, Suspender};
pub(crate) use unwinding::UnwindBank;
