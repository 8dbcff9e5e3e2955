//! [`Once`].

#![expect(unsafe_code, reason = "queues nodes that live in the waiting frame")]

use crate::coroutine::{unwind_cancelled, was_cancelled};
use crate::park::{Cancel, Outcome, Ticket, WaitReason, park};
use crate::protocol::raw_once::{RawOnce, State};
use crate::protocol::wait_word::Node;
use crate::sync::wait::claim;
use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::ptr::{self, NonNull};
use std::thread::panicking;

/// [`std::sync::Once`], for coroutines and threads: whoever comes while another one initialises is
/// parked.
///
/// It takes eight bytes. It is poisoned when the initialiser panics, as std's. When the
/// initialiser's coroutine is cancelled, it is as if it had not been called: the next one is.
///
/// # Examples
///
/// ```
/// use pirn::sync::Once;
///
/// static START: Once = Once::new();
///
/// START.call_once(|| println!("printed once"));
/// START.call_once(|| println!("not printed"));
/// assert!(START.is_completed());
/// ```
pub struct Once {
    raw: RawOnce<Ticket>,
}

impl UnwindSafe for Once {}
impl RefUnwindSafe for Once {}

/// What [`Once::call_once_force`] tells its closure; see [`std::sync::OnceState`].
pub struct OnceState {
    poisoned: bool,
    /// It has std's auto traits.
    _not_sync: PhantomData<Cell<()>>,
}

/// A [`Once`] that has not been called.
#[deprecated(note = "the `Once::new()` function is now preferred")]
#[expect(clippy::declare_interior_mutable_const, reason = "std has it")]
pub const ONCE_INIT: Once = Once::new();

/// What is to become of it if the initialiser is cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cancelling {
    /// Nothing was done; the next initialiser is called.
    Undoes,
    /// The initialiser is used up.
    Poisons,
}

/// Ends an initialisation on every way out.
struct Running<'a> {
    raw: &'a RawOnce<Ticket>,
    to: State,
    /// What it comes to if it is cancelled.
    if_cancelled: State,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let cancelled = self.to == State::Poisoned && panicking() && was_cancelled();
        let to = if cancelled { self.if_cancelled } else { self.to };
        self.raw.finish(to, claim, drop);
    }
}

impl Once {
    /// One that has not been called.
    #[inline]
    #[must_use]
    #[expect(clippy::new_without_default, reason = "std's has none")]
    pub const fn new() -> Once {
        Once { raw: RawOnce::new() }
    }

    /// Calls `f`, if no call has completed yet; else waits for the one that is running.
    ///
    /// When this returns, some initialiser has run to its end, and what it wrote is visible.
    ///
    /// # Panics
    ///
    /// If `f` panics, or an initialiser has panicked before.
    #[inline]
    #[track_caller]
    pub fn call_once<F>(&self, f: F)
    where
        F: FnOnce(),
    {
        if self.is_completed() {
            return;
        }
        let mut f = Some(f);
        self.call(false, Cancelling::Undoes, &mut |_| {
            if let Some(f) = f.take() {
                f();
            }
        });
    }

    /// As [`Once::call_once`], also if an initialiser has panicked before.
    ///
    /// # Panics
    ///
    /// If `f` panics.
    #[inline]
    pub fn call_once_force<F>(&self, f: F)
    where
        F: FnOnce(&OnceState),
    {
        self.force_with(Cancelling::Undoes, f);
    }

    #[inline]
    pub(super) fn force_with(&self, cancelling: Cancelling, f: impl FnOnce(&OnceState)) {
        if self.is_completed() {
            return;
        }
        let mut f = Some(f);
        self.call(true, cancelling, &mut |state| {
            if let Some(f) = f.take() {
                f(state);
            }
        });
    }

    /// Whether an initialiser has run to its end, so that what it wrote is visible.
    #[inline]
    pub fn is_completed(&self) -> bool {
        self.raw.state() == State::Complete
    }

    /// Waits until an initialiser has run to its end.
    ///
    /// # Panics
    ///
    /// If an initialiser has panicked, or does while this waits.
    pub fn wait(&self) {
        while !self.is_completed() {
            if self.raw.state() == State::Poisoned {
                panic_poisoned();
            }
            self.wait_while(|state| matches!(state, State::Incomplete | State::Running));
        }
    }

    /// As [`Once::wait`], but waits on if an initialiser panics.
    pub fn wait_force(&self) {
        while !self.is_completed() {
            self.wait_while(|state| state != State::Complete);
        }
    }

    #[cold]
    #[track_caller]
    fn call(&self, force: bool, cancelling: Cancelling, f: &mut dyn FnMut(&OnceState)) {
        loop {
            match self.raw.state() {
                State::Complete => return,
                State::Running => self.wait_while(|state| state == State::Running),
                State::Poisoned if !force => panic_poisoned(),
                from @ (State::Incomplete | State::Poisoned) => {
                    if !self.raw.begin(from) {
                        continue;
                    }
                    let if_cancelled = match cancelling {
                        Cancelling::Undoes => from,
                        Cancelling::Poisons => State::Poisoned,
                    };
                    let mut running = Running { raw: &self.raw, to: State::Poisoned, if_cancelled };
                    let poisoned = from == State::Poisoned;
                    f(&OnceState { poisoned, _not_sync: PhantomData });
                    running.to = State::Complete;
                    return;
                }
            }
        }
    }

    /// Waits for the end of an initialisation, if the state is such that it is `worth_waiting`.
    fn wait_while(&self, worth_waiting: impl Fn(State) -> bool) {
        let mut node = None;
        let reason = WaitReason::Once(ptr::from_ref(self).addr());
        let outcome = park(reason, None, Cancel::Deliver, |ticket| {
            let node = NonNull::from(node.insert(Node::new(ticket)));
            // SAFETY: the node is in the frame of this wait, and leaves the queue below unless it
            // has been taken off.
            unsafe { self.raw.enter(node, worth_waiting) }
        });
        if outcome == Outcome::Woken {
            return;
        }
        if let Some(node) = &node {
            // SAFETY: the node is alive, and in this queue if in any.
            unsafe { self.raw.leave(NonNull::from(node)) };
        }
        if outcome == Outcome::Cancelled {
            unwind_cancelled();
        }
    }

    /// The state, of one that nobody else can use.
    pub(super) fn exclusive_state(&mut self) -> State {
        self.raw.state()
    }

    /// Makes an exclusively borrowed one complete or poisoned.
    pub(super) fn set_state(&mut self, to: State) {
        self.raw.set_state(to);
    }
}

#[cold]
#[track_caller]
fn panic_poisoned() -> ! {
    panic!("Once instance has previously been poisoned");
}

impl fmt::Debug for Once {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Once").finish_non_exhaustive()
    }
}

impl OnceState {
    /// Whether an initialiser has panicked before.
    #[inline]
    pub fn is_poisoned(&self) -> bool {
        self.poisoned
    }
}

impl fmt::Debug for OnceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OnceState").field("poisoned", &self.is_poisoned()).finish()
    }
}
