//! A processor: what a machine needs to run coroutines, as far as others may touch it.
//!
//! The machine's private part (ready queue, stack cache, timers) is in [`super::machine`].

use crate::coroutine::{Coroutine, Header};
use crate::protocol::inbox::Inbox;
use crate::protocol::observed::Observed;
use crate::protocol::pins::Pins;
use crate::protocol::sleep::Sleep;
use crate::sched::backlog::Backlog;
use crate::sched::counters::Counters;
use crate::sched::run_queue::RunQueue;
use crate::sched::shared::Driver;
use crate::sched::survey::Surveys;
use crate::sched::thread_state::ThreadState;
use crossbeam_deque::{Injector, Stealer};
use crossbeam_utils::CachePadded;
use std::panic::Location;
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{
    AtomicBool, AtomicPtr, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering,
};

/// What a processor's machine is doing, for the watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Activity {
    /// It schedules, or runs a coroutine.
    Running = 0,
    /// It sleeps in its poller, or is about to.
    Idle = 1,
    /// Its coroutine is in `block_in_place`.
    BlockInPlace = 2,
}

/// The shared part of a processor.
pub(crate) struct Processor {
    pub(crate) number: usize,
    /// Started by sysmon while another was stuck.
    pub(crate) surplus: bool,
    pub(crate) driver: Box<dyn Driver>,
    /// That of the driver.
    pub(crate) driver_number: u32,
    /// Resident coroutines that were woken elsewhere.
    pub(crate) inbox: CachePadded<Inbox<Coroutine>>,
    /// Coroutines that were sent here to start. Others take them if the machine is stuck.
    pub(crate) starts: Injector<Coroutine>,
    /// Coroutines spawned here that have not started.
    pub(crate) stealer: Stealer<Coroutine>,
    /// More of them than the run queue has room for.
    pub(crate) backlog: CachePadded<Backlog<Coroutine>>,
    pub(crate) sleep: CachePadded<Sleep>,
    /// Wakers that have pushed to the inbox and may still touch this processor.
    pub(crate) pins: CachePadded<Pins>,
    pub(crate) watch: CachePadded<Watch>,
    pub(crate) counters: CachePadded<Counters>,
    /// Its machine has nothing to run, and nobody has picked it for a wake since.
    vacant: CachePadded<AtomicBool>,
    /// The latest spawn, kept apart to run next; thieves take it when its owner is slow.
    next_start: CachePadded<AtomicPtr<Header>>,
}

/// Written by the machine at every schedule, read by sysmon. But for what runs, no field needs more than
/// `Relaxed`.
pub(crate) struct Watch {
    /// Schedules so far.
    pub(crate) schedules: AtomicU64,
    /// How often a coroutine went on without one: its wait was not needed, or what it joined has ended in
    /// a call of its own.
    pub(crate) returns: AtomicU64,
    activity: AtomicU8,
    /// Set by the machine's thread as it begins.
    pub(crate) thread: OnceLock<ThreadState>,
    /// The coroutine that runs; nothing while the machine schedules.
    pub(crate) running: Observed<Header>,
    /// How many residents were ready when the running one began.
    pub(crate) ready: AtomicUsize,
    /// Set by sysmon: nothing is to be sent here to start.
    pub(crate) stuck: AtomicBool,
    /// Set by sysmon: the machine has not polled for long, and is to at its next schedule.
    pub(crate) nudge: AtomicBool,
    /// About what time it is, for stamps: written by the machine after a sleep and whenever it looks
    /// at the clock anyway, and by sysmon while the machine is busy.
    clock: AtomicU32,
    /// What the machine is asked between two switches.
    pub(crate) surveys: Surveys,
    /// The machine is to give back what it keeps at hand when it wakes, since nothing is going on or
    /// since somebody needs it. Set by others, and cleared when that is done.
    pub(crate) settle: AtomicBool,
}

/// Adds to a counter that only its machine writes: no locked instruction.
#[inline]
pub(crate) fn bump(counter: &AtomicU64) {
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(1), Ordering::Release);
}

/// What a machine runs, as far as can be said from outside.
pub(crate) struct Running {
    pub(crate) id: u64,
    pub(crate) name: Option<String>,
    pub(crate) spawned_at: &'static Location<'static>,
}

impl Watch {
    /// The time, as stamps have it: some ten milliseconds late at most.
    #[inline]
    pub(crate) fn clock(&self) -> u32 {
        self.clock.load(Ordering::Relaxed)
    }

    /// Says what time it is.
    pub(crate) fn set_clock(&self, now: u32) {
        if self.clock() != now {
            self.clock.store(now, Ordering::Relaxed);
        }
    }

    /// The coroutine that runs, if one does and no other was started meanwhile.
    pub(crate) fn running(&self) -> Option<Running> {
        let progress = self.progress();
        let running = self.running.observe(|header| Running {
            id: header.id,
            name: header.name().map(str::to_owned),
            spawned_at: header.spawned_at,
        });
        running.filter(|_| self.progress() == progress)
    }

    /// Another number for each stretch of a coroutine's time.
    #[inline]
    pub(crate) fn progress(&self) -> u64 {
        let returns = self.returns.load(Ordering::Acquire);
        self.schedules.load(Ordering::Acquire).wrapping_add(returns)
    }
}

impl Processor {
    pub(crate) fn new(
        number: usize,
        surplus: bool,
        driver: Box<dyn Driver>,
    ) -> (Processor, RunQueue) {
        let runq = RunQueue::new();
        let processor = Processor {
            number,
            surplus,
            driver_number: driver.number(),
            driver,
            inbox: CachePadded::new(Inbox::new()),
            starts: Injector::new(),
            stealer: runq.stealer(),
            backlog: CachePadded::new(Backlog::new()),
            sleep: CachePadded::new(Sleep::new()),
            pins: CachePadded::new(Pins::new()),
            watch: CachePadded::new(Watch {
                schedules: AtomicU64::new(0),
                returns: AtomicU64::new(0),
                // Until its thread runs, a machine is not stuck.
                activity: AtomicU8::new(Activity::Idle as u8),
                thread: OnceLock::new(),
                running: Observed::new(),
                ready: AtomicUsize::new(0),
                stuck: AtomicBool::new(false),
                nudge: AtomicBool::new(false),
                settle: AtomicBool::new(false),
                clock: AtomicU32::new(0),
                surveys: Surveys::new(),
            }),
            counters: CachePadded::default(),
            vacant: CachePadded::new(AtomicBool::new(false)),
            next_start: CachePadded::new(AtomicPtr::new(ptr::null_mut())),
        };
        (processor, runq)
    }

    /// Residents that do not just wait for others to end, and coroutines on their way here.
    #[inline]
    pub(crate) fn load(&self) -> usize {
        self.counters.burden.load(Ordering::Relaxed) + self.starts.len()
    }

    #[inline]
    pub(crate) fn activity(&self) -> Activity {
        match self.watch.activity.load(Ordering::Relaxed) {
            0 => Activity::Running,
            1 => Activity::Idle,
            _ => Activity::BlockInPlace,
        }
    }

    /// Whether its machine is between two coroutines, or sleeps.
    pub(crate) fn runs_nothing(&self) -> bool {
        self.watch.running.is_hidden()
    }

    #[inline]
    pub(crate) fn set_activity(&self, activity: Activity) {
        self.watch.activity.store(activity as u8, Ordering::Relaxed);
    }

    /// Whether sysmon has found its machine stuck in a coroutine.
    #[inline]
    pub(crate) fn is_stuck(&self) -> bool {
        self.watch.stuck.load(Ordering::Relaxed)
    }

    /// Says whether its machine has something to run.
    #[inline]
    pub(crate) fn set_vacant(&self, vacant: bool) {
        if self.vacant.load(Ordering::Relaxed) != vacant {
            self.vacant.store(vacant, Ordering::Relaxed);
        }
    }

    /// Picks its machine for a wake, if it has nothing to run and nobody else has: a hint, so that
    /// several wakes in a row go to several machines.
    pub(crate) fn pick_vacant(&self) -> bool {
        self.vacant.load(Ordering::Relaxed) && self.vacant.swap(false, Ordering::Relaxed)
    }

    /// Whether there is something that another machine could take. What was sent here is only
    /// taken if this one is stuck.
    pub(crate) fn has_stealable(&self) -> bool {
        !self.stealer.is_empty()
            || !self.backlog.is_empty()
            || self.has_next_start()
            || (self.is_stuck() && !self.starts.is_empty())
    }

    #[inline]
    pub(crate) fn has_next_start(&self) -> bool {
        !self.next_start.load(Ordering::Relaxed).is_null()
    }

    /// Whether this is the latest spawn, which runs next.
    #[inline]
    pub(crate) fn is_next_start(&self, coroutine: &Coroutine) -> bool {
        ptr::eq(self.next_start.load(Ordering::Relaxed), coroutine.as_ptr().as_ptr())
    }

    /// Puts a spawn where it runs next. Only the owner calls this. Returns the one that was there.
    #[inline]
    pub(crate) fn put_next_start(&self, coroutine: Coroutine) -> Option<Coroutine> {
        let before = self.take_next_start();
        // Only the owner fills the slot, so it is empty now and a store is enough.
        self.next_start.store(coroutine.into_raw().as_ptr(), Ordering::Release);
        before
    }

    /// Where the latest spawn stands, for debuggers.
    pub(super) fn next_start_place(&self) -> *const AtomicPtr<Header> {
        &raw const *self.next_start
    }

    /// Takes the latest spawn. Owner and thieves call this.
    #[inline]
    pub(crate) fn take_next_start(&self) -> Option<Coroutine> {
        if !self.has_next_start() {
            return None;
        }
        let header = self.next_start.swap(ptr::null_mut(), Ordering::AcqRel);
        let header = ptr::NonNull::new(header)?;
        // SAFETY: the slot holds references that were given up to it; the swap takes this one.
        #[expect(unsafe_code, reason = "the slot is an atomic pointer to a reference")]
        Some(unsafe { Coroutine::from_raw(header) })
    }
}

impl Drop for Processor {
    fn drop(&mut self) {
        drop(self.take_next_start());
    }
}
