//! Why a coroutine waits, in words fit for a dump.

use std::fmt;
use std::os::fd::RawFd;

/// Each place that waits has its own.
///
/// Debuggers read it, so its layout is fixed: a word for the variant, in the order of
/// [`WaitReason::ALL`], and one for what it holds. It is what the compiler would choose, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
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

    const fn name(self) -> &'static str {
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

    pub(crate) const fn readiness(self) -> Readiness {
        Readiness::ALL[self.0 & 3]
    }

    pub(crate) fn fd(self) -> RawFd {
        (self.0 >> 2) as RawFd
    }
}

impl WaitReason {
    /// One of each kind, in order.
    pub(crate) const ALL: [WaitReason; 30] = {
        use WaitReason::*;
        [
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
            Descriptor(DescriptorWait(0)),
            Lookup,
            Process,
            Signal,
            Blocking,
            File,
            Dump,
            Clock,
            Select(0),
            Send(0),
            Receive(0),
            Mutex(0),
            RwLockRead(0),
            RwLockWrite(0),
            Condvar(0),
            Once(0),
            Barrier(0),
            Semaphore(0),
            Event(0),
            Notify(0),
        ]
    };

    /// What kind of a wait it is.
    pub(crate) const fn kind(self) -> &'static str {
        self.parts().0
    }

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

    /// What is waited for, and the address of the object if it has one.
    const fn parts(self) -> (&'static str, Option<usize>) {
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

macro_rules! numbered {
    ($($number:literal $plain:ident)*; $($numbered:literal $about:ident)*; $last:literal) => {
        impl WaitReason {
            /// As one word, whose lowest eight bits say which it is. Of a payload the highest eight
            /// bits are lost: no address and no descriptor has any there.
            pub(crate) fn pack(self) -> u64 {
                match self {
                    $(WaitReason::$plain => $number,)*
                    $(WaitReason::$about(payload) => (payload as u64) << 8 | $numbered,)*
                    WaitReason::Descriptor(wait) => (wait.0 as u64) << 8 | $last,
                }
            }

            /// The reason that was packed, if one was.
            pub(crate) fn unpack(word: u64) -> Option<WaitReason> {
                let payload = (word >> 8) as usize;
                match word & 0xFF {
                    $($number => Some(WaitReason::$plain),)*
                    $($numbered => Some(WaitReason::$about(payload)),)*
                    $last => Some(WaitReason::Descriptor(DescriptorWait(payload))),
                    _ => None,
                }
            }
        }
    };
}

numbered! {
    0 None 1 Park 2 Sleep 3 Future 4 Join 5 Scope 6 Read 7 Write 8 Accept 9 Connect 10 Lookup
    11 Process 12 Signal 13 Blocking 14 File 15 Dump 16 Clock;
    32 Select 33 Send 34 Receive 35 Mutex 36 RwLockRead 37 RwLockWrite 38 Condvar 39 Once
    40 Barrier 41 Semaphore 42 Event 43 Notify;
    64
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

    #[test]
    fn a_packed_reason_is_the_same_again() {
        let descriptor = WaitReason::Accept.of_descriptor(RawFd::MAX);
        let reasons = [WaitReason::None, WaitReason::Clock, WaitReason::Select(3), descriptor];
        for reason in reasons.into_iter().chain([WaitReason::Notify(0x7FFF_FFFF_F008)]) {
            assert_eq!(WaitReason::unpack(reason.pack()), Some(reason));
        }
        assert_eq!(WaitReason::unpack(255), None);
    }
}
