//! Channels: buffers, meetings and selection, over anything that can wait.
//!
//! One lock guards all of a channel ([`State`]): its buffer, who waits, and which side is gone. An
//! operation that has to wait keeps the lock until its node is in the queue, which is after the
//! switch; so "nothing there" and "waits" are one step, and nobody can come in between. `docs/
//! channel.md` explains the protocol; [`Host`] is what it needs of the runtime, so that the models
//! run all of it over plain threads.
//!
//! | file | what |
//! |---|---|
//! | [`buffer`] | messages that stand between a send and a receive |
//! | [`state`] | what the lock guards; whom to wake |
//! | [`exchange`] | send and receive: their waits |
//! | [`buffered`] | their steps with a buffer |
//! | [`meeting`] | and without one |
//! | [`halves`] | the counted handles, and the two cases of a select that they are |
//! | [`polled`] | send and receive of futures |
//! | [`select`] | one of many |

#![expect(unsafe_code, reason = "waits are named by pointers into suspended frames")]

mod buffer;
mod buffered;
mod exchange;
mod halves;
mod meeting;
#[cfg(all(test, loom))]
mod models;
mod polled;
#[cfg(all(test, loom))]
mod polled_models;
pub(crate) mod select;
mod state;

pub(crate) use halves::{ReceiverHalf, SenderHalf, new_bounded, new_unbounded};
pub(crate) use polled::Polled;
pub(crate) use select::{Case, Chosen, Limit, Token};

use crate::primitive::sync::atomic::AtomicUsize;
use crate::util::wait_list::Node;
use crossbeam_utils::CachePadded;
use state::{Lock, State};
use std::ptr::NonNull;
use std::time::Instant;

/// What channels need of those who wait.
pub(crate) trait Host {
    /// Names one wait.
    type Ticket: Copy + Send;
    /// The duty to resume one whose wait was claimed; dropping it does so.
    type Claimed;

    /// Ends a wait, unless something else has.
    ///
    /// # Safety
    ///
    /// The wait has not returned, or cannot return before the caller lets it.
    unsafe fn claim(ticket: Self::Ticket) -> Option<Self::Claimed>;

    /// Where one that waits would run.
    ///
    /// # Safety
    ///
    /// As [`Host::claim`].
    unsafe fn place(ticket: Self::Ticket) -> Place;

    /// Whether it is worth looking for one whose core is idle.
    fn somebody_idles() -> bool;

    /// Waits until the ticket that `publish` is given is claimed, or until the deadline, or not at
    /// all if `publish` returns `false` and nobody was faster. It may also return without having
    /// called `publish`. `publish` is dropped when this returns.
    fn park(
        &self,
        deadline: Option<Instant>,
        patience: Patience,
        publish: impl FnOnce(Self::Ticket) -> bool,
    ) -> Ended;

    /// 64 random bits.
    fn random() -> u64;
}

/// Where one that waits would run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// On a core that has nothing to do; it is picked by this.
    Idle,
    /// Where the caller runs.
    Here,
    /// Somewhere else, which is busy.
    Busy,
}

/// Whether a cancellation may end a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Patience {
    /// It may.
    Cancellable,
    /// Somebody has the address of what waits, and will come.
    Patient,
}

/// How a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// It was claimed, or did not begin.
    Woken,
    TimedOut,
    /// The caller is to clean up and give up.
    Cancelled,
    /// The caller is to clean up and wait again.
    Interrupted,
}

/// Why nothing was sent; the message comes back.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum SendStop<T> {
    /// There is no room, or nobody to meet, before the deadline.
    Timeout(T),
    Disconnected(T),
    Cancelled(T),
}

/// Why nothing was received.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ReceiveStop {
    Timeout,
    Disconnected,
    Cancelled,
}

/// One side of a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Senders,
    Receivers,
}

/// What a waiter has to exchange, in a meeting without a buffer.
pub(crate) enum Offer {
    /// Nothing: it waits for a buffer, or only watches.
    None,
    /// An `Option` of a message, full or to be filled.
    Slot(NonNull<()>),
    /// The `Option` of a sender that is polled, full: to be taken with the lock held.
    Polled(NonNull<()>),
    /// A message that a select has yet to make.
    Promise(NonNull<select::Promise>),
}

impl Clone for Offer {
    fn clone(&self) -> Self {
        *self
    }
}

impl Copy for Offer {}

/// One who waits, as it stands in a queue.
struct Waiter<H: Host> {
    ticket: H::Ticket,
    /// For a select: where the number of the chosen case goes, and which number.
    select: Option<(NonNull<Chosen>, usize)>,
    offer: Offer,
}

impl<H: Host> Clone for Waiter<H> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<H: Host> Copy for Waiter<H> {}

// SAFETY: what the pointers lead to is touched by whoever has claimed the wait, or under the lock,
// and is made for that.
unsafe impl<H: Host> Send for Waiter<H> {}

type WaiterNode<H> = Node<Waiter<H>>;

/// See the module's description.
pub(crate) struct Channel<T, H: Host> {
    state: CachePadded<Lock<State<T, H>>>,
    /// Set when the channel is made.
    rendezvous: bool,
    senders: AtomicUsize,
    receivers: AtomicUsize,
}
