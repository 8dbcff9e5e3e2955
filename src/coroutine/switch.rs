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

/// What a resumption may bring: null to go on, or what is to be called before.
#[cfg(feature = "dump-stacks")]
type Errand = *mut &'static mut dyn FnMut();
#[cfg(not(feature = "dump-stacks"))]
type Errand = ();

#[cfg(feature = "dump-stacks")]
const GO_ON: Errand = std::ptr::null_mut();
#[cfg(not(feature = "dump-stacks"))]
const GO_ON: Errand = ();

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
pub(crate) struct Switch(Coroutine<Errand, Word, (), SwitchStack>);

/// What a resumption came back with.
pub(crate) enum Resumed {
    /// The function suspended itself and left this word.
    Suspended(Word),
    /// The function has returned.
    Finished,
}

/// The way back from a running function to whoever resumed it.
#[derive(Clone, Copy)]
pub(crate) struct Suspender(NonNull<Yielder<Errand, Word>>);

impl Suspender {
    /// An address near to the top of the function's stack.
    #[inline]
    pub(crate) fn addr(self) -> usize {
        self.0.addr().get()
    }
}

impl Switch {
    /// Prepares `body` to run on `stack` at the first [`Switch::resume`]. `body` must not unwind.
    pub(crate) fn new(stack: Stack, body: impl FnOnce(Suspender) + 'static) -> Switch {
        let stack = SwitchStack(ManuallyDrop::new(stack));
        Switch(Coroutine::with_stack(stack, move |yielder, _go_on| {
            body(Suspender(NonNull::from(yielder)));
        }))
    }

    /// Runs the function until it suspends itself or returns.
    #[inline]
    pub(crate) fn resume(&mut self) -> Resumed {
        match self.0.resume(GO_ON) {
            CoroutineResult::Yield(word) => Resumed::Suspended(word),
            CoroutineResult::Return(()) => Resumed::Finished,
        }
    }

    /// Calls `f` from the frame in which the function is suspended, but on the caller's stack, so that
    /// a walk from there sees the function's frames. It is suspended as before then.
    ///
    /// The function has run before, and has not returned.
    #[cfg(feature = "dump-stacks")]
    pub(crate) fn call_within(&mut self, f: &mut dyn FnMut()) {
        // SAFETY: only the lifetime is changed, and the call is over before this returns.
        let mut errand =
            unsafe { std::mem::transmute::<&mut dyn FnMut(), &'static mut dyn FnMut()>(f) };
        let resumed = self.0.resume(&raw mut errand);
        debug_assert!(matches!(resumed, CoroutineResult::Yield(word) if word.is_null()));
    }

    /// Takes the stack back from a function that has returned.
    #[inline]
    pub(crate) fn into_stack(self) -> Stack {
        ManuallyDrop::into_inner(self.0.into_stack().0)
    }

    /// Takes the stack back from a function that has returned, and the switch from its place.
    #[inline]
    pub(crate) fn take_stack(place: &mut Option<Switch>) -> Option<Stack> {
        // Looked at in its place, and not moved as a whole but where it is taken apart.
        if !place.as_ref()?.0.done() {
            return None;
        }
        place.take().map(Switch::into_stack)
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
        let yielder = unsafe { self.0.as_ref() };
        #[cfg(not(feature = "dump-stacks"))]
        yielder.suspend(word);
        #[cfg(feature = "dump-stacks")]
        {
            let errand = yielder.suspend(word);
            if !errand.is_null() {
                // SAFETY: as above.
                unsafe { self.run_errands(errand) };
            }
        }
    }

    /// Does what it was resumed for, and suspends the function again, until it is to go on.
    ///
    /// # Safety
    ///
    /// As for [`Suspender::suspend`], which has returned this errand.
    #[cfg(feature = "dump-stacks")]
    #[cold]
    #[inline(never)]
    unsafe fn run_errands(self, mut errand: Errand) {
        struct Passed(Errand);
        // SAFETY: it goes to another stack of the same thread.
        unsafe impl Send for Passed {}
        impl Passed {
            fn run(&self) {
                // SAFETY: whoever has resumed this function waits for it, and keeps the errand.
                unsafe { (*self.0)() }
            }
        }

        while !errand.is_null() {
            let passed = Passed(errand);
            // SAFETY: the caller's promise; a walk of the stack does not suspend.
            unsafe {
                self.on_parent_stack(move || passed.run());
                errand = self.0.as_ref().suspend(std::ptr::null_mut());
            }
        }
    }

    /// An address on the stack of its function.
    #[cfg(feature = "dump-stacks")]
    pub(crate) fn address(self) -> usize {
        self.0.addr().get()
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
