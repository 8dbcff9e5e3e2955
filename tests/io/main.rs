//! `pirn::io`, in every combination of coroutines and plain threads.

mod adapter;
mod pipes;
mod streams;
mod support;
