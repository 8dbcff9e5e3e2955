//! Child processes, from coroutines and from plain threads.

mod children;
mod std_parity;
mod support;
