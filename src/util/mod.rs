//! Small tools without an opinion of their own.

pub(crate) mod wait_list;

#[cfg(not(loom))]
pub(crate) mod json;
#[cfg(not(loom))]
pub(crate) mod rng;
