//! The clock of records: whatever takes the least time to read.
//!
//! On x86-64 that is the processor's counter, where it says that it counts at one pace in all states;
//! what it counts becomes nanoseconds only when somebody looks, by how far it and the system's clock
//! have come since the first look at both. Elsewhere it is the system's clock.

use std::sync::OnceLock;
use std::time::Instant;

/// How to read the clock.
#[derive(Clone, Copy, Debug)]
pub(super) enum Clock {
    #[cfg(target_arch = "x86_64")]
    Counter,
    /// Nanoseconds since then.
    Since(Instant),
}

/// One moment, by both clocks.
#[derive(Clone, Copy, Debug)]
struct Moment {
    ticks: u64,
    instant: Instant,
}

impl Clock {
    fn best() -> Clock {
        #[cfg(target_arch = "x86_64")]
        if counts_evenly() {
            return Clock::Counter;
        }
        Clock::Since(Instant::now())
    }

    #[inline]
    pub(super) fn now(self) -> u64 {
        match self {
            #[cfg(target_arch = "x86_64")]
            Clock::Counter => counter(),
            Clock::Since(start) => start.elapsed().as_nanos() as u64,
        }
    }

    /// The best of a few tries to look at both clocks at once.
    fn moment(self) -> Moment {
        let look = |_| {
            let before = self.now();
            let instant = Instant::now();
            let after = self.now();
            (after.saturating_sub(before), Moment { ticks: before.midpoint(after), instant })
        };
        (0..5).map(look).min_by_key(|look| look.0).expect("there are tries").1
    }
}

#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "an intrinsic of this architecture")]
#[inline]
fn counter() -> u64 {
    // SAFETY: every processor of this kind has the counter, and systems let programs read it.
    unsafe { std::arch::x86_64::_rdtsc() }
}

/// Whether the counter keeps its pace whatever the processor does.
#[cfg(target_arch = "x86_64")]
fn counts_evenly() -> bool {
    use std::arch::x86_64::__cpuid;

    const POWER: u32 = 0x8000_0007;
    const INVARIANT: u32 = 1 << 8;
    __cpuid(0x8000_0000).eax >= POWER && __cpuid(POWER).edx & INVARIANT != 0
}

static FIRST: OnceLock<(Clock, Moment)> = OnceLock::new();

fn first() -> (Clock, Moment) {
    *FIRST.get_or_init(|| {
        let clock = Clock::best();
        (clock, clock.moment())
    })
}

/// The clock of this process's records.
pub(super) fn clock() -> Clock {
    first().0
}

/// What the clock shows, in nanoseconds since it was first asked for.
pub(super) struct Scale {
    first: Moment,
    now: Moment,
}

impl Scale {
    /// As well as can be said now: better the longer the clock has run.
    pub(super) fn now() -> Scale {
        let (clock, first) = first();
        Scale { first, now: clock.moment() }
    }

    pub(super) fn nanos(&self, ticks: u64) -> u64 {
        let passed = u128::from(self.now.ticks.saturating_sub(self.first.ticks)).max(1);
        let nanos = self.now.instant.duration_since(self.first.instant).as_nanos();
        (u128::from(ticks.saturating_sub(self.first.ticks)) * nanos / passed) as u64
    }

    /// The moment at which this was made.
    pub(super) fn end(&self) -> u64 {
        self.nanos(self.now.ticks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_clocks_run_alike() {
        for clock in [clock(), Clock::Since(Instant::now())] {
            let first = clock.moment();
            let middle = loop {
                let moment = clock.moment();
                if moment.instant.duration_since(first.instant).as_millis() >= 20 {
                    break moment;
                }
            };
            let now = loop {
                let moment = clock.moment();
                if moment.instant.duration_since(middle.instant).as_millis() >= 20 {
                    break moment;
                }
            };
            let scale = Scale { first, now };
            let expected = middle.instant.duration_since(first.instant).as_nanos() as u64;
            let shown = scale.nanos(middle.ticks);
            assert!(shown.abs_diff(expected) < expected / 4, "{shown} {expected}");
            assert_eq!(scale.nanos(first.ticks), 0);
            assert_eq!(scale.end(), now.instant.duration_since(first.instant).as_nanos() as u64);
        }
    }
}
