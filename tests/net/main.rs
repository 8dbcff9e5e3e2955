//! TCP, UDP and Unix sockets, in every combination of coroutines, runtimes and plain threads.

mod builder;
mod descriptors;
#[cfg(target_os = "linux")]
mod lingering;
mod race;
mod resets;
mod server;
mod std_parity;
mod support;
mod tcp;
mod timeouts;
mod udp;
mod udp_many;
mod unix;
mod waiters;
