//! Tests of the module as a whole, one behaviour each.

mod cost;
#[cfg(target_os = "linux")]
mod exhaustion;
#[cfg(target_os = "linux")]
mod memory;
mod overflow;
mod use_and_reuse;
