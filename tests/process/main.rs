//! Child processes, from coroutines and from plain threads.

mod children;
mod std_parity;
mod support;
#[cfg(target_os = "linux")]
mod without_pidfd;
