//! Why a coroutine waits, in words fit for a dump.

use std::fmt;

/// Each place that waits has its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum WaitReason {
    /// It does not wait.
    None,
    Park,
    Sleep,
    Join,
    Scope,
    Read,
    Write,
    Accept,
    Connect,
    Lookup,
    Blocking,
    Send,
    Receive,
    Select,
}

impl fmt::Display for WaitReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            WaitReason::None => "running",
            WaitReason::Park => "park",
            WaitReason::Sleep => "sleep",
            WaitReason::Join => "join",
            WaitReason::Scope => "scope",
            WaitReason::Read => "read",
            WaitReason::Write => "write",
            WaitReason::Accept => "accept",
            WaitReason::Connect => "connect",
            WaitReason::Lookup => "name lookup",
            WaitReason::Blocking => "blocking work",
            WaitReason::Send => "channel send",
            WaitReason::Receive => "channel receive",
            WaitReason::Select => "select",
        })
    }
}
