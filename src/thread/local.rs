//! Storage for each coroutine: `coroutine_local!`, which is std's `thread_local!`.

use crate::coroutine::{Local, LocalId, with_locals};
use std::cell::{Cell, RefCell};
use std::error::Error;
use std::fmt;
use std::rc::Rc;

/// A value of each coroutine's own, declared by [`coroutine_local!`](crate::coroutine_local).
///
/// It is to coroutines what [`std::thread::LocalKey`] is to threads: made when it is first asked
/// for, dropped when the coroutine ends, before its `join` returns. Destructors may park, and may
/// use other keys, whose values are made anew if need be and destroyed in their turn. On a plain OS
/// thread a key has a value of that thread's.
///
/// A result that nobody can ask for is dropped before the values are, or after them if its handle goes
/// meanwhile. What its destructor makes then is destroyed as well, and so is what the waker of a task makes
/// that has polled the handle.
///
/// # Examples
///
/// ```
/// use std::cell::Cell;
///
/// pirn::coroutine_local! {
///     static REQUEST: Cell<u32> = const { Cell::new(0) };
/// }
///
/// REQUEST.set(1);
/// let inner = pirn::spawn(|| {
///     assert_eq!(REQUEST.get(), 0);
///     REQUEST.set(2);
///     pirn::thread::yield_now();
///     REQUEST.get()
/// });
/// assert_eq!(inner.join().unwrap(), 2);
/// assert_eq!(REQUEST.get(), 1);
/// ```
pub struct LocalKey<T: 'static> {
    init: fn() -> T,
    /// The value where there is no coroutine.
    of_thread: &'static std::thread::LocalKey<T>,
}

/// A [`LocalKey`] was used while or after its value was destroyed.
#[derive(Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct AccessError;

impl fmt::Debug for AccessError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessError").finish()
    }
}

impl fmt::Display for AccessError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt("already destroyed", f)
    }
}

impl Error for AccessError {}

impl<T: 'static> fmt::Debug for LocalKey<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalKey").finish_non_exhaustive()
    }
}

#[cold]
#[track_caller]
fn access_failed(error: AccessError) -> ! {
    panic!("cannot access a Thread Local Storage value during or after destruction: {error:?}")
}

impl<T: 'static> LocalKey<T> {
    /// For the macro.
    #[doc(hidden)]
    pub const fn new(init: fn() -> T, of_thread: &'static std::thread::LocalKey<T>) -> LocalKey<T> {
        LocalKey { init, of_thread }
    }

    /// Calls `f` with the value, which is made first if this is its first use.
    ///
    /// # Panics
    ///
    /// While or after the value is destroyed, and if its initialiser panics.
    #[track_caller]
    pub fn with<F, R>(&'static self, f: F) -> R
    where
        F: FnOnce(&T) -> R,
    {
        self.try_with(f).unwrap_or_else(|error| access_failed(error))
    }

    /// As [`with`](LocalKey::with), with an error in place of the first panic.
    ///
    /// # Errors
    ///
    /// [`AccessError`] while or after the value is destroyed.
    pub fn try_with<F, R>(&'static self, f: F) -> Result<R, AccessError>
    where
        F: FnOnce(&T) -> R,
    {
        match with_locals(|locals| locals.get(self.id())) {
            None => self.of_thread.try_with(f).map_err(|_| AccessError),
            Some(Local::Destroyed) => Err(AccessError),
            Some(Local::Alive(value)) => Ok(f(downcast(&value))),
            Some(Local::Absent) => Ok(f(&self.store((self.init)()))),
        }
    }

    /// Makes `value` the coroutine's value.
    fn store(&'static self, value: T) -> Rc<T> {
        let value = Rc::new(value);
        let replaced = with_locals(|locals| locals.set(self.id(), value.clone()));
        drop(replaced);
        value
    }

    /// Calls `f` with the value, or makes `value` the value without running the initialiser.
    #[track_caller]
    fn set_or(&'static self, value: T, f: impl FnOnce(T, &T)) {
        match with_locals(|locals| locals.get(self.id())) {
            None => self.of_thread.with(|old| f(value, old)),
            Some(Local::Destroyed) => access_failed(AccessError),
            Some(Local::Alive(old)) => f(value, downcast(&old)),
            Some(Local::Absent) => drop(self.store(value)),
        }
    }

    fn id(&'static self) -> LocalId {
        std::ptr::from_ref(self).cast()
    }
}

fn downcast<T: 'static>(value: &Rc<dyn std::any::Any>) -> &T {
    value.downcast_ref().expect("a key has values of one type")
}

impl<T: 'static> LocalKey<Cell<T>> {
    /// Sets the value, without running the initialiser if there is none yet.
    ///
    /// # Panics
    ///
    /// As [`with`](LocalKey::with).
    #[track_caller]
    pub fn set(&'static self, value: T) {
        match with_locals(|_| ()) {
            None => self.of_thread.set(value),
            Some(()) => self.set_or(Cell::new(value), |value, cell| cell.set(value.into_inner())),
        }
    }

    /// A copy of the value.
    ///
    /// # Panics
    ///
    /// As [`with`](LocalKey::with).
    #[track_caller]
    pub fn get(&'static self) -> T
    where
        T: Copy,
    {
        self.with(Cell::get)
    }

    /// Takes the value and leaves the default one.
    ///
    /// # Panics
    ///
    /// As [`with`](LocalKey::with).
    #[track_caller]
    pub fn take(&'static self) -> T
    where
        T: Default,
    {
        self.with(Cell::take)
    }

    /// Sets the value and returns the one before.
    ///
    /// # Panics
    ///
    /// As [`with`](LocalKey::with).
    #[track_caller]
    pub fn replace(&'static self, value: T) -> T {
        self.with(|cell| cell.replace(value))
    }
}

impl<T: 'static> LocalKey<RefCell<T>> {
    /// Calls `f` with the value borrowed.
    ///
    /// # Panics
    ///
    /// As [`with`](LocalKey::with), and if the value is mutably borrowed.
    #[track_caller]
    pub fn with_borrow<F, R>(&'static self, f: F) -> R
    where
        F: FnOnce(&T) -> R,
    {
        self.with(|cell| f(&cell.borrow()))
    }

    /// Calls `f` with the value mutably borrowed.
    ///
    /// # Panics
    ///
    /// As [`with`](LocalKey::with), and if the value is borrowed.
    #[track_caller]
    pub fn with_borrow_mut<F, R>(&'static self, f: F) -> R
    where
        F: FnOnce(&mut T) -> R,
    {
        self.with(|cell| f(&mut cell.borrow_mut()))
    }

    /// Sets the value, without running the initialiser if there is none yet.
    ///
    /// # Panics
    ///
    /// As [`with`](LocalKey::with), and if the value is borrowed.
    #[track_caller]
    pub fn set(&'static self, value: T) {
        match with_locals(|_| ()) {
            None => self.of_thread.set(value),
            Some(()) => {
                self.set_or(RefCell::new(value), |value, cell| {
                    cell.replace(value.into_inner());
                });
            }
        }
    }

    /// Takes the value and leaves the default one.
    ///
    /// # Panics
    ///
    /// As [`with`](LocalKey::with), and if the value is borrowed.
    #[track_caller]
    pub fn take(&'static self) -> T
    where
        T: Default,
    {
        self.with(RefCell::take)
    }

    /// Sets the value and returns the one before.
    ///
    /// # Panics
    ///
    /// As [`with`](LocalKey::with), and if the value is borrowed.
    #[track_caller]
    pub fn replace(&'static self, value: T) -> T {
        self.with(|cell| cell.replace(value))
    }
}

/// Declares values of which each coroutine has its own, with the grammar of
/// [`std::thread_local!`]. See [`thread::LocalKey`](crate::thread::LocalKey).
///
/// # Examples
///
/// ```
/// use std::cell::{Cell, RefCell};
///
/// pirn::coroutine_local! {
///     /// Attributes and visibility are allowed.
///     pub static DEPTH: Cell<u32> = const { Cell::new(1) };
///
///     static TRAIL: RefCell<Vec<String>> = RefCell::new(vec!["start".into()]);
/// }
///
/// assert_eq!(DEPTH.get(), 1);
/// TRAIL.with_borrow_mut(|trail| trail.push("next".into()));
/// ```
#[macro_export]
macro_rules! coroutine_local {
    () => {};
    ($(#[$attr:meta])* $vis:vis static $name:ident: $t:ty = const $init:block
     $(; $($($rest:tt)+)?)?) => {
        // Names that `$init` does not mean: it sees those that are declared beside it.
        $(#[$attr])* $vis static $name: $crate::thread::LocalKey<$t> = {
            const fn __pirn_local_init() -> $t {
                const $init
            }
            ::std::thread_local!(static __PIRN_OF_THREAD: $t = const { __pirn_local_init() });
            $crate::thread::LocalKey::new(__pirn_local_init, &__PIRN_OF_THREAD)
        };
        $($($crate::coroutine_local!($($rest)+);)?)?
    };
    ($(#[$attr:meta])* $vis:vis static $name:ident: $t:ty = $init:expr
     $(; $($($rest:tt)+)?)?) => {
        $(#[$attr])* $vis static $name: $crate::thread::LocalKey<$t> = {
            fn __pirn_local_init() -> $t {
                $init
            }
            ::std::thread_local!(static __PIRN_OF_THREAD: $t = __pirn_local_init());
            $crate::thread::LocalKey::new(__pirn_local_init, &__PIRN_OF_THREAD)
        };
        $($($crate::coroutine_local!($($rest)+);)?)?
    };
}
