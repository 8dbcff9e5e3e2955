//! Migrating coroutines: started ones that any machine may resume.
//!
//! They are what the soundness contract excludes, so each is the choice of an `unsafe` spawn. They
//! are nobody's residents: between two runs they are in a run queue, from which others steal, or
//! parked. What residents have at home, these have here, under a lock: the list by which they are
//! cancelled, and their timers, which any machine fires, and sysmon if one is stuck.
//!
//! A wait may be claimed, by a timer or by whoever has found it in a queue, while its publication
//! still works in the suspended frame. Whoever is to resume the coroutine then waits for that
//! ([`Header::lineage`]), and nobody else does: a publication may own locks that others wait for.

#![expect(unsafe_code, reason = "claims coroutines, and keeps their runtime alive by its address")]

use crate::coroutine::{Coroutine, Header};
use crate::park::{Outcome, Pokable};
use crate::protocol::park_word::Seq;
use crate::sched::shared::Shared;
use crate::sched::tls;
use crate::timers::Timers;
use std::collections::HashMap;
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The migrating coroutines of one runtime.
pub(crate) struct Migrants {
    started: Mutex<HashMap<u64, Coroutine>>,
    timers: Mutex<Timers<Due>>,
    /// When the next timer fires; `u64::MAX` for never.
    next: AtomicU64,
}

/// What a timer is set for.
type Due = (Coroutine, Seq);

/// Takes a coroutine's timer back, if it has one that has not fired.
///
/// # Safety
///
/// It has started, has not ended, and the caller is the only one to use what it has on its stack.
unsafe fn take_back(timers: &mut Timers<Due>, header: &Header) -> Option<Due> {
    // SAFETY: the caller's promise.
    let key = unsafe { header.resident().started() }.timer.take()?;
    // Whoever fires a timer may not touch the coroutine, so the key may be stale, for as long as it likes:
    // until a later timer has got the same one.
    timers.get(key).filter(|(owner, _)| ptr::eq(owner.header(), header))?;
    timers.cancel(key)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Migrants {
    pub(crate) fn new() -> Migrants {
        Migrants {
            started: Mutex::default(),
            timers: Mutex::new(Timers::new()),
            next: AtomicU64::new(u64::MAX),
        }
    }

    /// A coroutine has started.
    pub(super) fn insert(&self, coroutine: Coroutine) {
        lock(&self.started).insert(coroutine.header().id, coroutine);
    }

    /// It has ended.
    ///
    /// # Safety
    ///
    /// The caller is the machine that has run it last, and has not taken its stack back.
    pub(super) unsafe fn remove(&self, header: &Header) {
        // SAFETY: the caller's promise.
        if unsafe { header.resident().started() }.timer.get().is_some() {
            let mut timers = lock(&self.timers);
            // SAFETY: as above.
            let timer = unsafe { take_back(&mut timers, header) };
            self.note_next(&timers);
            drop(timers);
            drop(timer);
        }
        let removed = lock(&self.started).remove(&header.id);
        drop(removed);
    }

    /// Looks at all that have started.
    pub(super) fn for_each(&self, mut look: impl FnMut(&Header)) {
        lock(&self.started).values().for_each(|coroutine| look(coroutine.header()));
    }

    /// Cancels all that have started.
    pub(super) fn cancel_all(&self) {
        let started = lock(&self.started);
        for coroutine in started.values() {
            let _before = coroutine.header().status.cancel();
        }
        if cfg!(panic = "abort") {
            return;
        }
        let all: Vec<_> = started.values().cloned().map(Pokable::Coroutine).collect();
        drop(started);
        Pokable::poke_all(&all);
    }

    /// Sets a timer for the wait `seq`, and takes that of an earlier one back. Until then it stays, and
    /// if it fires it claims nothing.
    ///
    /// # Safety
    ///
    /// The caller is the machine that the coroutine has just left, which publishes its wait.
    pub(super) unsafe fn set_timer(&self, when: u64, coroutine: Coroutine, seq: Seq) {
        let header = coroutine.as_ptr();
        let mut timers = lock(&self.timers);
        // SAFETY: the caller's promise; the scheduler's reference keeps it. Whoever claims the wait and
        // resumes it waits for the end of the publication first.
        let before = unsafe {
            let before = take_back(&mut timers, header.as_ref());
            let key = timers.insert(when, (coroutine, seq));
            header.as_ref().resident().started().timer.set(Some(key));
            before
        };
        self.note_next(&timers);
        drop(timers);
        drop(before);
    }

    /// How many timers are set.
    #[cfg(all(test, feature = "migrating"))]
    pub(super) fn timers(&self) -> usize {
        lock(&self.timers).len()
    }

    fn note_next(&self, timers: &Timers<Due>) {
        self.next.store(timers.next().unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// When the next timer fires.
    #[inline]
    pub(super) fn next_timer(&self) -> u64 {
        if cfg!(feature = "migrating") { self.next.load(Ordering::Relaxed) } else { u64::MAX }
    }

    /// Fires what is due. Whether anything was.
    pub(super) fn fire(&self, now: u64) -> bool {
        if self.next_timer() > now {
            return false;
        }
        let mut due = Vec::new();
        {
            let mut timers = lock(&self.timers);
            while let Some((_, timer)) = timers.pop_due(now) {
                due.push(timer);
            }
            self.note_next(&timers);
        }
        let mut fired = false;
        for (coroutine, seq) in due {
            if coroutine.header().park.claim(seq) {
                // SAFETY: the claim has made the scheduler's reference this function's.
                unsafe {
                    let claimed = Coroutine::from_raw(coroutine.as_ptr());
                    super::ready(claimed, Outcome::TimedOut);
                }
                fired = true;
            }
        }
        fired
    }
}

/// Queues a migrating coroutine, whose wait the caller has claimed, where any machine may take it.
pub(super) fn ready(coroutine: Coroutine) {
    let runtime = coroutine.header().home().cast::<Shared>();
    // SAFETY: the pointer is set for as long as the machine lives on its thread's stack.
    if let Some(machine) = unsafe { tls::current().as_ref() }
        && Arc::as_ptr(&machine.shared) == runtime
    {
        machine.record(|pen| pen.wake(coroutine.header()));
        return machine.requeue(coroutine);
    }
    // SAFETY: a coroutine that has not ended keeps its runtime's machines, and they the runtime;
    // it is this function's own until it is pushed, and the count taken here lasts beyond that.
    let runtime = unsafe {
        Arc::increment_strong_count(runtime);
        Arc::from_raw(runtime)
    };
    runtime.global.push(coroutine);
    runtime.wake_searcher();
}

/// Spawns a migrating coroutine, for tests.
#[cfg(all(test, feature = "migrating"))]
#[track_caller]
pub(super) fn spawn_migrating(runtime: &Arc<Shared>, body: impl FnOnce() + Send + 'static) {
    let spawned_at = std::panic::Location::caller();
    let spawn = super::Spawn { migrating: true, ..super::Spawn::plain(spawned_at) };
    // SAFETY: it borrows nothing; and what tests spawn here keeps nothing across a wait that is bound
    // to a thread.
    drop(unsafe { super::spawn(runtime, spawn, body) }.unwrap());
}
