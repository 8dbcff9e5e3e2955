//! The one way to stop and the one way to wake, for coroutines and plain OS threads alike.
//!
//! [`park`] opens a wait, lets the caller *publish* it (join a queue, hand out its ticket), and
//! returns when somebody has claimed the [`Ticket`] or the deadline has passed. For a coroutine the
//! publication runs on the machine's own stack, after the switch, so whoever finds the ticket may
//! resume the coroutine at once. For a thread it runs in place.
//!
//! Exactly one party claims a wait ([`ParkWord`]). The claimant gets a [`Claimed`], which resumes
//! the owner when it is dropped: a claimed wait cannot be forgotten by mistake.
//!
//! A wait that was published in a queue and ends otherwise than by that queue's waker must leave
//! the queue before its node goes; callers look at the [`Outcome`] and do so.
//!
//! [`ParkWord`]: crate::protocol::park_word::ParkWord

#![expect(unsafe_code, reason = "tickets point into what waits")]

mod held;
#[cfg(debug_assertions)]
mod held_check;
#[cfg(any(debug_assertions, feature = "holders"))]
mod holders;
mod os;
mod reason;
mod scopes;
mod waker;

pub use held::HeldGuard;
pub(crate) use held::{Access, Held, Hold, Party, holders_of};
#[cfg(debug_assertions)]
pub(crate) use held_check::HeldGuards;
pub(crate) use os::{OsParker, WaitingThread, is_in_scope, parker, waiting_threads};
pub(crate) use reason::{Readiness, WaitReason};
pub(crate) use scopes::Attention as Scoped;
pub use scopes::SwallowedCancel;
pub(crate) use scopes::{
    Limit, Over, ScopeFrame, after_scoped_wait, before_scoped_wait, deadline, is_over,
    is_over_payload, over_payload, shielded, within,
};

pub(crate) use waker::WakerCell;

use crate::coroutine::{self, Coroutine, Header};
use crate::primitive::heavy_fence;
use crate::protocol::park_word::Seq;
use crate::sched;
use scopes::Attention;
use std::cell::Cell;
use std::mem::{self, ManuallyDrop};
use std::ptr::NonNull;
use std::sync::Arc;
use std::task::Waker;
use std::time::Instant;

/// Why a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Somebody claimed it, or the publication found that there was no need to wait.
    Woken,
    /// Its deadline passed.
    TimedOut,
    /// Its coroutine is being cancelled. The caller cleans up and then calls
    /// [`crate::coroutine::unwind_cancelled`].
    Cancelled,
    /// A cancellation came that must not unwind from here. Whatever was published still stands;
    /// the caller cleans up as after a timeout, and waits again.
    Interrupted,
}

/// Whether a cancellation may end a wait: that of the coroutine, or of a scope in which it waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cancel {
    /// It may, and the caller unwinds.
    Deliver,
    /// It may, and the caller is told ([`Outcome::Interrupted`]) but does not unwind.
    Tell,
    /// The wait guards something borrowed, so it goes on; the next one is told.
    Defer,
}

/// Names one wait, for whoever is to end it.
///
/// Two words, so that it is handed on in registers: every wait makes one, and what is written to memory
/// in words and read again at once as a whole waits for the writes to be over.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ticket {
    target: Target,
    seq: Seq,
}

/// Who waits, in one word: what it is stands in the bits that an address leaves clear.
#[derive(Clone, Copy)]
struct Target(NonNull<()>);

enum Kind {
    Coroutine(NonNull<Header>),
    Thread(NonNull<OsParker>),
    Future(NonNull<WakerCell>),
}

const THREAD: usize = 1;
const FUTURE: usize = 2;
const KIND: usize = THREAD | FUTURE;

const _: () = assert!(align_of::<Header>() > KIND);
const _: () = assert!(align_of::<OsParker>() > KIND);
const _: () = assert!(align_of::<WakerCell>() > KIND);

impl Target {
    #[inline]
    fn coroutine(header: NonNull<Header>) -> Target {
        Target(header.cast())
    }

    fn thread(parker: NonNull<OsParker>) -> Target {
        Target(parker.cast::<()>().map_addr(|address| address | THREAD))
    }

    fn future(cell: NonNull<WakerCell>) -> Target {
        Target(cell.cast::<()>().map_addr(|address| address | FUTURE))
    }

    #[inline]
    fn kind(self) -> Kind {
        match self.0.addr().get() & KIND {
            0 => Kind::Coroutine(self.0.cast()),
            THREAD => Kind::Thread(self.without_kind().cast()),
            _ => Kind::Future(self.without_kind().cast()),
        }
    }

    fn without_kind(self) -> NonNull<()> {
        let address = self.0.as_ptr().map_addr(|address| address & !KIND);
        NonNull::new(address).expect("nothing is at address zero")
    }
}

impl std::fmt::Debug for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.kind() {
            Kind::Coroutine(header) => write!(f, "Coroutine({header:p})"),
            Kind::Thread(parker) => write!(f, "Thread({parker:p})"),
            Kind::Future(cell) => write!(f, "Future({cell:p})"),
        }
    }
}

// SAFETY: a ticket is used through `claim` alone, whose contract keeps its target alive.
unsafe impl Send for Ticket {}
// SAFETY: as above.
unsafe impl Sync for Ticket {}

impl Ticket {
    pub(crate) fn for_coroutine(header: NonNull<Header>, seq: Seq) -> Ticket {
        Ticket { target: Target::coroutine(header), seq }
    }

    /// For a future that waits in a queue. Its claims are decided by the lock of that queue.
    pub(crate) fn for_future(cell: NonNull<WakerCell>) -> Ticket {
        Ticket { target: Target::future(cell), seq: Seq::from_bits(0) }
    }

    /// Whether it names a wait of a coroutine, not of a plain thread or of a whole home.
    pub(crate) fn is_for_a_coroutine(self) -> bool {
        matches!(self.target.kind(), Kind::Coroutine(_))
    }

    /// The memory of whoever waits, which may be gone when the ticket is not used up.
    pub(crate) fn address(self) -> *const () {
        match self.target.kind() {
            Kind::Coroutine(header) => header.as_ptr().cast(),
            Kind::Thread(parker) => parker.as_ptr().cast(),
            Kind::Future(cell) => cell.as_ptr().cast(),
        }
    }

    pub(crate) fn seq(self) -> Seq {
        self.seq
    }

    /// Where the one that waits is going to run: a hint.
    ///
    /// # Safety
    ///
    /// As [`Ticket::claim`].
    pub(crate) unsafe fn home(self) -> Home {
        match self.target.kind() {
            // SAFETY: the caller says that the coroutine is alive, and so is its home then.
            Kind::Coroutine(header) => unsafe { sched::look_at_home(header.as_ref()) },
            // Its thread is blocked.
            Kind::Thread(_) => Home::Idle,
            Kind::Future(_) => Home::Elsewhere,
        }
    }

    /// Ends the wait, unless somebody has before.
    ///
    /// # Safety
    ///
    /// Whoever waits is alive: its wait has not returned (the ticket was found in a queue that the
    /// waiter leaves before it returns, and that queue is locked), or the caller keeps its
    /// coroutine or thread alive by a reference. A future's wait is claimed with the lock held of the
    /// queue in which it was found.
    #[must_use = "dropping what was claimed wakes it"]
    #[inline]
    pub(crate) unsafe fn claim(self) -> Option<Claimed> {
        match self.target.kind() {
            // SAFETY: the caller's promise.
            Kind::Coroutine(header) => unsafe { Self::claim_coroutine(header, self.seq) },
            // SAFETY: the caller's promise.
            Kind::Thread(parker) => unsafe { self.claim_thread(parker) },
            Kind::Future(cell) => {
                // SAFETY: a future leaves its queue, under the lock that the caller holds, before it
                // goes.
                let waker = unsafe { cell.as_ref().take() }?;
                Some(Claimed::of(Waiter::Future(waker)))
            }
        }
    }

    /// [`Ticket::claim`] of a coroutine's wait.
    ///
    /// # Safety
    ///
    /// As there.
    #[must_use = "dropping what was claimed wakes it"]
    #[inline]
    pub(crate) unsafe fn claim_coroutine(header: NonNull<Header>, seq: Seq) -> Option<Claimed> {
        // SAFETY: the caller says that the coroutine is alive.
        if !unsafe { header.as_ref() }.park.claim(seq) {
            return None;
        }
        // SAFETY: a parked coroutine's scheduler reference belongs to its claimant.
        let coroutine = unsafe { Coroutine::from_raw(header) };
        Some(Claimed::of(Waiter::Coroutine(coroutine)))
    }

    /// [`Ticket::claim`] of a plain thread's wait.
    ///
    /// # Safety
    ///
    /// As there.
    #[cold]
    unsafe fn claim_thread(self, parker: NonNull<OsParker>) -> Option<Claimed> {
        // SAFETY: the caller says that the thread is alive, and with it its parker.
        if !unsafe { parker.as_ref() }.word.claim(self.seq) {
            return None;
        }
        // SAFETY: the thread stays until it is woken, and its parker is in an `Arc`; the count taken
        // here lasts beyond that.
        let parker = unsafe {
            Arc::increment_strong_count(parker.as_ptr());
            Arc::from_raw(parker.as_ptr().cast_const())
        };
        Some(Claimed::of(Waiter::Thread(parker)))
    }
}

/// Where one that waits is going to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Home {
    /// On a core that has nothing to do, and that nobody else has picked.
    Idle,
    /// On the calling thread.
    Here,
    Elsewhere,
}

/// The duty to resume one whose wait was claimed. Dropping it does so.
#[derive(Debug)]
#[must_use = "dropping it wakes at once"]
pub(crate) struct Claimed(ManuallyDrop<Waiter>);

enum Waiter {
    Coroutine(Coroutine),
    Thread(Arc<OsParker>),
    Future(Box<Waker>),
}

impl std::fmt::Debug for Waiter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Waiter::Coroutine(coroutine) => write!(f, "coroutine {}", coroutine.header().id),
            Waiter::Thread(_) => write!(f, "thread"),
            Waiter::Future(_) => write!(f, "future"),
        }
    }
}

impl Claimed {
    #[inline]
    fn of(waiter: Waiter) -> Claimed {
        Claimed(ManuallyDrop::new(waiter))
    }
}

impl Drop for Claimed {
    // Behind a look whether there is one, which is to be in line: mostly there is none.
    #[inline(never)]
    fn drop(&mut self) {
        // SAFETY: it is taken out once, here, and nobody looks at it after.
        match unsafe { ManuallyDrop::take(&mut self.0) } {
            Waiter::Coroutine(coroutine) => {
                // SAFETY: the caller has claimed the wait of this coroutine.
                unsafe { sched::ready(coroutine, Outcome::Woken) };
            }
            Waiter::Thread(parker) => parker.resume(),
            Waiter::Future(waker) => wake_future(waker),
        }
    }
}

/// Whoever wakes a future may have others to wake as well, who are not to suffer by its panic.
#[cold]
fn wake_future(waker: Box<Waker>) {
    coroutine::contained(|| waker.wake());
}

/// A coroutine or a thread whose waits somebody may end from elsewhere.
pub(crate) enum Pokable {
    Coroutine(Coroutine),
    Thread(Arc<OsParker>),
}

impl Pokable {
    /// Whoever calls.
    pub(crate) fn current() -> Pokable {
        match sched::current_coroutine() {
            Some(running) => {
                // SAFETY: the caller runs on that coroutine; the reference that is made here is
                // another one than the one that is borrowed for it.
                let borrowed = ManuallyDrop::new(unsafe { Coroutine::from_raw(running) });
                Pokable::Coroutine(Coroutine::clone(&borrowed))
            }
            None => Pokable::Thread(os::parker()),
        }
    }

    /// Makes all of them look at what has been said before, and ends the waits that they are in.
    pub(crate) fn poke_all(who: &[Pokable]) {
        for one in who {
            match one {
                Pokable::Coroutine(coroutine) => coroutine.header().status.poke(),
                Pokable::Thread(parker) => parker.poke(),
            }
        }
        if who.is_empty() {
            return;
        }
        // Against the machine that opens a wait: one of the two sees the other.
        heavy_fence();
        for one in who {
            match one {
                Pokable::Coroutine(coroutine) => {
                    if coroutine.header().park.claim_current() {
                        // SAFETY: the claim has made the scheduler's reference this function's.
                        unsafe {
                            let claimed = Coroutine::from_raw(coroutine.as_ptr());
                            sched::ready(claimed, Outcome::Cancelled);
                        }
                    }
                }
                Pokable::Thread(parker) => parker.end_wait(),
            }
        }
    }
}

/// What a suspended coroutine asks of its machine.
pub(crate) struct ParkRequest {
    pub(crate) deadline: Option<Instant>,
    /// The same in its home's nanoseconds, once that has set a timer; `u64::MAX` for never.
    pub(crate) due: Cell<u64>,
    pub(crate) reason: WaitReason,
    /// A cancellation may end it.
    pub(crate) heeds: bool,
    publish: unsafe fn(*mut (), Ticket) -> bool,
    /// The closure in the frame of whoever parks, which that function is for.
    closure: *mut (),
}

impl ParkRequest {
    fn new<P: FnOnce(Ticket) -> bool>(
        reason: WaitReason,
        deadline: Option<Instant>,
        cancel: Cancel,
        closure: &mut Option<P>,
    ) -> ParkRequest {
        /// Takes the closure out of the waiting frame and calls it.
        unsafe fn publish<P: FnOnce(Ticket) -> bool>(closure: *mut (), ticket: Ticket) -> bool {
            // SAFETY: the caller's promise.
            let publish = unsafe { &mut *closure.cast::<Option<P>>() }.take();
            publish.is_some_and(|publish| publish(ticket))
        }
        ParkRequest {
            deadline,
            due: Cell::new(u64::MAX),
            reason,
            heeds: cancel != Cancel::Defer,
            publish: publish::<P>,
            closure: (&raw mut *closure).cast(),
        }
    }

    /// Publishes the wait. `false`: there is no need to wait.
    ///
    /// # Safety
    ///
    /// Whoever has made this request still waits for the publication.
    #[inline(always)]
    pub(crate) unsafe fn publish(&self, ticket: Ticket) -> bool {
        // SAFETY: the caller's promise: the closure is in the same frame, and nobody else is at it.
        unsafe { (self.publish)(self.closure, ticket) }
    }
}

/// Waits until somebody claims the ticket that `publish` is given.
///
/// `publish` returns `false` if there is no need to wait after all. Whoever was handed the ticket
/// before that may still claim it, which ends the wait as ever; otherwise the ticket is stale. It
/// must not park, panic or run user code, and is dropped, called or not, before the wait returns.
///
/// What leads to the switch is inlined into the caller ([`sched::switch_away`] says why), and little
/// more than that.
#[inline(always)]
pub(crate) fn park<P>(
    reason: WaitReason,
    deadline: Option<Instant>,
    cancel: Cancel,
    publish: P,
) -> Outcome
where
    P: FnOnce(Ticket) -> bool,
{
    let mut publish = Some(publish);
    let mut request = ParkRequest::new(reason, deadline, cancel, &mut publish);
    let Some(coroutine) = sched::current_coroutine() else {
        return park_thread(&request, deadline, cancel);
    };
    // SAFETY: this function runs on that coroutine.
    let header = unsafe { coroutine.as_ref() };
    // SAFETY: so this is its home, and it has started.
    let frames = unsafe { &header.resident().started().frames };
    // A deadline of a scope, which comes before the wait's own.
    let mut bounded = false;
    if header.status.is_cancelled() || !frames.get().is_null() {
        match attend(header, cancel, &mut request) {
            Attended::Wait { bounded: by_scope } => bounded = by_scope,
            Attended::Deliver => {
                // What the publication owns may be a lock.
                mem::drop(publish);
                return yield_and_deliver(header, cancel);
            }
        }
    }
    #[cfg(debug_assertions)]
    if let Some(report) = held_check::due(header, reason) {
        if reason.is_for_a_channel() {
            // Which the publication has locked. So this is done without it, and the caller tries again.
            mem::drop(publish);
            report.tell();
            return Outcome::Interrupted;
        }
        report.tell();
    }
    // SAFETY: this is the running coroutine, and the request outlives the suspension.
    if !unsafe { sched::switch_away(header, (&raw mut request).cast()) } {
        // The panic in progress cannot leave this thread, or a subscriber is being told of a switch:
        // the thread waits with it.
        return park_thread(&request, deadline, Cancel::Defer);
    }
    // SAFETY: it runs again.
    let outcome = unsafe { header.resident() }.outcome.replace(Outcome::Woken);
    // A publication that was never called would still own what it captured.
    mem::drop(publish);
    match outcome {
        Outcome::Woken => Outcome::Woken,
        outcome => ended(header, cancel, outcome, request.deadline.filter(|_| bounded)),
    }
}

/// Parks the thread for the caller of [`park`].
#[inline(never)]
fn park_thread(request: &ParkRequest, deadline: Option<Instant>, cancel: Cancel) -> Outcome {
    os::park(request.reason, deadline, cancel, |ticket| {
        // SAFETY: the frame of the request waits for this.
        unsafe { request.publish(ticket) }
    })
}

/// What a coroutine that is cancelled, or in a scope, does at a wait.
enum Attended {
    /// It waits. `bounded`: until the deadline of a scope, which is now the request's.
    Wait { bounded: bool },
    /// It is told.
    Deliver,
}

#[cold]
fn attend(header: &Header, cancel: Cancel, request: &mut ParkRequest) -> Attended {
    match scopes::attend(Some(header), cancel) {
        Attention::Deliver => Attended::Deliver,
        Attention::Until(until) => {
            let own = request.deadline;
            let bound = until.filter(|until| own.is_none_or(|own| *until < own));
            request.deadline = bound.or(own);
            Attended::Wait { bounded: bound.is_some() }
        }
    }
}

/// Each delivery lets others run, so that a loop that swallows them cannot hog its home.
#[cold]
fn yield_and_deliver(header: &Header, cancel: Cancel) -> Outcome {
    if cancel == Cancel::Deliver {
        scopes::note_delivery(Some(header));
    }
    sched::yield_now();
    delivered(cancel)
}

/// What a wait returns that no waker has ended. `bound`: the deadline of a scope that was its own.
///
/// If no scope is over that it heeds, it is a destructor's of a coroutine that unwinds already, or the
/// scope was left: it goes on.
#[cold]
fn ended(header: &Header, cancel: Cancel, outcome: Outcome, bound: Option<Instant>) -> Outcome {
    let timed_out = outcome == Outcome::TimedOut;
    if timed_out && bound.is_none() {
        return Outcome::TimedOut;
    }
    match scopes::settle(Some(header), cancel, bound.filter(|_| timed_out)) {
        true => delivered(cancel),
        false => Outcome::Interrupted,
    }
}

/// What a wait that was ended for a scope returns.
fn delivered(cancel: Cancel) -> Outcome {
    match cancel {
        Cancel::Deliver => Outcome::Cancelled,
        Cancel::Tell | Cancel::Defer => Outcome::Interrupted,
    }
}

/// The instant `timeout` from now; `None` for one that is beyond the clock's reach: never.
pub(crate) fn deadline_after(timeout: std::time::Duration) -> Option<Instant> {
    Instant::now().checked_add(timeout)
}
