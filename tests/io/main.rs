//! `pirn::io`, in every combination of coroutines and plain threads.

mod adapter;
mod copying;
mod in_memory;
mod interrupted;
mod pipes;
mod streams;
mod support;
