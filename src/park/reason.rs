//! Why a coroutine waits, in words fit for a dump.

use std::fmt;
use std::os::fd::RawFd;

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
    /// One of the four above, of that descriptor.
    Descriptor(DescriptorWait),
    Lookup,
    Process,
    Signal,
    Blocking,
    /// Work on files.
    File,
    /// For the machines to say who lives there.
    Dump,
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

/// What a descriptor is to be ready for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Readiness {
    Read,
    Write,
    Accept,
    Connect,
}

/// Both in one word, as the payload of all other reasons is, so that a reason fits two registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DescriptorWait(usize);

impl Readiness {
    const ALL: [Readiness; 4] =
        [Readiness::Read, Readiness::Write, Readiness::Accept, Readiness::Connect];

    fn name(self) -> &'static str {
        match self {
            Readiness::Read => "read",
            Readiness::Write => "write",
            Readiness::Accept => "accept",
            Readiness::Connect => "connect",
        }
    }
}

impl DescriptorWait {
    fn of(readiness: Readiness, fd: RawFd) -> WaitReason {
        WaitReason::Descriptor(DescriptorWait((fd as usize) << 2 | readiness as usize))
    }

    pub(crate) fn readiness(self) -> Readiness {
        Readiness::ALL[self.0 & 3]
    }

    pub(crate) fn fd(self) -> RawFd {
        (self.0 >> 2) as RawFd
    }
}

impl WaitReason {
    /// The same wait, with the descriptor it is about, if it is about one.
    #[inline]
    pub(crate) fn of_descriptor(self, fd: RawFd) -> WaitReason {
        match self {
            WaitReason::Read => DescriptorWait::of(Readiness::Read, fd),
            WaitReason::Write => DescriptorWait::of(Readiness::Write, fd),
            WaitReason::Accept => DescriptorWait::of(Readiness::Accept, fd),
            WaitReason::Connect => DescriptorWait::of(Readiness::Connect, fd),
            other => other,
        }
    }

    /// The address of the object that is waited for.
    pub(crate) fn address(self) -> Option<usize> {
        self.parts().1
    }

    /// The address of the lock that somebody may hold.
    pub(crate) fn lock(self) -> Option<usize> {
        use WaitReason::{Mutex, RwLockRead, RwLockWrite};
        match self {
            Mutex(address) | RwLockRead(address) | RwLockWrite(address) => Some(address),
            _ => None,
        }
    }

    /// What is waited for, of whatever object.
    pub(crate) fn kind(self) -> &'static str {
        self.parts().0
    }

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
            WaitReason::Descriptor(wait) => (wait.readiness().name(), None),
            WaitReason::Dump => ("dump", None),
            WaitReason::Lookup => ("name lookup", None),
            WaitReason::Process => ("child process", None),
            WaitReason::Signal => ("signal", None),
            WaitReason::Blocking => ("blocking work", None),
            WaitReason::File => ("file system", None),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_keeps_its_descriptor() {
        let reasons =
            [WaitReason::Read, WaitReason::Write, WaitReason::Accept, WaitReason::Connect];
        for (reason, readiness) in reasons.into_iter().zip(Readiness::ALL) {
            for fd in [0, 3, RawFd::MAX] {
                let WaitReason::Descriptor(wait) = reason.of_descriptor(fd) else { panic!() };
                assert_eq!((wait.readiness(), wait.fd()), (readiness, fd));
                assert_eq!(WaitReason::Descriptor(wait).to_string(), reason.to_string());
            }
        }
        assert_eq!(WaitReason::Join.of_descriptor(3), WaitReason::Join);
    }
}
