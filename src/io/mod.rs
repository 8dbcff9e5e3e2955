#![doc = include_str!("../../docs/io.md")]

mod asynchronous;
mod copy;
mod descriptor;
mod duplex;
mod fd;
#[cfg(target_os = "linux")]
mod kernel;
mod lock;
mod pipe;
mod stdio;
mod sys;

pub use asynchronous::Async;
pub use copy::{CopyBidirectional, HalfClose, copy, copy_bidirectional};
pub(crate) use descriptor::Descriptor;
pub use duplex::{DuplexStream, duplex};
pub use pipe::{PipeReader, PipeWriter, pipe};
pub use std::io::*;
pub use stdio::{Stderr, StderrLock, Stdin, StdinLock, Stdout, StdoutLock, stderr, stdin, stdout};
