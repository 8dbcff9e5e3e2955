//! The scheduler's thread-local state: which machine, if any, the current thread is.
//!
//! A coroutine of a migrating kind may find itself on another thread after each park, and the
//! compiler may keep a thread-local's *address* in a register across one. So the accessors are
//! not inlined where there are such coroutines, and what they return must not be held across a
//! park. Without them, a thread-local is the same before and after a park, and its access is one
//! instruction.

use crate::sched::machine::Machine;
use std::cell::Cell;
use std::ptr;

thread_local! {
    static CURRENT: Cell<*const Machine> = const { Cell::new(ptr::null()) };
}

/// The machine that the current thread is, or null.
#[cfg_attr(feature = "migrating", inline(never))]
#[cfg_attr(not(feature = "migrating"), inline)]
pub(super) fn current() -> *const Machine {
    CURRENT.get()
}

/// Makes the current thread that machine, or none.
#[inline(never)]
pub(super) fn set_current(machine: *const Machine) {
    CURRENT.set(machine);
}
