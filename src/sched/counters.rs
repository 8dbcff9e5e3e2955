//! What a machine counts, and what others make of it.
//!
//! A machine counts in memory of its own, by a load and a store: one instruction, and nothing that
//! another processor has to agree to. Whoever looks adds up. On the way of every schedule nothing is
//! counted that follows from other counts; how long a thread has run is asked of the system by
//! whoever wants to know; and the clock is read where a system call is about to be made anyway.

use crate::sched::processor::Processor;
use crate::stack::Class;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

/// One list, for what a machine writes and what others read.
macro_rules! counters {
    ($($(#[doc = $doc:literal])+ $name:ident,)+) => {
        /// Written by the machine alone.
        #[derive(Default)]
        pub(crate) struct Counters {
            $(pub(crate) $name: AtomicU64,)+
            /// Stacks taken, by class.
            pub(crate) taken: [AtomicU64; Class::COUNT],
            pub(crate) slept: Slept,
            /// The most events that one poll has brought.
            pub(crate) most_events: AtomicU64,
            /// Started here and not ended.
            pub(crate) residents: AtomicUsize,
            /// Those of them that do not wait in `join`: what counts when a start is placed.
            pub(crate) burden: AtomicUsize,
            pub(crate) timers: AtomicUsize,
        }

        /// What a worker has done so far, or what several have done together. None of it ever falls.
        ///
        /// The counters are read one after another while the worker goes on, so what one of them says
        /// of another is exact only when the worker is at rest. Wakes and timers of migrating
        /// coroutines are not counted: those live on no worker.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct WorkerCounters {
            /// Coroutines run, once for each time.
            pub schedules: u64,
            $($(#[doc = $doc])+ pub $name: u64,)+
            /// How long the thread has run: processor time, that of the coroutines included. Zero
            /// where the system does not say; Linux does.
            pub busy: Duration,
            /// How long the worker has slept for want of work, the present sleep included.
            pub slept: Duration,
        }

        impl WorkerCounters {
            /// What a processor has counted. `now` is the time in its runtime's nanoseconds.
            pub(crate) fn of(processor: &Processor, now: impl FnOnce() -> u64) -> WorkerCounters {
                let counters = &processor.counters;
                let thread = processor.watch.thread.get();
                WorkerCounters {
                    schedules: processor.watch.schedules.load(Ordering::Relaxed),
                    $($name: counters.$name.load(Ordering::Relaxed),)+
                    busy: thread.and_then(|thread| thread.has_run()).unwrap_or_default(),
                    slept: counters.slept.so_far(now),
                }
            }

            /// Adds what another has done.
            pub(crate) fn add(&mut self, other: &WorkerCounters) {
                self.schedules += other.schedules;
                $(self.$name += other.$name;)+
                self.busy += other.busy;
                self.slept += other.slept;
            }

            /// Calls `f` with the name and the value of each that is no time.
            pub(crate) fn for_each(&self, mut f: impl FnMut(&'static str, u64)) {
                f("schedules", self.schedules);
                $(f(stringify!($name), self.$name);)+
            }
        }
    };
}

counters! {
    /// Yields: runs that ended with the coroutine ready to go on.
    yields,
    /// Coroutines spawned.
    spawned,
    /// Coroutines that ended: counted when their worker has taken their stack back, a moment after their
    /// `join` may have returned.
    finished,
    /// Times that work was taken from another worker. Each time it may be half of what that one had
    /// not started.
    steals,
    /// Those of them that took what a stuck worker had not started.
    taken_over,
    /// Starts sent to a less loaded worker.
    pushed,
    /// Residents made ready by their own worker: by another of its coroutines, or by an event.
    wakes_local,
    /// Residents of other workers made ready, of this runtime or another.
    wakes_sent,
    /// Those of them whose worker slept, so that it took a system call.
    wakes_signalled,
    /// Residents that were made ready from elsewhere: by other workers, sysmon or plain threads.
    wakes_received,
    /// Times that the system was asked for events.
    polls,
    /// Events that it had.
    events,
    /// Times that the worker went to sleep.
    sleeps,
    /// Timers set. A wait with a deadline sets one, unless an earlier one of its coroutine is still
    /// set and comes first.
    timers_set,
    /// Waits ended by their deadline.
    timers_fired,
}

impl WorkerCounters {
    /// Runs that ended with the coroutine parked. A run that has not ended counts as one, too.
    ///
    /// This is what the other counters leave over, so it is exact at rest, and may fall by a few from
    /// one look to the next while the worker goes on.
    #[must_use]
    pub fn parks(&self) -> u64 {
        self.schedules.saturating_sub(self.yields + self.finished)
    }

    /// How many events the system had each time it was asked, on average; 0 if it never was.
    #[must_use]
    pub fn events_per_poll(&self) -> f64 {
        if self.polls == 0 { 0.0 } else { self.events as f64 / self.polls as f64 }
    }
}

/// What workers that are gone had counted.
#[derive(Default, Clone, Copy)]
pub(crate) struct Retired {
    pub(crate) counters: WorkerCounters,
    /// Stacks taken, by class.
    pub(crate) taken: [u64; Class::COUNT],
}

impl Retired {
    /// Adds what a processor has counted.
    pub(crate) fn add(&mut self, processor: &Processor, now: impl FnOnce() -> u64) {
        self.counters.add(&WorkerCounters::of(processor, now));
        self.add_taken(processor);
    }

    /// Adds the stacks that a processor has taken.
    pub(crate) fn add_taken(&mut self, processor: &Processor) {
        for (sum, taken) in self.taken.iter_mut().zip(&processor.counters.taken) {
            *sum += taken.load(Ordering::Relaxed);
        }
    }
}

/// How long a machine has slept, in one word, so that nobody reads half of a change.
///
/// Awake, it is twice the sum of all sleeps. Asleep, it is odd, and half of it is the moment at which
/// the machine would have fallen asleep had it slept but once. Times are nanoseconds of one clock.
#[derive(Default)]
pub(crate) struct Slept {
    word: AtomicU64,
    /// The most that anybody was told: between the machine's look at the clock and its store, others
    /// see it sleep on.
    told: AtomicU64,
}

impl Slept {
    /// The machine goes to sleep.
    #[inline]
    pub(crate) fn begin(&self, now: u64) {
        let sum = self.word.load(Ordering::Relaxed) >> 1;
        self.word.store(now.saturating_sub(sum) << 1 | 1, Ordering::Release);
    }

    /// It has woken up.
    #[inline]
    pub(crate) fn end(&self, now: u64) {
        let since = self.word.load(Ordering::Relaxed) >> 1;
        self.word.store(now.saturating_sub(since) << 1, Ordering::Release);
    }

    /// The sum so far: never less than was told before.
    fn so_far(&self, now: impl FnOnce() -> u64) -> Duration {
        let word = self.word.load(Ordering::Acquire);
        let sum = if word & 1 == 0 { word >> 1 } else { now().saturating_sub(word >> 1) };
        Duration::from_nanos(sum.max(self.told.fetch_max(sum, Ordering::Relaxed)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nanos(slept: &Slept, now: u64) -> u128 {
        slept.so_far(|| now).as_nanos()
    }

    #[test]
    fn sleeps_add_up_and_the_present_one_counts() {
        let slept = Slept::default();
        assert_eq!(nanos(&slept, 100), 0);
        slept.begin(100);
        assert_eq!(nanos(&slept, 130), 30);
        slept.end(150);
        assert_eq!(nanos(&slept, 1_000), 50);
        slept.begin(1_000);
        assert_eq!(nanos(&slept, 1_000), 50);
        assert_eq!(nanos(&slept, 1_007), 57);
        slept.end(1_010);
        assert_eq!(nanos(&slept, 5_000), 60);
    }

    #[test]
    fn what_was_told_is_not_taken_back() {
        let slept = Slept::default();
        slept.begin(10);
        // Somebody looks after the machine has read the clock, and before it says so.
        assert_eq!(nanos(&slept, 25), 15);
        slept.end(20);
        assert_eq!(nanos(&slept, 30), 15);
        slept.begin(30);
        assert_eq!(nanos(&slept, 33), 15);
        assert_eq!(nanos(&slept, 40), 20);
    }

    #[test]
    fn parks_are_what_is_left() {
        let counters =
            WorkerCounters { schedules: 10, yields: 3, finished: 2, ..WorkerCounters::default() };
        assert_eq!(counters.parks(), 5);
        assert_eq!(WorkerCounters { yields: 1, ..WorkerCounters::default() }.parks(), 0);
    }

    #[test]
    fn events_per_poll_is_a_mean() {
        let counters = WorkerCounters { polls: 4, events: 6, ..WorkerCounters::default() };
        assert!((counters.events_per_poll() - 1.5).abs() < f64::EPSILON);
        assert_eq!(WorkerCounters::default().events_per_poll().to_bits(), 0f64.to_bits());
    }
}
