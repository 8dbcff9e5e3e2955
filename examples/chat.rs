//! A chat server: every line goes to everybody else. Works with `nc`.
//!
//! ```sh
//! cargo run --release --example chat -- 127.0.0.1:7001
//! ```
//!
//! In other terminals, as many as you like:
//!
//! ```sh
//! nc 127.0.0.1 7001
//! ```
//!
//! Two coroutines serve each member: one reads lines, the other writes what the member is to see
//! from a queue of bounded length. Whoever does not read fills the queue, and is dropped; nobody
//! else waits for them.

#[path = "support/chat.rs"]
mod chat;
#[path = "support/descriptors.rs"]
mod descriptors;
#[path = "support/program.rs"]
mod program;
#[path = "support/server.rs"]
mod server;

use std::process::ExitCode;
use std::sync::Arc;

#[pirn::main]
fn main() -> ExitCode {
    let room = Arc::new(chat::Room::default());
    let greeting = |address| format!("chat server on {address}");
    program::run("chat", "127.0.0.1:7001", greeting, move |stream| chat::serve(stream, &room))
}
