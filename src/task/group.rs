//! Groups of coroutines that end together.

use crate::sync::{Condvar, Mutex, MutexGuard};
use crate::thread::{self, CancelHandle, Cancelled, JoinHandle};
use crate::time;
use std::any::Any;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, PoisonError};

/// Coroutines that end together: Go's `errgroup`, Trio's nursery, Kotlin's `coroutineScope`.
///
/// | kind | cancels the rest | [`join`](Group::join) returns |
/// |---|---|---|
/// | [`fail_fast`](Group::fail_fast) | when one fails | all values, or the first failure |
/// | [`first_ok`](Group::first_ok) | when one succeeds | that value, or all failures |
/// | [`collect`](Group::collect) | never | what became of each |
///
/// In each of them a member that panics cancels the rest, and the panic comes out of the group, once.
/// No member outlives its group: dropping it cancels the members and waits for them. So does whoever
/// is cancelled while it waits for them.
///
/// # Examples
///
/// ```
/// use pirn::task::Group;
///
/// let mut group = Group::fail_fast();
/// for n in 1..=3 {
///     group.spawn(move || Ok::<_, String>(n * n));
/// }
/// assert_eq!(group.join().unwrap(), [1, 4, 9]);
///
/// let mut group = Group::fail_fast();
/// group.spawn(|| loop { pirn::thread::park() }); // is cancelled
/// group.spawn(|| "seven".parse::<u32>());
/// assert!(group.join().is_err());
/// ```
pub struct Group<T, E, K = FailFast> {
    shared: Arc<Shared<T, E>>,
    handles: BTreeMap<usize, JoinHandle<()>>,
    spawned: usize,
    inherit_deadline: bool,
    kind: PhantomData<fn() -> K>,
}

/// Kinds of groups.
mod kind {
    use super::Outcome;

    /// What a kind of group does with the ends of its members.
    pub trait Kind<T, E> {
        /// What `join` returns.
        type Output;

        /// Whether that end is the end of all.
        fn ends_with(outcome: &Outcome<T, E>) -> bool;

        /// What has become of all, by number, and in the order in which they ended.
        fn output(outcomes: Vec<(usize, super::Ended<T, E>)>) -> Self::Output;
    }
}
use kind::Kind;

/// The kind of [`Group::fail_fast`].
#[derive(Debug)]
pub enum FailFast {}
/// The kind of [`Group::first_ok`].
#[derive(Debug)]
pub enum FirstOk {}
/// The kind of [`Group::collect`].
#[derive(Debug)]
pub enum Collect {}

/// How a member has ended, if not by a panic.
type Ended<T, E> = Result<T, Failure<E>>;

/// Why a member of a [`Group`] has no value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure<E> {
    /// It returned this.
    Error(E),
    /// It was cancelled.
    Cancelled,
}

impl<E: fmt::Display> fmt::Display for Failure<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Error(error) => error.fmt(f),
            Failure::Cancelled => f.write_str("the member was cancelled"),
        }
    }
}

impl<E: std::error::Error + 'static> std::error::Error for Failure<E> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Failure::Error(error) => error.source(),
            Failure::Cancelled => None,
        }
    }
}

/// How a member has ended.
#[expect(unnameable_types, reason = "named by a trait that nobody else may implement")]
pub enum Outcome<T, E> {
    Ended(Ended<T, E>),
    Panicked(Box<dyn Any + Send>),
}

impl<T, E> Kind<T, E> for FailFast {
    type Output = Result<Vec<T>, Failure<E>>;

    fn ends_with(outcome: &Outcome<T, E>) -> bool {
        !matches!(outcome, Outcome::Ended(Ok(_)))
    }

    fn output(mut outcomes: Vec<(usize, Ended<T, E>)>) -> Self::Output {
        if let Some(failed) = outcomes.iter().position(|(_, ended)| ended.is_err())
            && let Err(failure) = outcomes.swap_remove(failed).1
        {
            return Err(failure);
        }
        outcomes.sort_by_key(|&(number, _)| number);
        outcomes.into_iter().map(|(_, ended)| ended).collect()
    }
}

impl<T, E> Kind<T, E> for FirstOk {
    type Output = Result<T, Vec<Failure<E>>>;

    fn ends_with(outcome: &Outcome<T, E>) -> bool {
        matches!(outcome, Outcome::Ended(Ok(_)))
    }

    fn output(mut outcomes: Vec<(usize, Ended<T, E>)>) -> Self::Output {
        if let Some(first) = outcomes.iter().position(|(_, ended)| ended.is_ok())
            && let Ok(value) = outcomes.swap_remove(first).1
        {
            return Ok(value);
        }
        outcomes.sort_by_key(|&(number, _)| number);
        Err(outcomes.into_iter().filter_map(|(_, ended)| ended.err()).collect())
    }
}

impl<T, E> Kind<T, E> for Collect {
    type Output = Vec<Result<T, Failure<E>>>;

    fn ends_with(_outcome: &Outcome<T, E>) -> bool {
        false
    }

    fn output(mut outcomes: Vec<(usize, Ended<T, E>)>) -> Self::Output {
        outcomes.sort_by_key(|&(number, _)| number);
        outcomes.into_iter().map(|(_, ended)| ended).collect()
    }
}

struct Shared<T, E> {
    ends_with: fn(&Outcome<T, E>) -> bool,
    state: Mutex<State<T, E>>,
    changed: Condvar,
}

struct State<T, E> {
    running: BTreeMap<usize, CancelHandle>,
    /// In the order in which they came.
    outcomes: VecDeque<(usize, Outcome<T, E>)>,
    /// How many have come.
    ended: usize,
    /// Members are being cancelled, and so are those that are spawned from here on.
    over: bool,
}

impl<T, E> Shared<T, E> {
    /// For a few steps of this file's own, which no cancellation is to cut short.
    fn lock(&self) -> MutexGuard<'_, State<T, E>> {
        crate::shield(|| self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A member has ended.
    fn finish(&self, number: usize, outcome: Outcome<T, E>) {
        let ends = matches!(outcome, Outcome::Panicked(_)) || (self.ends_with)(&outcome);
        let mut state = self.lock();
        state.running.remove(&number);
        state.outcomes.push_back((number, outcome));
        state.ended += 1;
        drop(state);
        self.changed.notify_all();
        if ends {
            self.cancel();
        }
    }

    fn cancel(&self) {
        let mut state = self.lock();
        state.over = true;
        let rest: Vec<_> = std::mem::take(&mut state.running).into_values().collect();
        drop(state);
        CancelHandle::cancel_all(&rest);
    }
}

/// A member's duty to say how it has ended. Unless it has said so, it was cancelled, or never began.
struct Member<T, E> {
    shared: Arc<Shared<T, E>>,
    number: usize,
    outcome: Option<Outcome<T, E>>,
    spawned: bool,
}

impl<T, E> Drop for Member<T, E> {
    fn drop(&mut self) {
        if self.spawned {
            let cancelled = || Outcome::Ended(Err(Failure::Cancelled));
            self.shared.finish(self.number, self.outcome.take().unwrap_or_else(cancelled));
        }
    }
}

type Place<T, E> = std::sync::Mutex<Option<Member<T, E>>>;

fn take<T, E>(place: &Place<T, E>) -> Option<Member<T, E>> {
    place.lock().unwrap_or_else(PoisonError::into_inner).take()
}

/// What a member's coroutine does. In this order, so that if it does not begin, what it was to run is gone
/// before it counts as ended.
struct Work<F, T, E> {
    f: F,
    member: Arc<Place<T, E>>,
}

impl<F: FnOnce() -> Result<T, E>, T, E> Work<F, T, E> {
    fn run(self, deadline: Option<time::Instant>) {
        let Work { f, member } = self;
        let Some(mut member) = take(&member) else { return };
        if member.shared.lock().over {
            drop(f);
        } else {
            member.outcome = Some(run(deadline, f));
        }
    }
}

/// Runs a member.
fn run<T, E>(deadline: Option<time::Instant>, f: impl FnOnce() -> Result<T, E>) -> Outcome<T, E> {
    let run = move || match deadline {
        Some(deadline) => time::timeout_at(deadline, f).ok(),
        None => Some(f()),
    };
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(Some(result)) => Outcome::Ended(result.map_err(Failure::Error)),
        Ok(None) => Outcome::Ended(Err(Failure::Cancelled)),
        Err(payload) if payload.is::<Cancelled>() => Outcome::Ended(Err(Failure::Cancelled)),
        Err(payload) => Outcome::Panicked(payload),
    }
}

impl<T: Send + 'static, E: Send + 'static> Group<T, E> {
    /// A group whose members are cancelled when one returns an error, panics or is cancelled.
    #[must_use]
    pub fn fail_fast() -> Group<T, E, FailFast> {
        Group::make()
    }

    /// A group whose members are cancelled when one returns a value, or panics.
    ///
    /// ```
    /// use pirn::task::Group;
    /// use std::time::Duration;
    ///
    /// let mut group = Group::first_ok();
    /// group.spawn(|| Err("not this one"));
    /// group.spawn(|| {
    ///     pirn::thread::sleep(Duration::MAX);
    ///     Ok("too slow")
    /// });
    /// group.spawn(|| Ok("found"));
    /// assert_eq!(group.join(), Ok("found"));
    /// ```
    #[must_use]
    pub fn first_ok() -> Group<T, E, FirstOk> {
        Group::make()
    }

    /// A group that goes on until all have ended, or one has panicked.
    ///
    /// ```
    /// let mut group = pirn::task::Group::collect();
    /// for word in ["1", "one"] {
    ///     group.spawn(move || word.parse::<u32>());
    /// }
    /// let results = group.join();
    /// assert!(results[0].is_ok() && results[1].is_err());
    /// ```
    #[must_use]
    pub fn collect() -> Group<T, E, Collect> {
        Group::make()
    }
}

impl<T: Send + 'static, E: Send + 'static, K: Kind<T, E>> Group<T, E, K> {
    fn make() -> Self {
        let state =
            State { running: BTreeMap::new(), outcomes: VecDeque::new(), ended: 0, over: false };
        let shared =
            Shared { ends_with: K::ends_with, state: Mutex::new(state), changed: Condvar::new() };
        Group {
            shared: Arc::new(shared),
            handles: BTreeMap::new(),
            spawned: 0,
            inherit_deadline: false,
            kind: PhantomData,
        }
    }

    /// Has the waits of members that are spawned from here on end with the
    /// [deadline](time::deadline) that their spawner is under at that time.
    #[must_use]
    pub fn inherit_deadline(mut self) -> Self {
        self.inherit_deadline = true;
        self
    }

    /// Spawns a member. In a group that has been cancelled it never begins.
    ///
    /// # Panics
    ///
    /// If no coroutine can be spawned; [`try_spawn`](Group::try_spawn) returns an error instead.
    #[track_caller]
    pub fn spawn<F>(&mut self, f: F)
    where
        F: FnOnce() -> Result<T, E> + Send + 'static,
    {
        self.try_spawn(f).expect("failed to spawn coroutine");
    }

    /// [`spawn`](Group::spawn), without the panic.
    ///
    /// # Errors
    ///
    /// If there is no stack to be had. The group is as before.
    #[track_caller]
    pub fn try_spawn<F>(&mut self, f: F) -> io::Result<()>
    where
        F: FnOnce() -> Result<T, E> + Send + 'static,
    {
        let number = self.spawned;
        let deadline = time::deadline().filter(|_| self.inherit_deadline);
        let member = Member { shared: self.shared.clone(), number, outcome: None, spawned: true };
        // A spawn that fails drops its closure, and that is no end of a member.
        let ours = Arc::new(std::sync::Mutex::new(Some(member)));
        let work = Work { f, member: ours.clone() };
        let handle = match thread::Builder::new().spawn(move || work.run(deadline)) {
            Ok(handle) => handle,
            Err(error) => {
                if let Some(mut member) = take(&ours) {
                    member.spawned = false;
                }
                return Err(error);
            }
        };
        self.spawned += 1;
        let cancel = handle.cancel_handle();
        self.handles.insert(number, handle);
        let mut state = self.shared.lock();
        if state.over {
            drop(state);
            cancel.cancel();
        } else if !cancel.is_finished() {
            // Of one that ends just now, the entry stays until its end is asked for.
            state.running.insert(number, cancel);
        }
        Ok(())
    }

    /// How many members have not ended yet.
    pub fn running(&self) -> usize {
        self.spawned - self.shared.lock().ended
    }

    /// Cancels all members, and all that will be.
    pub fn cancel(&self) {
        self.shared.cancel();
    }

    /// The next member that ends, by the number in which it was spawned, from 0; `None` when all have
    /// been returned. What is returned here, [`join`](Group::join) does not know of.
    ///
    /// # Panics
    ///
    /// With the panic of that member.
    ///
    /// # Examples
    ///
    /// ```
    /// use pirn::task::Group;
    ///
    /// let mut group = Group::collect();
    /// (0..3).for_each(|n| group.spawn(move || Ok::<_, ()>(n)));
    /// let mut sum = 0;
    /// while let Some((number, value)) = group.next() {
    ///     assert_eq!(value, Ok(number));
    ///     sum += number;
    /// }
    /// assert_eq!(sum, 3);
    /// ```
    #[expect(clippy::should_implement_trait, reason = "a group is no iterator: it may grow")]
    pub fn next(&mut self) -> Option<(usize, Result<T, Failure<E>>)> {
        let mut state = self.shared.lock();
        loop {
            if let Some((number, outcome)) = state.outcomes.pop_front() {
                // Entered late, if it ended while it was being spawned.
                state.running.remove(&number);
                drop(state);
                self.settle(number);
                match outcome {
                    Outcome::Ended(ended) => return Some((number, ended)),
                    Outcome::Panicked(payload) => resume_unwind(payload),
                }
            }
            if state.ended == self.spawned {
                return None;
            }
            state = self.shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Waits until all have ended, and says what has become of them.
    ///
    /// # Errors
    ///
    /// Of a [`fail_fast`](Group::fail_fast) group, the first failure; of a
    /// [`first_ok`](Group::first_ok) group without a success, all of them.
    ///
    /// # Panics
    ///
    /// With the panic of a member, the first one.
    pub fn join(mut self) -> K::Output {
        let mut state = self.shared.lock();
        while state.ended < self.spawned {
            state = self.shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let outcomes = std::mem::take(&mut state.outcomes);
        drop(state);
        self.settle_all();
        let mut ended = Vec::with_capacity(outcomes.len());
        for (number, outcome) in outcomes {
            match outcome {
                Outcome::Ended(one) => ended.push((number, one)),
                Outcome::Panicked(payload) => resume_unwind(payload),
            }
        }
        K::output(ended)
    }
}

impl<T, E, K> Group<T, E, K> {
    /// Waits for the rest of a member that has said how it ended.
    fn settle(&mut self, number: usize) {
        if let Some(handle) = self.handles.remove(&number) {
            let _said = crate::shield(|| handle.join());
        }
    }

    fn settle_all(&mut self) {
        while let Some((_, handle)) = self.handles.pop_first() {
            let _said = crate::shield(|| handle.join());
        }
    }
}

impl<T, E, K> Drop for Group<T, E, K> {
    fn drop(&mut self) {
        if !self.handles.is_empty() {
            self.shared.cancel();
            self.settle_all();
        }
    }
}

impl<T, E, K> fmt::Debug for Group<T, E, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Group").field("spawned", &self.spawned).finish_non_exhaustive()
    }
}
