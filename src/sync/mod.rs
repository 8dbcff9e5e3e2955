//! `std::sync` for coroutines.

#[path = "../mpsc/mod.rs"]
pub mod mpsc;
