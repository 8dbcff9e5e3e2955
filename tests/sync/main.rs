//! `pirn::sync`: std's rules, for coroutines and threads and any mix of both.

mod auto_traits;
mod barrier;
mod cancellation;
mod condvar;
mod crowds;
mod drops;
mod mutex;
mod once;
mod parity;
mod rwlock;
mod semaphore;
mod signals;
mod stress;
mod support;
