//! What the tests and examples here have in common; they come with the features `full` and `tls`.

#[cfg(feature = "tls")]
pub mod tls;
