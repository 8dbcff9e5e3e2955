//! What a thread does at its very end, when the destructors of all thread-locals of std's have run.
//!
//! A destructor of a thread-local may call anything, and a thread-local that has a destructor itself is
//! gone then, or not, as they came into use. So what such a call needs stands in thread-locals without
//! one, which stay, and is dropped by a destructor of the system's (`pthread_key_create`).

#![expect(unsafe_code, reason = "keys of pthreads")]

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

    /// Has it called at the end of the calling thread. Where the system has no key or no memory left, it
    /// is not: what was to be dropped stays.
    pub(crate) fn arm(&'static self) {
        if let Some(key) = *self.key.get_or_init(make_key) {
            self.arm_with(key, 0);
        }
    }

    fn arm_with(&'static self, key: libc::pthread_key_t, passed: usize) {
        let value = ptr::from_ref(self).map_addr(|address| address | passed);
        // SAFETY: the key has been made, and is never deleted.
        let _refused = unsafe { libc::pthread_setspecific(key, value.cast()) };
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
    match this.key.get() {
        Some(&Some(key)) if passed < TURNS => this.arm_with(key, passed + 1),
        _ => (this.run)(),
    }
}
