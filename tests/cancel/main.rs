//! Cancellation of coroutines, timeouts and tokens: what they end, and what they leave alone.

mod endings;
mod kinds;
mod nesting;
mod stress;
mod support;
