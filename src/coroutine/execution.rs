//! What runs on a coroutine's own stack around the user's closure, and how it leaves that stack.

#![expect(unsafe_code, reason = "runs the body of a header, and suspends it")]

use crate::coroutine::header::{Header, Joiner, Resident};
use crate::coroutine::locals::Locals;
use crate::coroutine::switch::{Suspender, Word};
use crate::park;
use crate::protocol::status::Completion;
use crate::sched;
use std::any::Any;
use std::fmt;
use std::panic::{self, AssertUnwindSafe};
use std::ptr::NonNull;

/// The payload that `join` returns for a coroutine that was cancelled.
///
/// ```
/// # let runtime = pirn::Builder::new().workers(1).build()?;
/// let parked = runtime.spawn(pirn::thread::park);
/// drop(runtime); // cancels what is left
/// assert!(parked.join().unwrap_err().is::<pirn::Cancelled>());
/// # std::io::Result::Ok(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Cancelled {
    _private: (),
}

impl fmt::Debug for Cancelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cancelled")
    }
}

impl fmt::Display for Cancelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the coroutine was cancelled")
    }
}

impl std::error::Error for Cancelled {}

/// Unwinds the caller silently, to the outermost scope that is over: the panic hook is not called.
pub(crate) fn unwind_cancelled() -> ! {
    set_unwound(true);
    let payload = park::over_payload();
    panic::resume_unwind(payload.unwrap_or_else(|| Box::new(Cancelled { _private: () })))
}

/// Whether a panic is a cancellation, of the coroutine or of a scope.
pub(crate) fn is_cancellation(payload: &(dyn Any + Send)) -> bool {
    payload.is::<Cancelled>() || park::is_over_payload(payload)
}

/// Unwinds the caller if it is cancelled, or a scope in which it runs is over, and if it may unwind
/// here. Whether it is cancelled, or is about to be since its runtime stops: each home cancels its
/// residents in its own time.
pub(crate) fn unwind_if_cancelled() -> bool {
    let stopping = sched::with_processor(|_, shared| shared.is_stopping()) == Some(true);
    if let Some(running) = sched::current_coroutine().filter(|_| stopping) {
        // SAFETY: the caller runs on that coroutine.
        let _before = unsafe { running.as_ref() }.status.cancel();
    }
    if park::is_over() {
        unwind_cancelled();
    }
    sched::current_coroutine()
        // SAFETY: the caller runs on that coroutine.
        .is_some_and(|running| unsafe { running.as_ref() }.status.is_cancelled())
}

/// Whether the running coroutine has been told that it, or a scope in which it still is, is over:
/// then a panic that is in progress is that one, and no lock is to be poisoned by it.
///
/// If somebody swallowed the cancellation and panics on his own before he parks again, this is
/// still true: std does not tell one panic from another.
#[cold]
pub(crate) fn was_cancelled() -> bool {
    // SAFETY: the caller runs on that coroutine, at its home.
    sched::current_coroutine()
        .is_some_and(|running| unsafe { running.as_ref().resident() }.unwound.get())
}

/// The payload that `join` returns for a coroutine that ended by
/// [`thread::exit`](crate::thread::exit).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Exited {
    _private: (),
}

impl fmt::Display for Exited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the coroutine called exit")
    }
}

impl std::error::Error for Exited {}

/// Unwinds the caller silently, for [`thread::exit`](crate::thread::exit).
pub(crate) fn unwind_exited() -> ! {
    panic::resume_unwind(Box::new(Exited { _private: () }))
}

/// Says whether a cancellation is unwinding the running coroutine.
pub(crate) fn set_unwound(unwound: bool) {
    if let Some(running) = sched::current_coroutine() {
        // SAFETY: the caller runs on that coroutine, at its home.
        unsafe { running.as_ref().resident() }.unwound.set(unwound);
    }
}

/// Runs a destructor of a result that nobody claimed. If it panics, the process aborts, as std
/// does for threads: there is nobody to give that panic to.
pub(crate) fn abort_on_unwind(f: impl FnOnce()) {
    abort_unless("thread result panicked on drop", f);
}

/// Runs destructors that no panic may leave, and no cancellation.
fn abort_unless(message: &str, f: impl FnOnce()) {
    if panic::catch_unwind(AssertUnwindSafe(|| park::shielded(f))).is_err() {
        crate::util::die(message);
    }
}

/// Calls `f` with what the running coroutine keeps for itself; `None` if no coroutine runs. `f`
/// must not use it again, so it must not run user code.
pub(crate) fn with_locals<R>(f: impl FnOnce(&mut Locals) -> R) -> Option<R> {
    let running = sched::current_coroutine()?;
    // SAFETY: it runs, and this is its home.
    let started = unsafe { running.as_ref().resident().started() };
    let mut locals = started.locals.take().unwrap_or_else(|| Box::new(Locals::new()));
    let result = f(&mut locals);
    started.locals.set(Some(locals));
    Some(result)
}

/// Calls `f` with the spans of the running coroutine; `None` if no coroutine runs.
#[cfg(feature = "tracing")]
pub(super) fn with_spans<R>(f: impl FnOnce(&crate::coroutine::Spans) -> R) -> Option<R> {
    // SAFETY: the caller runs on that coroutine, at its home.
    sched::current_coroutine().map(|running| f(unsafe { &running.as_ref().resident().spans }))
}

/// Destroys what the running coroutine keeps for itself, the youngest first, as std does at the end
/// of a thread. A result that nobody can ask for goes before, since its destructor may look there.
///
/// All of this comes before completion shows: it may wait, and a joiner whose ticket the completer has does
/// not let others run meanwhile.
#[cold]
pub(super) fn end_locals(header: &Header, discard: impl FnOnce()) {
    if header.status.is_unclaimed() {
        abort_on_unwind(discard);
    }
    // SAFETY: it runs, and this is its home.
    let resident = unsafe { header.resident() };
    destroy_locals(resident);
    end_latecomers(resident);
}

fn destroy_locals(resident: &Resident) {
    abort_unless("thread local panicked on drop", || {
        // What a destructor makes is destroyed as well.
        while let Some(value) = with_locals(Locals::take_last).flatten() {
            drop(value);
        }
    });
    // What runs after all of them finds none, and may make new ones.
    // SAFETY: it runs, so it is on its stack.
    drop(unsafe { resident.started() }.locals.take());
}

/// Destroys what has come after the end of the others: nobody else may, on whatever thread the last
/// reference goes.
#[inline]
fn end_late_locals(resident: &Resident) {
    // SAFETY: it runs, so it is on its stack.
    if unsafe { resident.started() }.has_locals() {
        destroy_locals(resident);
    }
}

/// Ends spans and destroys values until there are none: who is told of the end of a span may make values,
/// and a destructor may enter spans.
#[inline]
fn end_latecomers(resident: &Resident) {
    // SAFETY: it runs, so it is on its stack.
    while resident.spans.are_used() || unsafe { resident.started() }.has_locals() {
        resident.spans.end();
        end_late_locals(resident);
    }
}

/// Runs what may panic with nobody there to be told: as any panic it ends what it happened in, and
/// nothing else, least of all one of the runtime's threads.
pub(crate) fn contained(f: impl FnOnce()) {
    if let Err(payload) = panic::catch_unwind(AssertUnwindSafe(f)) {
        // A payload whose own drop panics is given up.
        if let Err(another) = panic::catch_unwind(AssertUnwindSafe(|| drop(payload))) {
            std::mem::forget(another);
        }
    }
}

/// Describes a coroutine for the overflow report: called in a signal handler, on the thread that
/// runs the coroutine, so it neither allocates nor locks.
pub(crate) fn describe(owner: *const (), out: &mut dyn fmt::Write) {
    // SAFETY: machines pass the header of the coroutine for which they take a stack, and that
    // coroutine is running.
    let Some(header) = (unsafe { owner.cast::<Header>().as_ref() }) else { return };
    let at = header.spawned_at;
    let name = header.name();
    // What does not fit is cut off.
    let _cut = write!(out, "coroutine {}", header.id);
    if let Some(name) = name {
        let _cut = write!(out, " \"{name}\"");
    }
    let _cut = write!(out, ", spawned at {}:{}:{},", at.file(), at.line(), at.column());
}

/// The first frame on a coroutine's stack.
///
/// # Safety
///
/// `header` is the coroutine that runs on the current stack for the first time, and the
/// scheduler's reference to it is held until this returns.
pub(crate) unsafe fn entry(header: NonNull<Header>, suspender: Suspender) {
    // SAFETY: the caller's promise.
    unsafe {
        let resident = header.as_ref().resident();
        resident.suspender.set(Some(suspender));
        resident.spans.begin();
        Header::run_body(header);
        // The destructor of a result that nobody asks for, and the waker of a task, may have left more.
        end_latecomers(resident);
    }
}

/// Runs a body, or only drops it if its coroutine was cancelled before it began.
///
/// A pointer to it, since a debug build copies what is passed by value at each step of the way.
///
/// # Safety
///
/// The body is moved out from behind the pointer.
pub(super) unsafe fn run<F: FnOnce() -> T, T>(
    header: &Header,
    body: *const F,
) -> std::thread::Result<T> {
    if header.status.is_cancelled() {
        // SAFETY: the caller gives the body away, and it is read once, here or below.
        let drop_body = || park::shielded(|| drop(unsafe { body.read() }));
        let dropped = panic::catch_unwind(AssertUnwindSafe(drop_body));
        let cancelled: Box<dyn Any + Send> = Box::new(Cancelled { _private: () });
        return Err(dropped.err().unwrap_or(cancelled));
    }
    // SAFETY: as above.
    panic::catch_unwind(AssertUnwindSafe(|| unsafe { __rust_begin_short_backtrace(body) }))
}

/// Calls a body. A backtrace ends above a function of this name, unless it is to be full: std's threads
/// have one like it.
///
/// # Safety
///
/// The body is moved out from behind the pointer.
#[inline(never)]
unsafe fn __rust_begin_short_backtrace<F: FnOnce() -> T, T>(body: *const F) -> T {
    // SAFETY: the caller's promise.
    let result = unsafe { body.read() }();
    // Not a tail call, which would leave no frame.
    std::hint::black_box(());
    result
}

/// Publishes completion; `discard` drops the result if nobody is left to ask for it. Whether it
/// was discarded.
#[inline]
pub(super) fn complete(header: &Header, discard: impl FnOnce()) -> bool {
    match header.status.try_complete() {
        Completion::Published { joiner: false } => false,
        completion => attend_to(header, completion, discard),
    }
}

/// The rest of [`complete`], if nobody has the result yet or somebody waits for it.
#[inline(never)]
fn attend_to(header: &Header, completion: Completion, discard: impl FnOnce()) -> bool {
    // SAFETY: it runs, and this is its home.
    let resident = unsafe { header.resident() };
    match completion {
        Completion::Unclaimed => {
            abort_on_unwind(discard);
            end_late_locals(resident);
            header.status.complete_unclaimed();
            true
        }
        Completion::Published { joiner } => {
            if joiner {
                // SAFETY: `Status` gives the cell to the completer.
                match unsafe { (*header.joiner.get()).take() } {
                    // SAFETY: and it keeps the joiner where it is until `release_completed`.
                    Some(Joiner::Wait(ticket)) => drop(unsafe { ticket.claim() }),
                    Some(Joiner::Task(waker)) => {
                        contained(|| waker.wake());
                        end_late_locals(resident);
                    }
                    None => {}
                }
            }
            false
        }
    }
}

/// Leaves the running coroutine's stack and returns when it is resumed.
///
/// # Safety
///
/// `header` is the coroutine that runs on the current stack; `word` is null for a yield, or points
/// to a `ParkRequest` in a frame below.
#[inline]
pub(crate) unsafe fn suspend(header: &Header, word: Word) {
    // SAFETY: the caller runs on this coroutine's stack, so it is at home, and has a suspender since it
    // was entered.
    unsafe {
        let suspender = header.resident().suspender.get();
        suspender.unwrap_unchecked().suspend(word);
    }
}
