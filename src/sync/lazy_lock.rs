//! [`LazyLock`].

#![expect(unsafe_code, reason = "an initialiser and its value share their place")]

use crate::protocol::raw_once::State;
use crate::sync::Once;
use crate::sync::once::Cancelling;
use std::cell::UnsafeCell;
use std::fmt;
use std::mem::{self, ManuallyDrop};
use std::ops::{Deref, DerefMut};
use std::panic::{RefUnwindSafe, UnwindSafe};

/// [`std::sync::LazyLock`], for coroutines and threads: whoever comes while another one
/// initialises is parked.
///
/// If the initialiser panics or is cancelled, there will never be a value: it is used up.
///
/// # Examples
///
/// ```
/// use pirn::sync::LazyLock;
///
/// static SQUARES: LazyLock<Vec<u32>> = LazyLock::new(|| (0..10).map(|n| n * n).collect());
///
/// assert_eq!(pirn::spawn(|| SQUARES[3]).join().unwrap(), 9);
/// ```
pub struct LazyLock<T, F = fn() -> T> {
    once: Once,
    data: UnsafeCell<Data<T, F>>,
}

/// Which of the two is there is what the state of the [`Once`] says: the initialiser as long as it
/// is incomplete, the value when it is complete, neither while it runs and when it is poisoned.
union Data<T, F> {
    value: ManuallyDrop<T>,
    f: ManuallyDrop<F>,
}

// SAFETY: references to the value are given to any thread; the initialiser is moved to the one
// that calls it, and no reference to it is given to anybody.
unsafe impl<T: Sync + Send, F: Send> Sync for LazyLock<T, F> {}

impl<T: RefUnwindSafe + UnwindSafe, F: UnwindSafe> RefUnwindSafe for LazyLock<T, F> {}
impl<T: UnwindSafe, F: UnwindSafe> UnwindSafe for LazyLock<T, F> {}

impl<T, F: FnOnce() -> T> LazyLock<T, F> {
    /// One whose value will be what `f` returns.
    #[inline]
    pub const fn new(f: F) -> LazyLock<T, F> {
        LazyLock { once: Once::new(), data: UnsafeCell::new(Data { f: ManuallyDrop::new(f) }) }
    }

    /// Makes the value if it is not there, and returns it.
    ///
    /// To come again from within the initialiser never returns.
    ///
    /// # Panics
    ///
    /// If the initialiser panics, or has not returned when it was called.
    #[inline]
    pub fn force(this: &LazyLock<T, F>) -> &T {
        this.once.force_with(Cancelling::Poisons, |state| {
            if state.is_poisoned() {
                panic_poisoned();
            }
            // SAFETY: the state was `Incomplete`, so the initialiser is there. It is `Running` now,
            // and will not be `Incomplete` again, so this is the only access and the last one.
            let f = unsafe { ManuallyDrop::take(&mut (*this.data.get()).f) };
            let value = f();
            // SAFETY: as above.
            unsafe { (*this.data.get()).value = ManuallyDrop::new(value) };
        });
        // SAFETY: the state is `Complete` when the call returns, so the value is there for good.
        unsafe { &(*this.data.get()).value }
    }

    /// As [`LazyLock::force`], for one that nobody else can use.
    ///
    /// # Panics
    ///
    /// As for [`LazyLock::force`].
    #[inline]
    pub fn force_mut(this: &mut LazyLock<T, F>) -> &mut T {
        match this.once.exclusive_state() {
            State::Complete => {}
            State::Incomplete => this.initialize_mut(),
            State::Poisoned | State::Running => panic_poisoned(),
        }
        // SAFETY: the state is `Complete`, so the value is there.
        unsafe { &mut this.data.get_mut().value }
    }

    #[cold]
    fn initialize_mut(&mut self) {
        struct Poisons<'a>(&'a mut Once);

        impl Drop for Poisons<'_> {
            fn drop(&mut self) {
                self.0.set_state(State::Poisoned);
            }
        }

        let poisons = Poisons(&mut self.once);
        let data = self.data.get_mut();
        // SAFETY: the state was `Incomplete`; on the ways out it will be something else.
        let f = unsafe { ManuallyDrop::take(&mut data.f) };
        data.value = ManuallyDrop::new(f());
        poisons.0.set_state(State::Complete);
        mem::forget(poisons);
    }
}

impl<T, F> LazyLock<T, F> {
    /// The value, if it has been made. Does not wait.
    #[inline]
    pub fn get(this: &LazyLock<T, F>) -> Option<&T> {
        // SAFETY: the state is `Complete`, so the value is there for good.
        this.once.is_completed().then(|| unsafe { &*(*this.data.get()).value })
    }

    /// The value, if it has been made.
    #[inline]
    pub fn get_mut(this: &mut LazyLock<T, F>) -> Option<&mut T> {
        match this.once.exclusive_state() {
            // SAFETY: so the value is there.
            State::Complete => Some(unsafe { &mut this.data.get_mut().value }),
            _ => None,
        }
    }
}

impl<T, F> Drop for LazyLock<T, F> {
    fn drop(&mut self) {
        let data = self.data.get_mut();
        match self.once.exclusive_state() {
            // SAFETY: so the initialiser is there, and nobody looks at it after this.
            State::Incomplete => unsafe { ManuallyDrop::drop(&mut data.f) },
            // SAFETY: so the value is there, and nobody looks at it after this.
            State::Complete => unsafe { ManuallyDrop::drop(&mut data.value) },
            State::Poisoned | State::Running => {}
        }
    }
}

impl<T, F: FnOnce() -> T> Deref for LazyLock<T, F> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        LazyLock::force(self)
    }
}

impl<T, F: FnOnce() -> T> DerefMut for LazyLock<T, F> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        LazyLock::force_mut(self)
    }
}

impl<T: Default> Default for LazyLock<T> {
    #[inline]
    fn default() -> LazyLock<T> {
        LazyLock::new(T::default)
    }
}

impl<T: fmt::Debug, F> fmt::Debug for LazyLock<T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_tuple("LazyLock");
        match LazyLock::get(self) {
            Some(value) => debug.field(value),
            None => debug.field(&format_args!("<uninit>")),
        };
        debug.finish()
    }
}

#[cold]
#[inline(never)]
fn panic_poisoned() -> ! {
    panic!("LazyLock instance has previously been poisoned")
}
