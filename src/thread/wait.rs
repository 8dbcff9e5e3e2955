//! Parking, sleeping and yielding.

use crate::coroutine::{Header, unwind_cancelled};
use crate::park::{self, Cancel, Outcome, WaitReason};
use crate::sched;
use crate::thread::handle::park_os;
use std::ptr::NonNull;
use std::time::{Duration, Instant};

/// Lets others run, then goes on. On a plain OS thread, the system's yield.
#[inline]
pub fn yield_now() {
    sched::yield_now();
}

/// Parks the calling coroutine until its token is there: see [`std::thread::park`], whose rules
/// hold here, the one about spurious returns included.
///
/// # Examples
///
/// ```
/// let sleeper = pirn::spawn(|| pirn::thread::park());
/// sleeper.thread().unpark();
/// sleeper.join().unwrap();
/// ```
#[inline]
pub fn park() {
    park_until(None);
}

/// As [`park`], but for no longer than `timeout`. Any duration is legal; [`Duration::MAX`] is
/// without limit.
pub fn park_timeout(timeout: Duration) {
    park_until(Some(timeout));
}

/// As [`park_timeout`], in milliseconds.
#[deprecated(note = "replaced by park_timeout, as in std")]
pub fn park_timeout_ms(ms: u32) {
    park_timeout(Duration::from_millis(ms.into()));
}

#[inline(always)]
fn park_until(timeout: Option<Duration>) {
    let deadline = timeout.and_then(park::deadline_after);
    let Some(coroutine) = sched::current_coroutine() else { return park_os(deadline) };
    // SAFETY: this function runs on that coroutine, which stays alive while it does.
    #[expect(unsafe_code, reason = "refers to the running coroutine")]
    let header: &Header = unsafe { NonNull::as_ref(&coroutine) };
    if header.token.consume() {
        return;
    }
    let mut blocks_home = false;
    let outcome = park::park(WaitReason::Park, deadline, Cancel::Deliver, |ticket| {
        // In a destructor, for want of memory, the whole home may have to wait. An unpark cannot
        // end that wait, since it looks for the coroutine's.
        blocks_home = !ticket.is_for_a_coroutine();
        !blocks_home && header.token.publish(ticket.seq())
    });
    if blocks_home {
        // As std's, a park may return without a reason; better so than never.
        std::thread::yield_now();
    }
    if outcome == Outcome::Cancelled {
        // A token that came since is for the next park: this one has not returned.
        unwind_cancelled();
    }
    header.token.consume();
}

/// Parks for at least `duration`, by the monotonic clock. Any duration is legal;
/// [`Duration::MAX`] is for ever. A sleep that is over at once yields, and can be cancelled as any
/// other.
///
/// # Examples
///
/// ```
/// use std::time::{Duration, Instant};
///
/// let start = Instant::now();
/// pirn::thread::sleep(Duration::from_millis(2));
/// assert!(start.elapsed() >= Duration::from_millis(2));
/// ```
pub fn sleep(duration: Duration) {
    if duration.is_zero() {
        return sleep_for_nothing();
    }
    sleep_to(park::deadline_after(duration));
}

/// As [`sleep`], in milliseconds.
#[deprecated(note = "replaced by sleep, as in std")]
pub fn sleep_ms(ms: u32) {
    sleep(Duration::from_millis(ms.into()));
}

/// Parks until `deadline` has passed. If it has, this yields, as a [`sleep`] of no time.
pub fn sleep_until(deadline: Instant) {
    sleep_to(Some(deadline));
}

/// Whoever is late each time would keep all others from its thread, and could not be ended.
fn sleep_for_nothing() {
    if sched::in_coroutine() {
        sched::yield_now();
    }
    // That a scope's time is over shows only in a wait.
    let late = park::deadline().is_some_and(|deadline| deadline <= Instant::now());
    let until = late.then(Instant::now);
    if park::park(WaitReason::Sleep, until, Cancel::Deliver, |_| late) == Outcome::Cancelled {
        unwind_cancelled();
    }
}

fn sleep_to(deadline: Option<Instant>) {
    let mut slept = false;
    while deadline.is_none_or(|deadline| Instant::now() < deadline) {
        slept = true;
        let outcome = park::park(WaitReason::Sleep, deadline, Cancel::Deliver, |_| true);
        if outcome == Outcome::Cancelled {
            unwind_cancelled();
        }
    }
    if !slept {
        sleep_for_nothing();
    }
}
