//! How long the operations of a stream may wait.

use crate::netpoller::Side;
use crate::primitive::lock;
use once_cell::race::OnceBox;
use std::io;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// The limits of both sides, shared by a stream's clones. Most streams have none, which costs a
/// load to find out.
#[derive(Debug, Default)]
pub(crate) struct Limits(OnceBox<Sides>);

#[derive(Debug, Default)]
struct Sides {
    read: Mutex<Limit>,
    write: Mutex<Limit>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Limit {
    /// For each operation, from its start.
    timeout: Option<Duration>,
    /// For all of them.
    deadline: Option<Instant>,
}

impl Limits {
    /// When an operation that starts now must have ended.
    ///
    /// # Errors
    ///
    /// `WouldBlock`, as for a timeout, if the deadline has passed.
    #[inline]
    pub(crate) fn start(&self, side: Side) -> io::Result<Option<Instant>> {
        if self.0.get().is_none() { Ok(None) } else { self.get(side).start() }
    }

    pub(crate) fn timeout(&self, side: Side) -> Option<Duration> {
        self.get(side).timeout
    }

    pub(crate) fn set_timeout(&self, side: Side, timeout: Option<Duration>) {
        self.change(side, |limit| limit.timeout = timeout);
    }

    pub(crate) fn set_deadline(&self, side: Side, deadline: Option<Instant>) {
        self.change(side, |limit| limit.deadline = deadline);
    }

    fn get(&self, side: Side) -> Limit {
        self.0.get().map_or(Limit::default(), |sides| *lock(sides.of(side)))
    }

    fn change(&self, side: Side, change: impl FnOnce(&mut Limit)) {
        change(&mut lock(self.0.get_or_init(Box::default).of(side)));
    }
}

impl Sides {
    fn of(&self, side: Side) -> &Mutex<Limit> {
        match side {
            Side::Read => &self.read,
            Side::Write => &self.write,
        }
    }
}

impl Limit {
    fn start(self) -> io::Result<Option<Instant>> {
        if self.timeout.is_none() && self.deadline.is_none() {
            return Ok(None);
        }
        let now = Instant::now();
        if self.deadline.is_some_and(|deadline| deadline <= now) {
            return Err(io::Error::from_raw_os_error(libc::EAGAIN));
        }
        // A timeout beyond the clock's reach never ends anything.
        let timeout = self.timeout.and_then(|timeout| now.checked_add(timeout));
        Ok([timeout, self.deadline].into_iter().flatten().min())
    }
}

/// Std's error for a timeout of zero.
pub(crate) fn zero_timeout() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "cannot set a 0 duration timeout")
}
