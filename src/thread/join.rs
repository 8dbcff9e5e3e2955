//! Join handles.

#![expect(unsafe_code, reason = "takes results out of completed coroutines")]

use crate::coroutine::{Coroutine, Failure, Joiner, abort_on_unwind, contained, unwind_cancelled};
use crate::park::{self, Cancel, Outcome, WaitReason};
use crate::protocol::status::{Asked, Released};
use crate::sched;
use crate::thread::{Result, Thread};
use std::cell::UnsafeCell;
use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::pin::Pin;
use std::ptr;
use std::sync::Arc;
use std::task::{Context, Poll};

/// The part that all join handles share: a claim to one coroutine's result.
pub(super) struct JoinInner<T> {
    thread: Thread,
    /// As std's: owns a `T` that another thread may have written.
    _result: PhantomData<Arc<UnsafeCell<T>>>,
}

// SAFETY: a handle gives nothing of the result away but by value, in `join`, which takes it.
unsafe impl<T: Send> Send for JoinInner<T> {}
// SAFETY: by reference there is no way to the result.
unsafe impl<T: Send> Sync for JoinInner<T> {}

impl<T> JoinInner<T> {
    /// Takes over the handle's reference of a coroutine whose body leaves a `T`.
    pub(super) fn new(coroutine: Coroutine) -> JoinInner<T> {
        JoinInner { thread: Thread::of(coroutine), _result: PhantomData }
    }

    pub(super) fn thread(&self) -> &Thread {
        &self.thread
    }

    fn coroutine(&self) -> &Coroutine {
        self.thread.coroutine().expect("made from a coroutine")
    }

    pub(super) fn is_finished(&self) -> bool {
        is_finished(self.coroutine())
    }

    pub(super) fn cancel(&self) -> CancelOutcome {
        CancelOutcome::of(self.coroutine())
    }

    pub(super) fn cancel_handle(&self) -> CancelHandle {
        CancelHandle { coroutine: self.coroutine().clone() }
    }

    pub(super) fn join(self) -> Result<T> {
        wait_for_end(self.coroutine(), Cancel::Deliver);
        self.into_result()
    }

    /// Joins a coroutine that borrows from the caller: a cancellation does not end this wait, and is
    /// passed on to that coroutine.
    pub(super) fn join_lent(self) -> Result<T> {
        wait_for_end(self.coroutine(), Cancel::Tell);
        self.into_result()
    }

    /// The result of a coroutine that has been waited for.
    fn into_result(self) -> Result<T> {
        let result = self.take().expect("a completed coroutine has left its result");
        // Nothing is left to give up but the reference.
        let mut handle = ManuallyDrop::new(self);
        // SAFETY: the handle is not dropped, and not used after this.
        unsafe { ptr::drop_in_place(&raw mut handle.thread) };
        result
    }

    /// The result, or else the task is woken when it is there.
    fn poll(&self, cx: &mut Context<'_>) -> Poll<Result<T>> {
        let header = self.coroutine().header();
        if !header.status.is_complete() {
            forget_task(self.coroutine());
            let waker = cx.waker().clone();
            if !header.status.is_complete() {
                // SAFETY: nothing is published: the handle had nothing else to publish than what it
                // has taken back, and the completer looks only at what is published.
                unsafe { *header.joiner.get() = Some(Joiner::Task(waker)) };
                if header.status.publish_joiner() {
                    return Poll::Pending;
                }
                // SAFETY: as above. Nobody would take it out: a late reference frees memory only.
                drop(unsafe { (*header.joiner.get()).take() });
            }
        }
        let result = self.take();
        Poll::Ready(result.expect("a join handle was polled after it had given its result"))
    }

    /// The result of a completed coroutine, the first time.
    fn take(&self) -> Option<Result<T>> {
        // SAFETY: the handle was made for this `T`; it still has its interest, and the coroutine
        // has completed, so the result is the handle's.
        unsafe { self.coroutine().take_result::<T>() }
    }
}

fn is_finished(coroutine: &Coroutine) -> bool {
    let finished = coroutine.header().status.is_complete();
    if !finished {
        sched::tried_in_vain();
    }
    finished
}

/// Takes the waker of a task back that has polled the handle, which the caller has.
#[inline]
fn forget_task(coroutine: &Coroutine) {
    if coroutine.header().status.has_joiner() {
        forget_published(coroutine);
    }
}

#[cold]
fn forget_published(coroutine: &Coroutine) {
    let header = coroutine.header();
    if header.status.retract_joiner() {
        // SAFETY: what was published has been taken back, so the cell is the handle's.
        let task = unsafe { (*header.joiner.get()).take() };
        // A panic of the waker's must not leave a handle that is dropped with its claim: the result would
        // be nobody's, and go with the last reference, wherever that is.
        contained(|| drop(task));
    }
}

/// Waits for the end of a coroutine whose handle the caller has, and waits with. If a cancellation is
/// only to be told, that coroutine is.
fn wait_for_end(coroutine: &Coroutine, cancel: Cancel) {
    forget_task(coroutine);
    let status = &coroutine.header().status;
    if status.is_complete() || sched::call_joined(coroutine) && status.is_complete() {
        return;
    }
    wait_parked(coroutine, cancel);
}

#[inline(never)]
fn wait_parked(coroutine: &Coroutine, mut cancel: Cancel) {
    let header = coroutine.header();
    if sched::current_coroutine() == Some(coroutine.as_ptr()) {
        // As std says it.
        panic!("failed to join thread: {}", io::Error::from_raw_os_error(libc::EDEADLK));
    }
    while !header.status.is_complete() {
        if cancel == Cancel::Tell && park::is_over() {
            let _asked = sched::cancel(coroutine);
            cancel = Cancel::Defer;
        }
        let outcome = park::park(WaitReason::Join, None, cancel, |ticket| {
            // SAFETY: no ticket is published, so the cell is the joiner's.
            unsafe { *header.joiner.get() = Some(Joiner::Wait(ticket)) };
            header.status.publish_joiner()
        });
        if header.status.is_complete() && outcome == Outcome::Woken {
            break;
        }
        if !header.status.retract_joiner() {
            // The completer may be looking at this wait; it is about to be done with it.
            while header.status.has_joiner() && !header.status.is_joiner_released() {
                std::thread::yield_now();
            }
        }
        if outcome == Outcome::Cancelled {
            unwind_cancelled();
        }
    }
}

impl<T> Drop for JoinInner<T> {
    fn drop(&mut self) {
        let header = self.coroutine().header();
        forget_task(self.coroutine());
        if header.status.release_interest() == Released::BeforeCompletion {
            return;
        }
        let Some(result) = self.take() else { return };
        if let (Some(scope), Some(failure)) = (&header.scope, Failure::of(&result)) {
            scope.note_failure(failure);
        }
        abort_on_unwind(|| drop(result));
    }
}

/// A claim to the result of a coroutine; see [`std::thread::JoinHandle`].
///
/// Dropping it lets the coroutine run on its own.
pub struct JoinHandle<T>(pub(super) JoinInner<T>);

// SAFETY: as std's: only spawns make one, and those ask for a result that is `Send`.
unsafe impl<T> Send for JoinHandle<T> {}
// SAFETY: as above.
unsafe impl<T> Sync for JoinHandle<T> {}

impl<T> JoinHandle<T> {
    /// A handle to the coroutine itself.
    #[must_use]
    pub fn thread(&self) -> &Thread {
        self.0.thread()
    }

    /// Waits for the coroutine to end and returns its result, from a coroutine or a plain thread.
    ///
    /// # Errors
    ///
    /// If the coroutine panicked, with the panic's payload; if it was cancelled, with
    /// [`Cancelled`](crate::Cancelled).
    ///
    /// # Panics
    ///
    /// If a coroutine joins itself.
    ///
    /// # Examples
    ///
    /// ```
    /// let handle = pirn::spawn(|| 6 * 7);
    /// assert_eq!(handle.join().unwrap(), 42);
    /// ```
    pub fn join(self) -> Result<T> {
        self.0.join()
    }

    /// Whether the coroutine's body has ended: [`join`](JoinHandle::join) would not wait.
    pub fn is_finished(&self) -> bool {
        self.0.is_finished()
    }

    /// Cancels the coroutine: the wait in which it is, or else its next one, ends, and it unwinds
    /// from there, silently. Its destructors run, and `join` returns
    /// [`Cancelled`](crate::Cancelled). If it has not begun, it never does.
    ///
    /// This does not wait for any of that, and does nothing to a coroutine that has ended or is
    /// cancelled already. `docs/cancellation.md` has the rules.
    ///
    /// # Examples
    ///
    /// ```
    /// let sleeper = pirn::spawn(|| pirn::thread::sleep(std::time::Duration::MAX));
    /// sleeper.cancel();
    /// assert!(sleeper.join().unwrap_err().is::<pirn::Cancelled>());
    /// ```
    pub fn cancel(&self) -> CancelOutcome {
        self.0.cancel()
    }

    /// Something to cancel the coroutine with while another one waits in `join`.
    ///
    /// ```
    /// let sleeper = pirn::spawn(|| pirn::thread::park());
    /// let cancel = sleeper.cancel_handle();
    /// let joiner = pirn::spawn(move || sleeper.join().is_err());
    /// cancel.cancel();
    /// assert!(joiner.join().unwrap());
    /// ```
    pub fn cancel_handle(&self) -> CancelHandle {
        self.0.cancel_handle()
    }
}

/// A handle can be awaited, and polled by any executor.
///
/// # Panics
///
/// If it is polled again after it has given its result.
///
/// # Examples
///
/// ```
/// use std::pin::pin;
/// use std::task::{Context, Poll, Waker};
///
/// let mut handle = pin!(pirn::spawn(|| 6 * 7));
/// let mut cx = Context::from_waker(Waker::noop());
/// let answer = loop {
///     match handle.as_mut().poll(&mut cx) {
///         Poll::Ready(answer) => break answer,
///         Poll::Pending => pirn::thread::yield_now(),
///     }
/// };
/// assert_eq!(answer.unwrap(), 42);
/// ```
impl<T> Future for JoinHandle<T> {
    type Output = Result<T>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<T>> {
        self.0.poll(cx)
    }
}

impl<T> fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinHandle").finish_non_exhaustive()
    }
}

/// A claim to the result of a coroutine that was spawned with
/// [`spawn_local`](super::spawn_local). It stays on its thread, as the coroutine does.
///
/// ```compile_fail
/// fn sendable<T: Send>(_: T) {}
/// sendable(pirn::thread::spawn_local(|| ()));
/// ```
pub struct LocalJoinHandle<T> {
    inner: JoinInner<T>,
    _local: PhantomData<*mut ()>,
}

impl<T> LocalJoinHandle<T> {
    pub(super) fn new(inner: JoinInner<T>) -> Self {
        LocalJoinHandle { inner, _local: PhantomData }
    }

    /// A handle to the coroutine itself.
    #[must_use]
    pub fn thread(&self) -> &Thread {
        self.inner.thread()
    }

    /// Waits for the coroutine to end and returns its result.
    ///
    /// # Errors
    ///
    /// As [`JoinHandle::join`].
    ///
    /// # Panics
    ///
    /// If it joins itself.
    pub fn join(self) -> Result<T> {
        self.inner.join()
    }

    /// Whether the coroutine's body has ended.
    pub fn is_finished(&self) -> bool {
        self.inner.is_finished()
    }

    /// Cancels the coroutine; see [`JoinHandle::cancel`].
    pub fn cancel(&self) -> CancelOutcome {
        self.inner.cancel()
    }

    /// Something to cancel the coroutine with; see [`JoinHandle::cancel_handle`].
    pub fn cancel_handle(&self) -> CancelHandle {
        self.inner.cancel_handle()
    }
}

impl<T> fmt::Debug for LocalJoinHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalJoinHandle").finish_non_exhaustive()
    }
}

/// What became of a request to cancel a coroutine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CancelOutcome {
    /// The coroutine is told at its next wait, unless it ends before.
    Requested,
    /// It has been requested before, which is as good.
    Already,
    /// The coroutine has ended.
    Finished,
    /// Nothing was requested: this build has `panic = "abort"`, so nothing can be unwound.
    Unsupported,
}

impl CancelOutcome {
    fn of(coroutine: &Coroutine) -> CancelOutcome {
        if cfg!(panic = "abort") {
            return CancelOutcome::Unsupported;
        }
        match sched::cancel(coroutine) {
            Asked::First => CancelOutcome::Requested,
            Asked::Again => CancelOutcome::Already,
            Asked::TooLate => CancelOutcome::Finished,
        }
    }
}

/// Cancels a coroutine; of [`JoinHandle::cancel_handle`].
///
/// It keeps the memory of the coroutine, but neither its result nor what it owned.
#[derive(Clone)]
pub struct CancelHandle {
    coroutine: Coroutine,
}

impl CancelHandle {
    /// See [`JoinHandle::cancel`].
    pub fn cancel(&self) -> CancelOutcome {
        CancelOutcome::of(&self.coroutine)
    }

    /// Cancels all of them, at the price of one.
    pub fn cancel_all(handles: &[CancelHandle]) {
        if !cfg!(panic = "abort") {
            let coroutines: Vec<_> = handles.iter().map(|one| one.coroutine.clone()).collect();
            sched::cancel_all(&coroutines);
        }
    }

    /// Whether the coroutine's body has ended.
    pub fn is_finished(&self) -> bool {
        is_finished(&self.coroutine)
    }
}

impl fmt::Debug for CancelHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CancelHandle").field("id", &self.coroutine.header().id).finish()
    }
}
