//! A machine: the thread that owns a processor, and its search for something to run.

#![expect(unsafe_code, reason = "switches to coroutines and owns their resident part")]

use crate::coroutine::{self, Coroutine, Header, Resident, Resumed, Switch};
use crate::park::{Outcome, ParkRequest, Ticket, WaitReason};
use crate::protocol::sleep::Wakeup;
use crate::sched::processor::{Activity, Processor, bump};
use crate::sched::shared::Shared;
use crate::sched::tls;
use crate::stack::{AltStack, Cache};
use crate::timers::Timers;
use crate::util::rng::Rng;
use crossbeam_deque::{Steal, Worker};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::mem::ManuallyDrop;
use std::panic::Location;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

/// Every so many schedules the global queue comes first (Go's figure: a prime, so that it does
/// not fall into step with a program's own rhythm).
const GLOBAL_EVERY: u32 = 61;
/// Every so many schedules inbox and timers are looked at although there is work.
const INBOX_EVERY: u32 = 16;
/// Every so many schedules the clock is looked at although there is work, to see whether to poll.
const CLOCK_EVERY: u32 = 64;
/// How old the last poll must be for another one while there is work, in nanoseconds. When
/// schedules are few and long, sysmon asks for one instead.
const POLL_AFTER: u64 = 20_000;
/// How many times in a row what was just made ready may run before the queue.
const STREAK: u32 = 8;
/// Operations that may succeed without parking before their coroutine yields.
const BUDGET: u32 = 128;
/// Rounds of looking at all the others before a machine gives up.
const SEARCH_ROUNDS: usize = 4;
/// Coroutine numbers taken from the process-wide counter at a time.
const ID_BLOCK: u64 = 1024;
/// The longest row of futile searches that adds to a spawner's patience.
const MAX_FUTILE: usize = 10;

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

    // Finding.

    /// The next coroutine to run; sleeps until there is one. `None`: the machine is to end.
    fn find_runnable(&self) -> Option<Coroutine> {
        loop {
            if let Some(coroutine) = self.next_local() {
                return Some(coroutine);
            }
            if self.look_after_stop() || self.take_inbox() || self.fire_timers() {
                continue;
            }
            if let Some(coroutine) = self.take_start().or_else(|| self.take_global()) {
                return Some(coroutine);
            }
            if let Some(coroutine) = self.search() {
                match self.place(coroutine) {
                    Some(coroutine) => return Some(coroutine),
                    None => continue,
                }
            }
            if self.shared.is_finished() || self.is_superfluous() {
                self.stop_searching();
                return None;
            }
            self.sleep();
        }
    }

    /// From this machine's own queues.
    #[inline]
    fn next_local(&self) -> Option<Coroutine> {
        loop {
            let schedules = self.schedules.get().wrapping_add(1);
            self.schedules.set(schedules);
            if schedules.is_multiple_of(INBOX_EVERY)
                || self.processor.watch.nudge.load(Ordering::Relaxed)
            {
                self.look_around(schedules);
            }
            if schedules.is_multiple_of(GLOBAL_EVERY)
                && let Some(coroutine) = self.take_start().or_else(|| self.take_global())
            {
                return Some(coroutine);
            }
            if self.streak.get() < STREAK {
                if let Some(coroutine) = self.next_ready.take() {
                    self.streak.set(self.streak.get() + 1);
                    return Some(coroutine);
                }
                if let Some(coroutine) = self.processor.take_next_start() {
                    self.streak.set(self.streak.get() + 1);
                    match self.place(coroutine) {
                        Some(coroutine) => return Some(coroutine),
                        None => continue,
                    }
                }
            } else {
                // What wakes and spawns each other has had its turn: to the end of the queue.
                self.ready.borrow_mut().extend(self.next_ready.take());
                if let Some(coroutine) = self.processor.take_next_start() {
                    self.runq.push(coroutine);
                }
            }
            self.streak.set(0);
            // Residents and starts take turns, so that neither can starve the other.
            if schedules.is_multiple_of(2)
                && let Some(coroutine) = self.pop_ready()
            {
                return Some(coroutine);
            }
            match self.runq.pop() {
                Some(coroutine) => match self.place(coroutine) {
                    Some(coroutine) => return Some(coroutine),
                    None => continue,
                },
                None => return self.pop_ready(),
            }
        }
    }

    #[inline]
    fn pop_ready(&self) -> Option<Coroutine> {
        self.ready.borrow_mut().pop_front()
    }

    /// What a machine looks at now and then although it has work.
    #[cold]
    fn look_around(&self, schedules: u32) {
        self.take_inbox();
        let nudged = self.processor.watch.nudge.load(Ordering::Relaxed);
        if nudged || schedules.is_multiple_of(CLOCK_EVERY) {
            let now = self.shared.now();
            if nudged || now.saturating_sub(self.polled_at.get()) >= POLL_AFTER {
                self.processor.watch.nudge.store(false, Ordering::Relaxed);
                self.polled_at.set(now);
                self.poll(Some(Duration::ZERO));
            }
            self.look_after_stop();
        }
        self.fire_timers();
    }

    fn take_inbox(&self) -> bool {
        if self.processor.inbox.is_empty() {
            return false;
        }
        let mut ready = self.ready.borrow_mut();
        for coroutine in self.processor.inbox.take_all() {
            ready.push_back(coroutine);
            bump(&self.processor.counters.inbox_wakes);
        }
        true
    }

    /// Something that was sent here to start. It counts as this machine's already.
    fn take_start(&self) -> Option<Coroutine> {
        if self.processor.starts.is_empty() {
            return None;
        }
        // What was right when it was sent may be wrong by now, if others sent as much.
        // It counts here before it leaves the queue, so that no sender sees it in neither place.
        self.processor.counters.burden.store(self.burden() + 1, Ordering::Release);
        let start = repeat(|| self.processor.starts.steal());
        let start = start.and_then(|coroutine| self.place(coroutine));
        if start.is_none() {
            self.publish_residents();
        }
        start
    }

    fn take_global(&self) -> Option<Coroutine> {
        if self.is_leaving() || self.shared.global.is_empty() {
            return None;
        }
        let coroutine = repeat(|| self.shared.global.steal())?;
        if !self.shared.global.is_empty() {
            // One taker at a time is woken; each wakes the next.
            self.shared.wake_searcher();
        }
        self.place(coroutine)
    }

    // Placing.

    /// Decides where an unstarted coroutine lives. `None`: it was sent to another machine.
    ///
    /// A started coroutine stays, so a start is the only occasion to spread load: it goes to the
    /// machine with the fewest residents if this one has clearly more. What ends without parking
    /// adds nothing to that count, and one that waits in `join` does not count while it does: it
    /// is a stack frame of those it waits for, and a fork-join would otherwise send half of its
    /// tiny tasks across.
    #[inline]
    fn place(&self, coroutine: Coroutine) -> Option<Coroutine> {
        let here = self.burden();
        let started = cfg!(feature = "migrating") && !coroutine.header().home().is_null();
        if here <= self.shared.config.slack || started {
            return Some(coroutine);
        }
        self.place_elsewhere(coroutine, here)
    }

    #[cold]
    fn place_elsewhere(&self, coroutine: Coroutine, here: usize) -> Option<Coroutine> {
        let here = here.saturating_add(self.processor.starts.len());
        let below = here.saturating_sub(self.shared.config.slack);
        self.with_peers(|peers| match self.least_loaded(peers, below) {
            Some(target) => {
                bump(&self.processor.counters.pushed);
                send_start(target, coroutine);
                None
            }
            None => Some(coroutine),
        })
    }

    /// The other machine with the fewest residents, if it has fewer than `below`.
    fn least_loaded<'a>(
        &self,
        peers: &'a [Arc<Processor>],
        below: usize,
    ) -> Option<&'a Arc<Processor>> {
        /// Beyond this many, a sample decides (Mitzenmacher, *The Power of Two Choices*, 2001).
        const SCAN: usize = 8;
        let sampled = peers.len() > SCAN;
        let mut best: Option<(usize, &Arc<Processor>)> = None;
        for index in 0..peers.len().min(SCAN) {
            let peer = &peers[if sampled { self.random.below(peers.len()) } else { index }];
            if peer.surplus || Arc::ptr_eq(peer, &self.processor) || peer.is_stuck() {
                continue;
            }
            let load = peer.load();
            if load < best.map_or(below, |best| best.0) {
                best = Some((load, peer));
            }
        }
        best.map(|(_, peer)| peer)
    }

    fn with_peers<R>(&self, look: impl FnOnce(&[Arc<Processor>]) -> R) -> R {
        let generation = self.shared.generation.load(Ordering::Acquire);
        if self.peers.borrow().0 != generation {
            *self.peers.borrow_mut() = (generation, self.shared.processors());
        }
        look(&self.peers.borrow().1)
    }

    // Searching.

    /// Looks for unstarted work of other machines.
    fn search(&self) -> Option<Coroutine> {
        if self.is_leaving() {
            self.stop_searching();
            return None;
        }
        if !self.searching.get() {
            if !self.shared.idle.try_search(self.shared.machine_count()) {
                return None;
            }
            self.searching.set(true);
        }
        let found = self.with_peers(|peers| {
            (0..SEARCH_ROUNDS).find_map(|round| {
                let first = self.random.below(peers.len().max(1));
                let (wrapped, order) = peers.split_at(first);
                let last_round = round + 1 == SEARCH_ROUNDS;
                order.iter().chain(wrapped).find_map(|peer| self.steal_from(peer, last_round))
            })
        });
        if found.is_some() {
            bump(&self.processor.counters.steals);
            self.shared.futile.store(0, Ordering::Relaxed);
        }
        found
    }

    fn steal_from(&self, victim: &Arc<Processor>, latest_too: bool) -> Option<Coroutine> {
        if Arc::ptr_eq(victim, &self.processor) {
            return None;
        }
        repeat(|| victim.stealer.steal_batch_and_pop(&self.runq))
            // What was sent there is to live there, unless its machine cannot take it.
            .or_else(|| if victim.is_stuck() { repeat(|| victim.starts.steal()) } else { None })
            // A victim that is about to run its latest spawn itself does so sooner and with a
            // warm cache; in the last round it has had the time.
            .or_else(|| if latest_too { victim.take_next_start() } else { None })
    }

    /// A searcher has found something, wherever. If it was the last to search, there may be more
    /// where that came from, so it wakes the next.
    #[cold]
    fn end_search(&self) {
        if self.stop_searching() {
            self.shared.wake_searcher();
        }
    }

    /// Whether this machine was the last to search.
    fn stop_searching(&self) -> bool {
        self.searching.replace(false) && self.shared.idle.stop_searching()
    }

    /// A surplus machine whose time is over takes nothing new.
    fn is_leaving(&self) -> bool {
        self.processor.surplus && self.shared.sysmon.stuck_workers() == 0
    }

    fn is_superfluous(&self) -> bool {
        self.is_leaving() && self.resident_count.get() == 0
    }

    // Sleeping.

    fn sleep(&self) {
        let processor = &*self.processor;
        processor.sleep.prepare();
        self.shared.idle.begin_sleep();
        let searched = self.searching.get();
        self.stop_searching();
        if !self.has_work(searched) {
            if searched {
                let futile = self.shared.futile.load(Ordering::Relaxed);
                self.shared.futile.store((futile + 1).min(MAX_FUTILE), Ordering::Relaxed);
            }
            let next = self.timers.borrow().next().unwrap_or(u64::MAX);
            let next = next.min(self.shared.migrants.next_timer());
            let timeout = (next != u64::MAX)
                .then(|| Duration::from_nanos(next.saturating_sub(self.shared.now())));
            processor.set_activity(Activity::Idle);
            bump(&processor.counters.sleeps);
            self.poll(timeout);
            processor.set_activity(Activity::Running);
            if processor.watch.settle.swap(false, Ordering::Relaxed) {
                self.cache.borrow_mut().settle();
            }
        }
        self.shared.idle.end_sleep();
        if processor.sleep.end() == Wakeup::Searcher {
            self.searching.set(true);
        }
        self.shared.sysmon.notice_work();
    }

    /// The second look, after the sleep has been announced.
    fn has_work(&self, searched: bool) -> bool {
        let stopping = self.shared.is_stopping();
        !self.processor.inbox.is_empty()
            || !self.processor.starts.is_empty()
            || (stopping && !self.cancelled_all.get())
            || self.shared.is_finished()
            || self.is_superfluous()
            || (!self.is_leaving() && !self.shared.global.is_empty())
            || (searched && self.with_peers(|peers| peers.iter().any(|p| self.could_steal(p))))
    }

    fn could_steal(&self, victim: &Arc<Processor>) -> bool {
        !Arc::ptr_eq(victim, &self.processor)
            && (!victim.stealer.is_empty() || victim.is_stuck() && !victim.starts.is_empty())
    }

    fn poll(&self, timeout: Option<Duration>) {
        bump(&self.processor.counters.polls);
        let events = self.processor.driver.poll(timeout) as u64;
        let counter = &self.processor.counters.events;
        counter.store(counter.load(Ordering::Relaxed) + events, Ordering::Relaxed);
    }

    // Timers.

    /// Makes sure that a timer fires for this coroutine at `deadline` or before.
    ///
    /// A timer that was left by an earlier wait and fires before the deadline does as well: when
    /// it fires, it is set anew. So a socket with a timeout sets one timer per timeout that goes
    /// by, not one per operation.
    fn set_timer(&self, header: NonNull<Header>, deadline: u64) {
        // SAFETY: the caller runs on the machine, whose resident has just been suspended.
        let resident = unsafe { header.as_ref().resident() };
        resident.deadline.set(deadline);
        let mut timers = self.timers.borrow_mut();
        if let Some((key, when)) = resident.timer.get() {
            if when <= deadline {
                return;
            }
            timers.cancel(key);
        }
        resident.timer.set(Some((timers.insert(deadline, header), deadline)));
        self.processor.counters.timers.store(timers.len(), Ordering::Relaxed);
    }

    fn fire_timers(&self) -> bool {
        let migrants = &self.shared.migrants;
        if self.timers.borrow().next().is_none() && migrants.next_timer() == u64::MAX {
            return false;
        }
        let now = self.shared.now();
        let mut fired = migrants.fire(now);
        let mut timers = self.timers.borrow_mut();
        while let Some((_, header)) = timers.pop_due(now) {
            // SAFETY: a resident's timer goes before the resident does.
            let shared_part = unsafe { header.as_ref() };
            // SAFETY: this is its home.
            let resident = unsafe { shared_part.resident() };
            resident.timer.set(None);
            let deadline = resident.deadline.get();
            if deadline > now {
                if deadline != u64::MAX {
                    resident.timer.set(Some((timers.insert(deadline, header), deadline)));
                }
            } else if shared_part.park.claim_current() {
                // SAFETY: the claim has made the scheduler's reference this machine's.
                let coroutine = unsafe { Coroutine::from_raw(header) };
                resident.outcome.set(Outcome::TimedOut);
                self.ready.borrow_mut().push_back(coroutine);
                fired = true;
            }
        }
        self.processor.counters.timers.store(timers.len(), Ordering::Relaxed);
        fired
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

    /// Sends a new coroutine to the least loaded worker, which may be this one, where it counts
    /// at once.
    fn spread(&self, coroutine: Coroutine) {
        let load = self.processor.load();
        self.with_peers(|peers| {
            let target = self.least_loaded(peers, load).unwrap_or(&self.processor);
            send_start(target, coroutine);
        });
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

    pub(super) fn begin_blocking(&self) {
        self.processor.set_activity(Activity::BlockInPlace);
        self.shared.wake_searcher();
    }

    pub(super) fn end_blocking(&self) {
        self.processor.set_activity(Activity::Running);
    }

    // The end.

    /// Once the runtime stops: cancels every resident. Whether it did, so that some may be ready.
    fn look_after_stop(&self) -> bool {
        if !self.shared.is_stopping() || self.cancelled_all.replace(true) {
            return false;
        }
        let mut next = self.residents.get();
        // SAFETY: residents are alive while they are linked, and this is their home.
        while let Some(header) = unsafe { next.as_ref() } {
            // SAFETY: as above.
            let resident = unsafe { header.resident() };
            next = resident.next.get();
            header.status.cancel();
            if !cfg!(panic = "abort") && header.park.claim_current() {
                resident.outcome.set(Outcome::Cancelled);
                // SAFETY: the claim has made the scheduler's reference this machine's.
                let coroutine = unsafe { Coroutine::from_raw(NonNull::from(header)) };
                self.ready.borrow_mut().push_back(coroutine);
            }
        }
        self.shared.migrants.cancel_all();
        self.shared.finish_if_empty();
        true
    }

    /// Leaves the runtime: nothing lives here any more.
    fn retire(&self) {
        let processor = &self.processor;
        debug_assert_eq!(self.resident_count.get(), 0);
        {
            let mut retired = self.shared.retired.lock().unwrap_or_else(PoisonError::into_inner);
            let counters = &processor.counters;
            retired.spawned += counters.spawned.load(Ordering::Relaxed);
            retired.finished += counters.finished.load(Ordering::Relaxed);
            self.shared.change_processors(|list| list.retain(|p| !Arc::ptr_eq(p, processor)));
        }
        processor.driver.close();
        // Whoever saw this processor in the list may still send something.
        let mut left_over = false;
        let taken = || {
            processor
                .take_next_start()
                .or_else(|| self.runq.pop())
                .or_else(|| repeat(|| processor.starts.steal()))
        };
        while let Some(coroutine) = taken() {
            self.shared.global.push(coroutine);
            left_over = true;
        }
        if left_over {
            self.shared.wake_searcher();
        }
        // Wakers that pushed a resident's wake may still be on their way out.
        while processor.pins.load(Ordering::Acquire) != 0 {
            std::thread::yield_now();
        }
    }
}

/// Sends a coroutine to a machine where it is to start.
fn send_start(target: &Processor, coroutine: Coroutine) {
    target.starts.push(coroutine);
    if target.sleep.wake() {
        target.driver.interrupt();
    }
}

/// Tries until the queue answers.
fn repeat<T>(mut steal: impl FnMut() -> Steal<T>) -> Option<T> {
    loop {
        match steal() {
            Steal::Success(value) => return Some(value),
            Steal::Empty => return None,
            Steal::Retry => std::hint::spin_loop(),
        }
    }
}
