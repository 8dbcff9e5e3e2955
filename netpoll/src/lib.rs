//! The readiness poller under pirn.
