//! What std has for Unix systems, in `std::os::unix`.

pub mod fs;
