//! A machine: the thread that owns a processor, and what it does with the coroutine that it runs.

#![expect(unsafe_code, reason = "switches to coroutines and owns their resident part")]

mod debugger;
mod ending;
mod finding;
mod lingering;
mod nesting;
mod own_stack;
mod placing;
mod sleeping;
mod surveying;

use crate::coroutine::{self, Coroutine, Frames, Header, Resident, Resumed, Started};
use crate::park::{Outcome, ParkRequest, Ticket};
use crate::primitive::light_fence;
use crate::sched::processor::{Activity, Processor, bump};
use crate::sched::ready::ReadyQueue;
use crate::sched::record::Pen;
use crate::sched::residents::Residents;
use crate::sched::run_queue::RunQueue;
use crate::sched::shared::Shared;
use crate::sched::thread_state::ThreadState;
use crate::sched::tls;
use crate::stack::{AltStack, Cache, Stack};
use crate::timers::Timers;
use crate::util::rng::Rng;
#[cfg(test)]
pub(super) use debugger::{caller_of_running, hold_beginners};
use ending::NeverUnwinds;
use lingering::Linger;
use nesting::Calls;
use placing::{Course, Habits};
use sleeping::TimerPace;
use std::cell::{Cell, RefCell};
use std::mem::{self, ManuallyDrop};
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use surveying::Walks;

/// Attempts that may fail in a row before their coroutine yields.
const TRIES: u32 = 64;
/// Operations that may succeed without parking before their coroutine yields.
const BUDGET: u32 = 128;
/// No run queue that is shorter grows: the smallest buffer of crossbeam's. What is spawned beyond
/// that goes to the backlog.
const ROOM: usize = 64;
/// Coroutine numbers taken from the process-wide counter at a time.
const ID_BLOCK: u64 = 1024;

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// A number for a coroutine or a thread; never 0.
pub(crate) fn fresh_id() -> u64 {
    NEXT_ID.fetch_add(1, Ordering::Relaxed)
}

/// The private part of a machine. Only its thread ever touches it.
pub(crate) struct Machine {
    pub(crate) shared: Arc<Shared>,
    pub(crate) processor: Arc<Processor>,
    /// The coroutine that runs; `None` on the machine's own stack.
    current: Cell<Option<NonNull<Header>>>,
    /// Something that was begun on a coroutine's stack goes on, on the machine's own.
    borrows_own_stack: Cell<bool>,
    /// What the running coroutine woke last.
    next_ready: Cell<Option<Coroutine>>,
    /// Residents that are ready, and `spawn_local` coroutines that have not started.
    ready: ReadyQueue<Coroutine>,
    runq: RunQueue,
    cache: RefCell<Cache>,
    /// Memory of coroutines that have gone.
    pub(super) frames: Frames,
    timers: RefCell<Timers<NonNull<Header>>>,
    timer_pace: TimerPace,
    residents: Residents<Header>,
    /// Residents that wait for other coroutines to end.
    joining: Cell<usize>,
    streak: Cell<u32>,
    /// Of residents and starts, whose turn it is.
    residents_turn: Cell<bool>,
    /// What was spawned from outside goes before the oldest of the backlog, next time.
    outside_first: Cell<bool>,
    /// The next nudge has it looked for at all.
    nudged_outside: Cell<bool>,
    budget: Cell<u32>,
    /// Attempts in a row that failed and did not wait.
    tries: Cell<u32>,
    /// Spawns to let pass before the next futile wake.
    patience: Cell<u32>,
    /// When the poller was last asked although there was work.
    polled_at: Cell<u64>,
    searching: Cell<bool>,
    linger: Linger,
    calls: Calls,
    habits: Habits,
    course: Course,
    cancelled_all: Cell<bool>,
    walks: Walks,
    /// For the flight recorder, if there is one.
    pub(super) pen: Option<Pen>,
    random: Rng,
    ids: Cell<(u64, u64)>,
    peers: RefCell<(usize, Arc<[Arc<Processor>]>)>,
}

/// The body of a machine's thread.
pub(super) fn run(shared: Arc<Shared>, processor: Arc<Processor>, runq: RunQueue) {
    // Without one, an overflow on this thread still kills the process, but without a report.
    let _alt_stack = AltStack::install();
    let machine = Machine {
        current: Cell::new(None),
        borrows_own_stack: Cell::new(false),
        next_ready: Cell::new(None),
        ready: ReadyQueue::new(),
        runq,
        cache: RefCell::new(Cache::new(shared.stacks.clone())),
        frames: Frames::new(),
        timers: RefCell::new(Timers::new()),
        timer_pace: TimerPace::new(),
        residents: Residents::new(),
        joining: Cell::new(0),
        streak: Cell::new(0),
        residents_turn: Cell::new(true),
        outside_first: Cell::new(true),
        nudged_outside: Cell::new(true),
        budget: Cell::new(BUDGET),
        tries: Cell::new(0),
        patience: Cell::new(0),
        polled_at: Cell::new(0),
        searching: Cell::new(false),
        linger: Linger::new(),
        calls: Calls::new(),
        habits: Habits::new(),
        course: Course::new(),
        cancelled_all: Cell::new(false),
        walks: Walks::new(),
        pen: shared.recorder.as_ref().map(|recorder| recorder.pen(&processor)),
        random: Rng::new(processor.number as u64 + 1),
        ids: Cell::new((0, 0)),
        peers: RefCell::new((usize::MAX, Arc::new([]))),
        shared,
        processor,
    };
    tls::set_current(&raw const machine);
    let thread = machine.processor.watch.thread.get_or_init(ThreadState::of_current);
    let entry = debugger::Entry::new(&machine, thread.id());
    let _findable = entry.link();
    machine.processor.set_activity(Activity::Running);
    // It may have gone to sleep before this thread began.
    machine.shared.sysmon.notice_work();
    let whole = NeverUnwinds;
    while let Some(coroutine) = machine.find_runnable() {
        machine.execute(coroutine);
    }
    mem::forget(whole);
    tls::set_current(ptr::null());
    machine.retire();
}

impl Machine {
    // Running.

    /// Runs a coroutine until it parks, yields or ends.
    fn execute(&self, coroutine: Coroutine) {
        let header = coroutine.into_raw();
        // SAFETY: the machine holds the reference that it has just unwrapped.
        let shared_part = unsafe { header.as_ref() };
        // SAFETY: this is its home, or is going to be, and it is in no queue.
        let resident = unsafe { shared_part.resident() };
        if !resident.has_started() {
            self.start(header);
        }
        if shared_part.is_migrating() {
            Self::await_publication(shared_part);
        }
        self.end_wait(resident);
        self.budget.set(BUDGET);
        self.tries.set(0);
        self.note_running(shared_part);
        self.record(|pen| pen.run(shared_part));
        let mut header = header;
        loop {
            self.current.set(Some(header));
            // SAFETY: it has started, and nobody else uses the switch of a coroutine that this machine
            // runs.
            let resumed = unsafe { header.as_ref().resident().started().switch() }.resume();
            // It is the same one, from where it is in memory anyway: a switch keeps one register, in
            // which the other side of it is.
            // SAFETY: it was set above, and nobody takes it.
            header = unsafe { self.current.take().unwrap_unchecked() };
            if self.left(header, resumed) {
                return;
            }
        }
    }

    /// What is to be done with a coroutine that has left its stack. `false`: it goes on, there was no need
    /// to wait.
    #[inline(always)]
    fn left(&self, header: NonNull<Header>, resumed: Resumed) -> bool {
        // SAFETY: the machine has its reference.
        let shared_part = unsafe { header.as_ref() };
        // SAFETY: and is its home.
        let resident = unsafe { shared_part.resident() };
        let processor = &*self.processor;
        processor.watch.running.hide();
        if resident.is_migrating() {
            // It may be resumed elsewhere, and end there.
            processor.watch.running.await_observer();
        }
        if processor.activity() != Activity::Running {
            // Parking and yielding end a `block_in_place`: it is not the next one's.
            self.processor.set_activity(Activity::Running);
        }
        match resumed {
            Resumed::Suspended(word) if word.is_null() => {
                bump(&processor.counters.yields);
                // SAFETY: takes back the reference that was given up to run it.
                let coroutine = unsafe { Coroutine::from_raw(header) };
                if resident.is_migrating() {
                    self.requeue(coroutine);
                } else {
                    self.ready.push(coroutine);
                }
                true
            }
            Resumed::Suspended(request) => {
                // SAFETY: a suspension's word points to a request in the suspended frame.
                let request = unsafe { &*request.cast::<ParkRequest>() };
                self.record(|pen| pen.park(shared_part, request.reason));
                if self.publish(header, request) {
                    // From here on the reference belongs to whoever claims the wait.
                    return true;
                }
                self.record(|pen| pen.go_on(shared_part));
                bump(&processor.watch.returns);
                // SAFETY: as in `note_running`, which is for the first time.
                unsafe { self.processor.watch.running.show(shared_part) };
                false
            }
            Resumed::Finished => {
                self.record(|pen| pen.end(shared_part));
                self.finish(header);
                true
            }
        }
    }

    /// Opens and publishes a wait. `false`: there was no need to, so the coroutine goes on.
    #[inline(always)]
    fn publish(&self, header: NonNull<Header>, request: &ParkRequest) -> bool {
        // SAFETY: the coroutine has left its stack, and nobody has been told of its wait yet.
        let shared_part = unsafe { header.as_ref() };
        if !shared_part.is_migrating() {
            return self.open_wait(header, request);
        }
        // The publication works in the suspended frame, and a select's joins one queue after
        // another: whoever claims the wait in the first must not resume it before the last.
        shared_part.lineage.begin_publication();
        let waits = self.open_wait(header, request);
        // Until this shows, it does not run and so is not freed.
        shared_part.lineage.end_publication();
        waits
    }

    /// Waits until the machine that a migrating coroutine has left is done with its frame: for the
    /// rest of a publication, in which nothing blocks.
    fn await_publication(header: &Header) {
        let mut turns = 0_u32;
        while header.lineage.is_publishing() {
            turns += 1;
            match turns % 64 {
                // It may have been preempted.
                0 => std::thread::yield_now(),
                _ => std::hint::spin_loop(),
            }
        }
    }

    #[inline(always)]
    fn open_wait(&self, header: NonNull<Header>, request: &ParkRequest) -> bool {
        // SAFETY: the coroutine has left its stack, and nobody has been told of its wait yet.
        let shared_part = unsafe { header.as_ref() };
        // SAFETY: this is its home.
        let resident = unsafe { shared_part.resident() };
        shared_part.since.store(self.processor.watch.clock(), Ordering::Relaxed);
        self.begin_wait(shared_part, resident, request);
        let migrates = resident.is_migrating();
        let seq = shared_part.park.begin();
        // Against a canceller that has not seen this wait: one of the two sees the other.
        light_fence();
        if shared_part.status.is_poked() && request.heeds && shared_part.park.retract(seq) {
            self.end_wait(resident);
            resident.outcome.set(Outcome::Cancelled);
            return false;
        }
        if migrates {
            if let Some(deadline) = request.deadline {
                // SAFETY: the machine holds a reference, of which this is another.
                let borrowed = ManuallyDrop::new(unsafe { Coroutine::from_raw(header) });
                let (when, timed) = (self.shared.nanos(deadline), Coroutine::clone(&borrowed));
                // SAFETY: it has just left this machine, and its wait is being published.
                unsafe { self.shared.migrants.set_timer(when, timed, seq) };
            }
        } else if let Some(deadline) = request.deadline {
            self.set_timer(header, request, self.shared.nanos(deadline));
        }
        let ticket = Ticket::for_coroutine(header, seq);
        // SAFETY: it is suspended until this wait is claimed.
        if unsafe { request.publish(ticket) } {
            return true;
        }
        // Nobody has been told, but sysmon or a cancellation may have claimed the wait; then it
        // comes back through a queue.
        let retracted = shared_part.park.retract(seq);
        if retracted {
            self.end_wait(resident);
            resident.outcome.set(Outcome::Woken);
        }
        !retracted
    }

    /// Gives a coroutine a stack and a home: here.
    #[inline(always)]
    fn start(&self, header: NonNull<Header>) {
        self.prepare(header);
        // SAFETY: the caller holds the only reference that may touch it.
        let shared_part = unsafe { header.as_ref() };
        if shared_part.is_migrating() {
            shared_part.set_home(Arc::as_ptr(&self.shared).cast());
            // SAFETY: the machine holds a reference, of which this is another.
            let borrowed = ManuallyDrop::new(unsafe { Coroutine::from_raw(header) });
            self.shared.migrants.insert(Coroutine::clone(&borrowed));
            return;
        }
        shared_part.set_home(&raw const *self.processor);
        self.settle_in(header);
    }

    /// Gives a coroutine a stack.
    #[inline(always)]
    fn prepare(&self, header: NonNull<Header>) {
        // SAFETY: the caller holds the only reference that may touch an unstarted coroutine.
        let class = unsafe { header.as_ref().resident() }.class;
        let stack = self.cache.borrow_mut().take(class, header.as_ptr().cast());
        self.prepare_on(header, stack);
    }

    /// Gives a coroutine this stack.
    #[inline(always)]
    fn prepare_on(&self, header: NonNull<Header>, stack: Stack) {
        // SAFETY: the caller holds the only reference that may touch an unstarted coroutine.
        let shared_part = unsafe { header.as_ref() };
        // SAFETY: as above.
        let resident = unsafe { shared_part.resident() };
        bump(&self.processor.counters.taken[resident.class as usize]);
        resident.start(stack, move |suspender| {
            // SAFETY: this is the coroutine's first run, on its own stack, and the machine that
            // runs it holds the scheduler's reference.
            unsafe { coroutine::entry(header, suspender) };
        });
        if self.shared.is_stopping() {
            let _before = shared_part.status.cancel();
        }
    }

    /// One that has started becomes a resident.
    #[inline(always)]
    fn settle_in(&self, header: NonNull<Header>) {
        // SAFETY: it has started, and this is its home.
        let started = unsafe { header.as_ref().resident().started() };
        started.caller.set(ptr::null());
        let place = self.residents.insert(header);
        started.place.set(place);
        self.walks.note_given(place);
        self.publish_residents();
    }

    /// Takes back what a coroutine had that has run to its end.
    #[inline(always)]
    fn finish(&self, header: NonNull<Header>) {
        // SAFETY: takes back the reference that the machine gave up to run it.
        let coroutine = unsafe { Coroutine::from_raw(header) };
        // SAFETY: this is its home.
        let resident = unsafe { coroutine.header().resident() };
        if resident.is_migrating() {
            // SAFETY: it has run to its end here, and its stack is taken back below.
            unsafe { self.shared.migrants.remove(coroutine.header()) };
        } else {
            // SAFETY: its stack is taken back below.
            let started = unsafe { resident.started() };
            self.move_out(started);
        }
        // SAFETY: it does not run any more, and nobody gets from here to its stack.
        let stack = unsafe { resident.end() };
        {
            let mut cache = self.cache.borrow_mut();
            cache.give(stack);
            cache.uncredit(resident.class);
        }
        if !resident.stays.get() {
            self.habits.note_brief(coroutine.header().spawned_at);
        }
        bump(&self.processor.counters.finished);
        self.processor.watch.running.await_observer();
        coroutine.release_completed();
        if self.shared.is_stopping() {
            self.shared.finish_if_empty();
        }
    }

    /// A resident leaves, and its timer with it.
    #[inline]
    fn move_out(&self, started: &Started) {
        if let Some(key) = started.timer.take() {
            let mut timers = self.timers.borrow_mut();
            timers.cancel(key);
            self.processor.counters.timers.store(timers.len(), Ordering::Relaxed);
        }
        self.residents.remove(started.place.get());
        self.publish_residents();
    }

    /// A resident begins to wait.
    #[inline]
    fn begin_wait(&self, header: &Header, resident: &Resident, request: &ParkRequest) {
        resident.request.set(request);
        if request.reason.is_for_others_to_end() {
            if !resident.is_migrating() {
                self.joining.set(self.joining.get() + 1);
                self.publish_burden();
            }
        } else if !resident.stays.replace(true) {
            self.habits.note_stay(header.spawned_at);
        }
    }

    /// A wait is over, if there was one: it leaves nothing behind but its outcome.
    #[inline]
    fn end_wait(&self, resident: &Resident) {
        // SAFETY: this is its home, which has not resumed it yet.
        let Some(request) = (unsafe { resident.request() }) else { return };
        resident.request.set(ptr::null());
        if request.reason.is_for_others_to_end() && !resident.is_migrating() {
            self.joining.set(self.joining.get() - 1);
            self.publish_burden();
        }
    }

    /// Residents as they count for placement.
    #[inline]
    fn burden(&self) -> usize {
        self.residents.count() - self.joining.get()
    }

    #[inline]
    fn publish_burden(&self) {
        self.processor.counters.burden.store(self.burden(), Ordering::Relaxed);
    }

    #[inline]
    fn publish_residents(&self) {
        self.processor.counters.residents.store(self.residents.count(), Ordering::Relaxed);
        self.publish_burden();
    }

    /// Tells sysmon what runs here: stores only.
    #[inline]
    fn note_running(&self, header: &Header) {
        let watch = &self.processor.watch;
        let schedules = watch.schedules.load(Ordering::Relaxed);
        watch.schedules.store(schedules.wrapping_add(1), Ordering::Relaxed);
        watch.ready.store(self.ready.len(), Ordering::Relaxed);
        // SAFETY: the machine holds a reference until it has hidden it and awaited whoever observes, at its
        // end; or, if it may end elsewhere, before it leaves.
        unsafe { watch.running.show(header) };
    }

    // Waking and spawning, called from coroutines and from this machine's own stack.

    /// Queues a resident whose wait the caller has claimed.
    #[inline]
    pub(super) fn ready(&self, coroutine: Coroutine) {
        bump(&self.processor.counters.wakes_local);
        if self.current.get().is_some() {
            // What a coroutine wakes runs next: its data is warm, and often it is waited for.
            if let Some(before) = self.next_ready.replace(Some(coroutine)) {
                self.ready.push(before);
            }
        } else {
            self.ready.push(coroutine);
        }
    }

    /// Queues a migrating coroutine, here but for anyone to take.
    pub(super) fn requeue(&self, coroutine: Coroutine) {
        self.enqueue(coroutine);
        if self.shared.idle.sleepers() > 0 && self.shared.idle.searching() == 0 {
            self.shared.wake_searcher();
        }
    }

    /// Puts what anyone may take into the run queue.
    fn enqueue(&self, coroutine: Coroutine) {
        if self.runq.len() < ROOM {
            return self.runq.push(coroutine);
        }
        // A deque that grows retires its buffer, and a debug build moves what crossbeam keeps of
        // such buffers by value, 30 KiB deep.
        let mut coroutine = Some(coroutine);
        self.on_own_stack(|| coroutine.take().into_iter().for_each(|c| self.runq.push(c)));
    }

    #[inline]
    pub(super) fn next_id(&self) -> u64 {
        let (mut next, mut end) = self.ids.get();
        if next == end {
            next = NEXT_ID.fetch_add(ID_BLOCK, Ordering::Relaxed);
            end = next + ID_BLOCK;
        }
        self.ids.set((next + 1, end));
        next
    }

    #[inline]
    pub(super) fn current(&self) -> Option<NonNull<Header>> {
        self.current.get()
    }

    /// The number of the coroutine that runs; 0 if none does.
    #[inline]
    pub(super) fn current_id(&self) -> u64 {
        // SAFETY: the running coroutine is alive.
        self.current.get().map_or(0, |running| unsafe { running.as_ref() }.id)
    }

    /// Counts an operation that succeeded without parking. `true`: it is time to yield.
    #[inline]
    pub(super) fn spend(&self) -> bool {
        self.tries.set(0);
        let budget = self.budget.get();
        // It stays there until there is a yield, which a panic in progress may not have.
        if budget == 0 {
            return true;
        }
        self.budget.set(budget - 1);
        false
    }

    /// Counts an attempt that failed. `true`: it is time to yield.
    #[inline]
    pub(super) fn try_in_vain(&self) -> bool {
        self.tries.set(self.tries.get() + 1);
        self.tries.get() >= TRIES
    }

    pub(super) fn random_bits(&self) -> u64 {
        self.random.bits()
    }

    /// `false`: the running coroutine is in that mode already, and whoever began it ends it.
    pub(super) fn begin_blocking(&self) -> bool {
        let begins = self.processor.activity() != Activity::BlockInPlace;
        if begins {
            self.processor.set_activity(Activity::BlockInPlace);
            self.shared.wake_searcher();
        }
        begins
    }

    pub(super) fn end_blocking(&self) {
        self.processor.set_activity(Activity::Running);
    }
}
