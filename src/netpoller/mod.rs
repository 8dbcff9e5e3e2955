#![doc = include_str!("../../docs/netpoller.md")]

mod driver;
mod os_wait;
mod polled;
mod slot;
mod source;

pub(crate) use crate::protocol::readiness::Seen;
pub(crate) use driver::PollDriver;
pub(crate) use source::{Done, Side, Source, pause, wait_any};
