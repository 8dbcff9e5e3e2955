//! `pirn::channel`, between coroutines, between threads, and between both.

mod cancellation;
mod clocks;
mod drops;
mod flavours;
mod go_laws;
mod macros;
mod select;
mod spread;
mod stress;
mod support;
mod surface;
