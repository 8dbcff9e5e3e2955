//! Green threads for Rust.

mod primitive;
mod protocol;
mod util;
