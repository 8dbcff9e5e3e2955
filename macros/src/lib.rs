//! The attribute macros of pirn.
