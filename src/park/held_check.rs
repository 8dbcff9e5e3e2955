//! How a debug build counts the guards that coroutines hold.

#![expect(unsafe_code, reason = "reads the running coroutine's header")]

use crate::coroutine::{Header, contained};
use crate::park::WaitReason;
use crate::park::held::HeldGuard;
use crate::protocol::park_word::Seq;
use crate::sched::{self, Shared};
use std::cell::Cell;
use std::panic::Location;
use std::sync::Arc;

/// What a coroutine holds.
pub(crate) struct HeldGuards {
    guards: Cell<u32>,
    latest: Cell<Option<&'static Location<'static>>>,
    /// After which wait the program was told of the next one, if that is for the same.
    told: Cell<Option<(Seq, WaitReason)>>,
}

impl HeldGuards {
    pub(crate) const fn new() -> HeldGuards {
        HeldGuards { guards: Cell::new(0), latest: Cell::new(None), told: Cell::new(None) }
    }

    pub(crate) fn are_any(&self) -> bool {
        self.guards.get() > 0
    }
}

fn with_held<R>(f: impl FnOnce(&HeldGuards) -> R) -> Option<R> {
    let running = sched::current_coroutine()?;
    // SAFETY: it runs, and this is its home.
    Some(f(unsafe { &running.as_ref().resident().started().held }))
}

/// A guard that is counted, if a coroutine made it.
pub(super) struct Counted(bool);

impl Counted {
    #[track_caller]
    pub(super) fn begin() -> Counted {
        let caller = Location::caller();
        let counted = with_held(|held| {
            held.guards.set(held.guards.get() + 1);
            held.latest.set(Some(caller));
        });
        Counted(counted.is_some())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        if self.0 {
            with_held(|held| held.guards.set(held.guards.get().saturating_sub(1)));
        }
    }
}

/// A wait with guards held, of which the program is to be told.
pub(super) struct Due<'a> {
    header: &'a Header,
    reason: WaitReason,
    locked_at: &'static Location<'static>,
    runtime: Arc<Shared>,
}

fn held_of(header: &Header) -> &HeldGuards {
    // SAFETY: the coroutine runs, and this is its home.
    unsafe { &header.resident().started().held }
}

/// Whether the program is to be told of a wait that is about to begin: if it wants to be, unless it has
/// been or the wait is for a lock.
pub(super) fn due(header: &Header, reason: WaitReason) -> Option<Due<'_>> {
    let held = held_of(header);
    let told = held.told.take() == Some((header.park.latest(), reason));
    if told || !held.are_any() || reason.is_for_a_lock() {
        return None;
    }
    let runtime = sched::current_shared().filter(|shared| shared.config.on_held_guard.is_some())?;
    Some(Due { header, reason, locked_at: held.latest.get()?, runtime })
}

impl Due<'_> {
    /// Tells of it. The same wait is not due again.
    pub(super) fn tell(self) {
        let Due { header, reason, locked_at, runtime } = self;
        let held = held_of(header);
        let guards = held.guards.get();
        let told = HeldGuard {
            coroutine: header.id,
            name: header.name().map(str::to_owned),
            spawned_at: header.spawned_at,
            guards,
            locked_at,
            waits_for: reason.to_string(),
        };
        // The report may use locks of its own.
        held.guards.set(0);
        // A panic of its own must not come out of the wait: others may have been lent what it is there
        // to keep, as by a scope.
        contained(|| runtime.config.on_held_guard.iter().for_each(|report| report(&told)));
        held.guards.set(guards);
        held.latest.set(Some(locked_at));
        // Now, since the report may have waited.
        held.told.set(Some((header.park.latest(), reason)));
    }
}
