//! A machine: the thread that owns a processor, and what it does with the coroutine that it runs.

#![expect(unsafe_code, reason = "switches to coroutines and owns their resident part")]

mod ending;
mod finding;
mod placing;
mod sleeping;

use crate::coroutine::{self, Coroutine, Header, Resident, Resumed, Switch};
use crate::park::{Outcome, ParkRequest, Ticket, WaitReason};
use crate::sched::processor::{Activity, Processor, bump};
use crate::sched::shared::Shared;
use crate::sched::tls;
use crate::stack::{AltStack, Cache};
use crate::timers::Timers;
use crate::util::rng::Rng;
use crossbeam_deque::Worker;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::mem::ManuallyDrop;
use std::panic::Location;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};

/// Operations that may succeed without parking before their coroutine yields.
const BUDGET: u32 = 128;
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
    /// What the running coroutine woke last.
    next_ready: Cell<Option<Coroutine>>,
    /// Residents that are ready, and `spawn_local` coroutines that have not started.
    ready: RefCell<VecDeque<Coroutine>>,
    runq: Worker<Coroutine>,
    cache: RefCell<Cache>,
    timers: RefCell<Timers<NonNull<Header>>>,
    /// The first of the residents, who are linked through their headers.
    residents: Cell<*const Header>,
    resident_count: Cell<usize>,
    /// Residents that wait for other coroutines to end.
    joining: Cell<usize>,
    schedules: Cell<u32>,
    streak: Cell<u32>,
    budget: Cell<u32>,
    /// Spawns to let pass before the next futile wake.
    patience: Cell<u32>,
    /// When the poller was last asked although there was work.
    polled_at: Cell<u64>,
    searching: Cell<bool>,
    cancelled_all: Cell<bool>,
    random: Rng,
    ids: Cell<(u64, u64)>,
    peers: RefCell<(usize, Arc<[Arc<Processor>]>)>,
}

/// The body of a machine's thread.
pub(super) fn run(shared: Arc<Shared>, processor: Arc<Processor>, runq: Worker<Coroutine>) {
    // Without one, an overflow on this thread still kills the process, but without a report.
    let _alt_stack = AltStack::install();
    let machine = Machine {
        current: Cell::new(None),
        next_ready: Cell::new(None),
        ready: RefCell::default(),
        runq,
        cache: RefCell::new(Cache::new(shared.stacks.clone())),
        timers: RefCell::new(Timers::new()),
        residents: Cell::new(ptr::null()),
        resident_count: Cell::new(0),
        joining: Cell::new(0),
        schedules: Cell::new(0),
        streak: Cell::new(0),
        budget: Cell::new(BUDGET),
        patience: Cell::new(0),
        polled_at: Cell::new(0),
        searching: Cell::new(false),
        cancelled_all: Cell::new(false),
        random: Rng::new(processor.number as u64 + 1),
        ids: Cell::new((0, 0)),
        peers: RefCell::new((usize::MAX, Arc::new([]))),
        shared,
        processor,
    };
    tls::set_current(&raw const machine);
    machine.processor.set_activity(Activity::Running);
    while let Some(coroutine) = machine.find_runnable() {
        if machine.searching.get() {
            machine.end_search();
        }
        machine.execute(coroutine);
    }
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
        if shared_part.home().is_null() {
            self.start(header);
        }
        // SAFETY: this is its home, and it is in no queue.
        let resident = unsafe { shared_part.resident() };
        resident.deadline.set(u64::MAX);
        self.count_joining(resident, false);
        resident.reason.set(WaitReason::None);
        self.budget.set(BUDGET);
        self.note_running(shared_part);
        loop {
            self.current.set(Some(header));
            // SAFETY: nobody else uses the switch of a coroutine that this machine runs.
            let switch = unsafe { resident.switch() };
            let resumed = switch.as_mut().expect("a started coroutine has a stack").resume();
            self.current.set(None);
            match resumed {
                Resumed::Suspended(word) if word.is_null() => {
                    // SAFETY: takes back the reference given up above.
                    let coroutine = unsafe { Coroutine::from_raw(header) };
                    if resident.is_migrating() {
                        self.requeue(coroutine);
                    } else {
                        self.ready.borrow_mut().push_back(coroutine);
                    }
                    return;
                }
                Resumed::Suspended(request) => {
                    // SAFETY: a suspension's word points to a request in the suspended frame.
                    let request = unsafe { &*request.cast::<ParkRequest>() };
                    if self.publish(header, request) {
                        // From here on the reference belongs to whoever claims the wait.
                        return;
                    }
                }
                Resumed::Finished => {
                    self.finish(header);
                    return;
                }
            }
        }
    }

    /// Opens and publishes a wait. `false`: there was no need to, so the coroutine goes on.
    fn publish(&self, header: NonNull<Header>, request: &ParkRequest) -> bool {
        // SAFETY: the coroutine has left its stack, and nobody has been told of its wait yet.
        let shared_part = unsafe { header.as_ref() };
        // SAFETY: this is its home.
        let resident = unsafe { shared_part.resident() };
        resident.reason.set(request.reason);
        self.count_joining(resident, true);
        if self.processor.activity() != Activity::Running {
            // Parking ends a `block_in_place`.
            self.processor.set_activity(Activity::Running);
        }
        let migrates = resident.is_migrating();
        let _publishing = migrates.then(|| self.shared.migrants.begin_publishing());
        let seq = shared_part.park.begin();
        if migrates {
            // SAFETY: the wait has not been published.
            if unsafe { self.shared.migrants.must_not_wait(shared_part) }
                && shared_part.park.retract(seq)
            {
                resident.outcome.set(Outcome::Cancelled);
                return false;
            }
            if let Some(deadline) = request.deadline {
                // SAFETY: the machine holds a reference, of which this is another.
                let borrowed = ManuallyDrop::new(unsafe { Coroutine::from_raw(header) });
                let when = self.shared.nanos(deadline);
                self.shared.migrants.set_timer(when, Coroutine::clone(&borrowed), seq);
            }
        } else if let Some(deadline) = request.deadline {
            self.set_timer(header, self.shared.nanos(deadline));
        }
        let ticket = Ticket::for_coroutine(header, seq);
        // SAFETY: the request says how to call its publication, and this is the only call.
        if unsafe { (request.publish)(request.publish_data, ticket) } {
            return true;
        }
        // Nobody has been told, but sysmon or a cancellation may have claimed the wait; then it
        // comes back through a queue.
        let retracted = shared_part.park.retract(seq);
        if retracted {
            self.count_joining(resident, false);
            resident.reason.set(WaitReason::None);
            resident.deadline.set(u64::MAX);
            resident.outcome.set(Outcome::Woken);
        }
        !retracted
    }

    /// Gives a coroutine a stack and a home: here.
    fn start(&self, header: NonNull<Header>) {
        // SAFETY: the caller holds the only reference that may touch an unstarted coroutine.
        let shared_part = unsafe { header.as_ref() };
        // SAFETY: as above.
        let resident = unsafe { shared_part.resident() };
        let stack = self.cache.borrow_mut().take(resident.class, header.as_ptr().cast());
        let switch = Switch::new(stack, move |suspender| {
            // SAFETY: this is the coroutine's first run, on its own stack, and the machine that
            // runs it holds the scheduler's reference.
            unsafe { coroutine::entry(header, suspender) };
        });
        // SAFETY: as above.
        unsafe { *resident.switch() = Some(switch) };
        if self.shared.is_stopping() {
            shared_part.status.cancel();
        }
        if resident.is_migrating() {
            shared_part.set_home(Arc::as_ptr(&self.shared).cast());
            // SAFETY: the machine holds a reference, of which this is another.
            let borrowed = ManuallyDrop::new(unsafe { Coroutine::from_raw(header) });
            self.shared.migrants.insert(Coroutine::clone(&borrowed));
            return;
        }
        shared_part.set_home(&raw const *self.processor);
        let first = self.residents.replace(header.as_ptr());
        resident.next.set(first);
        // SAFETY: residents are alive while they are linked.
        if let Some(first) = unsafe { first.as_ref() } {
            // SAFETY: and this is their home.
            unsafe { first.resident() }.previous.set(header.as_ptr());
        }
        self.resident_count.set(self.resident_count.get() + 1);
        self.publish_residents();
    }

    /// Takes back what a coroutine had that has run to its end.
    fn finish(&self, header: NonNull<Header>) {
        // SAFETY: takes back the reference that the machine gave up to run it.
        let coroutine = unsafe { Coroutine::from_raw(header) };
        // SAFETY: this is its home.
        let resident = unsafe { coroutine.header().resident() };
        // SAFETY: it does not run any more.
        let switch = unsafe { resident.switch() }.take().expect("it has run on a stack");
        {
            let mut cache = self.cache.borrow_mut();
            cache.give(switch.into_stack());
            cache.uncredit(resident.class);
        }
        if resident.is_migrating() {
            self.shared.migrants.remove(coroutine.header());
        } else {
            self.unlink(resident);
        }
        bump(&self.processor.counters.finished);
        if coroutine.header().name.is_some() {
            // Sysmon reads the name of what runs under this lock.
            let watch = &self.processor.watch;
            watch.named.store(ptr::null_mut(), Ordering::Release);
            drop(watch.naming.lock().unwrap_or_else(PoisonError::into_inner));
        }
        coroutine.release_completed();
        if self.shared.is_stopping() {
            self.shared.finish_if_empty();
        }
    }

    /// A resident leaves, and its timer with it.
    fn unlink(&self, resident: &Resident) {
        if let Some((key, _)) = resident.timer.take() {
            self.timers.borrow_mut().cancel(key);
        }
        let (previous, next) = (resident.previous.get(), resident.next.get());
        // SAFETY: residents are alive while they are linked, and this is their home.
        unsafe {
            match previous.as_ref() {
                Some(previous) => previous.resident().next.set(next),
                None => self.residents.set(next),
            }
            if let Some(next) = next.as_ref() {
                next.resident().previous.set(previous);
            }
        }
        self.resident_count.set(self.resident_count.get() - 1);
        self.publish_residents();
    }

    /// A resident begins (`true`) or ceases to wait for others to end.
    #[inline]
    fn count_joining(&self, resident: &Resident, begins: bool) {
        let joins = matches!(resident.reason.get(), WaitReason::Join | WaitReason::Scope);
        if joins && !resident.is_migrating() {
            let joining = self.joining.get();
            self.joining.set(if begins { joining + 1 } else { joining - 1 });
            self.publish_residents();
        }
    }

    /// Residents as they count for placement.
    #[inline]
    fn burden(&self) -> usize {
        self.resident_count.get() - self.joining.get()
    }

    fn publish_residents(&self) {
        let counters = &self.processor.counters;
        counters.residents.store(self.resident_count.get(), Ordering::Relaxed);
        counters.burden.store(self.burden(), Ordering::Relaxed);
    }

    /// Tells sysmon what runs here: stores only.
    #[inline]
    fn note_running(&self, header: &Header) {
        let watch = &self.processor.watch;
        let schedules = watch.schedules.load(Ordering::Relaxed);
        watch.schedules.store(schedules.wrapping_add(1), Ordering::Relaxed);
        watch.running_id.store(header.id, Ordering::Relaxed);
        let spawned_at: *const Location<'static> = header.spawned_at;
        watch.spawned_at.store(spawned_at.cast_mut(), Ordering::Relaxed);
        watch.ready.store(self.ready.borrow().len(), Ordering::Relaxed);
        let named = if header.name.is_some() { &raw const *header } else { ptr::null() };
        watch.named.store(named.cast_mut(), Ordering::Release);
    }
    // Waking and spawning, called from coroutines and from this machine's own stack.

    /// Queues a resident whose wait the caller has claimed.
    #[inline]
    pub(super) fn ready(&self, coroutine: Coroutine) {
        if self.current.get().is_some() {
            // What a coroutine wakes runs next: its data is warm, and often it is waited for.
            if let Some(before) = self.next_ready.replace(Some(coroutine)) {
                self.ready.borrow_mut().push_back(before);
            }
        } else {
            self.ready.borrow_mut().push_back(coroutine);
        }
    }

    /// Queues a migrating coroutine, here but for anyone to take.
    pub(super) fn requeue(&self, coroutine: Coroutine) {
        self.runq.push(coroutine);
        if self.shared.idle.sleepers() > 0 && self.shared.idle.searching() == 0 {
            self.shared.wake_searcher();
        }
    }

    /// Queues a new coroutine.
    pub(super) fn spawn(&self, coroutine: Coroutine, spread: bool) {
        bump(&self.processor.counters.spawned);
        if coroutine.header().is_local() {
            self.ready.borrow_mut().push_back(coroutine);
            return;
        }
        if spread {
            self.spread(coroutine);
            return;
        }
        match self.processor.put_next_start(coroutine) {
            Some(before) => {
                self.runq.push(before);
                self.patience.set(0);
            }
            None if self.patience.get() > 0 => {
                // Nothing but this spawn could be taken, and of late nobody came in time for one.
                self.patience.set(self.patience.get() - 1);
                return;
            }
            None => {}
        }
        if self.shared.idle.sleepers() > 0 && self.shared.idle.searching() == 0 {
            let futile = self.shared.futile.load(Ordering::Relaxed);
            self.patience.set((1 << futile) - 1);
            self.shared.wake_searcher();
        }
    }

    /// Reserves what a coroutine of this class will need to start.
    pub(super) fn credit(&self, class: crate::stack::Class) -> std::io::Result<()> {
        self.cache.borrow_mut().credit(class)
    }

    pub(super) fn next_id(&self) -> u64 {
        let (mut next, mut end) = self.ids.get();
        if next == end {
            next = NEXT_ID.fetch_add(ID_BLOCK, Ordering::Relaxed);
            end = next + ID_BLOCK;
        }
        self.ids.set((next + 1, end));
        next
    }

    pub(super) fn current(&self) -> Option<NonNull<Header>> {
        self.current.get()
    }

    /// Counts an operation that succeeded without parking. `true`: it is time to yield.
    #[inline]
    pub(super) fn spend(&self) -> bool {
        let budget = self.budget.get();
        self.budget.set(budget.wrapping_sub(1));
        budget == 0
    }

    pub(super) fn random_below(&self, n: usize) -> usize {
        self.random.below(n)
    }

    pub(super) fn begin_blocking(&self) {
        self.processor.set_activity(Activity::BlockInPlace);
        self.shared.wake_searcher();
    }

    pub(super) fn end_blocking(&self) {
        self.processor.set_activity(Activity::Running);
    }
}
