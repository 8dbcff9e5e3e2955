//! Why a coroutine waits, in words fit for a dump.

use std::fmt;

/// Each place that waits has its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WaitReason {
    /// It does not wait.
    None,
    Park,
    Sleep,
    Future,
    Join,
    Scope,
    Read,
    Write,
    Accept,
    Connect,
    Lookup,
    Blocking,
    /// A receive that only time ends.
    Clock,
    /// Of so many operations.
    Select(usize),
    /// At that address, as all that follow.
    Send(usize),
    Receive(usize),
    Mutex(usize),
    RwLockRead(usize),
    RwLockWrite(usize),
    Condvar(usize),
    Once(usize),
    Barrier(usize),
    Semaphore(usize),
    Event(usize),
    Notify(usize),
}

impl WaitReason {
    /// What is waited for, and the address of the object if it has one.
    fn parts(self) -> (&'static str, Option<usize>) {
        match self {
            WaitReason::None => ("running", None),
            WaitReason::Park => ("park", None),
            WaitReason::Sleep => ("sleep", None),
            WaitReason::Future => ("future", None),
            WaitReason::Join => ("join", None),
            WaitReason::Scope => ("scope", None),
            WaitReason::Read => ("read", None),
            WaitReason::Write => ("write", None),
            WaitReason::Accept => ("accept", None),
            WaitReason::Connect => ("connect", None),
            WaitReason::Lookup => ("name lookup", None),
            WaitReason::Blocking => ("blocking work", None),
            WaitReason::Clock => ("channel of the clock", None),
            WaitReason::Select(_) => ("select", None),
            WaitReason::Send(address) => ("channel send", Some(address)),
            WaitReason::Receive(address) => ("channel receive", Some(address)),
            WaitReason::Mutex(address) => ("mutex", Some(address)),
            WaitReason::RwLockRead(address) => ("read lock", Some(address)),
            WaitReason::RwLockWrite(address) => ("write lock", Some(address)),
            WaitReason::Condvar(address) => ("condition variable", Some(address)),
            WaitReason::Once(address) => ("initialisation", Some(address)),
            WaitReason::Barrier(address) => ("barrier", Some(address)),
            WaitReason::Semaphore(address) => ("semaphore", Some(address)),
            WaitReason::Event(address) => ("event", Some(address)),
            WaitReason::Notify(address) => ("notification", Some(address)),
        }
    }
}

impl WaitReason {
    /// Whether it is a wait in which a lock is taken or given up.
    #[cfg(debug_assertions)]
    pub(super) fn is_for_a_lock(self) -> bool {
        use WaitReason::{Condvar, Mutex, RwLockRead, RwLockWrite};
        matches!(self, Mutex(_) | RwLockRead(_) | RwLockWrite(_) | Condvar(_))
    }

    /// Whether it is a wait for other coroutines to end.
    #[inline]
    pub(crate) fn is_for_others_to_end(self) -> bool {
        matches!(self, WaitReason::Join | WaitReason::Scope)
    }
}

impl fmt::Display for WaitReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let WaitReason::Select(operations) = self {
            return write!(f, "select of {operations}");
        }
        match self.parts() {
            (what, None) => f.write_str(what),
            (what, Some(address)) => write!(f, "{what} at {address:#x}"),
        }
    }
}
