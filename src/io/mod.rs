//! `std::io`, with waits that park the coroutine.

mod descriptor;
mod fd;
mod pipe;
mod sys;

pub(crate) use descriptor::Descriptor;
pub use pipe::{PipeReader, PipeWriter, pipe};
pub use std::io::*;
