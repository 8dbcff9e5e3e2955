//! What only some systems have, where std has it.

pub mod unix;
