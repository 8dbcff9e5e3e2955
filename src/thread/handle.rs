//! [`Thread`]: a handle to a coroutine, or to a plain OS thread.

#![expect(unsafe_code, reason = "refers to the running coroutine, and claims its wait")]

use crate::coroutine::{Coroutine, unwind_cancelled};
use crate::park::{self, Cancel, Outcome, Ticket, WaitReason};
use crate::sched;
use crate::util::thread_end::ThreadEnd;
use std::cell::Cell;
use std::fmt;
use std::mem::ManuallyDrop;
use std::num::NonZero;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// A handle to a coroutine, or to a plain OS thread that has called [`current`].
///
/// Handles can be cloned and sent anywhere. They keep the coroutine's small record alive, not its
/// stack, nor what its closure captured.
#[derive(Clone)]
pub struct Thread(Kind);

#[derive(Clone)]
enum Kind {
    Coroutine(Coroutine),
    Os(Arc<OsThread>),
}

// As std's is: what a panic leaves behind is the coroutine's, not the handle's.
impl UnwindSafe for Thread {}
impl RefUnwindSafe for Thread {}

/// What a plain OS thread has in place of a coroutine's header.
struct OsThread {
    id: u64,
    name: Option<String>,
    token: Mutex<OsToken>,
}

/// What `unpark` gives and `park` takes.
#[derive(Default)]
struct OsToken {
    given: bool,
    waiter: Option<Ticket>,
}

/// A number that no other coroutine or thread of the process has had.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ThreadId(NonZero<u64>);

impl ThreadId {
    /// For what remembers whom it belongs to.
    pub(crate) fn number(self) -> u64 {
        self.0.get()
    }
}

thread_local! {
    /// One for as long as the thread lasts, which somebody may be about to unpark: also in the destructors of
    /// other thread-locals, so it has none of its own.
    static OS_THREAD: Cell<Option<ManuallyDrop<Arc<OsThread>>>> = const { Cell::new(None) };
}

/// Drops what [`OS_THREAD`] has when the thread ends.
static END: ThreadEnd = ThreadEnd::new(|| drop(OS_THREAD.take().map(ManuallyDrop::into_inner)));

/// A handle to the calling coroutine, or to the calling thread outside of one.
///
/// # Examples
///
/// ```
/// let handle = pirn::thread::Builder::new().name("worker".into()).spawn(|| {
///     pirn::thread::current().name().map(str::to_owned)
/// })?;
/// assert_eq!(handle.join().unwrap().as_deref(), Some("worker"));
/// # std::io::Result::Ok(())
/// ```
#[must_use]
pub fn current() -> Thread {
    if let Some(header) = sched::current_coroutine() {
        // SAFETY: the running coroutine's scheduler reference is held by its machine; the
        // borrowed one is not dropped, its clone is counted.
        let borrowed = ManuallyDrop::new(unsafe { Coroutine::from_raw(header) });
        return Thread(Kind::Coroutine(Coroutine::clone(&borrowed)));
    }
    Thread(Kind::Os(os_thread()))
}

fn os_thread() -> Arc<OsThread> {
    let thread = OS_THREAD.take().unwrap_or_else(|| {
        // Without it the memory stays for good.
        let _armed = END.arm();
        ManuallyDrop::new(Arc::new(OsThread::of_current()))
    });
    let handle = Arc::clone(&thread);
    OS_THREAD.set(Some(thread));
    handle
}

impl OsThread {
    fn of_current() -> OsThread {
        let name = std::thread::current().name().map(str::to_owned);
        OsThread { id: sched::fresh_id(), name, token: Mutex::default() }
    }
}

/// `park` for a plain OS thread.
pub(super) fn park_os(deadline: Option<Instant>) {
    let thread = os_thread();
    let token = || thread.token.lock().unwrap_or_else(PoisonError::into_inner);
    if std::mem::take(&mut token().given) {
        return;
    }
    let outcome = park::park(WaitReason::Park, deadline, Cancel::Deliver, |ticket| {
        let mut token = token();
        token.waiter = Some(ticket);
        !token.given
    });
    let mut token = token();
    token.waiter = None;
    if outcome == Outcome::Cancelled {
        // A token that came since is for the next park: this one has not returned.
        drop(token);
        unwind_cancelled();
    }
    token.given = false;
}

impl Thread {
    pub(super) fn of(coroutine: Coroutine) -> Thread {
        Thread(Kind::Coroutine(coroutine))
    }

    pub(super) fn coroutine(&self) -> Option<&Coroutine> {
        match &self.0 {
            Kind::Coroutine(coroutine) => Some(coroutine),
            Kind::Os(_) => None,
        }
    }

    /// Makes the next or current [`park`](super::park) of that coroutine or thread return.
    pub fn unpark(&self) {
        match &self.0 {
            Kind::Coroutine(coroutine) => {
                if let Some(seq) = coroutine.header().token.give() {
                    // SAFETY: this handle keeps the coroutine alive.
                    drop(unsafe { Ticket::claim_coroutine(coroutine.as_ptr(), seq) });
                }
            }
            Kind::Os(thread) => {
                let mut token = thread.token.lock().unwrap_or_else(PoisonError::into_inner);
                token.given = true;
                // SAFETY: the waiter takes its ticket out, under this lock, before it leaves.
                let claimed = token.waiter.take().and_then(|ticket| unsafe { ticket.claim() });
                std::mem::drop(token);
                std::mem::drop(claimed);
            }
        }
    }

    /// Its number.
    #[must_use]
    pub fn id(&self) -> ThreadId {
        let id = match &self.0 {
            Kind::Coroutine(coroutine) => coroutine.header().id,
            Kind::Os(thread) => thread.id,
        };
        ThreadId(NonZero::new(id).expect("numbers begin at 1"))
    }

    /// Its name, if it was given one.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        match &self.0 {
            Kind::Coroutine(coroutine) => coroutine.header().name(),
            Kind::Os(thread) => thread.name.as_deref(),
        }
    }
}

impl fmt::Debug for Thread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Thread")
            .field("id", &self.id())
            .field("name", &self.name())
            .finish_non_exhaustive()
    }
}
