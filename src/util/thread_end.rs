//! What a thread does at its very end, when the destructors of all thread-locals of std's have run.
//!
//! A destructor of a thread-local may call anything, and a thread-local that has a destructor itself is
//! gone then, or not, as they came into use. So what such a call needs stands in thread-locals without
//! one, which stay, and is dropped by a destructor of the system's (`pthread_key_create`).

#![expect(unsafe_code, reason = "keys of pthreads")]

use std::any::Any;
use std::cell::Cell;
use std::mem::ManuallyDrop;
use std::ptr;
use std::sync::OnceLock;

/// How many turns of the system's go by first: where std's destructors are run by such a key, too, they may
/// come in the second one, and nothing is known of the order within a turn. Four are granted at least.
const TURNS: usize = 2;

/// The bits of an address that say how many are over.
const PASSED: usize = 3;

/// Something to be called at the end of each thread that has asked for it.
///
/// Aligned, so that its address has room for [`PASSED`].
#[repr(align(4))]
pub(crate) struct ThreadEnd {
    run: fn(),
    key: OnceLock<Option<libc::pthread_key_t>>,
}

impl ThreadEnd {
    /// `run` must not panic. It may be called twice.
    pub(crate) const fn new(run: fn()) -> ThreadEnd {
        ThreadEnd { run, key: OnceLock::new() }
    }

    /// Has it called at the end of the calling thread. `false`: the system has no key or no memory left, and
    /// it is not.
    pub(crate) fn arm(&'static self) -> bool {
        self.key.get_or_init(make_key).is_some_and(|key| self.arm_with(key, 0))
    }

    fn arm_with(&'static self, key: libc::pthread_key_t, passed: usize) -> bool {
        let value = ptr::from_ref(self).map_addr(|address| address | passed);
        // SAFETY: the key has been made, and is never deleted.
        unsafe { libc::pthread_setspecific(key, value.cast()) == 0 }
    }
}

fn make_key() -> Option<libc::pthread_key_t> {
    let mut key = 0;
    // SAFETY: the address is that of a key, and `end` may be called with what is stored with that.
    let error = unsafe { libc::pthread_key_create(&raw mut key, Some(end)) };
    (error == 0).then_some(key)
}

/// Called by the system with what [`ThreadEnd::arm_with`] has stored.
unsafe extern "C" fn end(value: *mut libc::c_void) {
    let value = value.cast_const().cast::<ThreadEnd>();
    let passed = value.addr() & PASSED;
    let this = value.map_addr(|address| address & !PASSED);
    // SAFETY: it is the address of a static, but for the bits that its alignment leaves clear.
    let this: &'static ThreadEnd = unsafe { &*this };
    let again = |key: libc::pthread_key_t| passed < TURNS && this.arm_with(key, passed + 1);
    if !this.key.get().copied().flatten().is_some_and(again) {
        (this.run)();
    }
}

thread_local! {
    static KEPT: Cell<Option<ManuallyDrop<Box<dyn Any>>>> = const { Cell::new(None) };
}

static END: ThreadEnd = ThreadEnd::new(|| drop(KEPT.take().map(ManuallyDrop::into_inner)));

/// Keeps something until the end of the calling thread: once, for a thread of the runtime's own. `Err` gives
/// it back if that cannot be had.
pub(crate) fn keep(it: Box<dyn Any>) -> Result<(), Box<dyn Any>> {
    if !END.arm() {
        return Err(it);
    }
    KEPT.set(Some(ManuallyDrop::new(it)));
    Ok(())
}

/// Whether the calling thread keeps such a thing.
pub(crate) fn keeps<T: 'static>(such: impl FnOnce(&T) -> bool) -> bool {
    let kept = KEPT.take();
    let is_such = kept.as_ref().and_then(|it| it.downcast_ref()).is_some_and(such);
    KEPT.set(kept);
    is_such
}
