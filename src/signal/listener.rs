//! Who listens for signals.

use crate::netpoller::{Done, Side, Source};
use crate::park::{self, WaitReason};
use crate::signal::SignalKind;
use crate::signal::sys::{self, Bell};
use signal_hook_registry::SigId;
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A listener for some kinds of signals: see [the module](crate::signal).
///
/// Any number of coroutines and threads may receive from one listener; each signal then goes to one
/// of them. Dropping it ends the listening, and does not bring default actions back.
///
/// # Examples
///
/// ```
/// use pirn::signal::{SignalKind, Signals};
///
/// let signals = Signals::new([SignalKind::child()])?;
/// let ended = pirn::spawn(move || signals.recv());
/// pirn::process::Command::new("true").status()?;
/// assert_eq!(ended.join().unwrap()?, SignalKind::child());
/// # std::io::Result::Ok(())
/// ```
pub struct Signals {
    source: Source,
    bell: Arc<Bell>,
    registrations: BTreeMap<SignalKind, SigId>,
}

impl Signals {
    /// Listens for signals of these kinds from now on. Their default actions are gone for good.
    ///
    /// # Errors
    ///
    /// - `InvalidInput` for what is no signal, for `SIGKILL` and `SIGSTOP`, which nobody can listen
    ///   for, and for `SIGSEGV`, `SIGBUS`, `SIGILL` and `SIGFPE`, which report faults.
    /// - What the system says of a descriptor more.
    pub fn new(kinds: impl IntoIterator<Item = SignalKind>) -> io::Result<Signals> {
        let (bell, reader) = Bell::new()?;
        let mut signals = Signals {
            source: Source::new(reader),
            bell: Arc::new(bell),
            registrations: BTreeMap::new(),
        };
        for kind in kinds {
            if !signals.registrations.contains_key(&kind) {
                let id = sys::register(kind.as_raw_value(), signals.bell.clone())?;
                signals.registrations.insert(kind, id);
            }
        }
        Ok(signals)
    }

    /// Waits for the next signal. Kinds that come often do not keep others from being received.
    ///
    /// # Errors
    ///
    /// What the system says of waiting for a descriptor more: it may be out of memory.
    pub fn recv(&self) -> io::Result<SignalKind> {
        self.recv_deadline(None)
    }

    /// Waits for the next signal for so long. `None`: there was none.
    ///
    /// # Errors
    ///
    /// As [`recv`](Signals::recv).
    pub fn recv_timeout(&self, timeout: Duration) -> io::Result<Option<SignalKind>> {
        match self.recv_deadline(park::deadline_after(timeout)) {
            Ok(kind) => Ok(Some(kind)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The next signal that has come already, if there is one.
    #[must_use]
    pub fn try_recv(&self) -> Option<SignalKind> {
        self.bell.take(self.source.as_fd()).map(SignalKind::from_raw)
    }

    /// All signals to come: waits for each, and never ends.
    #[must_use]
    pub fn iter(&self) -> Iter<'_> {
        Iter { signals: self }
    }

    fn recv_deadline(&self, deadline: Option<Instant>) -> io::Result<SignalKind> {
        self.source.io(Side::Read, WaitReason::Signal, deadline, |_fd| {
            let value = self.try_recv().ok_or(io::ErrorKind::WouldBlock)?;
            Ok(Done { value, drained: false })
        })
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        for id in self.registrations.values() {
            signal_hook_registry::unregister(*id);
        }
    }
}

impl fmt::Debug for Signals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds: Vec<_> = self.registrations.keys().collect();
        f.debug_struct("Signals").field("kinds", &kinds).finish_non_exhaustive()
    }
}

impl<'a> IntoIterator for &'a Signals {
    type Item = io::Result<SignalKind>;
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

/// All signals to come: see [`Signals::iter`].
#[derive(Debug, Clone)]
pub struct Iter<'a> {
    signals: &'a Signals,
}

impl Iterator for Iter<'_> {
    type Item = io::Result<SignalKind>;

    fn next(&mut self) -> Option<io::Result<SignalKind>> {
        Some(self.signals.recv())
    }
}
