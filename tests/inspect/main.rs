//! A running program says at a socket what its coroutines do.

#[path = "client.rs"]
mod client;
#[path = "protocol.rs"]
mod protocol;
#[path = "socket.rs"]
mod socket;
