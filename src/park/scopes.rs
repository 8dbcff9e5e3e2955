//! Scopes that may end before what runs in them does, and shields against that.
//!
//! `timeout`, `CancelToken::run` and `shield` each put a [`ScopeFrame`] on the stack of whoever calls
//! them, and link it to the frames further out. Cancelling a whole coroutine is the outermost scope
//! of all, which needs no frame: a bit of its status says so.
//!
//! ```text
//!   coroutine      timeout(5 s)      shield      timeout(1 s)      a wait
//!   [cancelled] <- [over | until] <- [shield] <- [over | until] <- here
//!                                        `--- what a wait here heeds --'
//! ```
//!
//! A wait heeds the frames from the innermost one out to the first shield. It ends when the earliest
//! of their deadlines passes, when the token of one is cancelled, or, if there is no shield, when the
//! coroutine is. Then the outermost scope that is over is unwound to: what is further in is over with
//! it. The unwinding carries that scope's number, so that each scope catches only its own.
//!
//! A scope that is over stays so until it is left: whoever catches the unwinding inside of it and
//! waits again meets it again.
//!
//! **Unwinding within unwinding.** A destructor that runs because of a panic may open scopes of its
//! own, and unwind inside of itself; but no panic may leave it. So a frame notes how many panics were
//! in progress when it was opened, and a wait heeds only frames with as many as there are now. std
//! does not tell that number; it is counted, in the rare case that it matters, by taking the panics
//! off the thread one by one ([`crate::coroutine::UnwindBank`]).
//!
//! **Who ends a wait.** A deadline is the wait's own timer, at home. A token, or the handle of a
//! coroutine, says first what is over, then *pokes* whoever is concerned, then claims the wait that
//! is open; the protocol with a wait that is just being opened is in [`crate::protocol::status`].
//! What was ended looks for itself whether it was meant: a poke that comes late ends a wait in vain,
//! and its caller waits again.
//!
//! Rejected: a list of pending cancellations at each home (it must outlive the home, and to post
//! there is no cheaper than to claim the wait); an exception for each wait to return (std's signatures
//! have no room for it).

#![expect(unsafe_code, reason = "frames further out are reached by address")]

use crate::coroutine::{Header, Started};
use crate::park::{Cancel, os};
use crate::sched;
use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// How often a cancellation is delivered in vain before it is reported, the first time.
const SWALLOWED: u32 = 16;

/// What ends a scope.
#[derive(Clone, Copy)]
pub(crate) struct Limit<'a> {
    pub(crate) deadline: Option<Instant>,
    /// Set, and then poked about, by whoever ends it from elsewhere.
    pub(crate) flag: Option<&'a AtomicBool>,
}

/// One scope, or shield, on the stack of whoever opened it.
pub(crate) struct ScopeFrame {
    outer: *const ScopeFrame,
    shield: bool,
    /// Names the scope for as long as the process lives.
    id: u64,
    /// The panics that were in progress when it was opened.
    depth: usize,
    deadline: Option<Instant>,
    /// The earliest deadline that a wait in here heeds.
    bound: Option<Instant>,
    flag: *const AtomicBool,
    /// Its deadline has ended a wait.
    over: Cell<bool>,
    deliveries: Cell<u32>,
}

impl ScopeFrame {
    fn is_over(&self) -> bool {
        // SAFETY: whoever opened the frame has borrowed the flag for as long.
        self.over.get() || unsafe { self.flag.as_ref() }.is_some_and(|f| f.load(Ordering::Acquire))
    }
}

/// What a scope that is over unwinds with.
struct ScopeOver(u64);

/// Its scope was over before `f` was done.
#[derive(Debug)]
pub(crate) struct Over;

/// Who is waiting, or about to.
struct Place<'a> {
    innermost: &'a Cell<*const ScopeFrame>,
    header: Option<&'a Header>,
}

impl Place<'_> {
    /// Calls `f` with the place of the caller, which stays alive and on this thread.
    fn with<R>(f: impl FnOnce(&Place<'_>) -> R) -> R {
        match sched::current_coroutine() {
            Some(running) => {
                // SAFETY: the caller runs on that coroutine, at its home.
                let header = unsafe { running.as_ref() };
                f(&Place::of(header))
            }
            None => os::with_frames(|innermost| f(&Place { innermost, header: None })),
        }
    }

    fn of(header: &Header) -> Place<'_> {
        // SAFETY: it is the running coroutine, at home.
        let started: &Started = unsafe { header.resident().started() };
        Place { innermost: &started.frames, header: Some(header) }
    }

    fn innermost(&self) -> Option<&ScopeFrame> {
        // SAFETY: a frame is taken out of the chain before it goes.
        unsafe { self.innermost.get().as_ref() }
    }

    /// The panics in progress; `None` if that cannot be told.
    fn depth(&self) -> Option<usize> {
        if !std::thread::panicking() {
            return Some(0);
        }
        sched::current_shared().filter(|_| self.header.is_some())?.bank.count().ok()
    }

    /// Visits the scopes that a wait heeds here, the innermost first. Whether the coroutine itself is
    /// one of them.
    fn heeded<'a>(&'a self, mut visit: impl FnMut(&'a ScopeFrame)) -> bool {
        let panicking = std::thread::panicking();
        let depth = match self.innermost() {
            // Nothing can be heeded: do not count.
            None | Some(ScopeFrame { depth: 0, .. }) if panicking => return false,
            None => return true,
            Some(_) => self.depth(),
        };
        let mut next = self.innermost();
        while let Some(frame) = next {
            if Some(frame.depth) != depth || frame.shield {
                return false;
            }
            visit(frame);
            // SAFETY: frames further out go later.
            next = unsafe { frame.outer.as_ref() };
        }
        depth == Some(0)
    }

    /// The outermost scope that is over, of those that a wait heeds here.
    fn over(&self) -> Option<Target<'_>> {
        if cfg!(panic = "abort") {
            // A runtime that ends cancels what it has, but there is no way to unwind it.
            return None;
        }
        let mut over = None;
        let whole = self.heeded(|frame| {
            if frame.is_over() {
                over = Some(Target::Scope(frame));
            }
        });
        match self.header {
            Some(header) if whole && header.status.is_cancelled() => {
                Some(Target::Coroutine(header))
            }
            _ => over,
        }
    }

    /// The earliest deadline that a wait heeds here.
    fn bound(&self) -> Option<Instant> {
        let mut innermost = None;
        self.heeded(|frame| innermost = innermost.or(Some(frame.bound)));
        innermost.flatten()
    }

    /// Notes which scopes end with a deadline that has passed.
    fn expire(&self, bound: Instant) {
        self.heeded(|frame| {
            if frame.deadline.is_some_and(|deadline| deadline <= bound) {
                frame.over.set(true);
            }
        });
    }
}

/// What is unwound to.
enum Target<'a> {
    Coroutine(&'a Header),
    Scope(&'a ScopeFrame),
}

impl Target<'_> {
    /// Counts deliveries, and reports one that was swallowed again and again.
    fn deliver(&self) {
        let (deliveries, whole) = match self {
            Target::Coroutine(header) => {
                // SAFETY: it is the running coroutine, at home.
                let count = &unsafe { header.resident() }.deliveries;
                count.set(count.get().saturating_add(1));
                (u32::from(count.get()), true)
            }
            Target::Scope(frame) => {
                frame.deliveries.set(frame.deliveries.get().saturating_add(1));
                (frame.deliveries.get(), false)
            }
        };
        if deliveries >= SWALLOWED && deliveries.is_power_of_two() {
            report(deliveries, whole);
        }
    }
}

/// A cancellation that is caught again and again by what it is to end, as told to
/// [`Builder::on_swallowed_cancel`](crate::Builder::on_swallowed_cancel).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SwallowedCancel {
    /// The coroutine's number.
    pub coroutine: u64,
    /// Its name, if it has one.
    pub name: Option<String>,
    /// Where it was spawned.
    pub spawned_at: &'static std::panic::Location<'static>,
    /// How often it has been told: 16, 32, and so on. At most 128 if it is the `whole` coroutine.
    pub deliveries: u32,
    /// Whether the whole coroutine is cancelled, and not a scope in it.
    pub whole: bool,
}

#[cold]
fn report(deliveries: u32, whole: bool) {
    let Some(running) = sched::current_coroutine() else { return };
    let Some(shared) = sched::current_shared() else { return };
    let Some(report) = &shared.config.on_swallowed_cancel else { return };
    // SAFETY: the caller runs on that coroutine.
    let header = unsafe { running.as_ref() };
    let swallowed = SwallowedCancel {
        coroutine: header.id,
        name: header.name().map(str::to_owned),
        spawned_at: header.spawned_at,
        deliveries,
        whole,
    };
    crate::coroutine::contained(|| report(&swallowed));
}

/// What a wait has to know before it begins.
pub(crate) enum Attention {
    /// It must not begin.
    Deliver,
    /// It ends by then, for a scope.
    Until(Option<Instant>),
}

/// Looks at the scopes before a wait.
#[cold]
pub(super) fn attend(header: Option<&Header>, cancel: Cancel) -> Attention {
    let look = |place: &Place<'_>| {
        if let Some(header) = header {
            header.status.note_poke();
        }
        if cancel == Cancel::Defer {
            return Attention::Until(None);
        }
        match place.over() {
            Some(_) => Attention::Deliver,
            None => Attention::Until(place.bound()),
        }
    };
    match header {
        Some(header) => look(&Place::of(header)),
        None => Place::with(look),
    }
}

/// Counts what [`attend`] has said is to be delivered, and may call the program: nothing of the
/// wait's may be locked any more.
#[cold]
pub(super) fn note_delivery(header: Option<&Header>) {
    let note = |place: &Place<'_>| {
        if let Some(target) = place.over() {
            target.deliver();
        }
    };
    match header {
        Some(header) => note(&Place::of(header)),
        None => Place::with(note),
    }
}

/// Looks at the scopes after a wait that was ended for them, or by their deadline. Whether one is
/// over that the wait heeds.
#[cold]
pub(super) fn settle(header: Option<&Header>, cancel: Cancel, passed: Option<Instant>) -> bool {
    let look = |place: &Place<'_>| {
        if let Some(header) = header {
            header.status.note_poke();
        }
        if cancel == Cancel::Defer {
            return false;
        }
        if let Some(bound) = passed {
            place.expire(bound);
        }
        let over = place.over();
        if let (Some(target), Cancel::Deliver) = (&over, cancel) {
            target.deliver();
        }
        over.is_some()
    };
    match header {
        Some(header) => look(&Place::of(header)),
        None => Place::with(look),
    }
}

/// [`attend`] for waits of threads that are no parks.
pub(crate) fn before_scoped_wait() -> Attention {
    let attention = attend(None, Cancel::Deliver);
    if matches!(attention, Attention::Deliver) {
        note_delivery(None);
    }
    attention
}

/// [`settle`] for waits of threads that are no parks.
pub(crate) fn after_scoped_wait(passed: Option<Instant>) -> bool {
    settle(None, Cancel::Deliver, passed)
}

/// The earliest deadline of a scope that a wait here heeds.
pub(crate) fn deadline() -> Option<Instant> {
    Place::with(|place| place.bound())
}

/// Whether a scope is over that a wait here would heed.
pub(crate) fn is_over() -> bool {
    Place::with(|place| place.over().is_some())
}

/// Whether the scope that is over, of those that a wait here heeds, is not the whole coroutine. Then
/// what to unwind with.
pub(crate) fn over_payload() -> Option<Box<dyn Any + Send>> {
    Place::with(|place| match place.over() {
        Some(Target::Scope(frame)) => Some(Box::new(ScopeOver(frame.id)) as Box<dyn Any + Send>),
        Some(Target::Coroutine(_)) | None => None,
    })
}

/// Whether a panic's payload is that of a scope that is over.
pub(crate) fn is_over_payload(payload: &(dyn Any + Send)) -> bool {
    payload.is::<ScopeOver>()
}

/// A frame that is in the chain.
struct Entered<'a> {
    innermost: &'a Cell<*const ScopeFrame>,
    outer: *const ScopeFrame,
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        self.innermost.set(self.outer);
    }
}

/// Runs `f` with a frame in the chain.
fn entered<R>(limit: Limit<'_>, shield: bool, f: impl FnOnce(&ScopeFrame) -> R) -> R {
    Place::with(|place| {
        let outer = place.innermost.get();
        let depth = if std::thread::panicking() {
            // What cannot be counted heeds nothing.
            place.depth().unwrap_or(usize::MAX)
        } else {
            0
        };
        let heeds_outer = |outer: &&ScopeFrame| !shield && !outer.shield && outer.depth == depth;
        let inherited = place.innermost().filter(heeds_outer).and_then(|outer| outer.bound);
        let frame = ScopeFrame {
            outer,
            shield,
            id: sched::next_id(),
            depth,
            deadline: limit.deadline,
            bound: [limit.deadline, inherited].into_iter().flatten().min(),
            flag: limit.flag.map_or(ptr::null(), ptr::from_ref),
            over: Cell::new(false),
            deliveries: Cell::new(0),
        };
        place.innermost.set(&raw const frame);
        let _entered = Entered { innermost: place.innermost, outer };
        f(&frame)
    })
}

/// Runs `f` in a scope.
///
/// # Errors
///
/// The scope was over, and a wait in it has ended for that.
pub(crate) fn within<R>(limit: Limit<'_>, f: impl FnOnce() -> R) -> Result<R, Over> {
    let before = crate::coroutine::was_cancelled();
    entered(limit, false, |frame| match catch_unwind(AssertUnwindSafe(f)) {
        Ok(value) => {
            // It may have been over, and `f` has caught that.
            crate::coroutine::set_unwound(before);
            Ok(value)
        }
        Err(payload) => match payload.downcast_ref::<ScopeOver>() {
            Some(&ScopeOver(id)) if id == frame.id => {
                crate::coroutine::set_unwound(before);
                Err(Over)
            }
            _ => resume_unwind(payload),
        },
    })
}

/// Runs `f` with nothing from outside to be heeded by its waits.
pub(crate) fn shielded<R>(f: impl FnOnce() -> R) -> R {
    entered(Limit { deadline: None, flag: None }, true, |_| f())
}
