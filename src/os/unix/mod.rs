//! What Unix systems have.

pub mod process;
