//! Where a signal handler runs when the stack it interrupts is full.

#![expect(unsafe_code, reason = "maps a stack and tells the kernel to use it")]

use std::io;
use std::marker::PhantomData;

use super::class::GUARD;
use super::sys::{self, SignalStack};

/// What the overflow report needs on top of what the kernel puts on a signal stack.
const REPORT: usize = 4 * 1024;

/// The size of an alternate stack made here, guard excluded: handlers of the user may be greedy.
const SIZE: usize = 64 * 1024;

/// The calling thread's alternate signal stack: the one it had, if that is large enough, or else one
/// that lives as long as this value.
pub(crate) struct AltStack {
    _own: Option<Own>,
    /// It belongs to a thread.
    not_send: PhantomData<*const ()>,
}

struct Own {
    mapped: usize,
    len: usize,
    before: SignalStack,
}

impl AltStack {
    /// Sees to it that the calling thread has one.
    ///
    /// # Errors
    ///
    /// If there is no memory to map.
    pub(crate) fn install() -> io::Result<AltStack> {
        let least = sys::least_signal_stack();
        let before = SignalStack::current()?;
        if before.len() >= least + REPORT {
            return Ok(AltStack { _own: None, not_send: PhantomData });
        }
        let len = GUARD + (SIZE + least).next_multiple_of(GUARD);
        let own = Own { mapped: sys::reserve(len, GUARD)?, len, before };
        // SAFETY: mapped just now, and nobody else's; the guard at its low end stays closed.
        unsafe { sys::open(own.mapped + GUARD, len - GUARD) }?;
        // SAFETY: it stays mapped until `Own` is dropped, which first puts another one in force.
        unsafe { own.stack().set() }?;
        Ok(AltStack { _own: Some(own), not_send: PhantomData })
    }
}

impl Own {
    fn stack(&self) -> SignalStack {
        SignalStack::new(self.mapped + GUARD, self.len - GUARD)
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        let replaced = SignalStack::current()
            .is_ok_and(|current| current.len() == 0 || current.start() != self.stack().start())
            // SAFETY: what was in force when this stack was installed was somebody else's to keep
            // mapped, and still is.
            || unsafe { self.before.set() }.is_ok();
        if replaced {
            // SAFETY: mapped by `install`, and no longer in force on the only thread it ever was.
            unsafe { sys::release(self.mapped, self.len) };
        }
    }
}
