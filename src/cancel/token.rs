//! Tokens that cancel what runs under them.

use crate::channel::{self, Receiver, Sender};
use crate::park::{self, Limit, Pokable};
use crate::primitive::lock;
use crate::thread;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::error::Error;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

/// Cancels all that runs under it, and under its children: Go's `context.Context`, as far as
/// cancellation goes.
///
/// Clones are the same token. A child is cancelled with its parent, for the same cause; to cancel a
/// child does not touch its parent. Dropping a token cancels nothing; [`drop_guard`] is for that.
///
/// [`drop_guard`]: CancelToken::drop_guard
///
/// # Examples
///
/// ```
/// use pirn::{CancelToken, thread};
///
/// let token = CancelToken::new();
/// let workers: Vec<_> = (0..3)
///     .map(|_| {
///         let token = token.child();
///         pirn::spawn(move || token.run(|| thread::park()).is_err())
///     })
///     .collect();
/// token.cancel();
/// assert!(workers.into_iter().all(|worker| worker.join().unwrap()));
/// ```
#[derive(Clone)]
pub struct CancelToken {
    inner: Arc<Inner>,
}

struct Inner {
    /// Set once, when the cause is in place.
    over: AtomicBool,
    /// The earliest of its own and its parents'.
    deadline: Option<Instant>,
    /// The parent, and this one's number there.
    parent: Option<(CancelToken, u64)>,
    state: Mutex<State>,
}

type Callback = Box<dyn FnOnce(&CancelCause) + Send>;

#[derive(Default)]
struct State {
    cause: Option<CancelCause>,
    next: u64,
    children: BTreeMap<u64, Weak<Inner>>,
    /// Whoever runs something under the token.
    running: BTreeMap<u64, Pokable>,
    callbacks: BTreeMap<u64, Callback>,
    /// Disconnected by the cancellation.
    done: Option<(Sender<Infallible>, Receiver<Infallible>)>,
    /// A coroutine waits for the deadline.
    watched: bool,
}

impl State {
    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn done(&mut self) -> Receiver<Infallible> {
        self.done.get_or_insert_with(|| channel::bounded(0)).1.clone()
    }
}

/// Why a token was cancelled.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum CancelCause {
    /// [`CancelToken::cancel`] was called.
    Requested,
    /// Its deadline has passed.
    DeadlineExceeded,
    /// What [`CancelToken::cancel_with`] was given.
    Other(Arc<dyn Error + Send + Sync>),
    /// It was not: this build has `panic = "abort"`, so nothing can be unwound.
    Unsupported,
}

impl fmt::Display for CancelCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CancelCause::Requested => f.write_str("cancelled"),
            CancelCause::DeadlineExceeded => f.write_str("deadline exceeded"),
            CancelCause::Other(cause) => cause.fmt(f),
            CancelCause::Unsupported => f.write_str(crate::cancel::UNSUPPORTED),
        }
    }
}

impl Error for CancelCause {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            CancelCause::Other(cause) => cause.source(),
            _ => None,
        }
    }
}

impl CancelToken {
    /// A token without a deadline.
    #[must_use]
    pub fn new() -> CancelToken {
        CancelToken::make(None, None)
    }

    /// A token that is cancelled when `deadline` has passed.
    #[must_use]
    pub fn with_deadline(deadline: Instant) -> CancelToken {
        CancelToken::make(None, Some(deadline))
    }

    /// A token that is cancelled when `timeout` has passed. Any duration is legal.
    #[must_use]
    pub fn with_timeout(timeout: Duration) -> CancelToken {
        CancelToken::make(None, park::deadline_after(timeout))
    }

    /// A token that is cancelled with this one.
    #[must_use]
    pub fn child(&self) -> CancelToken {
        CancelToken::make(Some(self), None)
    }

    /// A token that is cancelled with this one, or when `deadline` has passed.
    #[must_use]
    pub fn child_with_deadline(&self, deadline: Instant) -> CancelToken {
        CancelToken::make(Some(self), Some(deadline))
    }

    /// A token that is cancelled with this one, or when `timeout` has passed.
    #[must_use]
    pub fn child_with_timeout(&self, timeout: Duration) -> CancelToken {
        CancelToken::make(Some(self), park::deadline_after(timeout))
    }

    fn make(parent: Option<&CancelToken>, deadline: Option<Instant>) -> CancelToken {
        let inherited = parent.and_then(|parent| parent.inner.deadline);
        let deadline = [deadline, inherited].into_iter().flatten().min();
        let token = |parent, state| CancelToken {
            inner: Arc::new(Inner {
                over: AtomicBool::new(false),
                deadline,
                parent,
                state: Mutex::new(state),
            }),
        };
        let Some(parent) = parent else { return token(None, State::default()) };
        let mut theirs = lock(&parent.inner.state);
        if let Some(cause) = &theirs.cause {
            let child = token(None, State { cause: Some(cause.clone()), ..State::default() });
            child.inner.over.store(true, Ordering::Release);
            return child;
        }
        let number = theirs.number();
        let child = token(Some((parent.clone(), number)), State::default());
        theirs.children.insert(number, Arc::downgrade(&child.inner));
        child
    }

    /// Cancels what runs under this token and its children. `false`: it was cancelled before.
    ///
    /// From anywhere, without waiting.
    pub fn cancel(&self) -> bool {
        self.cancel_for(CancelCause::Requested)
    }

    /// [`cancel`](CancelToken::cancel), and says why.
    ///
    /// ```
    /// let token = pirn::CancelToken::new();
    /// token.cancel_with("the disk is full");
    /// assert_eq!(token.cause().unwrap().to_string(), "the disk is full");
    /// ```
    pub fn cancel_with<E: Into<Box<dyn Error + Send + Sync>>>(&self, cause: E) -> bool {
        self.cancel_for(CancelCause::Other(Arc::from(cause.into())))
    }

    fn cancel_for(&self, cause: CancelCause) -> bool {
        let mut first = true;
        // Children may be many generations deep.
        let mut next = vec![self.inner.clone()];
        let mut poked = Vec::new();
        let mut called = Vec::new();
        while let Some(inner) = next.pop() {
            let mut state = lock(&inner.state);
            if state.cause.is_some() {
                first &= !Arc::ptr_eq(&inner, &self.inner);
                continue;
            }
            state.cause = Some(cause.clone());
            inner.over.store(true, Ordering::Release);
            let children = std::mem::take(&mut state.children);
            poked.extend(std::mem::take(&mut state.running).into_values());
            called.extend(std::mem::take(&mut state.callbacks).into_values());
            let done = state.done.take();
            drop(state);
            drop(done);
            next.extend(children.into_values().filter_map(|child| child.upgrade()));
        }
        Pokable::poke_all(&poked);
        for callback in called {
            call(callback, cause.clone());
        }
        first
    }

    /// Whether it is cancelled, or its deadline has passed.
    pub fn is_cancelled(&self) -> bool {
        self.inner.over.load(Ordering::Acquire) || self.expire()
    }

    /// Why it is cancelled; `None` while it is not.
    pub fn cause(&self) -> Option<CancelCause> {
        if !self.is_cancelled() {
            return None;
        }
        lock(&self.inner.state).cause.clone()
    }

    /// Fails if it is cancelled: for work that does not wait, between its steps.
    ///
    /// # Errors
    ///
    /// The cause.
    pub fn check(&self) -> Result<(), CancelCause> {
        self.cause().map_or(Ok(()), Err)
    }

    /// When it is going to be cancelled at the latest.
    pub fn deadline(&self) -> Option<Instant> {
        self.inner.deadline
    }

    /// Cancels it if its deadline has passed, or the token up from it with whose deadline that is.
    fn expire(&self) -> bool {
        if self.inner.deadline.is_none_or(|deadline| Instant::now() < deadline) {
            return false;
        }
        let mut oldest = self;
        while let Some((parent, _)) = &oldest.inner.parent
            && parent.inner.deadline == self.inner.deadline
        {
            oldest = parent;
        }
        oldest.cancel_for(CancelCause::DeadlineExceeded);
        if !self.inner.over.load(Ordering::Acquire) {
            // Somebody else is on the way from there to here.
            let cause = lock(&oldest.inner.state).cause.clone();
            self.cancel_for(cause.unwrap_or(CancelCause::DeadlineExceeded));
        }
        true
    }

    /// Runs `f`, whose waits end when the token is cancelled: then `f` is unwound, silently, and its
    /// destructors run.
    ///
    /// What `f` spawns is not cancelled with it, unless by a [`thread::scope`](crate::thread::scope)
    /// or by a token of its own.
    ///
    /// # Errors
    ///
    /// The cause, if the token is cancelled before `f` begins, which then does not, or if that ends a
    /// wait of `f`'s. In a build with `panic = "abort"`, [`CancelCause::Unsupported`] at once.
    ///
    /// # Examples
    ///
    /// ```
    /// use pirn::{CancelCause, CancelToken, thread};
    /// use std::time::Duration;
    ///
    /// let token = CancelToken::with_timeout(Duration::from_millis(2));
    /// let cause = token.run(|| thread::sleep(Duration::MAX)).unwrap_err();
    /// assert!(matches!(cause, CancelCause::DeadlineExceeded));
    /// assert_eq!(CancelToken::new().run(|| 6 * 7).unwrap(), 42);
    /// ```
    pub fn run<F, T>(&self, f: F) -> Result<T, CancelCause>
    where
        F: FnOnce() -> T,
    {
        if cfg!(panic = "abort") {
            return Err(CancelCause::Unsupported);
        }
        self.check()?;
        let number = self.register(|state, number| {
            state.running.insert(number, Pokable::current());
            number
        })?;
        let _running = Registered { inner: Arc::downgrade(&self.inner), number };
        let limit = Limit { deadline: self.inner.deadline, flag: Some(&self.inner.over) };
        park::within(limit, f).map_err(|park::Over| {
            self.expire();
            lock(&self.inner.state).cause.clone().unwrap_or(CancelCause::DeadlineExceeded)
        })
    }

    /// Waits until it is cancelled.
    ///
    /// ```
    /// let token = pirn::CancelToken::new();
    /// let theirs = token.clone();
    /// let waiting = pirn::spawn(move || theirs.wait().to_string());
    /// token.cancel();
    /// assert_eq!(waiting.join().unwrap(), "cancelled");
    /// ```
    pub fn wait(&self) -> CancelCause {
        loop {
            if let Some(cause) = self.cause() {
                return cause;
            }
            let done = match self.register(|state, _| state.done()) {
                Ok(done) => done,
                Err(cause) => return cause,
            };
            // No message comes: it is the end, or the deadline.
            let _ended = match self.inner.deadline {
                Some(deadline) => done.recv_deadline(deadline).is_err(),
                None => done.recv().is_err(),
            };
        }
    }

    /// A channel that is disconnected when the token is cancelled, for
    /// [`select!`](crate::channel::select!): Go's `ctx.Done()`.
    ///
    /// A deadline of the token's is waited for by a coroutine, in the caller's runtime or the default
    /// one.
    ///
    /// # Examples
    ///
    /// ```
    /// use pirn::channel::{select, unbounded};
    ///
    /// let token = pirn::CancelToken::new();
    /// let (_jobs, queue) = unbounded::<u32>();
    /// let done = token.done();
    /// token.cancel();
    /// let ended = select! {
    ///     recv(queue) -> _job => false,
    ///     recv(done) -> _ => true,
    /// };
    /// assert!(ended);
    /// ```
    pub fn done(&self) -> Receiver<Infallible> {
        let done = self.register(|state, _| state.done());
        self.watch();
        // Of a token that is cancelled: one without a sender.
        done.unwrap_or_else(|_| channel::bounded(0).1)
    }

    /// Calls `f` with the cause when the token is cancelled, in a coroutine of its own: of the
    /// runtime of whoever cancels, or else of the default one. If it is cancelled already, at once.
    ///
    /// Dropping what is returned takes the callback back, unless it has been called;
    /// [`detach`](CancelCallback::detach) leaves it. Go's `context.AfterFunc`.
    ///
    /// # Examples
    ///
    /// ```
    /// use pirn::{CancelToken, sync::Event};
    /// use std::sync::Arc;
    ///
    /// let (token, called) = (CancelToken::new(), Arc::new(Event::new()));
    /// let theirs = called.clone();
    /// let _callback = token.on_cancel(move |_cause| theirs.set());
    /// token.cancel();
    /// called.wait();
    /// ```
    pub fn on_cancel<F>(&self, f: F) -> CancelCallback
    where
        F: FnOnce(&CancelCause) + Send + 'static,
    {
        let mut callback = Some(Box::new(f) as Callback);
        let registered = self.register(|state, number| {
            state.callbacks.extend(callback.take().map(|callback| (number, callback)));
            number
        });
        let registered = match registered {
            Ok(number) => Some(Registered { inner: Arc::downgrade(&self.inner), number }),
            Err(cause) => {
                callback.into_iter().for_each(|callback| call(callback, cause.clone()));
                None
            }
        };
        self.watch();
        CancelCallback { registered }
    }

    /// Cancels the token when it is dropped.
    ///
    /// ```
    /// let token = pirn::CancelToken::new();
    /// drop(token.drop_guard());
    /// assert!(token.is_cancelled());
    /// ```
    pub fn drop_guard(&self) -> CancelGuard {
        CancelGuard { token: Some(self.clone()) }
    }

    /// Something that does not keep the token.
    pub(crate) fn downgrade(&self) -> WeakToken {
        WeakToken(Arc::downgrade(&self.inner))
    }

    /// Enters something under a number, unless the token is cancelled.
    fn register<R>(&self, enter: impl FnOnce(&mut State, u64) -> R) -> Result<R, CancelCause> {
        let mut state = lock(&self.inner.state);
        if let Some(cause) = &state.cause {
            return Err(cause.clone());
        }
        let number = state.number();
        Ok(enter(&mut state, number))
    }

    /// Sees to it that somebody waits for the deadline, if there is one.
    fn watch(&self) {
        let Some(deadline) = self.inner.deadline else { return };
        let first = self.register(|state, _| {
            let first = !std::mem::replace(&mut state.watched, true);
            first.then(|| state.done())
        });
        let Ok(Some(done)) = first else { return };
        let watch = Watch(self.downgrade());
        // Without a coroutine the next one tries again; whoever asks whether it is cancelled sees it
        // anyway.
        let watcher = thread::Builder::new().name("cancel-deadline".into());
        let _spawned = watcher.spawn(move || {
            // Disconnected when the token is cancelled, or gone.
            let _ended = done.recv_deadline(deadline);
            if let Some(token) = watch.0.upgrade() {
                token.expire();
            }
        });
    }
}

/// The duty to wait for a token's deadline. If it ends before that, since its runtime does, another one
/// takes it over after that.
struct Watch(WeakToken);

impl Drop for Watch {
    fn drop(&mut self) {
        let Some(token) = self.0.upgrade() else { return };
        lock(&token.inner.state).watched = false;
        let token = token.downgrade();
        thread::after_the_end(move || {
            if let Some(token) = token.upgrade() {
                token.watch();
            }
        });
    }
}

/// A callback that is to be called, be it by its drop: the coroutine for it may never begin, since its
/// runtime ends.
struct Call(Option<(Callback, CancelCause)>);

impl Call {
    fn make(mut self) {
        if let Some((callback, cause)) = self.0.take() {
            callback(&cause);
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if let Some((callback, cause)) = self.0.take() {
            // Whoever drops it may be cancelled itself, which is no concern of the callback's.
            crate::coroutine::contained(|| park::shielded(|| callback(&cause)));
        }
    }
}

/// Calls a callback in a coroutine; without one, better here than not at all.
fn call(callback: Callback, cause: CancelCause) {
    // A spawn that fails drops its closure, where the callback is not to be called.
    let ours = Arc::new(Mutex::new(Some(Call(Some((callback, cause))))));
    let theirs = ours.clone();
    let spawn = thread::Builder::new().name("on-cancel".into());
    let _spawned = spawn.spawn(move || {
        let call = lock(&theirs).take();
        call.into_iter().for_each(Call::make);
    });
    drop(ours);
}

impl Default for CancelToken {
    fn default() -> CancelToken {
        CancelToken::new()
    }
}

impl fmt::Debug for CancelToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CancelToken")
            .field("cancelled", &self.inner.over.load(Ordering::Acquire))
            .field("deadline", &self.inner.deadline)
            .finish_non_exhaustive()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // A chain of parents that go with their children is taken apart in a loop, not by
        // recursion.
        let mut parent = self.parent.take();
        while let Some((token, number)) = parent {
            lock(&token.inner.state).children.remove(&number);
            parent = Arc::into_inner(token.inner).and_then(|mut inner| inner.parent.take());
        }
    }
}

/// A token that goes when nobody else has it.
#[derive(Clone)]
pub(crate) struct WeakToken(Weak<Inner>);

impl WeakToken {
    pub(crate) fn upgrade(&self) -> Option<CancelToken> {
        self.0.upgrade().map(|inner| CancelToken { inner })
    }
}

/// Numbers begin at 1.
const NOBODY: u64 = 0;

/// Something entered in a token, until this is dropped.
struct Registered {
    inner: Weak<Inner>,
    number: u64,
}

impl Drop for Registered {
    fn drop(&mut self) {
        let Some(inner) = self.inner.upgrade() else { return };
        let mut state = lock(&inner.state);
        let removed = (state.running.remove(&self.number), state.callbacks.remove(&self.number));
        drop(state);
        // What a callback owns may do anything.
        drop(removed);
    }
}

/// A callback of [`CancelToken::on_cancel`]; dropping it takes the callback back.
#[must_use = "dropping it takes the callback back"]
pub struct CancelCallback {
    registered: Option<Registered>,
}

impl CancelCallback {
    /// Leaves the callback where it is.
    pub fn detach(mut self) {
        if let Some(registered) = &mut self.registered {
            registered.number = NOBODY;
        }
    }
}

impl fmt::Debug for CancelCallback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CancelCallback").finish_non_exhaustive()
    }
}

/// Cancels its token when it is dropped; of [`CancelToken::drop_guard`].
#[must_use = "dropping it cancels the token"]
#[derive(Debug)]
pub struct CancelGuard {
    token: Option<CancelToken>,
}

impl CancelGuard {
    /// Gives the token back, and cancels nothing.
    pub fn disarm(mut self) -> CancelToken {
        self.token.take().expect("taken once")
    }
}

impl Drop for CancelGuard {
    fn drop(&mut self) {
        if let Some(token) = &self.token {
            token.cancel();
        }
    }
}
