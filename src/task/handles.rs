//! Waiting for handles.

use crate::primitive::lock;
use crate::sync::{Parker, Unparker};
use crate::thread::{JoinHandle, Result};
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

/// Joins all handles, and returns their results in the same order: gevent's `joinall`.
///
/// # Examples
///
/// ```
/// let handles = (1..=3).map(|n| pirn::spawn(move || n * n));
/// let squares: Result<Vec<_>, _> = pirn::task::join_all(handles).into_iter().collect();
/// assert_eq!(squares.unwrap(), [1, 4, 9]);
/// ```
pub fn join_all<I, T>(handles: I) -> Vec<Result<T>>
where
    I: IntoIterator<Item = JoinHandle<T>>,
{
    // All of them are spawned before the first is waited for.
    let handles: Vec<_> = handles.into_iter().collect();
    handles.into_iter().map(JoinHandle::join).collect()
}

/// Joins the handles in the order in which their coroutines end, and numbers them as they were
/// given, from 0: gevent's `iwait`, Python's `as_completed`.
///
/// Handles that are left when the iterator is dropped are dropped, and their coroutines go on.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
///
/// let gate = Arc::new(pirn::sync::Event::new());
/// let theirs = gate.clone();
/// let handles = [pirn::spawn(move || theirs.wait()), pirn::spawn(|| ())];
/// let mut order = Vec::new();
/// for (number, _) in pirn::task::as_completed(handles) {
///     order.push(number);
///     gate.set(); // lets the first go
/// }
/// assert_eq!(order, [1, 0]);
/// ```
pub fn as_completed<I, T>(handles: I) -> AsCompleted<T>
where
    I: IntoIterator<Item = JoinHandle<T>>,
{
    let mut completed = AsCompleted::new();
    // All of them are spawned before the first is looked at.
    let handles: Vec<_> = handles.into_iter().collect();
    handles.into_iter().enumerate().for_each(|(number, handle)| completed.add(number, handle));
    completed
}

/// The results of coroutines in the order in which they end; of [`as_completed`].
pub struct AsCompleted<T> {
    waiting: BTreeMap<usize, JoinHandle<T>>,
    /// Had ended when they were first looked at.
    early: VecDeque<(usize, Result<T>)>,
    ended: Arc<Ended>,
    parker: Parker,
}

/// Which of those that were waited for have ended since.
struct Ended {
    queue: Mutex<VecDeque<usize>>,
    unparker: Unparker,
}

/// Tells of one of them.
struct Tell {
    number: usize,
    ended: Arc<Ended>,
}

impl Wake for Tell {
    fn wake(self: Arc<Self>) {
        lock(&self.ended.queue).push_back(self.number);
        self.ended.unparker.unpark();
    }
}

impl<T> AsCompleted<T> {
    pub(super) fn new() -> AsCompleted<T> {
        let parker = Parker::new();
        let ended = Ended { queue: Mutex::default(), unparker: parker.unparker().clone() };
        AsCompleted {
            waiting: BTreeMap::new(),
            early: VecDeque::new(),
            ended: Arc::new(ended),
            parker,
        }
    }

    /// Takes another handle in.
    pub(super) fn add(&mut self, number: usize, mut handle: JoinHandle<T>) {
        let waker = Waker::from(Arc::new(Tell { number, ended: self.ended.clone() }));
        match Pin::new(&mut handle).poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(result) => self.early.push_back((number, result)),
            Poll::Pending => drop(self.waiting.insert(number, handle)),
        }
    }

    /// How many have not been returned yet.
    pub(super) fn len(&self) -> usize {
        self.early.len() + self.waiting.len()
    }

    /// Gives up what has not been returned.
    pub(super) fn take_waiting(&mut self) -> impl Iterator<Item = JoinHandle<T>> + use<T> {
        std::mem::take(&mut self.waiting).into_values()
    }
}

impl<T> Iterator for AsCompleted<T> {
    type Item = (usize, Result<T>);

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(early) = self.early.pop_front() {
            return Some(early);
        }
        loop {
            let ended = lock(&self.ended.queue).pop_front();
            match ended {
                Some(number) => {
                    // Those that were given up are told of as well.
                    if let Some(handle) = self.waiting.remove(&number) {
                        // It has ended, so this does not wait.
                        return Some((number, handle.join()));
                    }
                }
                None if self.waiting.is_empty() => return None,
                None => self.parker.park(),
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.len(), Some(self.len()))
    }
}

impl<T> ExactSizeIterator for AsCompleted<T> {}

impl<T> fmt::Debug for AsCompleted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsCompleted").field("left", &self.len()).finish_non_exhaustive()
    }
}
