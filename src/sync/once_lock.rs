//! [`OnceLock`].

use crate::sync::Once;
use std::fmt;

/// [`std::sync::OnceLock`], for coroutines and threads: whoever comes while another one
/// initialises is parked.
///
/// If the initialiser panics or is cancelled, the next one is called.
///
/// # Examples
///
/// ```
/// use pirn::sync::OnceLock;
///
/// static NAME: OnceLock<String> = OnceLock::new();
///
/// let name = pirn::spawn(|| NAME.get_or_init(|| "pirn".into()).as_str()).join().unwrap();
/// assert_eq!(name, "pirn");
/// assert_eq!(NAME.get().map(String::len), Some(4));
/// ```
///
/// What it holds may not borrow what goes before it does:
///
/// ```compile_fail,E0597
/// let cell = pirn::sync::OnceLock::new();
/// {
///     struct Sees<'a>(&'a str);
///
///     impl Drop for Sees<'_> {
///         fn drop(&mut self) {}
///     }
///
///     let text = String::new();
///     let _ = cell.set(Sees(&text));
/// }
/// ```
#[derive(Clone, Eq)]
pub struct OnceLock<T> {
    gate: Gate,
    /// Written by whoever is in the gate, so nobody ever waits in there. std's type has what can
    /// only be written in std: a drop that does not look at what it drops.
    value: std::sync::OnceLock<T>,
}

/// Lets one in at a time until the value is there. A clone has nobody in it.
struct Gate(Once);

impl Clone for Gate {
    fn clone(&self) -> Gate {
        Gate(Once::new())
    }
}

impl PartialEq for Gate {
    fn eq(&self, _: &Gate) -> bool {
        true
    }
}

impl Eq for Gate {}

impl<T> OnceLock<T> {
    /// An empty one.
    #[inline]
    #[must_use]
    pub const fn new() -> OnceLock<T> {
        OnceLock { gate: Gate(Once::new()), value: std::sync::OnceLock::new() }
    }

    /// The value, if there is one. Does not wait.
    #[inline]
    pub fn get(&self) -> Option<&T> {
        self.value.get()
    }

    /// The value, if there is one.
    #[inline]
    pub fn get_mut(&mut self) -> Option<&mut T> {
        self.value.get_mut()
    }

    /// Waits until there is a value.
    #[inline]
    pub fn wait(&self) -> &T {
        if let Some(value) = self.get() {
            return value;
        }
        self.gate.0.wait_force();
        self.initialized()
    }

    /// Makes `value` the value. If somebody else is about to, waits for that.
    ///
    /// # Errors
    ///
    /// If there is a value; the error has the one that was given.
    #[inline]
    pub fn set(&self, value: T) -> Result<(), T> {
        let mut value = Some(value);
        self.get_or_init(|| value.take().expect("called once"));
        value.map_or(Ok(()), Err)
    }

    /// The value; calls `f` to make it if there is none.
    ///
    /// Of several who come at once one calls its function, and the others wait. To come again from
    /// within that function never returns.
    ///
    /// # Panics
    ///
    /// If `f` panics; then there is still no value.
    #[inline]
    pub fn get_or_init<F>(&self, f: F) -> &T
    where
        F: FnOnce() -> T,
    {
        match self.get() {
            Some(value) => value,
            None => self.initialize(f),
        }
    }

    #[cold]
    fn initialize(&self, f: impl FnOnce() -> T) -> &T {
        self.gate.0.call_once_force(|_| {
            // A clone, or one made from a value, has it already, but then nobody comes here.
            let set = self.value.set(f());
            debug_assert!(set.is_ok(), "only one is in the gate");
        });
        self.initialized()
    }

    fn initialized(&self) -> &T {
        self.get().expect("the gate is open only when there is a value")
    }

    /// The value.
    #[inline]
    pub fn into_inner(self) -> Option<T> {
        self.value.into_inner()
    }

    /// Takes the value out; then it is empty again.
    #[inline]
    pub fn take(&mut self) -> Option<T> {
        self.gate = Gate(Once::new());
        self.value.take()
    }
}

impl<T> Default for OnceLock<T> {
    #[inline]
    fn default() -> OnceLock<T> {
        OnceLock::new()
    }
}

impl<T: fmt::Debug> fmt::Debug for OnceLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value.fmt(f)
    }
}

impl<T> From<T> for OnceLock<T> {
    #[inline]
    fn from(value: T) -> Self {
        OnceLock { gate: Gate(Once::new()), value: value.into() }
    }
}

impl<T: PartialEq> PartialEq for OnceLock<T> {
    #[inline]
    fn eq(&self, other: &OnceLock<T>) -> bool {
        self.value == other.value
    }
}
