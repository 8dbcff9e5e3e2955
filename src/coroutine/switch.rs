//! The stack switch: the only file that names corosensei.
//!
//! A [`Switch`] owns a stack and what is suspended on it. It is resumed by a machine, and suspends
//! itself through the [`Suspender`] it is given, passing one word to whoever resumed it.
//!
//! A suspended `Switch` must not be dropped: its frames would never be unwound. Coroutines are
//! ended by resuming them (see [`crate::coroutine`]), or leaked with their stack.

#![expect(unsafe_code, reason = "hands corosensei a stack, and keeps a pointer to its yielder")]

use crate::coroutine::header::Started;
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

/// A stack without what is at its top: this is where that begins, and the base of the rest.
struct SwitchStack(NonNull<Started>);

impl SwitchStack {
    fn new(stack: Stack) -> SwitchStack {
        // SAFETY: a stack has more room than this.
        SwitchStack(unsafe { stack.into_base().cast::<Started>().sub(1) })
    }

    fn stack(&self) -> ManuallyDrop<Stack> {
        // SAFETY: it is what the stack was made into, and this is dropped with its use, or taken with
        // `self`.
        ManuallyDrop::new(unsafe { Stack::from_base(self.0.add(1).cast()) })
    }
}

// SAFETY: the stack module hands out guarded stacks, far larger than corosensei's minimum, whose
// base is aligned, as what is left out at their top is, and whose limit lies below the guard.
unsafe impl corosensei::stack::Stack for SwitchStack {
    #[inline]
    fn base(&self) -> StackPointer {
        self.0.addr()
    }

    #[inline]
    fn limit(&self) -> StackPointer {
        self.stack().limit()
    }
}

const _: () = assert!(size_of::<Started>().is_multiple_of(16) && align_of::<Started>() <= 64);

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

impl Switch {
    /// Prepares `body` to run on `stack` at the first [`Switch::resume`]. `body` must not unwind.
    ///
    /// With it comes a place at the top of the stack, for as long as the switch has the stack.
    pub(crate) fn new(
        stack: Stack,
        body: impl FnOnce(Suspender) + 'static,
    ) -> (Switch, NonNull<Started>) {
        let stack = SwitchStack::new(stack);
        let place = stack.0;
        let switch = Switch(Coroutine::with_stack(stack, move |yielder, _go_on| {
            body(Suspender(NonNull::from(yielder)));
        }));
        (switch, place)
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
        ManuallyDrop::into_inner(self.0.into_stack().stack())
    }

    /// The same for a switch that stands at its `place` at the top of that stack.
    ///
    /// Nothing of it is moved, since it has just been written to word by word: to read it as a whole would
    /// wait until that is over. What has returned owns nothing but the stack.
    ///
    /// # Safety
    ///
    /// The place came with the switch, which is at `switch` and is not used after this.
    #[inline]
    pub(crate) unsafe fn take_stack(place: NonNull<Started>, switch: *const Switch) -> Stack {
        // SAFETY: the caller's promise.
        assert!(unsafe { (*switch).0.done() }, "a stack was taken back from a suspended function");
        if cfg!(feature = "sanitizer") {
            // Which tells the sanitizer, too.
            // SAFETY: the caller's promise: it is moved out of its place.
            return unsafe { switch.read() }.into_stack();
        }
        ManuallyDrop::into_inner(SwitchStack(place).stack())
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
