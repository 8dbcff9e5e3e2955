//! [`Key`]: the caller's name for a registration.

/// The caller's name for a registration, carried by every [`Event`](crate::Event) about it.
///
/// A key is an `index`, usually into a table of the caller's, and a `generation`. Descriptor
/// numbers and table entries are reused, and an event may have left the system before its
/// registration was deleted. Whoever gives every registration of an index a generation of its own
/// recognises such a stale event by comparing two integers.
///
/// # Examples
///
/// ```
/// use netpoll::Key;
///
/// let key = Key::new(7, 3);
/// assert_eq!((key.index(), key.generation()), (7, 3));
/// assert_eq!(Key::from(u64::from(key)), key);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    index: u32,
    generation: u32,
}

impl Key {
    /// The one key that no registration may have: the poller keeps it for its waker.
    pub const RESERVED: Key = Key::new(u32::MAX, u32::MAX);

    /// Makes a key of its two parts.
    #[inline]
    #[must_use]
    pub const fn new(index: u32, generation: u32) -> Key {
        Key { index, generation }
    }

    /// Which of the caller's entries this is about.
    #[inline]
    #[must_use]
    pub const fn index(self) -> u32 {
        self.index
    }

    /// Which of the successive users of that entry this is about.
    #[inline]
    #[must_use]
    pub const fn generation(self) -> u32 {
        self.generation
    }
}

/// The index is the low half. Keys of generation 0 are thus small numbers.
impl From<Key> for u64 {
    #[inline]
    fn from(key: Key) -> u64 {
        u64::from(key.generation) << 32 | u64::from(key.index)
    }
}

impl From<u64> for Key {
    #[inline]
    fn from(bits: u64) -> Key {
        Key { index: bits as u32, generation: (bits >> 32) as u32 }
    }
}
