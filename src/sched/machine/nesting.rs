//! A join that runs what it waits for, as a call would; see "Joining what has not started" in
//! `docs/scheduler.md`.

#![expect(unsafe_code, reason = "switches to coroutines and owns their resident part")]

use super::ending::NeverUnwinds;
use super::finding::LOOK_EVERY;
use super::placing::Whence;
use super::{BUDGET, Machine};
use crate::coroutine::{Coroutine, Header, Resident, Resumed, Suspender};
use crate::sched::processor::{Activity, bump};
use crate::stack::Stack;
use std::cell::Cell;
use std::mem;
use std::ptr::{self, NonNull};
use std::sync::atomic::Ordering;

/// How many may be called by each other, so that a walk of the innermost one's stack, which goes on through
/// all of them, has an end.
const DEEPEST: u32 = 32;

/// Those that a joiner has called, and that have not left its thread's stack since.
pub(super) struct Calls {
    depth: Cell<u32>,
    /// The way from the outermost joiner to the machine's own stack, while there are any.
    pub(super) way_back: Cell<Option<Suspender>>,
}

impl Calls {
    pub(super) fn new() -> Calls {
        Calls { depth: Cell::new(0), way_back: Cell::new(None) }
    }
}

impl Machine {
    /// Runs what the running coroutine is about to wait for in `join`, if that would run next anyway,
    /// until it ends or leaves its stack for the first time. `false`: it was not run.
    #[inline]
    pub(in crate::sched) fn call_joined(&self, child: &Coroutine) -> bool {
        let Some(joiner) = self.current.get() else { return false };
        if !self.would_run_next(child) {
            return false;
        }
        // SAFETY: the running coroutine is alive.
        let shared_part = unsafe { joiner.as_ref() };
        // SAFETY: this is its home.
        let resident = unsafe { shared_part.resident() };
        // SAFETY: as it runs, it has started.
        let started = unsafe { resident.started() };
        // A wait would have something else to attend to.
        if shared_part.status.is_cancelled()
            || !started.frames.get().is_null()
            || std::thread::panicking()
            || resident.is_migrating()
            || child.header().is_migrating()
        {
            return false;
        }
        #[cfg(debug_assertions)]
        if started.held.are_any() {
            return false;
        }
        // Without a way to leave them, the wait is the thread's. Whoever is told that they are left may
        // spawn and wake.
        resident.spans.left_for(|| {
            (!cfg!(feature = "tracing") || self.would_run_next(child))
                && self.count_in_streak()
                && self.call(joiner, resident)
        })
    }

    /// Whether this would be what the machine runs next, had the running coroutine just begun to wait;
    /// but for those who have waited for longer than the streak lets them.
    #[inline]
    fn would_run_next(&self, child: &Coroutine) -> bool {
        let watch = &self.processor.watch;
        let schedules = watch.schedules.load(Ordering::Relaxed).wrapping_add(1);
        self.processor.is_next_start(child)
            && !(schedules.is_multiple_of(LOOK_EVERY)
                || watch.nudge.load(Ordering::Relaxed)
                || self.has_next_ready()
                || self.calls.depth.get() == DEEPEST
                // A recorder is to see who waits for whom.
                || self.pen.is_some()
                || self.processor.activity() != Activity::Running)
    }

    fn call(&self, joiner: NonNull<Header>, resident: &Resident) -> bool {
        let Some(child) = self.processor.take_next_start() else { return false };
        // The joiner does not count, who only waits.
        let here = self.burden() - 1;
        let Some(child) = self.place_beside(child, here, Whence::Here) else { return false };
        let child = child.into_raw();
        let depth = self.calls.depth.get();
        if depth == 0 {
            self.calls.way_back.set(resident.suspender.get());
        }
        self.calls.depth.set(depth + 1);
        let whole = NeverUnwinds;
        match self.begin(joiner, child) {
            Resumed::Finished => self.with_room(|| self.finish_call(joiner, child)),
            suspended @ Resumed::Suspended(_) => self.end_call(joiner, child, suspended),
        }
        mem::forget(whole);
        self.calls.depth.set(depth);
        if depth == 0 {
            self.calls.way_back.set(None);
        }
        self.budget.set(BUDGET);
        self.tries.set(0);
        self.current.set(Some(joiner));
        true
    }

    /// Runs a coroutine for the first time, on a stack of its own, and comes back when it leaves that.
    /// Nothing runs then.
    #[inline(always)]
    fn begin(&self, joiner: NonNull<Header>, child: NonNull<Header>) -> Resumed {
        // SAFETY: the machine holds the reference that its caller has just unwrapped.
        let shared_part = unsafe { child.as_ref() };
        // SAFETY: this is going to be its home, and it is in no queue.
        let resident = unsafe { shared_part.resident() };
        let hot = match cfg!(debug_assertions) {
            true => None,
            false => self.cache.borrow_mut().take_hot(resident.class, child.as_ptr().cast()),
        };
        match hot {
            Some(stack) => self.prepare_on(child, stack),
            None => self.on_own_stack(|| self.prepare(child)),
        }
        shared_part.set_home(&raw const *self.processor);
        // SAFETY: it has just got its stack.
        let started = unsafe { resident.started() };
        started.caller.set(joiner.as_ptr());
        shared_part.status.begin_call();
        self.budget.set(BUDGET);
        self.tries.set(0);
        self.note_running(shared_part);
        self.current.set(Some(child));
        // SAFETY: nobody else uses the switch of a coroutine that this machine runs.
        let resumed = unsafe { started.switch() }.resume();
        self.current.set(None);
        resumed
    }

    /// Does on the machine's own stack, in a debug build, what a release build can do on a coroutine's.
    #[inline(always)]
    fn with_room(&self, f: impl Fn()) {
        match cfg!(debug_assertions) {
            true => self.on_own_stack(f),
            false => f(),
        }
    }

    /// [`Machine::finish`], for one that has never left its stack before: it has not become a resident,
    /// set a timer, or waited.
    #[inline(always)]
    fn finish_call(&self, joiner: NonNull<Header>, child: NonNull<Header>) {
        // SAFETY: takes back the reference that was given up to run it.
        let coroutine = unsafe { Coroutine::from_raw(child) };
        // SAFETY: this is its home, it does not run any more, and nobody gets from here to its stack.
        let (resident, stack) = unsafe {
            let resident = coroutine.header().resident();
            (resident, resident.end())
        };
        {
            let mut cache = self.cache.borrow_mut();
            match cache.give_hot(stack) {
                Ok(()) => cache.uncredit(resident.class),
                Err(stack) => {
                    drop(cache);
                    self.give_elsewhere(stack);
                }
            }
        }
        self.habits.note_brief(coroutine.header().spawned_at);
        bump(&self.processor.counters.finished);
        bump(&self.processor.watch.returns);
        // SAFETY: as in `note_running`, which was for its first stretch.
        unsafe { self.processor.watch.running.show(joiner.as_ref()) };
        self.processor.watch.running.await_observer();
        coroutine.release_completed();
        if self.shared.is_stopping() {
            self.shared.finish_if_empty();
        }
    }

    /// Gives a stack back for which there is no room at hand, which leads to system calls now and then, and
    /// its credit.
    #[cold]
    #[inline(never)]
    fn give_elsewhere(&self, stack: Stack) {
        let mut stack = Some(stack);
        self.on_own_stack(|| {
            let Some(stack) = stack.take() else { return };
            let class = stack.class();
            let mut cache = self.cache.borrow_mut();
            cache.give(stack);
            cache.uncredit(class);
        });
    }

    /// One has left its stack before its end: from here on it is a resident as any other, and its joiner
    /// has to wait.
    #[cold]
    #[inline(never)]
    fn end_call(&self, joiner: NonNull<Header>, child: NonNull<Header>, resumed: Resumed) {
        // SAFETY: the machine holds its reference.
        let shared_part = unsafe { child.as_ref() };
        shared_part.status.end_call();
        // Where the table of residents may grow, which a small stack has no room for.
        self.on_own_stack(|| self.settle_in(child));
        let mut resumed = Some(resumed);
        loop {
            let mut is_off = false;
            self.on_own_stack(|| {
                is_off = resumed.take().is_none_or(|resumed| self.left(child, resumed));
            });
            if is_off {
                break;
            }
            // There was no need to wait.
            self.current.set(Some(child));
            // SAFETY: it is not off, so it has its stack, also when it has come to its end there.
            let started = unsafe { shared_part.resident().started() };
            started.caller.set(joiner.as_ptr());
            // SAFETY: nobody else uses the switch of a coroutine that this machine runs.
            resumed = Some(unsafe { started.switch() }.resume());
            started.caller.set(ptr::null());
            self.current.set(None);
        }
        bump(&self.processor.watch.returns);
        // SAFETY: as in `note_running`.
        unsafe { self.processor.watch.running.show(joiner.as_ref()) };
    }
}
