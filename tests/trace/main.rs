//! What the workers have done of late: `Runtime::trace`.

mod exit;
mod json;
mod reading;
mod recorded;
mod under_load;
