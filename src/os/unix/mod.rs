//! What Unix systems have: names and extension traits, where std has them.

pub mod fs;
pub mod net;
pub mod process;
