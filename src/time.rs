//! Time: sleeping, timeouts, intervals. All of it by the monotonic clock, so that a step of the
//! wall clock changes nothing. [`SystemTime`] tells that clock's time, as in std.

use crate::cancel::UNSUPPORTED;
use crate::park::{self, Limit, Over};
use std::fmt;
use std::io;

pub use crate::thread::{sleep, sleep_until};
pub use std::time::{
    Duration, Instant, SystemTime, SystemTimeError, TryFromFloatSecsError, UNIX_EPOCH,
};

/// Runs `f`, whose waits end when `limit` has passed: then `f` is unwound, silently, and its
/// destructors run.
///
/// Only a wait is ended: what `f` computes meanwhile is not, and if `f` comes to its end without
/// waiting again, its result is returned, however late. Timeouts nest, and each catches only its own.
/// What `f` spawns goes on, unless it is spawned in a [`thread::scope`](crate::thread::scope) inside
/// of `f`, or waited for under a [`CancelToken`](crate::CancelToken). Any duration is legal;
/// [`Duration::MAX`] is without limit.
///
/// The rules for what is cut short are those of `docs/cancellation.md`.
///
/// # Errors
///
/// [`Elapsed`], if a wait of `f`'s was ended. In a build with `panic = "abort"` nothing can be
/// unwound: then at once, without running `f`, and [`Elapsed::is_unsupported`] says so.
///
/// # Panics
///
/// A panic of `f` comes out here.
///
/// # Examples
///
/// ```
/// use pirn::time::{Duration, timeout};
/// use pirn::{channel, thread};
///
/// let (_sender, receiver) = channel::unbounded::<u32>();
/// let soon = Duration::from_millis(2);
/// assert!(timeout(soon, || receiver.recv()).is_err());
///
/// assert_eq!(timeout(Duration::MAX, || 6 * 7).unwrap(), 42);
///
/// // The inner one has more time than the outer one leaves it.
/// let nested = timeout(soon, || timeout(Duration::MAX, || thread::park()));
/// assert!(nested.is_err());
/// ```
pub fn timeout<F, T>(limit: Duration, f: F) -> Result<T, Elapsed>
where
    F: FnOnce() -> T,
{
    until(park::deadline_after(limit), f)
}

/// [`timeout`], with an instant as the limit.
///
/// # Errors
///
/// As [`timeout`].
///
/// # Examples
///
/// ```
/// use pirn::time::{Duration, Instant, timeout_at};
///
/// let deadline = Instant::now() + Duration::from_millis(2);
/// assert!(timeout_at(deadline, || pirn::thread::park()).is_err());
/// assert!(Instant::now() >= deadline);
/// ```
pub fn timeout_at<F, T>(deadline: Instant, f: F) -> Result<T, Elapsed>
where
    F: FnOnce() -> T,
{
    until(Some(deadline), f)
}

fn until<T>(deadline: Option<Instant>, f: impl FnOnce() -> T) -> Result<T, Elapsed> {
    if cfg!(panic = "abort") {
        return Err(Elapsed { unsupported: true });
    }
    park::within(Limit { deadline, flag: None }, f).map_err(|Over| Elapsed { unsupported: false })
}

/// When the waits of the caller end for a timeout or a token around it: the earliest of their
/// deadlines; `None` if there is none.
///
/// ```
/// use pirn::time::{Duration, Instant, deadline, timeout};
///
/// assert_eq!(deadline(), None);
/// let inside = timeout(Duration::from_secs(60), deadline).unwrap();
/// assert!(inside.unwrap() > Instant::now());
/// ```
pub fn deadline() -> Option<Instant> {
    park::deadline()
}

/// The time of a [`timeout`] was over.
#[derive(Clone, PartialEq, Eq)]
pub struct Elapsed {
    unsupported: bool,
}

impl Elapsed {
    /// Whether there was no timeout at all, since this build has `panic = "abort"`.
    #[must_use]
    pub fn is_unsupported(&self) -> bool {
        self.unsupported
    }
}

/// The field is of interest only if it is set.
impl fmt::Debug for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.unsupported {
            true => f.debug_struct("Elapsed").field("unsupported", &true).finish(),
            false => f.pad("Elapsed"),
        }
    }
}

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.unsupported { UNSUPPORTED } else { "deadline has elapsed" })
    }
}

impl std::error::Error for Elapsed {}

/// `TimedOut`, or `Unsupported`.
impl From<Elapsed> for io::Error {
    fn from(elapsed: Elapsed) -> io::Error {
        let kind = match elapsed.unsupported {
            true => io::ErrorKind::Unsupported,
            false => io::ErrorKind::TimedOut,
        };
        io::Error::new(kind, elapsed)
    }
}

/// Ticks at once, and then once in each `period`.
///
/// # Panics
///
/// If `period` is zero.
///
/// # Examples
///
/// ```
/// use pirn::time::{Duration, Instant, interval};
///
/// let start = Instant::now();
/// let mut ticks = interval(Duration::from_millis(1));
/// for _ in 0..3 {
///     ticks.tick();
/// }
/// assert!(start.elapsed() >= Duration::from_millis(2));
/// ```
#[track_caller]
pub fn interval(period: Duration) -> Interval {
    interval_at(Instant::now(), period)
}

/// Ticks at `start`, and then once in each `period`.
///
/// # Panics
///
/// If `period` is zero.
#[track_caller]
pub fn interval_at(start: Instant, period: Duration) -> Interval {
    assert!(!period.is_zero(), "the period of an interval is zero");
    Interval { next: Some(start), period, missed: MissedTicks::default() }
}

/// What an [`Interval`] does about ticks that nobody asked for in time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MissedTicks {
    /// They come one after another, without a pause, until the schedule is caught up with.
    #[default]
    Burst,
    /// The schedule begins anew with the late one.
    Delay,
    /// They are left out; the next one is the next of the schedule.
    Skip,
}

/// A schedule of [ticks](Interval::tick); of [`interval`].
///
/// As an iterator it ticks for ever.
#[derive(Clone, Debug)]
pub struct Interval {
    /// `None`: beyond the clock's reach.
    next: Option<Instant>,
    period: Duration,
    missed: MissedTicks,
}

impl Interval {
    /// Waits for the next tick, and says when it was due.
    pub fn tick(&mut self) -> Instant {
        let Some(due) = self.next else {
            loop {
                sleep(Duration::MAX);
            }
        };
        sleep_until(due);
        self.next = match self.missed {
            MissedTicks::Burst => due.checked_add(self.period),
            MissedTicks::Delay | MissedTicks::Skip => {
                let now = Instant::now();
                let late = now.saturating_duration_since(due);
                if late < self.period {
                    due.checked_add(self.period)
                } else if self.missed == MissedTicks::Delay {
                    now.checked_add(self.period)
                } else {
                    let into = late.as_nanos() % self.period.as_nanos();
                    // Less than a period, which is a duration.
                    let left = self.period - Duration::from_nanos_u128(into);
                    now.checked_add(left)
                }
            }
        };
        due
    }

    /// The time between two ticks.
    pub fn period(&self) -> Duration {
        self.period
    }

    /// What is done about missed ticks.
    pub fn missed_ticks(&self) -> MissedTicks {
        self.missed
    }

    /// Says what is to be done about missed ticks.
    #[must_use]
    pub fn on_missed_ticks(mut self, missed: MissedTicks) -> Interval {
        self.missed = missed;
        self
    }

    /// Begins anew: the next tick is a period from now.
    pub fn reset(&mut self) {
        self.next = Instant::now().checked_add(self.period);
    }
}

impl Iterator for Interval {
    type Item = Instant;

    fn next(&mut self) -> Option<Instant> {
        Some(self.tick())
    }
}
