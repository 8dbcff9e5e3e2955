//! [`Interest`] and [`Trigger`]: what a registration asks for, and how often it is told.

use std::ops::{BitOr, BitOrAssign};

/// The directions a registration is about. There is no empty interest.
///
/// # Examples
///
/// ```
/// use netpoll::Interest;
///
/// assert_eq!(Interest::READABLE | Interest::WRITABLE, Interest::BOTH);
/// assert!(Interest::BOTH.is_readable());
/// assert!(!Interest::WRITABLE.is_readable());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Interest(u8);

impl Interest {
    /// Reading, accepting, and the peer's end of stream.
    pub const READABLE: Interest = Interest(0b01);
    /// Writing, and the end of a connection attempt.
    pub const WRITABLE: Interest = Interest(0b10);
    /// Both directions.
    pub const BOTH: Interest = Interest(0b11);

    /// Whether reading is among the directions.
    #[inline]
    #[must_use]
    pub const fn is_readable(self) -> bool {
        self.0 & Interest::READABLE.0 != 0
    }

    /// Whether writing is among the directions.
    #[inline]
    #[must_use]
    pub const fn is_writable(self) -> bool {
        self.0 & Interest::WRITABLE.0 != 0
    }
}

impl BitOr for Interest {
    type Output = Interest;

    #[inline]
    fn bitor(self, other: Interest) -> Interest {
        Interest(self.0 | other.0)
    }
}

impl BitOrAssign for Interest {
    #[inline]
    fn bitor_assign(&mut self, other: Interest) {
        *self = *self | other;
    }
}

/// How often a readiness that lasts is reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Trigger {
    /// By every [`poll`](crate::Poller::poll), for as long as it lasts.
    Level,
    /// When it begins.
    ///
    /// Each direction is reported once after [`add`](crate::Poller::add) or
    /// [`modify`](crate::Poller::modify) if it is ready, and at least once for each time it
    /// becomes ready after an operation that failed with `WouldBlock` and the
    /// [`rearm`](crate::Poller::rearm) that must follow it. Between those points a direction may
    /// be reported again, on new data for instance, or not: only `WouldBlock` tells that the
    /// next report is due.
    Edge,
}
