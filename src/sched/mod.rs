#![doc = include_str!("../../docs/scheduler.md")]
#![expect(unsafe_code, reason = "reaches the machine through a thread-local pointer")]

mod backlog;
mod counters;
mod machine;
mod migrants;
mod processor;
mod ready;
mod record;
mod residents;
mod run_queue;
mod shared;
mod survey;
mod sysmon;
#[cfg(test)]
mod tests;
#[cfg_attr(target_os = "linux", path = "thread_state/linux.rs")]
#[cfg_attr(not(target_os = "linux"), path = "thread_state/other.rs")]
mod thread_state;
mod threads;
mod tls;

pub use counters::WorkerCounters;
pub(crate) use machine::fresh_id;
pub(crate) use processor::{Activity, Processor};
pub(crate) use record::{Event, RuntimeRecord, TrackOf, TrackRecord, What};
pub(crate) use shared::{Config, Driver, OnHeldGuard, OnStall, OnSwallowedCancel, Shared};
pub use shared::{OnDeadlock, Stall};
pub(crate) use survey::{Residence, Sighting, Standing, Survey, Visit};
pub(crate) use sysmon::RESTS;

use crate::coroutine::{self, Coroutine, Frames, Header, Seed};
use crate::park::{Home, Outcome, Pokable};
use crate::protocol::status::Asked;
use crate::stack::Class;
use machine::Machine;
use processor::bump;
use std::io;
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::time::Duration;

/// Runs `f` with the machine that this thread is.
///
/// `f` must not park: a migrating coroutine would come back on another thread.
#[inline]
fn with_machine<R>(f: impl FnOnce(&Machine) -> R) -> Option<R> {
    // SAFETY: the pointer is set for as long as the machine lives on its thread's stack.
    unsafe { tls::current().as_ref() }.map(f)
}

/// The coroutine that runs on this thread.
#[inline]
pub(crate) fn current_coroutine() -> Option<NonNull<Header>> {
    with_machine(Machine::current).flatten()
}

/// Runs `f` with the memory that this thread's machine keeps for coroutines.
#[inline]
pub(crate) fn with_frames<R>(f: impl FnOnce(&Frames) -> R) -> Option<R> {
    with_machine(|machine| f(&machine.frames))
}

/// The number of the coroutine that runs on this thread.
pub(crate) fn current_id() -> Option<u64> {
    with_machine(Machine::current_id).filter(|&id| id != 0)
}

/// Whether the caller runs in a coroutine.
#[inline]
pub(crate) fn in_coroutine() -> bool {
    current_coroutine().is_some()
}

/// The runtime to which this thread belongs.
pub(crate) fn current_shared() -> Option<Arc<Shared>> {
    with_machine(|machine| machine.shared.clone())
}

/// Runs `f` with the runtime to which this thread belongs, or else with what `other` says. `f` must
/// not park.
///
/// # Errors
///
/// Those of both.
#[inline]
pub(crate) fn with_shared_or<R>(
    other: impl FnOnce() -> io::Result<&'static Arc<Shared>>,
    f: impl FnOnce(&Arc<Shared>) -> io::Result<R>,
) -> io::Result<R> {
    // SAFETY: as in `with_machine`.
    f(match unsafe { tls::current().as_ref() } {
        Some(machine) => &machine.shared,
        None => other()?,
    })
}

/// Runs `f` with the processor of this thread.
pub(crate) fn with_processor<R>(f: impl FnOnce(&Arc<Processor>, &Arc<Shared>) -> R) -> Option<R> {
    with_machine(|machine| f(&machine.processor, &machine.shared))
}

/// Makes a parked coroutine run again.
///
/// # Safety
///
/// The caller has claimed its wait, and `coroutine` is the scheduler's reference.
#[inline(always)]
pub(crate) unsafe fn ready(coroutine: Coroutine, outcome: Outcome) {
    let header = coroutine.header();
    // SAFETY: until it is queued below, a claimed coroutine belongs to its claimant.
    unsafe { header.resident() }.outcome.set(outcome);
    if header.is_migrating() {
        return migrants::ready(coroutine);
    }
    let home = header.home();
    // SAFETY: as in `with_machine`; nothing here parks.
    let machine = unsafe { tls::current().as_ref() };
    if let Some(machine) = machine {
        machine.record(|pen| pen.wake(header));
        if ptr::eq(&raw const *machine.processor, home) {
            return machine.ready(coroutine);
        }
    }
    // SAFETY: it lives there.
    unsafe { send_home(coroutine, home, machine) };
}

/// Hands a coroutine that was woken elsewhere to its home.
///
/// # Safety
///
/// It lives there.
unsafe fn send_home(coroutine: Coroutine, home: *const Processor, machine: Option<&Machine>) {
    if let Some(machine) = machine {
        bump(&machine.processor.counters.wakes_sent);
    }
    // No reference as an argument, which would have to be good until this returns: the processor may
    // go as soon as the pin is off.
    // SAFETY: a processor outlives its residents, of which this is one until it has been pushed;
    // after that, the pin keeps the machine from leaving.
    let home = unsafe { &*home };
    home.pins.pin();
    home.inbox.push(coroutine);
    if home.sleep.wake() {
        home.driver.interrupt();
        if let Some(machine) = machine {
            bump(&machine.processor.counters.wakes_signalled);
        }
    }
    home.pins.unpin();
}

/// What the home of a parked coroutine is doing. Saying that it is idle picks it for a wake.
///
/// # Safety
///
/// The coroutine stays parked, and its runtime with it.
pub(crate) unsafe fn look_at_home(header: &Header) -> Home {
    let home = header.home();
    let is_here = |machine: &Machine| ptr::eq(&raw const *machine.processor, home);
    if header.is_migrating() {
        Home::Elsewhere
    } else if with_machine(is_here) == Some(true) {
        Home::Here
    // SAFETY: a processor outlives its residents.
    } else if unsafe { &*home }.pick_vacant() {
        Home::Idle
    } else {
        Home::Elsewhere
    }
}

/// Asks many coroutines to end, at the price of one fence.
pub(crate) fn cancel_all(coroutines: &[Coroutine]) {
    let first = |one: &&Coroutine| one.header().status.cancel() == Asked::First;
    let asked = coroutines.iter().filter(first).cloned().map(Pokable::Coroutine);
    Pokable::poke_all(&asked.collect::<Vec<_>>());
}

/// A number that names something for as long as the process lives.
pub(crate) fn next_id() -> u64 {
    with_machine(Machine::next_id).unwrap_or_else(fresh_id)
}

/// Asks a coroutine to end; see [`crate::thread::JoinHandle::cancel`].
pub(crate) fn cancel(coroutine: &Coroutine) -> Asked {
    let asked = coroutine.header().status.cancel();
    if asked == Asked::First {
        Pokable::poke_all(&[Pokable::Coroutine(coroutine.clone())]);
    }
    asked
}

/// Ends the process, on the stack of the thread on which a coroutine runs: its thread-locals'
/// destructors and the functions given to `atexit` may need more than a small coroutine has.
pub(crate) fn exit(code: i32) -> ! {
    with_machine(|machine| machine.exit(code));
    std::process::exit(code)
}

/// Has `f` called when the runtime to which this thread belongs has ended, if it is about to: by whoever
/// ends it, and so where coroutines can be spawned.
pub(crate) fn after_the_end(f: impl FnOnce() + Send + 'static) {
    if let Some(shared) = current_shared() {
        shared.after_the_end(Box::new(f));
    }
}

/// A plain thread has waited for long, and only others can end that: is there anybody? If that could
/// not be found out, after what time it is to ask again.
pub(crate) fn outsider_rests() -> Option<Duration> {
    Shared::all().first().and_then(|shared| (shared.config.on_rest)())
}

/// 64 random bits from a machine's own source; `None` on a plain thread.
pub(crate) fn random_bits() -> Option<u64> {
    with_machine(|machine| machine.random_bits())
}

/// Lets others run. On a plain thread, the system's yield.
#[inline(always)]
pub(crate) fn yield_now() {
    let Some(coroutine) = current_coroutine() else {
        return std::thread::yield_now();
    };
    // Without a way to move the panic in progress off this thread there is nothing to yield to.
    // SAFETY: this is the running coroutine; a null word is a yield.
    let _yielded = unsafe { switch_away(coroutine.as_ref(), ptr::null_mut()) };
}

/// Leaves the running coroutine for its machine, and returns when it is resumed, with nothing of it on
/// the thread meanwhile: no panic that is counted, no span. `false`: that cannot be had.
///
/// This is inlined as far up as may be, into the program's own functions: a switch is a `call` on the
/// machine's side and a `ret` on the coroutine's, so a function that is entered before a switch and
/// left after it costs the processor's return predictor a miss on the way in and another on the way
/// out. All else that a wait needs is called before and after.
///
/// # Safety
///
/// `header` is the running coroutine's; `word` is null for a yield, or points to a
/// [`ParkRequest`](crate::park::ParkRequest) in a frame below.
#[inline(always)]
pub(crate) unsafe fn switch_away(header: &Header, word: *mut ()) -> bool {
    // SAFETY: the caller runs on this coroutine, so this is its home.
    if unsafe { header.resident() }.spans.are_entered() || std::thread::panicking() {
        // SAFETY: the caller's promise.
        return unsafe { switch_away_from(header, word) };
    }
    // SAFETY: as above.
    unsafe { coroutine::suspend(header, word) };
    true
}

/// [`switch_away`] from the middle of a panic, or of a span.
///
/// # Safety
///
/// As there.
#[cold]
#[inline(never)]
unsafe fn switch_away_from(header: &Header, word: *mut ()) -> bool {
    // SAFETY: as there.
    unsafe { header.resident() }.spans.left_for(|| {
        // SAFETY: as there.
        let suspend = || unsafe { coroutine::suspend(header, word) };
        if !std::thread::panicking() {
            suspend();
            return true;
        }
        let Some(shared) = current_shared() else { return false };
        let Ok(moved) = shared.bank.move_off() else { return false };
        suspend();
        shared.bank.move_back(moved);
        true
    })
}

/// Runs what the caller is about to wait for in `join`, if that would run next anyway, until it ends or
/// leaves its stack for the first time. `false`: it was not run.
#[inline]
pub(crate) fn call_joined(child: &Coroutine) -> bool {
    // SAFETY: as in `with_machine`: neither a migrating coroutine is called, nor by one.
    unsafe { tls::current().as_ref() }.is_some_and(|machine| machine.call_joined(child))
}

/// Counts an operation that succeeded without parking, and yields after a good number of them.
#[inline]
pub(crate) fn cooperate() {
    if with_machine(|machine| machine.current().is_some() && machine.spend()) == Some(true) {
        give_way();
    }
}

#[cold]
#[inline(never)]
fn give_way() {
    yield_now();
}

/// Counts an attempt that failed and did not wait, and yields after a good number of them in a row:
/// who does nothing but try again keeps all others from its thread.
///
/// Attempts that succeed never yield, and neither do a few that fail: whoever only tries may hold a
/// lock of std's, for which others on this thread would wait for ever.
#[inline]
pub(crate) fn tried_in_vain() {
    if with_machine(|machine| machine.current().is_some() && machine.try_in_vain()) == Some(true) {
        give_way();
    }
}

/// What a spawn wants, before it has a number and a stack.
pub(crate) struct Spawn {
    pub(crate) name: Option<Box<str>>,
    pub(crate) scope: Option<Arc<coroutine::ScopeCount>>,
    pub(crate) spawned_at: &'static std::panic::Location<'static>,
    pub(crate) class: Option<Class>,
    pub(crate) local: bool,
    pub(crate) migrating: bool,
    /// Start on the least loaded worker at once.
    pub(crate) spread: bool,
}

impl Spawn {
    /// Everything by default.
    #[inline]
    pub(crate) fn plain(spawned_at: &'static std::panic::Location<'static>) -> Spawn {
        Spawn {
            name: None,
            scope: None,
            spawned_at,
            class: None,
            local: false,
            migrating: false,
            spread: false,
        }
    }
}

/// Spawns a coroutine in `shared` and returns the handle's reference.
///
/// # Errors
///
/// No stack can be had; the body is dropped.
///
/// # Safety
///
/// The body and what it leaves may be sent to another thread, unless the spawn is local and the
/// caller is a machine of `shared`. What they borrow outlives the coroutine.
#[inline]
pub(crate) unsafe fn spawn<T>(
    shared: &Arc<Shared>,
    spawn: Spawn,
    body: impl FnOnce() -> T,
) -> io::Result<Coroutine> {
    let class = spawn.class.unwrap_or(shared.config.class);
    let spans = coroutine::Spans::at_spawn(spawn.name.as_deref(), spawn.spawned_at, next_id);
    // SAFETY: as in `with_machine`; spawning does not park.
    let machine = unsafe { tls::current().as_ref() };
    let machine = machine.filter(|machine| Arc::ptr_eq(&machine.shared, shared));
    let credited = match machine {
        Some(machine) => machine.credit(class),
        None => shared.stacks.credit(class, 1),
    };
    let credited = credited.or_else(|refusal| match machine {
        Some(machine) => machine.credit_again(class, refusal),
        None => shared.credit_again(class, refusal),
    });
    if let Err(error) = credited {
        // Not on the way out, where the error would leak if this panics.
        drop(body);
        return Err(error);
    }
    let seed = Seed {
        id: match (spans.number(), machine) {
            (Some(number), _) => number,
            (None, Some(machine)) => machine.next_id(),
            (None, None) => fresh_id(),
        },
        parent: machine.map_or(0, Machine::current_id),
        now: machine.map_or_else(|| shared.clock(), |machine| machine.processor.watch.clock()),
        name: spawn.name,
        scope: spawn.scope,
        spawned_at: spawn.spawned_at,
        class,
        migrating: spawn.migrating,
        spans,
    };
    let (coroutine, handle) = Coroutine::new(seed, body);
    match machine {
        Some(machine) if spawn.local => machine.spawn_local(coroutine),
        Some(machine) => machine.spawn(coroutine, spawn.spread),
        None => shared.submit(coroutine),
    }
    Ok(handle)
}

/// Runs `f`, which may block the thread, while others take over what can move from here.
pub(crate) fn block_in_place<R>(f: impl FnOnce() -> R) -> R {
    /// Ends the mode on the way out, also by a panic.
    struct Blocking;

    impl Drop for Blocking {
        fn drop(&mut self) {
            with_machine(Machine::end_blocking);
        }
    }

    let begins = in_coroutine() && with_machine(Machine::begin_blocking) == Some(true);
    // Not `then_some`: that would make one to drop it.
    let _blocking = begins.then(|| Blocking);
    f()
}
