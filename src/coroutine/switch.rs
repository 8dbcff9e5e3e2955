//! The stack switch: the only file that names corosensei.
//!
//! A [`Switch`] owns a stack and what is suspended on it. It is resumed by a machine, and suspends
//! itself through the [`Suspender`] it is given, passing one word to whoever resumed it.
//!
//! A suspended `Switch` must not be dropped: its frames would never be unwound. Coroutines are
//! ended by resuming them (see [`crate::coroutine`]), or leaked with their stack.

#![expect(unsafe_code, reason = "hands corosensei a stack, and keeps a pointer to its yielder")]

use crate::stack::Stack;
use corosensei::stack::StackPointer;
use corosensei::{Coroutine, CoroutineResult, Yielder};
use std::mem::ManuallyDrop;
use std::ptr::NonNull;

/// The word that a suspension passes to the resumer.
pub(crate) type Word = *mut ();

struct SwitchStack(ManuallyDrop<Stack>);

// SAFETY: the stack module hands out guarded stacks, far larger than corosensei's minimum, whose
// base is aligned and whose limit lies below the guard.
unsafe impl corosensei::stack::Stack for SwitchStack {
    #[inline]
    fn base(&self) -> StackPointer {
        self.0.base()
    }

    #[inline]
    fn limit(&self) -> StackPointer {
        self.0.limit()
    }
}

/// A stack with a function suspended on it.
pub(crate) struct Switch(Coroutine<(), Word, (), SwitchStack>);

/// What a resumption came back with.
pub(crate) enum Resumed {
    /// The function suspended itself and left this word.
    Suspended(Word),
    /// The function has returned.
    Finished,
}

/// The way back from a running function to whoever resumed it.
#[derive(Clone, Copy)]
pub(crate) struct Suspender(NonNull<Yielder<(), Word>>);

impl Switch {
    /// Prepares `body` to run on `stack` at the first [`Switch::resume`]. `body` must not unwind.
    pub(crate) fn new(stack: Stack, body: impl FnOnce(Suspender) + 'static) -> Switch {
        let stack = SwitchStack(ManuallyDrop::new(stack));
        Switch(Coroutine::with_stack(stack, move |yielder, ()| {
            body(Suspender(NonNull::from(yielder)));
        }))
    }

    /// Runs the function until it suspends itself or returns.
    #[inline]
    pub(crate) fn resume(&mut self) -> Resumed {
        match self.0.resume(()) {
            CoroutineResult::Yield(word) => Resumed::Suspended(word),
            CoroutineResult::Return(()) => Resumed::Finished,
        }
    }

    /// Takes the stack back from a function that has returned.
    pub(crate) fn into_stack(self) -> Stack {
        ManuallyDrop::into_inner(self.0.into_stack().0)
    }
}

impl Suspender {
    /// Switches to whoever resumed this function, and returns at the next resumption.
    ///
    /// # Safety
    ///
    /// Called on the stack of the [`Switch`] that this suspender was made for.
    #[inline]
    pub(crate) unsafe fn suspend(self, word: Word) {
        // SAFETY: the yielder lives at the base of the stack on which the caller runs.
        unsafe { self.0.as_ref() }.suspend(word);
    }

    /// Runs `f` on the stack of whoever resumed this function, which has more room.
    ///
    /// # Safety
    ///
    /// As for [`Suspender::suspend`]; and `f` does not suspend.
    pub(crate) unsafe fn on_parent_stack(self, f: impl FnOnce() + Send) {
        // SAFETY: the yielder lives at the base of the stack on which the caller runs.
        unsafe { self.0.as_ref() }.on_parent_stack(f);
    }
}
