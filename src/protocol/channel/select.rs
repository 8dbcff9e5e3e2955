//! One of many operations: the first one that can be done.
//!
//! A select tries its cases in turn. If none can be done, it joins the queues of all of them in one
//! wait. The wait is claimed once, so one case is chosen, and the claimant says which. A case that
//! could be done by the time it is registered takes the wait back, and all are tried again.
//!
//! A select that must not wait has to look at all cases at one moment: a message may come to the first
//! channel after it was looked at, before another one leaves the second, and who looks at one after
//! the other finds nothing although there was something all the time. So if it has found nothing, it
//! looks once more with all channels locked, in the order of their addresses, as Go does.
//!
//! What is chosen is held in a [`Token`] until it is completed, since the user makes the message
//! and names its type only then: a promise that the buffer keeps, or the claim on the other side,
//! which stays suspended. A token that is given up hands back what it holds.

#![expect(unsafe_code, reason = "queues nodes that live in waiting frames")]

use super::state::{Queue, State};
use super::{Channel, Ended, Host, Offer, Patience, Side, Waiter, WaiterNode};
use crate::primitive::sync::atomic::{AtomicUsize, Ordering};
use crate::util::wait_list::{Node, WaitList};
use std::cell::Cell;
use std::ptr::{self, NonNull};
use std::time::Instant;

/// Cases whose registrations fit into the waiting frame.
const INLINE: usize = 4;

/// So many cases are looked at with all of their channels locked. For more, each of whom takes a
/// frame of the caller's stack, a second look has to do.
const MOST_LOCKED: usize = 16;

/// How long a select may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Limit {
    Now,
    Never,
    At(Instant),
}

/// Which case was chosen while the select waited.
#[derive(Debug)]
pub(crate) struct Chosen(AtomicUsize);

impl Chosen {
    const NONE: usize = usize::MAX;

    fn new() -> Self {
        Chosen(AtomicUsize::new(Chosen::NONE))
    }

    /// Written by the one who has claimed the wait, before the claim goes.
    pub(super) fn set(&self, case: usize) {
        self.0.store(case, Ordering::Relaxed);
    }

    fn get(&self) -> Option<usize> {
        Some(self.0.load(Ordering::Relaxed)).filter(|&case| case != Chosen::NONE)
    }
}

/// Where a receiver leaves the address to which a select that sends is to bring its message.
/// Written by the one who has claimed the select's wait, or holds that claim.
#[derive(Debug)]
pub(crate) struct Promise(Cell<Option<NonNull<()>>>);

impl Promise {
    pub(super) fn set(&self, delivery: NonNull<()>) {
        self.0.set(Some(delivery));
    }

    pub(super) fn take(&self) -> Option<NonNull<()>> {
        self.0.take()
    }
}

/// What one case has in queues while its select waits.
pub(crate) struct Registration<H: Host> {
    pub(super) node: Option<WaiterNode<H>>,
    pub(super) slot: Option<NonNull<()>>,
    pub(super) promise: Promise,
}

impl<H: Host> Registration<H> {
    fn new() -> Self {
        Registration { node: None, slot: None, promise: Promise(Cell::new(None)) }
    }
}

/// The wait of a select, as its cases put it into queues.
pub(crate) struct Queued<H: Host> {
    ticket: H::Ticket,
    chosen: NonNull<Chosen>,
    case: usize,
}

impl<H: Host> Queued<H> {
    fn waiter(self, offer: Offer) -> Waiter<H> {
        Waiter { ticket: self.ticket, select: Some((self.chosen, self.case)), offer }
    }
}

/// What a select has chosen, to be completed or abandoned.
pub(crate) enum Token<H: Host> {
    /// It fails at once: the other side has gone.
    Disconnected,
    /// A message or room in the buffer is kept.
    Promised,
    /// The other side is claimed, and suspended until this goes.
    Met(H::Claimed, Offer),
    /// The message is in the slot that the case had made.
    Delivered(NonNull<()>),
    /// A receiver waits there for the message.
    Owed(NonNull<()>),
    /// The message of a channel that delivers instants.
    Instant(Instant),
}

/// One operation of a select.
pub(crate) trait Case<H: Host> {
    /// Chooses the operation if it need not wait, but for another select to make its message.
    fn try_choose(&self, host: &H) -> Option<Token<H>>;

    /// When it will be worth trying again, if time alone can make it so.
    fn deadline(&self) -> Option<Instant> {
        None
    }

    /// Makes what registering needs, in the caller's own time.
    fn prepare(&self, _registration: &mut Registration<H>) {}

    /// Joins the queue. `false`: the operation need not wait.
    ///
    /// # Safety
    ///
    /// The registration stays where it is until [`Case::unregister`].
    unsafe fn register(&self, registration: &mut Registration<H>, queued: Queued<H>) -> bool;

    /// Leaves the queue, if it was joined.
    fn unregister(&self, _registration: &mut Registration<H>) {}

    /// Chooses the operation for which the select was woken, if nobody else was faster.
    fn accept(&self, host: &H, _registration: &mut Registration<H>) -> Option<Token<H>> {
        self.try_choose(host)
    }

    /// Frees what `prepare` made and `accept` did not use.
    fn release(&self, _registration: &mut Registration<H>) {}

    /// Whether the operation need not wait.
    fn is_ready(&self) -> bool;

    /// What names the channel that [`Case::must_wait_while`] locks; 0 if it locks none.
    fn channel(&self) -> usize {
        0
    }

    /// Whether it sends.
    fn sends(&self) -> bool {
        false
    }

    /// Whether the operation has to wait, and at the same moment so says `then`, which is called with
    /// the channel locked. With `both_sides`, whether neither a send nor a receive is possible there.
    fn must_wait_while(&self, _both_sides: bool, then: &mut dyn FnMut() -> bool) -> bool {
        !self.is_ready() && then()
    }

    /// As [`Case::register`], to be told without taking part.
    ///
    /// # Safety
    ///
    /// The registration stays where it is until [`Case::unwatch`].
    unsafe fn watch(&self, registration: &mut Registration<H>, queued: Queued<H>) -> bool;

    /// Leaves the queue, if it was joined.
    fn unwatch(&self, _registration: &mut Registration<H>) {}

    /// Gives back what was chosen.
    fn abandon(&self, _token: Token<H>) {}
}

impl<T, H: Host> Channel<T, H> {
    /// # Safety
    ///
    /// As [`Case::register`].
    pub(super) unsafe fn register(
        &self,
        side: Side,
        registration: &mut Registration<H>,
        queued: Queued<H>,
        offer: Offer,
    ) -> bool {
        let mut state = self.lock();
        if state.is_ready_for(side, queued.chosen) {
            return false;
        }
        let waiter = queued.waiter(offer);
        // SAFETY: the caller's promise.
        unsafe { join(&mut state.queue(side).list, &mut registration.node, waiter) };
        match self.rendezvous {
            true => self.unlock_for_watchers(state, side),
            false => drop(state),
        }
        true
    }

    /// # Safety
    ///
    /// As [`Case::watch`].
    pub(super) unsafe fn watch(
        &self,
        side: Side,
        registration: &mut Registration<H>,
        queued: Queued<H>,
    ) -> bool {
        let mut state = self.lock();
        if state.is_ready(side) {
            return false;
        }
        let waiter = queued.waiter(Offer::None);
        // SAFETY: the caller's promise.
        unsafe { join(&mut state.watchers(side).list, &mut registration.node, waiter) };
        true
    }

    /// See [`Case::must_wait_while`].
    pub(super) fn must_wait_while(
        &self,
        side: Side,
        both_sides: bool,
        then: &mut dyn FnMut() -> bool,
    ) -> bool {
        let state = self.lock();
        let ready = match both_sides {
            true => state.is_ready(Side::Senders) || state.is_ready(Side::Receivers),
            false => state.is_ready(side),
        };
        !ready && then()
    }

    /// The address that orders the locks of channels.
    pub(super) fn address(&self) -> usize {
        ptr::from_ref(self).addr()
    }

    pub(super) fn unwatch(&self, side: Side, registration: &mut Registration<H>) {
        if let Some(node) = &mut registration.node {
            // SAFETY: the node is alive, and if it is in a queue, it is in this one.
            unsafe { self.lock().watchers(side).list.remove(NonNull::from(node)) };
        }
    }
}

impl<T, H: Host> State<T, H> {
    /// Whether an operation of `side` would not wait, with others than the asking select.
    fn is_ready_for(&self, side: Side, select: NonNull<Chosen>) -> bool {
        let others = |queue: &Queue<H>| {
            let is_other =
                |waiter: &Waiter<H>| waiter.select.is_none_or(|(chosen, _)| chosen != select);
            queue.list.any(usize::MAX, is_other)
        };
        match side {
            Side::Senders if self.receivers_gone => true,
            Side::Receivers if self.senders_gone => true,
            Side::Senders if self.buffer.is_rendezvous() => others(&self.receivers),
            Side::Receivers if self.buffer.is_rendezvous() => {
                self.has_message() || others(&self.senders)
            }
            _ => self.is_ready(side),
        }
    }
}

/// # Safety
///
/// The node stays where it is until it has left the list.
unsafe fn join<H: Host>(
    list: &mut WaitList<Waiter<H>>,
    node: &mut Option<WaiterNode<H>>,
    waiter: Waiter<H>,
) {
    let node = NonNull::from(node.insert(Node::new(waiter)));
    // SAFETY: the caller's promise.
    unsafe { list.push_back(node) };
}

/// What a select is made of.
pub(crate) trait Entry<H: Host> {
    fn case(&self) -> &dyn Case<H>;
}

/// A random order, each as likely as any other (Fisher and Yates).
pub(crate) fn shuffle<H: Host>(handles: &mut [impl Entry<H>]) {
    // A fraction of 1. Times a number, it is a number below that one, and again a fraction; bits for four are
    // in it.
    let mut fraction = 0;
    for (drawn, last) in (1..handles.len()).rev().enumerate() {
        if drawn.is_multiple_of(4) {
            fraction = H::random();
        }
        let product = u128::from(fraction) * (last as u128 + 1);
        fraction = product as u64;
        handles.swap(last, (product >> 64) as usize);
    }
}

/// The wait was cancelled.
#[derive(Debug)]
pub(crate) struct Stopped;

/// Chooses one of the cases, and says at which place it stands; `None` if the limit came first.
pub(crate) fn choose<H: Host>(
    host: &H,
    handles: &[impl Entry<H>],
    limit: Limit,
) -> Result<Option<(usize, Token<H>)>, Stopped> {
    loop {
        if let Some(found) = try_all(host, handles) {
            return Ok(Some(found));
        }
        let limit_at = match limit {
            Limit::Now if all_must_wait(handles) => return Ok(None),
            Limit::Now => continue,
            Limit::Never => None,
            Limit::At(when) => Some(when),
        };
        let (ended, found) = with_registrations(handles.len(), |registrations| {
            wait_for_one(host, handles, registrations, limit_at)
        });
        match (found, ended) {
            (Some(found), _) => return Ok(Some(found)),
            (None, Ended::Cancelled) => return Err(Stopped),
            (None, Ended::TimedOut) if limit_at.is_some_and(|when| Instant::now() >= when) => {
                return Ok(try_all(host, handles));
            }
            (None, _) => {}
        }
    }
}

fn try_all<H: Host>(host: &H, handles: &[impl Entry<H>]) -> Option<(usize, Token<H>)> {
    handles
        .iter()
        .enumerate()
        .find_map(|(place, handle)| Some((place, handle.case().try_choose(host)?)))
}

/// Whether there is a moment at which none of the cases can be done, each of which could not be when
/// it was tried.
fn all_must_wait<H: Host>(handles: &[impl Entry<H>]) -> bool {
    let [first, _, ..] = handles else { return true };
    if handles.len() > MOST_LOCKED {
        return !handles.iter().any(|handle| handle.case().is_ready());
    }
    let mut cases = [first.case(); MOST_LOCKED];
    let cases = &mut cases[..handles.len()];
    for (case, handle) in cases.iter_mut().zip(handles) {
        *case = handle.case();
    }
    cases.sort_unstable_by_key(|case| case.channel());
    must_all_wait(cases)
}

/// Locks one channel after the other; `cases` are in the order of their channels.
fn must_all_wait<H: Host>(cases: &[&dyn Case<H>]) -> bool {
    let Some((first, rest)) = cases.split_first() else { return true };
    let channel = first.channel();
    let same = match channel {
        0 => 0,
        _ => rest.iter().take_while(|case| case.channel() == channel).count(),
    };
    let (same, others) = rest.split_at(same);
    let both_sides = same.iter().any(|case| case.sends() != first.sends());
    first.must_wait_while(both_sides, &mut || must_all_wait(others))
}

fn with_registrations<H: Host, R>(count: usize, f: impl FnOnce(&mut [Registration<H>]) -> R) -> R {
    if count <= INLINE {
        let mut registrations: [_; INLINE] = std::array::from_fn(|_| Registration::new());
        f(&mut registrations[..count])
    } else {
        let mut registrations: Vec<_> = (0..count).map(|_| Registration::new()).collect();
        f(&mut registrations)
    }
}

fn earliest<H: Host>(handles: &[impl Entry<H>], limit: Option<Instant>) -> Option<Instant> {
    handles.iter().filter_map(|handle| handle.case().deadline()).chain(limit).min()
}

fn wait_for_one<H: Host>(
    host: &H,
    handles: &[impl Entry<H>],
    registrations: &mut [Registration<H>],
    limit: Option<Instant>,
) -> (Ended, Option<(usize, Token<H>)>) {
    let cases = || handles.iter().map(Entry::case);
    for (case, registration) in cases().zip(&mut *registrations) {
        case.prepare(registration);
    }
    let chosen = Chosen::new();
    let ended = host.park(earliest(handles, limit), Patience::Cancellable, |ticket| {
        cases().zip(&mut *registrations).enumerate().all(|(case_number, (case, registration))| {
            let queued = Queued { ticket, chosen: NonNull::from(&chosen), case: case_number };
            // SAFETY: the registrations stay in the caller's frame or allocation, and leave all
            // queues below.
            unsafe { case.register(registration, queued) }
        })
    });
    for (case, registration) in cases().zip(&mut *registrations) {
        case.unregister(registration);
    }
    let found = chosen.get().and_then(|place| {
        Some((place, handles[place].case().accept(host, &mut registrations[place])?))
    });
    for (case, registration) in cases().zip(registrations) {
        case.release(registration);
    }
    (ended, found)
}

/// Waits until one of the cases can be done, and says at which place it stands.
pub(crate) fn ready<H: Host>(
    host: &H,
    handles: &[impl Entry<H>],
    limit: Limit,
) -> Result<Option<usize>, Stopped> {
    loop {
        if let Some(place) = handles.iter().position(|handle| handle.case().is_ready()) {
            return Ok(Some(place));
        }
        let limit_at = match limit {
            Limit::Now if all_must_wait(handles) => return Ok(None),
            Limit::Now => continue,
            Limit::Never => None,
            Limit::At(when) if Instant::now() >= when => return Ok(None),
            Limit::At(when) => Some(when),
        };
        let ended = with_registrations(handles.len(), |registrations| {
            let cases = || handles.iter().map(Entry::case);
            let chosen = Chosen::new();
            let ended = host.park(earliest(handles, limit_at), Patience::Cancellable, |ticket| {
                let cases = cases().zip(&mut *registrations).enumerate();
                cases.into_iter().all(|(case_number, (case, registration))| {
                    let chosen = NonNull::from(&chosen);
                    // SAFETY: as in `wait_for_one`.
                    unsafe {
                        case.watch(registration, Queued { ticket, chosen, case: case_number })
                    }
                })
            });
            for (case, registration) in cases().zip(registrations) {
                case.unwatch(registration);
            }
            ended
        });
        if ended == Ended::Cancelled {
            return Err(Stopped);
        }
    }
}
