//! Channels that deliver instants: deadlines of those who wait, and nothing else.

use super::host::{Parking, sleep_until};
use crate::protocol::channel::select::{Queued, Registration};
use crate::protocol::channel::{Case, ReceiveStop, Token};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Delivers instants.
pub(super) enum Clock {
    /// One message.
    At { when: Instant, received: AtomicBool },
    /// A message every `period`, of which one is kept.
    Tick { next: Mutex<Instant>, period: Duration },
}

impl Clock {
    pub(super) fn at(when: Instant) -> Clock {
        Clock::At { when, received: AtomicBool::new(false) }
    }

    pub(super) fn tick(first: Instant, period: Duration) -> Clock {
        Clock::Tick { next: Mutex::new(first), period }
    }

    pub(super) fn try_receive(&self) -> Option<Instant> {
        match self {
            Clock::At { when, received } => {
                let there = !received.load(Ordering::Relaxed) && Instant::now() >= *when;
                (there && !received.swap(true, Ordering::Relaxed)).then_some(*when)
            }
            Clock::Tick { next, period } => {
                let mut next = next.lock().unwrap_or_else(PoisonError::into_inner);
                let now = Instant::now();
                if now < *next {
                    return None;
                }
                let delivered = *next;
                *next = later(now, *period);
                Some(delivered)
            }
        }
    }

    /// Receives, or waits as long as may be.
    pub(super) fn receive(&self, deadline: Option<Instant>) -> Result<Instant, ReceiveStop> {
        if let Clock::Tick { next, period } = self {
            return receive_tick(next, *period, deadline);
        }
        loop {
            if let Some(instant) = self.try_receive() {
                return Ok(instant);
            }
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return Err(ReceiveStop::Timeout);
            }
            let until = self.next().into_iter().chain(deadline).min();
            if !sleep_until(until) {
                return Err(ReceiveStop::Cancelled);
            }
        }
    }

    /// When there will be a message; `None`: never again.
    pub(super) fn next(&self) -> Option<Instant> {
        match self {
            Clock::At { when, received } => (!received.load(Ordering::Relaxed)).then_some(*when),
            Clock::Tick { next, .. } => Some(*next.lock().unwrap_or_else(PoisonError::into_inner)),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.next().is_none_or(|next| Instant::now() < next)
    }
}

/// Takes the next tick, and waits for it if need be. Whoever waits keeps the beat: the tick after it
/// is counted from when this one is due.
fn receive_tick(
    next: &Mutex<Instant>,
    period: Duration,
    deadline: Option<Instant>,
) -> Result<Instant, ReceiveStop> {
    let lock = || next.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        let mut due = lock();
        let (ours, now) = (*due, Instant::now());
        // Who wakes late does not take what was not there in time.
        let too_late = deadline.is_some_and(|deadline| deadline < ours);
        if too_late {
            drop(due);
            if deadline.is_some_and(|deadline| now >= deadline) {
                return Err(ReceiveStop::Timeout);
            }
            // Another receiver may give a tick back meanwhile.
            match sleep_until(deadline) {
                true => continue,
                false => return Err(ReceiveStop::Cancelled),
            }
        }
        let after = later(ours.max(now), period);
        *due = after;
        drop(due);
        if now >= ours || sleep_until(Some(ours)) {
            return Ok(ours);
        }
        // Nobody gets it; if it was the last that was taken, the next one to come does.
        let mut due = lock();
        if *due == after {
            *due = ours;
        }
        return Err(ReceiveStop::Cancelled);
    }
}

/// `instant` plus `period`; beyond the clock's reach, as far as it goes by halves.
fn later(instant: Instant, period: Duration) -> Instant {
    let mut period = period;
    loop {
        match instant.checked_add(period) {
            Some(later) => return later,
            None => period /= 2,
        }
    }
}

/// Nothing queues at a clock: a select that has one waits no longer than until its next message.
#[expect(unsafe_code, reason = "the trait's queues are unsafe to join")]
impl Case<Parking> for Clock {
    fn try_choose(&self, _host: &Parking) -> Option<Token<Parking>> {
        self.try_receive().map(Token::Instant)
    }

    fn deadline(&self) -> Option<Instant> {
        self.next()
    }

    unsafe fn register(
        &self,
        _registration: &mut Registration<Parking>,
        _queued: Queued<Parking>,
    ) -> bool {
        self.is_empty()
    }

    fn is_ready(&self) -> bool {
        !self.is_empty()
    }

    unsafe fn watch(
        &self,
        _registration: &mut Registration<Parking>,
        _queued: Queued<Parking>,
    ) -> bool {
        self.is_empty()
    }
}

/// Never delivers anything.
pub(super) struct Never;

#[expect(unsafe_code, reason = "the trait's queues are unsafe to join")]
impl Case<Parking> for Never {
    fn try_choose(&self, _host: &Parking) -> Option<Token<Parking>> {
        None
    }

    unsafe fn register(
        &self,
        _registration: &mut Registration<Parking>,
        _queued: Queued<Parking>,
    ) -> bool {
        true
    }

    fn is_ready(&self) -> bool {
        false
    }

    unsafe fn watch(
        &self,
        _registration: &mut Registration<Parking>,
        _queued: Queued<Parking>,
    ) -> bool {
        true
    }
}
