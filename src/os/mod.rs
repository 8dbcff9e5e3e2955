//! What std has for single families of systems, in `std::os`.

#[cfg(unix)]
pub mod unix;
