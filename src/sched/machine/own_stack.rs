//! What is begun on a coroutine's stack and needs more room than there may be left.

#![expect(unsafe_code, reason = "goes to the stack below a coroutine's")]

use super::Machine;
use crate::coroutine::Suspender;
use crate::stack::Class;
use std::cell::Cell;
use std::io;

impl Machine {
    /// Runs on the machine's own stack what needs more than a small coroutine may have left. `f`
    /// does not park.
    pub(super) fn on_own_stack(&self, f: impl FnMut()) {
        struct Here<F>(F);
        // SAFETY: it goes to another stack of the same thread.
        unsafe impl<F> Send for Here<F> {}
        impl<F: FnMut()> Here<F> {
            fn call(&mut self) {
                (self.0)();
            }
        }

        /// The caller was not there before, also if `f` unwinds.
        struct There<'a>(&'a Cell<bool>);
        impl Drop for There<'_> {
            fn drop(&mut self) {
                self.0.set(false);
            }
        }

        let mut here = Here(f);
        let Some(suspender) = self.way_back().filter(|_| !self.borrows_own_stack.get()) else {
            return here.call();
        };
        self.borrows_own_stack.set(true);
        let _there = There(&self.borrows_own_stack);
        // SAFETY: the caller runs on that coroutine's stack, or on that of one that is called there; on the
        // machine's own stack nobody is, above what resumed that coroutine. `f` does not suspend.
        unsafe { suspender.on_parent_stack(|| here.call()) };
    }

    /// Ends the process. Whatever waits from now on keeps the thread: no coroutine runs.
    pub(in crate::sched) fn exit(&self, code: i32) {
        self.on_own_stack(|| {
            self.current.set(None);
            std::process::exit(code);
        });
    }

    /// Reserves what a coroutine of this class will need to start.
    #[inline]
    pub(in crate::sched) fn credit(&self, class: Class) -> io::Result<()> {
        let mut cache = self.cache.borrow_mut();
        if cache.has_credit(class) {
            return cache.credit(class);
        }
        // Leads to system calls with long lists of guards.
        let mut credited = Ok(());
        self.on_own_stack(|| credited = cache.credit(class));
        credited
    }

    /// As [`Machine::credit`], after a refusal, if giving back what is kept at hand makes room.
    ///
    /// # Errors
    ///
    /// The refusal, or another one.
    #[cold]
    pub(in crate::sched) fn credit_again(
        &self,
        class: Class,
        refusal: io::Error,
    ) -> io::Result<()> {
        let mut settled = false;
        self.on_own_stack(|| settled = self.cache.borrow_mut().settle());
        // Both, since what is given back may be of another class.
        match self.shared.recall() || settled {
            true => self.credit(class),
            false => Err(refusal),
        }
    }

    /// The way to the machine's own stack from what runs; `None` if nothing does.
    fn way_back(&self) -> Option<Suspender> {
        self.calls.way_back.get().or_else(|| {
            // SAFETY: the running coroutine is alive, and this is its home.
            self.current
                .get()
                .and_then(|running| unsafe { running.as_ref().resident() }.suspender.get())
        })
    }
}
