//! [`Semaphore`] and its permits.

#![expect(unsafe_code, reason = "queues nodes that live in the waiting frame")]

use crate::coroutine::unwind_cancelled;
use crate::park::{Cancel, Outcome, Ticket, WaitReason, deadline_after, park};
use crate::protocol::raw_semaphore::{RawSemaphore, Request};
use crate::sched;
use crate::sync::wait::claim;
use crate::util::wait_list::Node;
use std::error::Error;
use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Permits for a number of users at a time: tokio's `Semaphore` in blocking style.
///
/// It is fair: permits go to those who wait, first come, first served, and nobody overtakes. So a
/// request for many is met in its turn, and those behind it wait for that. (One that is cancelled while
/// it waits in a [`shield`](crate::shield()) goes on waiting, but at the end of the queue.)
///
/// # Examples
///
/// At most four at a time:
///
/// ```
/// use pirn::sync::{Arc, Semaphore};
///
/// let slots = Arc::new(Semaphore::new(4));
/// let jobs: Vec<_> = (0..100)
///     .map(|_| {
///         let slots = slots.clone();
///         pirn::spawn(move || {
///             let _permit = slots.acquire()?;
///             // … work …
///             Ok::<(), pirn::sync::AcquireError>(())
///         })
///     })
///     .collect();
/// jobs.into_iter().for_each(|job| job.join().unwrap().unwrap());
/// assert_eq!(slots.available_permits(), 4);
/// ```
pub struct Semaphore {
    raw: RawSemaphore<Ticket>,
}

impl UnwindSafe for Semaphore {}
impl RefUnwindSafe for Semaphore {}

/// The semaphore was [closed](Semaphore::close).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AcquireError(());

/// Why [`Semaphore::try_acquire`] gave no permit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TryAcquireError {
    /// The semaphore was [closed](Semaphore::close).
    Closed,
    /// There are too few permits, or others come first.
    NoPermits,
}

/// Why [`Semaphore::acquire_timeout`] gave no permit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AcquireTimeoutError {
    /// The semaphore was [closed](Semaphore::close).
    Closed,
    /// The time was up.
    Timeout,
}

impl fmt::Display for AcquireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("semaphore closed")
    }
}

impl fmt::Display for TryAcquireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TryAcquireError::Closed => "semaphore closed",
            TryAcquireError::NoPermits => "no permits available",
        })
    }
}

impl fmt::Display for AcquireTimeoutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            AcquireTimeoutError::Closed => "semaphore closed",
            AcquireTimeoutError::Timeout => "timed out waiting for a permit",
        })
    }
}

impl Error for AcquireError {}
impl Error for TryAcquireError {}
impl Error for AcquireTimeoutError {}

impl Semaphore {
    /// The most permits that one may have.
    pub const MAX_PERMITS: usize = usize::MAX >> 3;

    /// A semaphore with so many permits.
    ///
    /// # Panics
    ///
    /// If that is more than [`MAX_PERMITS`](Semaphore::MAX_PERMITS).
    #[must_use]
    pub const fn new(permits: usize) -> Semaphore {
        assert!(permits <= Semaphore::MAX_PERMITS, "a semaphore may not have so many permits");
        Semaphore { raw: RawSemaphore::new(permits) }
    }

    /// The permits that nobody has. If somebody waits, there are too few for the first in the queue,
    /// for whom they are kept: nobody else gets any of them.
    #[must_use]
    pub fn available_permits(&self) -> usize {
        self.raw.permits()
    }

    /// Adds permits for good.
    ///
    /// # Panics
    ///
    /// If there would be more than [`MAX_PERMITS`](Semaphore::MAX_PERMITS).
    pub fn add_permits(&self, permits: usize) {
        self.raw.release(permits, Semaphore::MAX_PERMITS, claim, drop);
    }

    /// Takes up to `permits` away for good; how many it were.
    pub fn forget_permits(&self, permits: usize) -> usize {
        self.raw.forget(permits)
    }

    /// Waits for a permit.
    ///
    /// # Errors
    ///
    /// If the semaphore is closed.
    pub fn acquire(&self) -> Result<SemaphorePermit<'_>, AcquireError> {
        self.acquire_many(1)
    }

    /// Waits for several permits at once.
    ///
    /// # Errors
    ///
    /// If the semaphore is closed.
    pub fn acquire_many(&self, permits: u32) -> Result<SemaphorePermit<'_>, AcquireError> {
        match self.take(permits, None) {
            Request::Granted => Ok(SemaphorePermit { semaphore: self, permits }),
            _ => Err(AcquireError(())),
        }
    }

    /// Takes a permit if that can be done without waiting.
    ///
    /// # Errors
    ///
    /// If there is none to be had, or the semaphore is closed.
    pub fn try_acquire(&self) -> Result<SemaphorePermit<'_>, TryAcquireError> {
        self.try_acquire_many(1)
    }

    /// Takes several permits if that can be done without waiting.
    ///
    /// # Errors
    ///
    /// If there are too few to be had, or the semaphore is closed.
    pub fn try_acquire_many(&self, permits: u32) -> Result<SemaphorePermit<'_>, TryAcquireError> {
        self.try_take(permits).map(|()| SemaphorePermit { semaphore: self, permits })
    }

    /// Waits for a permit, but for no longer than `timeout`. Any duration is legal;
    /// [`Duration::MAX`] is without limit.
    ///
    /// # Errors
    ///
    /// If the time is up, or the semaphore is closed.
    pub fn acquire_timeout(
        &self,
        timeout: Duration,
    ) -> Result<SemaphorePermit<'_>, AcquireTimeoutError> {
        self.acquire_many_timeout(1, timeout)
    }

    /// Waits for several permits at once, but for no longer than `timeout`.
    ///
    /// # Errors
    ///
    /// If the time is up, or the semaphore is closed.
    pub fn acquire_many_timeout(
        &self,
        permits: u32,
        timeout: Duration,
    ) -> Result<SemaphorePermit<'_>, AcquireTimeoutError> {
        let deadline = deadline_after(timeout);
        match self.take(permits, deadline) {
            Request::Granted => Ok(SemaphorePermit { semaphore: self, permits }),
            Request::Closed => Err(AcquireTimeoutError::Closed),
            Request::Waits => Err(AcquireTimeoutError::Timeout),
        }
    }

    /// [Waits](Semaphore::acquire) for a permit that borrows nothing.
    ///
    /// # Errors
    ///
    /// If the semaphore is closed.
    pub fn acquire_owned(self: Arc<Self>) -> Result<OwnedSemaphorePermit, AcquireError> {
        self.acquire_many_owned(1)
    }

    /// [Waits](Semaphore::acquire_many) for several permits, without borrowing.
    ///
    /// # Errors
    ///
    /// If the semaphore is closed.
    pub fn acquire_many_owned(
        self: Arc<Self>,
        permits: u32,
    ) -> Result<OwnedSemaphorePermit, AcquireError> {
        match self.take(permits, None) {
            Request::Granted => Ok(OwnedSemaphorePermit { semaphore: self, permits }),
            _ => Err(AcquireError(())),
        }
    }

    /// [Takes](Semaphore::try_acquire) a permit that borrows nothing.
    ///
    /// # Errors
    ///
    /// If there is none to be had, or the semaphore is closed.
    pub fn try_acquire_owned(self: Arc<Self>) -> Result<OwnedSemaphorePermit, TryAcquireError> {
        self.try_acquire_many_owned(1)
    }

    /// [Takes](Semaphore::try_acquire_many) several permits, without borrowing.
    ///
    /// # Errors
    ///
    /// If there are too few to be had, or the semaphore is closed.
    pub fn try_acquire_many_owned(
        self: Arc<Self>,
        permits: u32,
    ) -> Result<OwnedSemaphorePermit, TryAcquireError> {
        self.try_take(permits).map(|()| OwnedSemaphorePermit { semaphore: self, permits })
    }

    /// Gives no permits from now on: those who wait get an error, and so do all who come. Permits
    /// that were given stay good.
    pub fn close(&self) {
        self.raw.close(claim, drop);
    }

    /// Whether it was closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.raw.is_closed()
    }

    /// Takes a permit if that can be done without waiting, and lets nobody else run if it cannot: for the
    /// end of the process. The permit is not given back by itself.
    pub(crate) fn take_one_at_exit(&self) -> bool {
        self.raw.try_acquire(1) == Request::Granted
    }

    fn try_take(&self, permits: u32) -> Result<(), TryAcquireError> {
        let error = match self.raw.try_acquire(permits as usize) {
            Request::Granted => return Ok(()),
            Request::Closed => TryAcquireError::Closed,
            Request::Waits => TryAcquireError::NoPermits,
        };
        sched::tried_in_vain();
        Err(error)
    }

    /// Waits for permits. `Waits`: the deadline came first.
    fn take(&self, permits: u32, deadline: Option<Instant>) -> Request {
        let permits = permits as usize;
        let now = self.raw.try_acquire(permits);
        if now != Request::Waits {
            return now;
        }
        let reason = WaitReason::Semaphore(ptr::from_ref(self).addr());
        loop {
            let mut node = None;
            let mut at_once = Request::Waits;
            let outcome = park(reason, deadline, Cancel::Deliver, |ticket| {
                // SAFETY: the node is in the frame of this wait, and leaves the queue below unless
                // a waker has taken it off.
                let request = unsafe {
                    self.raw.acquire(permits, ticket, |wish| {
                        NonNull::from(node.insert(Node::new(wish)))
                    })
                };
                let waits = request == Request::Waits;
                if !waits {
                    // Whoever has joined may run already, elsewhere: then this frame is not ours.
                    at_once = request;
                }
                waits
            });
            if at_once != Request::Waits {
                return at_once;
            }
            if outcome == Outcome::Woken {
                let refused = node.is_some_and(|node| self.raw.has_refused(node.waiter()));
                return if refused { Request::Closed } else { Request::Granted };
            }
            if let Some(node) = &node {
                // SAFETY: the node is alive, and in this queue if in any.
                unsafe { self.raw.leave(NonNull::from(node), claim, drop) };
            }
            match outcome {
                Outcome::Cancelled => unwind_cancelled(),
                Outcome::TimedOut => return Request::Waits,
                Outcome::Woken | Outcome::Interrupted => {}
            }
        }
    }
}

impl fmt::Debug for Semaphore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Semaphore")
            .field("permits", &self.available_permits())
            .field("closed", &self.is_closed())
            .finish()
    }
}

/// Permits of a [`Semaphore`], given back when this is dropped.
#[must_use = "dropping it gives the permits back"]
#[derive(Debug)]
pub struct SemaphorePermit<'a> {
    semaphore: &'a Semaphore,
    permits: u32,
}

/// Permits of a [`Semaphore`] in an [`Arc`], given back when this is dropped.
#[must_use = "dropping it gives the permits back"]
#[derive(Debug)]
pub struct OwnedSemaphorePermit {
    semaphore: Arc<Semaphore>,
    permits: u32,
}

/// What both kinds of permits can do.
macro_rules! permits {
    ($permit:ident $(<$lifetime:lifetime>)?, $same:expr, $clone:expr) => {
        impl $(<$lifetime>)? $permit $(<$lifetime>)? {
            /// Never gives the permits back.
            pub fn forget(mut self) {
                self.permits = 0;
            }

            /// Takes the permits of another over.
            ///
            /// # Panics
            ///
            /// If they are of another semaphore, or if this would hold more than [`u32::MAX`]. The
            /// permits of the other are given back then.
            #[track_caller]
            pub fn merge(&mut self, mut other: Self) {
                assert!($same(self, &other), "merging permits from different semaphores");
                let sum = self.permits.checked_add(other.permits);
                self.permits = sum.expect("one permit cannot hold so many");
                other.permits = 0;
            }

            /// Splits `permits` off; `None` if there are not as many.
            pub fn split(&mut self, permits: usize) -> Option<Self> {
                let permits = u32::try_from(permits).ok()?;
                self.permits = self.permits.checked_sub(permits)?;
                Some($permit { semaphore: $clone(&self.semaphore), permits })
            }

            /// How many permits these are.
            #[must_use]
            pub fn num_permits(&self) -> usize {
                self.permits as usize
            }
        }

        impl $(<$lifetime>)? Drop for $permit $(<$lifetime>)? {
            fn drop(&mut self) {
                if self.permits > 0 {
                    self.semaphore.add_permits(self.permits as usize);
                }
            }
        }
    };
}

permits!(
    SemaphorePermit<'a>,
    |one: &Self, other: &Self| ptr::eq(one.semaphore, other.semaphore),
    |semaphore: &&'a Semaphore| *semaphore
);
permits!(
    OwnedSemaphorePermit,
    |one: &Self, other: &Self| Arc::ptr_eq(&one.semaphore, &other.semaphore),
    Arc::clone
);

impl OwnedSemaphorePermit {
    /// The semaphore that gave these permits.
    #[must_use]
    pub fn semaphore(&self) -> &Arc<Semaphore> {
        &self.semaphore
    }
}
