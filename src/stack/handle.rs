//! What stands for a stack: the bound one a coroutine runs on, and the free slot it comes from.

#![expect(unsafe_code, reason = "the control block lives in memory that is mapped by hand")]

use std::cell::Cell;
use std::mem::ManuallyDrop;
use std::num::NonZero;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicPtr, Ordering};

use super::class::{Class, LINE};
use super::sys;

/// How far below the warm part a look tells whether a stack went deep. A single page could have been
/// stepped over by a large frame.
const DEEP_PROBE: usize = 16 * 1024;

/// The top of a slot. It is in memory from when the slot is bound until its memory is released,
/// and means something only while it is bound.
#[repr(C, align(64))]
struct Control {
    /// Whose stack it is, for whoever has only an address. Null while the slot is free.
    owner: AtomicPtr<()>,
    class: Cell<Class>,
}

const _: () = assert!(size_of::<Control>() == LINE);

/// A slot that belongs to nobody but its holder, and is not bound. Its memory may be there or not.
pub(super) struct Slot(NonNull<Control>);

/// A stack, bound to its owner.
///
/// It must go back through [`Cache::give`](super::Cache::give). One that is dropped instead is lost
/// together with the slab that it lies in, which then is never unmapped: a leak, but nothing worse.
#[must_use = "a stack that is not given back is leaked"]
pub(crate) struct Stack(Slot);

// SAFETY: a slot is memory that only its holder uses.
unsafe impl Send for Slot {}

impl Slot {
    /// The slot of `class` that starts at `start`.
    ///
    /// # Safety
    ///
    /// The slot is carved, nobody else holds it, and it stays mapped while this value or the stack
    /// bound from it exists.
    pub(super) unsafe fn new(class: Class, start: usize) -> Slot {
        let control = ptr::with_exposed_provenance_mut(class.control(start));
        // SAFETY: a control block is not at address zero.
        Slot(unsafe { NonNull::new_unchecked(control) })
    }

    /// An address inside, which with the class makes the start.
    pub(super) fn address(&self) -> usize {
        self.0.addr().get()
    }

    /// Whether the stack has gone deeper than what a free one may keep, or perhaps has.
    pub(super) fn is_deep(&self, class: Class) -> bool {
        let pages = DEEP_PROBE / sys::page_size();
        class.deep(class.slot_start(self.address())).is_some_and(|(start, len)| {
            sys::resident(start + len - pages * sys::page_size(), pages)
        })
    }

    /// Gives back what the stack has touched beyond what a free one may keep.
    pub(super) fn release_deep(&mut self, class: Class) {
        if let Some((start, len)) = class.deep(class.slot_start(self.address())) {
            // SAFETY: above the guard and below the control block of a slot that nobody else holds.
            unsafe { sys::discard(start, len) };
        }
    }

    /// Makes it the stack of `owner`, to whom it will look fresh.
    #[inline]
    pub(super) fn bind(self, class: Class, owner: *const ()) -> Stack {
        // SAFETY: the slot is mapped, writable above its guard, and the holder's alone. Whatever
        // the memory holds, zeroes included, is a valid control block.
        let control = unsafe { self.0.as_ref() };
        debug_assert!(control.owner.load(Ordering::Relaxed).is_null(), "a free slot has an owner");
        control.class.set(class);
        control.owner.store(owner.cast_mut(), Ordering::Relaxed);
        Stack(self)
    }
}

impl Stack {
    /// The highest address of the stack, excluded. A multiple of 64.
    #[inline]
    pub(crate) fn base(&self) -> NonZero<usize> {
        self.0.0.addr()
    }

    /// The base, as a pointer to what is below and above it, in place of the stack.
    #[inline]
    pub(crate) fn into_base(self) -> NonNull<()> {
        ManuallyDrop::new(self).0.0.cast()
    }

    /// The stack again.
    ///
    /// # Safety
    ///
    /// The pointer is from [`Stack::into_base`], and there is one stack for it at a time.
    #[inline]
    pub(crate) unsafe fn from_base(base: NonNull<()>) -> Stack {
        Stack(Slot(base.cast()))
    }

    /// The lowest address of the stack as corosensei counts it: the guard lies above it.
    #[inline]
    pub(crate) fn limit(&self) -> NonZero<usize> {
        let start = self.class().slot_start(self.base().get());
        NonZero::new(start).expect("nothing is mapped at address zero")
    }

    #[inline]
    pub(crate) fn class(&self) -> Class {
        // SAFETY: the slot is bound, so its control block is there and belongs to this value.
        unsafe { self.0.0.as_ref() }.class.get()
    }

    /// Ends the binding.
    #[inline]
    pub(super) fn unbind(self) -> Slot {
        // SAFETY: as in `class`.
        unsafe { self.0.0.as_ref() }.owner.store(ptr::null_mut(), Ordering::Relaxed);
        let slot = Slot(self.0.0);
        std::mem::forget(self);
        slot
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        debug_assert!(std::thread::panicking(), "a stack was dropped instead of given back");
    }
}

/// Whose stack the slot of `class` at `start` is; null if nobody's. The answer is dependable only
/// to code that runs on that very stack.
///
/// # Safety
///
/// The slot is carved and stays mapped during the call.
pub(super) unsafe fn owner_of(class: Class, start: usize) -> *const () {
    let control: *const Control = ptr::with_exposed_provenance(class.control(start));
    // SAFETY: mapped, by the caller's promise; the field is atomic, so that any state of the memory
    // and any use of it elsewhere is fine.
    unsafe { &(*control).owner }.load(Ordering::Relaxed)
}
