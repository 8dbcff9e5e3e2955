//! Why a coroutine waits, in words fit for a dump.

use std::fmt;
use std::os::fd::RawFd;

/// All reasons, in order: the number by which one is packed, its name, what it holds, and what a dump
/// says. Numbers are not given twice, and a new reason gets a new one.
macro_rules! reasons {
    ($($(#[$doc:meta])* $number:literal $name:ident $(($payload:ident: $type:ty))? $text:literal,)*) => {
        /// Each place that waits has its own.
        ///
        /// Debuggers read it, so its layout is fixed: a word for the variant, in the order of
        /// [`WaitReason::ALL`], and one for what it holds. It is what the compiler would choose, too.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(usize)]
        pub(crate) enum WaitReason {
            $($(#[$doc])* $name $(($type))?,)*
        }

        impl WaitReason {
            /// One of each kind, in order.
            pub(crate) const ALL: [WaitReason; [$($number),*].len()] =
                [$(WaitReason::$name $((<$type>::MIN))?),*];

            const fn text(self) -> &'static str {
                match self {
                    $(WaitReason::$name { .. } => $text,)*
                }
            }

            /// As one word, whose lowest eight bits say which it is. Of a payload the highest eight
            /// bits are lost: no address and no descriptor has any there.
            pub(crate) fn pack(self) -> u64 {
                match self {
                    $(WaitReason::$name $(($payload))? => $number $(| $payload.word() << 8)?,)*
                }
            }

            /// The reason that was packed, if one was.
            pub(crate) fn unpack(word: u64) -> Option<WaitReason> {
                match word & 0xFF {
                    $($number => Some(WaitReason::$name $((<$type>::of_word(word >> 8)))?),)*
                    _ => None,
                }
            }
        }
    };
}

reasons! {
    /// It does not wait.
    0 None "running",
    1 Park "park",
    2 Sleep "sleep",
    3 Future "future",
    4 Join "join",
    5 Scope "scope",
    6 Read "read",
    7 Write "write",
    8 Accept "accept",
    9 Connect "connect",
    /// One of the four above, of that descriptor.
    64 Descriptor(wait: DescriptorWait) "descriptor",
    10 Lookup "name lookup",
    11 Process "child process",
    12 Signal "signal",
    13 Blocking "blocking work",
    /// Work on files.
    14 File "file system",
    /// For the machines to say who lives there.
    15 Dump "dump",
    /// A receive that only time ends.
    16 Clock "channel of the clock",
    /// For all of another runtime's threads.
    17 Shutdown "end of a runtime",
    /// Of so many operations.
    32 Select(operations: usize) "select",
    /// At that address, as all that follow.
    33 Send(address: usize) "channel send",
    34 Receive(address: usize) "channel receive",
    35 Mutex(address: usize) "mutex",
    36 RwLockRead(address: usize) "read lock",
    37 RwLockWrite(address: usize) "write lock",
    38 Condvar(address: usize) "condition variable",
    39 Once(address: usize) "initialisation",
    40 Barrier(address: usize) "barrier",
    41 Semaphore(address: usize) "semaphore",
    42 Event(address: usize) "event",
    43 Notify(address: usize) "notification",
}

/// What fits into a packed reason.
trait Payload {
    fn word(self) -> u64;
    fn of_word(word: u64) -> Self;
}

impl Payload for usize {
    fn word(self) -> u64 {
        self as u64
    }

    fn of_word(word: u64) -> usize {
        word as usize
    }
}

impl Payload for DescriptorWait {
    fn word(self) -> u64 {
        self.0 as u64
    }

    fn of_word(word: u64) -> DescriptorWait {
        DescriptorWait(word as usize)
    }
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
    const MIN: DescriptorWait = DescriptorWait(0);

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
    /// What kind of a wait it is.
    pub(crate) const fn kind(self) -> &'static str {
        match self {
            WaitReason::Descriptor(wait) => wait.readiness().name(),
            other => other.text(),
        }
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
        use WaitReason::{
            Barrier, Condvar, Event, Mutex, Notify, Once, Receive, RwLockRead, RwLockWrite,
            Semaphore, Send,
        };
        match self {
            Send(at) | Receive(at) | Mutex(at) | RwLockRead(at) | RwLockWrite(at) | Condvar(at)
            | Once(at) | Barrier(at) | Semaphore(at) | Event(at) | Notify(at) => Some(at),
            _ => None,
        }
    }

    /// The address of the lock that somebody may hold.
    pub(crate) fn lock(self) -> Option<usize> {
        use WaitReason::{Mutex, RwLockRead, RwLockWrite};
        match self {
            Mutex(address) | RwLockRead(address) | RwLockWrite(address) => Some(address),
            _ => None,
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

    /// Whether a channel is waited for, and not one of several.
    #[cfg(debug_assertions)]
    pub(super) fn is_for_a_channel(self) -> bool {
        matches!(self, WaitReason::Send(_) | WaitReason::Receive(_))
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
        match (self.kind(), self.address()) {
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
        let more = [WaitReason::Select(3), descriptor, WaitReason::Notify(0x7FFF_FFFF_F008)];
        for reason in WaitReason::ALL.into_iter().chain(more) {
            assert_eq!(WaitReason::unpack(reason.pack()), Some(reason));
        }
        assert_eq!(WaitReason::unpack(255), None);
    }
}
