//! Selecting among operations that are known at run time, and what the macros stand on.

#![expect(unsafe_code, reason = "what a select points to is not said to be sendable")]

use super::error::{
    ReadyTimeoutError, RecvError, SelectTimeoutError, SendError, TryReadyError, TrySelectError,
};
use super::host::Parking;
use super::{Receiver, Sender};
use crate::coroutine::unwind_cancelled;
use crate::park::{self, WaitReason};
use crate::protocol::channel::select::{self, Entry, shuffle};
use crate::protocol::channel::{Case, Limit, Token};
use crate::sched;
use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::ptr;
use std::time::{Duration, Instant};

const EMPTY: &str = "no operations have been added to `Select`";

/// One operation of a select.
#[derive(Clone, Copy)]
pub struct Handle<'a> {
    case: &'a (dyn Case<Parking> + 'a),
    /// The number by which the user knows it.
    index: usize,
    /// Of the sender or receiver with which it has to be completed.
    address: *const (),
}

impl Entry<Parking> for Handle<'_> {
    fn case(&self) -> &dyn Case<Parking> {
        self.case
    }
}

impl fmt::Debug for Handle<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("Handle { .. }")
    }
}

impl<'a> Handle<'a> {
    /// The operation of sending there.
    #[inline]
    pub fn send<T>(sender: &'a Sender<T>, index: usize) -> Self {
        Handle { case: &sender.0, index, address: ptr::from_ref(sender).cast() }
    }

    /// The operation of receiving there.
    #[inline]
    pub fn recv<T>(receiver: &'a Receiver<T>, index: usize) -> Self {
        Handle { case: receiver.case(), index, address: ptr::from_ref(receiver).cast() }
    }
}

/// Chooses an operation, or none before the limit.
#[inline]
fn choose<'a>(
    handles: &mut [Handle<'a>],
    limit: Limit,
    biased: bool,
) -> Option<SelectedOperation<'a>> {
    if !biased {
        shuffle(handles);
    }
    let host = Parking(WaitReason::Select(handles.len()));
    let Ok(found) = select::choose(&host, handles, limit) else { unwind_cancelled() };
    count(limit, matches!(found, None | Some((_, Token::Disconnected))));
    found.map(|(place, token)| SelectedOperation { token: Some(token), handle: handles[place] })
}

fn ready(handles: &mut [Handle<'_>], limit: Limit, biased: bool) -> Option<usize> {
    if !biased {
        shuffle(handles);
    }
    let host = Parking(WaitReason::Select(handles.len()));
    let Ok(found) = select::ready(&host, handles, limit) else { unwind_cancelled() };
    count(limit, found.is_none());
    found.map(|place| handles[place].index)
}

/// Counts a look at the operations for the sake of others on this thread.
#[inline]
fn count(limit: Limit, in_vain: bool) {
    match (limit, in_vain) {
        (Limit::Now, true) => sched::tried_in_vain(),
        (Limit::Now, false) => {}
        (Limit::Never | Limit::At(_), _) => sched::cooperate(),
    }
}

/// The limit that is `timeout` from now.
fn limit_after(timeout: Duration) -> Limit {
    park::deadline_after(timeout).map_or(Limit::Never, Limit::At)
}

fn is_endless(handles: &[Handle<'_>], limit: Limit) -> bool {
    handles.is_empty() && limit == Limit::Never
}

/// For `select!` without `default`.
#[track_caller]
#[inline]
pub fn select_one<'a>(handles: &mut [Handle<'a>], biased: bool) -> SelectedOperation<'a> {
    assert!(!handles.is_empty(), "{EMPTY}");
    choose(handles, Limit::Never, biased).expect("a select without a limit ends with a choice")
}

/// For `select!` with `default`.
#[inline]
pub fn select_now<'a>(handles: &mut [Handle<'a>], biased: bool) -> Option<SelectedOperation<'a>> {
    choose(handles, Limit::Now, biased)
}

/// For `select!` with `default(timeout)`.
#[track_caller]
#[inline]
pub fn select_within<'a>(
    handles: &mut [Handle<'a>],
    timeout: Duration,
    biased: bool,
) -> Option<SelectedOperation<'a>> {
    let limit = limit_after(timeout);
    assert!(!is_endless(handles, limit), "{EMPTY}");
    choose(handles, limit, biased)
}

/// Waits for one of several operations, as many as are known at run time.
///
/// [`select!`](super::select!) is the macro for a fixed number of them.
///
/// An operation is *ready* when it need not wait, which is also so when it fails at once because
/// the channel is disconnected. If several are, one of them is chosen at random, or the one that
/// was added first if the select is biased.
///
/// There are two ways to use it:
///
/// - [`select`](Select::select) chooses an operation, which then has to be completed:
///   [`SelectedOperation`].
/// - [`ready`](Select::ready) says which one is ready, and leaves the rest to the caller, who may
///   find that somebody else was faster.
///
/// # Examples
///
/// ```
/// use pirn::channel::{Select, unbounded};
///
/// let (s1, r1) = unbounded();
/// let (s2, r2) = unbounded();
/// s1.send(10).unwrap();
/// s2.send(20).unwrap();
///
/// let mut select = Select::new();
/// let first = select.recv(&r1);
/// let second = select.recv(&r2);
/// let chosen = select.select();
/// match chosen.index() {
///     i if i == first => assert_eq!(chosen.recv(&r1), Ok(10)),
///     i if i == second => assert_eq!(chosen.recv(&r2), Ok(20)),
///     _ => unreachable!(),
/// }
/// ```
pub struct Select<'a> {
    handles: Vec<Handle<'a>>,
    next_index: usize,
    biased: bool,
}

// SAFETY: nothing of a message type is reached through a select but by the handles that are given
// to `SelectedOperation`. A message that another thread delivers to a select that does not complete
// it goes back to its channel, and is not dropped by the select.
unsafe impl Send for Select<'_> {}
// SAFETY: as above; by reference there is nothing but a copy to be had.
unsafe impl Sync for Select<'_> {}

impl<'a> Select<'a> {
    /// A select without operations, which chooses among the ready ones at random.
    pub fn new() -> Select<'a> {
        Select { handles: Vec::with_capacity(4), next_index: 0, biased: false }
    }

    /// A select without operations, which chooses the first of the ready ones.
    ///
    /// ```
    /// use pirn::channel::{Select, unbounded};
    ///
    /// let (s, r) = unbounded();
    /// s.send(1).unwrap();
    /// let mut select = Select::new_biased();
    /// select.recv(&r);
    /// select.send(&s);
    /// assert_eq!(select.ready(), 0);
    /// ```
    pub fn new_biased() -> Self {
        Select { biased: true, ..Select::new() }
    }

    /// Adds a send, and returns its number: operations are numbered in the order of addition.
    pub fn send<T>(&mut self, s: &'a Sender<T>) -> usize {
        self.add(|index| Handle::send(s, index))
    }

    /// Adds a receive, and returns its number.
    pub fn recv<T>(&mut self, r: &'a Receiver<T>) -> usize {
        self.add(|index| Handle::recv(r, index))
    }

    fn add(&mut self, handle: impl FnOnce(usize) -> Handle<'a>) -> usize {
        let index = self.next_index;
        self.handles.push(handle(index));
        self.next_index += 1;
        index
    }

    /// Removes an operation, for instance one whose channel is disconnected.
    ///
    /// # Panics
    ///
    /// If there is no operation of this number, or no more.
    #[track_caller]
    pub fn remove(&mut self, index: usize) {
        assert!(index < self.next_index, "index out of bounds; {index} >= {}", self.next_index,);
        let place = self.handles.iter().position(|handle| handle.index == index);
        let place = place.expect("no operation with this index");
        match self.biased {
            true => drop(self.handles.remove(place)),
            false => drop(self.handles.swap_remove(place)),
        }
    }

    /// Chooses an operation that is ready.
    ///
    /// # Errors
    ///
    /// If none is.
    ///
    /// # Panics
    ///
    /// The operation that is returned panics if it is dropped without having been completed.
    pub fn try_select(&mut self) -> Result<SelectedOperation<'a>, TrySelectError> {
        choose(&mut self.handles, Limit::Now, self.biased).ok_or(TrySelectError)
    }

    /// Waits until an operation is ready, and chooses it.
    ///
    /// # Panics
    ///
    /// If there are no operations. The one that is returned panics if it is dropped without having
    /// been completed.
    #[track_caller]
    pub fn select(&mut self) -> SelectedOperation<'a> {
        select_one(&mut self.handles, self.biased)
    }

    /// As [`Select::select`], for no longer than `timeout`.
    ///
    /// # Errors
    ///
    /// If the time is over.
    ///
    /// # Panics
    ///
    /// If there are no operations and `timeout` reaches beyond what the clock can show. The
    /// operation that is returned panics if it is dropped without having been completed.
    #[track_caller]
    pub fn select_timeout(
        &mut self,
        timeout: Duration,
    ) -> Result<SelectedOperation<'a>, SelectTimeoutError> {
        select_within(&mut self.handles, timeout, self.biased).ok_or(SelectTimeoutError)
    }

    /// As [`Select::select`], until `deadline` and no longer.
    ///
    /// # Errors
    ///
    /// If the time is over.
    ///
    /// # Panics
    ///
    /// The operation that is returned panics if it is dropped without having been completed.
    pub fn select_deadline(
        &mut self,
        deadline: Instant,
    ) -> Result<SelectedOperation<'a>, SelectTimeoutError> {
        choose(&mut self.handles, Limit::At(deadline), self.biased).ok_or(SelectTimeoutError)
    }

    /// The number of an operation that is ready.
    ///
    /// # Errors
    ///
    /// If none is.
    pub fn try_ready(&mut self) -> Result<usize, TryReadyError> {
        ready(&mut self.handles, Limit::Now, self.biased).ok_or(TryReadyError)
    }

    /// Waits until an operation is ready, and returns its number.
    ///
    /// By the time it is tried, another coroutine may have been faster.
    ///
    /// # Panics
    ///
    /// If there are no operations.
    ///
    /// # Examples
    ///
    /// ```
    /// use pirn::channel::{Select, unbounded};
    ///
    /// let (s, r) = unbounded();
    /// pirn::spawn(move || s.send(1).unwrap());
    /// let mut select = Select::new();
    /// select.recv(&r);
    /// let message = loop {
    ///     assert_eq!(select.ready(), 0);
    ///     if let Ok(message) = r.try_recv() {
    ///         break message;
    ///     }
    /// };
    /// assert_eq!(message, 1);
    /// ```
    #[track_caller]
    pub fn ready(&mut self) -> usize {
        assert!(!self.handles.is_empty(), "{EMPTY}");
        ready(&mut self.handles, Limit::Never, self.biased).expect("it has no limit")
    }

    /// As [`Select::ready`], for no longer than `timeout`.
    ///
    /// # Errors
    ///
    /// If the time is over.
    ///
    /// # Panics
    ///
    /// If there are no operations and `timeout` reaches beyond what the clock can show.
    #[track_caller]
    pub fn ready_timeout(&mut self, timeout: Duration) -> Result<usize, ReadyTimeoutError> {
        let limit = limit_after(timeout);
        assert!(!is_endless(&self.handles, limit), "{EMPTY}");
        ready(&mut self.handles, limit, self.biased).ok_or(ReadyTimeoutError)
    }

    /// As [`Select::ready`], until `deadline` and no longer.
    ///
    /// # Errors
    ///
    /// If the time is over.
    pub fn ready_deadline(&mut self, deadline: Instant) -> Result<usize, ReadyTimeoutError> {
        ready(&mut self.handles, Limit::At(deadline), self.biased).ok_or(ReadyTimeoutError)
    }
}

impl Clone for Select<'_> {
    fn clone(&self) -> Self {
        Select { handles: self.handles.clone(), ..*self }
    }
}

impl Default for Select<'_> {
    fn default() -> Self {
        Select::new()
    }
}

impl fmt::Debug for Select<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("Select { .. }")
    }
}

/// An operation that a select has chosen, and that has to be completed.
///
/// Whom the operation meets waits until then. If it is dropped without having been completed, it
/// gives back what it holds, and panics unless a panic or a cancellation is the reason.
#[must_use]
pub struct SelectedOperation<'a> {
    token: Option<Token<Parking>>,
    handle: Handle<'a>,
}

impl SelectedOperation<'_> {
    /// The number that the operation was given when it was added.
    #[inline]
    pub fn index(&self) -> usize {
        self.handle.index
    }

    #[inline]
    fn take<T>(&mut self, handle: &T, complaint: &str) -> Token<Parking> {
        assert!(ptr::eq(ptr::from_ref(handle).cast(), self.handle.address), "{complaint}");
        self.token.take().expect("it is taken by value, once")
    }

    /// Completes a send.
    ///
    /// # Errors
    ///
    /// If all receivers have gone. The message comes back.
    ///
    /// # Panics
    ///
    /// If the chosen operation is not one of this very sender.
    #[inline]
    pub fn send<T>(mut self, s: &Sender<T>, msg: T) -> Result<(), SendError<T>> {
        let token = self.take(s, "passed a sender that wasn't selected");
        s.0.complete(token, msg).map_err(SendError)
    }

    /// Completes a receive.
    ///
    /// # Errors
    ///
    /// If there is no message and all senders have gone.
    ///
    /// # Panics
    ///
    /// If the chosen operation is not one of this very receiver.
    #[inline]
    pub fn recv<T>(mut self, r: &Receiver<T>) -> Result<T, RecvError> {
        let token = self.take(r, "passed a receiver that wasn't selected");
        r.complete(token)
    }
}

// As crossbeam's: what it holds, it gives back whatever happens.
impl UnwindSafe for SelectedOperation<'_> {}
impl RefUnwindSafe for SelectedOperation<'_> {}

impl fmt::Debug for SelectedOperation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("SelectedOperation { .. }")
    }
}

impl Drop for SelectedOperation<'_> {
    #[inline]
    fn drop(&mut self) {
        if let Some(token) = self.token.take() {
            self.give_up(token);
        }
    }
}

impl SelectedOperation<'_> {
    #[cold]
    #[inline(never)]
    fn give_up(&self, token: Token<Parking>) {
        self.handle.case.abandon(token);
        if !std::thread::panicking() {
            panic!("dropped `SelectedOperation` without completing the operation");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    /// How often each order of so many operations comes, with as many draws as leave 200 for each.
    fn orders(count: usize) -> HashMap<Vec<usize>, u32> {
        let channels = vec![crate::channel::never::<()>(); count];
        let all: usize = (1..=count).product();
        let mut seen = HashMap::new();
        for _ in 0..200 * all {
            let mut handles: Vec<_> =
                channels.iter().enumerate().map(|(index, one)| Handle::recv(one, index)).collect();
            shuffle(&mut handles);
            *seen.entry(handles.iter().map(|handle| handle.index).collect()).or_default() += 1;
        }
        assert_eq!(seen.len(), all, "each order comes");
        seen
    }

    #[test]
    fn orders_are_equally_likely() {
        // With six, numbers are drawn from two fractions. The deviation of a count is 14.
        for seen in [3, 4, 6].map(orders) {
            let (least, most) = (seen.values().min().copied(), seen.values().max().copied());
            assert!(least > Some(100) && most < Some(300), "{least:?} to {most:?} of 200");
        }
    }
}
