//! Parking a plain OS thread.
//!
//! `std::thread::park` is not used: its token belongs to the user, and a wait that consumed it
//! would lose a wakeup that was meant for him.

use super::{Outcome, Target, Ticket, WaitReason};
use crate::protocol::doorbell::Doorbell;
use crate::protocol::park_word::{ParkWord, Seq};
use crate::sched;
use std::cell::Cell;
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

/// After so long, a thread that only others can wake asks whether there are any.
const LONG: Duration = Duration::from_millis(250);

/// Where one OS thread waits.
#[derive(Debug)]
pub(crate) struct OsParker {
    pub(super) word: ParkWord,
    /// Rung by the claimant of the open wait.
    bell: Doorbell,
    thread: Thread,
    /// Why it waits, and whether for ever: while it does, its wait published.
    about: Mutex<Option<(WaitReason, bool)>>,
}

/// The parkers of all threads, for dumps.
static ALL: Mutex<Vec<Weak<OsParker>>> = Mutex::new(Vec::new());

/// A thread that waits.
#[derive(Clone, Debug)]
pub(crate) struct WaitingThread {
    pub(crate) thread: Thread,
    pub(crate) reason: WaitReason,
    /// Only others can end it.
    pub(crate) forever: bool,
    /// Names this wait among all of that thread.
    pub(crate) wait: Seq,
}

/// The threads that wait in pirn.
pub(crate) fn waiting_threads() -> Vec<WaitingThread> {
    let parkers: Vec<_> = lock(&ALL).iter().filter_map(Weak::upgrade).collect();
    let waiting = |parker: &Arc<OsParker>| {
        let (reason, forever) = (*lock(&parker.about))?;
        let wait = parker.word.open_wait()?;
        Some(WaitingThread { thread: parker.thread.clone(), reason, forever, wait })
    };
    parkers.iter().filter_map(waiting).collect()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl OsParker {
    fn new() -> Arc<OsParker> {
        let parker = Arc::new(OsParker {
            word: ParkWord::new(),
            bell: Doorbell::new(),
            thread: thread::current(),
            about: Mutex::new(None),
        });
        let mut all = lock(&ALL);
        if all.len() == all.capacity() {
            all.retain(|parker| parker.strong_count() > 0);
        }
        all.push(Arc::downgrade(&parker));
        drop(all);
        parker
    }

    /// Called by whoever has claimed the wait.
    pub(super) fn resume(&self) {
        self.bell.ring();
    }
}

thread_local! {
    /// Taken out while a wait is open, so that a wait within a publication has one of its own.
    static PARKER: Cell<Option<Arc<OsParker>>> = const { Cell::new(None) };
}

/// Blocks until somebody calls, or until the deadline; whether somebody called.
fn wait(parker: &OsParker, deadline: Option<Instant>) -> bool {
    if deadline.is_none() {
        if parker.bell.wait(Instant::now().checked_add(LONG)) {
            return true;
        }
        sched::outsider_rests();
    }
    parker.bell.wait(deadline)
}

pub(super) fn park(
    reason: WaitReason,
    deadline: Option<Instant>,
    publish: impl FnOnce(Ticket) -> bool,
) -> Outcome {
    // In a thread-local's destructor the slot may be gone already: a parker for this wait alone.
    let parker = PARKER.try_with(Cell::take).ok().flatten().unwrap_or_else(OsParker::new);
    let seq = parker.word.begin();
    let address = NonNull::new(Arc::as_ptr(&parker).cast_mut()).expect("an Arc is not null");
    let ticket = Ticket { target: Target::Thread(address), seq };
    let needless = !publish(ticket) && parker.word.retract(seq);
    *lock(&parker.about) = Some((reason, deadline.is_none()));
    let outcome = if needless || wait(&parker, deadline) {
        Outcome::Woken
    } else if parker.word.claim(seq) {
        Outcome::TimedOut
    } else {
        // Somebody was faster than the clock and is about to resume this thread.
        parker.bell.wait(None);
        Outcome::Woken
    };
    *lock(&parker.about) = None;
    let _gone = PARKER.try_with(|slot| slot.set(Some(parker)));
    outcome
}
