//! Files, from coroutines and from plain threads.

mod cancellation;
mod errors;
mod folders;
mod locks;
mod position;
mod std_parity;
mod streams;
mod support;
