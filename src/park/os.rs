//! Parking a plain OS thread.
//!
//! `std::thread::park` is not used: its token belongs to the user, and a wait that consumed it
//! would lose a wakeup that was meant for him.

use super::scopes::{self, Attention, ScopeFrame};
use super::{Cancel, Outcome, Target, Ticket, WaitReason, delivered};
use crate::protocol::doorbell::Doorbell;
use crate::protocol::park_word::{ParkWord, Seq};
use crate::protocol::poke::Poke;
use crate::sched;
use crate::util::thread_end::ThreadEnd;
use std::cell::Cell;
use std::io::{self, Read, Write};
use std::mem::ManuallyDrop;
use std::os::unix::net::UnixStream;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
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
    /// There is something to look at before the next wait.
    poked: Poke,
    /// The wait was claimed by whoever has poked, and by no waker.
    ended: AtomicBool,
    /// Where waits for descriptors listen for pokes: the end to read from, and the one to write to.
    alarm: OnceLock<(UnixStream, UnixStream)>,
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
            poked: Poke::new(),
            ended: AtomicBool::new(false),
            alarm: OnceLock::new(),
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

    pub(super) fn poke(&self) {
        self.poked.say();
    }

    /// Ends the wait that is open, if one is, for whoever has poked.
    pub(super) fn end_wait(&self) {
        if self.word.claim_current() {
            self.ended.store(true, Ordering::Relaxed);
            self.resume();
        }
        if let Some((_, alarm)) = self.alarm.get() {
            // A full one is heard as well.
            let _full = (&*alarm).write(&[0]);
        }
    }

    /// What becomes readable when somebody pokes from here on.
    pub(crate) fn alarm(&self) -> io::Result<&UnixStream> {
        if self.alarm.get().is_none() {
            let (read, write) = UnixStream::pair()?;
            read.set_nonblocking(true)?;
            write.set_nonblocking(true)?;
            // Nobody else makes one: this is the parker's own thread.
            let _set = self.alarm.set((read, write));
        }
        // Against whoever has poked and did not see the alarm.
        fence(Ordering::SeqCst);
        Ok(&self.alarm.get().expect("set above").0)
    }

    /// Puts an alarm that has been heard out.
    pub(crate) fn hush(&self) {
        let Some((mut alarm, _)) = self.alarm.get().map(|(read, write)| (read, write)) else {
            return;
        };
        while alarm.read(&mut [0; 64]).is_ok_and(|count| count > 0) {}
    }
}

thread_local! {
    /// Taken out while a wait is open, so that a wait within a publication has one of its own. It outlasts
    /// each wait, since tickets may be looked at until the caller has left the queue, after the wait's
    /// return: also in the destructor of another thread-local, so it has none of its own.
    static PARKER: Cell<Option<ManuallyDrop<Arc<OsParker>>>> = const { Cell::new(None) };
    /// The innermost scope of this thread.
    static FRAMES: Cell<*const ScopeFrame> = const { Cell::new(ptr::null()) };
}

/// Whether this thread is in a scope that may end its waits.
pub(crate) fn is_in_scope() -> bool {
    !FRAMES.with(Cell::get).is_null()
}

/// Calls `f` with the innermost scope of this thread.
pub(super) fn with_frames<R>(f: impl FnOnce(&Cell<*const ScopeFrame>) -> R) -> R {
    FRAMES.with(f)
}

/// Drops what [`PARKER`] has when the thread ends.
static END: ThreadEnd = ThreadEnd::new(|| drop(take_parker()));

fn take_parker() -> Option<Arc<OsParker>> {
    PARKER.take().map(ManuallyDrop::into_inner)
}

fn take_or_make_parker() -> Arc<OsParker> {
    take_parker().unwrap_or_else(|| {
        // Without it the parker stays for good.
        let _armed = END.arm();
        OsParker::new()
    })
}

fn put_parker(parker: Arc<OsParker>) {
    // Of a wait within the publication of this one.
    drop(take_parker());
    PARKER.set(Some(ManuallyDrop::new(parker)));
}

/// This thread's parker.
pub(crate) fn parker() -> Arc<OsParker> {
    let parker = take_or_make_parker();
    put_parker(parker.clone());
    parker
}

/// Blocks until somebody calls, or until the deadline; whether somebody called.
fn wait(parker: &OsParker, deadline: Option<Instant>) -> bool {
    if deadline.is_none() {
        let mut rest = LONG;
        for _ in 0..sched::RESTS {
            if parker.bell.wait(Instant::now().checked_add(rest)) {
                return true;
            }
            match sched::outsider_rests() {
                Some(again) => rest = again,
                None => break,
            }
        }
    }
    parker.bell.wait(deadline)
}

pub(super) fn park(
    reason: WaitReason,
    deadline: Option<Instant>,
    cancel: Cancel,
    publish: impl FnOnce(Ticket) -> bool,
) -> Outcome {
    let parker = take_or_make_parker();
    let outcome = park_with(&parker, reason, deadline, cancel, publish);
    put_parker(parker);
    outcome
}

fn park_with(
    parker: &Arc<OsParker>,
    reason: WaitReason,
    deadline: Option<Instant>,
    cancel: Cancel,
    publish: impl FnOnce(Ticket) -> bool,
) -> Outcome {
    let heeds = cancel != Cancel::Defer && !FRAMES.with(Cell::get).is_null();
    let mut bound = None;
    if heeds {
        parker.poked.heed();
        match scopes::attend(None, cancel) {
            Attention::Deliver => {
                if cancel == Cancel::Deliver {
                    scopes::note_delivery(None);
                }
                return delivered(cancel);
            }
            Attention::Until(until) => {
                bound = until.filter(|until| deadline.is_none_or(|deadline| *until < deadline));
            }
        }
    }
    let seq = parker.word.begin();
    if heeds {
        // Against whoever pokes: one of the two sees the other.
        fence(Ordering::SeqCst);
        if parker.poked.is_said() && parker.word.retract(seq) {
            return ended_for_a_scope(cancel, None);
        }
    }
    let address = NonNull::new(Arc::as_ptr(parker).cast_mut()).expect("an Arc is not null");
    let ticket = Ticket { target: Target::thread(address), seq };
    let needless = !publish(ticket) && parker.word.retract(seq);
    if needless {
        return Outcome::Woken;
    }
    let deadline = bound.or(deadline);
    *lock(&parker.about) = Some((reason, deadline.is_none()));
    let called = wait(parker, deadline);
    *lock(&parker.about) = None;
    if !called {
        if parker.word.claim(seq) {
            return match bound {
                Some(_) => ended_for_a_scope(cancel, bound),
                None => Outcome::TimedOut,
            };
        }
        // Somebody was faster than the clock and is about to resume this thread.
        parker.bell.wait(None);
    }
    // The bell has ordered this.
    if parker.ended.load(Ordering::Relaxed) {
        parker.ended.store(false, Ordering::Relaxed);
        return ended_for_a_scope(cancel, None);
    }
    Outcome::Woken
}

fn ended_for_a_scope(cancel: Cancel, passed: Option<Instant>) -> Outcome {
    match scopes::settle(None, cancel, passed) {
        true => delivered(cancel),
        false => Outcome::Interrupted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    /// Whose ticket somebody may still have does not go with the wait, but with the thread.
    #[test]
    fn a_parker_outlasts_a_wait_in_a_late_destructor() {
        struct Waits(mpsc::Sender<(usize, Weak<OsParker>)>);

        impl Drop for Waits {
            fn drop(&mut self) {
                let mut known = Weak::new();
                let outcome = park(WaitReason::Park, Some(Instant::now()), Cancel::Defer, |_| {
                    let here = thread::current().id();
                    known = Arc::downgrade(
                        &lock(&ALL)
                            .iter()
                            .filter_map(Weak::upgrade)
                            .filter(|parker| parker.thread.id() == here)
                            .find(|parker| parker.word.is_waiting())
                            .unwrap(),
                    );
                    true
                });
                assert_eq!(outcome, Outcome::TimedOut);
                self.0.send((known.strong_count(), known)).unwrap();
            }
        }

        thread_local! {
            static WAITS: Cell<Option<Waits>> = const { Cell::new(None) };
        }

        for waited_before in [false, true] {
            let (told, counted) = mpsc::channel();
            thread::spawn(move || {
                // Destroyed after what comes into use later.
                WAITS.set(Some(Waits(told)));
                if waited_before {
                    drop(parker());
                }
            })
            .join()
            .unwrap();
            let (strong, parker) = counted.recv().unwrap();
            assert_ne!(strong, 0);
            assert_eq!(parker.strong_count(), 0, "it is kept after the end of its thread");
        }
    }
}
