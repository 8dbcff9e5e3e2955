//! `std::io`, with waits that park the coroutine.

mod asynchronous;
mod descriptor;
mod fd;
mod lock;
mod pipe;
mod stdio;
mod sys;

pub use asynchronous::Async;
pub(crate) use descriptor::Descriptor;
pub use pipe::{PipeReader, PipeWriter, pipe};
pub use std::io::*;
pub use stdio::{Stderr, StderrLock, Stdin, StdinLock, Stdout, StdoutLock, stderr, stdin, stdout};
