//! What std has for single families of systems, in `std::os`.

pub mod unix;
