//! `Send`, `Sync`, `Unpin`, `UnwindSafe`, `RefUnwindSafe` and some other traits: a table against
//! std's.

use std::cell::Cell;
use std::fmt::{Debug, Display};
use std::marker::PhantomData;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::rc::Rc;

struct Probe<T>(PhantomData<T>);

/// Says for a type whether it implements a trait: the method of the type itself comes before that
/// of its reference.
macro_rules! probe {
    ($($method:ident $no:ident $bound:path;)*) => {
        $(
            impl<T: $bound> Probe<T> {
                fn $method(&self) -> bool {
                    true
                }
            }

            trait $no {
                fn $method(&self) -> bool {
                    false
                }
            }

            impl<T> $no for &Probe<T> {}
        )*
    };
}

probe! {
    is_send NoSend Send;
    is_sync NoSync Sync;
    is_unpin NoUnpin Unpin;
    is_unwind_safe NoUnwindSafe UnwindSafe;
    is_ref_unwind_safe NoRefUnwindSafe RefUnwindSafe;
    is_debug NoDebug Debug;
    is_display NoDisplay Display;
    is_clone NoClone Clone;
    is_copy NoCopy Copy;
    is_eq NoEq Eq;
    has_default NoDefault Default;
}

/// What has no trait that is asked about, so that each probe is used both ways.
struct Bare;

#[test]
fn the_probe_tells_what_is_missing() {
    let probe = &Probe::<Bare>(std::marker::PhantomData);
    assert!(!probe.is_debug() && probe.is_send());
}

#[derive(Debug, PartialEq, Eq)]
struct Traits {
    send: bool,
    sync: bool,
    unpin: bool,
    unwind_safe: bool,
    ref_unwind_safe: bool,
    debug: bool,
    display: bool,
    clone: bool,
    copy: bool,
    eq: bool,
    default: bool,
}

macro_rules! traits {
    ($type:ty) => {{
        let probe = &Probe::<$type>(PhantomData);
        Traits {
            send: probe.is_send(),
            sync: probe.is_sync(),
            unpin: probe.is_unpin(),
            unwind_safe: probe.is_unwind_safe(),
            ref_unwind_safe: probe.is_ref_unwind_safe(),
            debug: probe.is_debug(),
            display: probe.is_display(),
            clone: probe.is_clone(),
            copy: probe.is_copy(),
            eq: probe.is_eq(),
            default: probe.has_default(),
        }
    }};
}

#[test]
fn the_probe_tells_apart() {
    struct Mute;

    assert!(!traits!(Mute).debug);
    let plain = traits!(u8);
    assert!(plain.send && plain.sync && plain.unpin && plain.unwind_safe && plain.copy);
    assert!(plain.display && plain.eq && plain.default && plain.debug && plain.clone);
    let rc = traits!(Rc<Cell<f64>>);
    assert!(!rc.send && !rc.sync && !rc.copy && !rc.eq && !rc.display && !rc.unwind_safe);
    assert!(!traits!(Cell<u8>).ref_unwind_safe && !traits!(Cell<u8>).sync);
    assert!(!traits!(std::marker::PhantomPinned).unpin);
    assert!(!traits!(std::sync::MutexGuard<'static, u8>).default);
}

#[test]
fn the_types_of_sync_are_as_stds() {
    macro_rules! same {
        ($($type:ident $(<$($arg:tt),*>)?),* $(,)?) => {
            $(assert_eq!(
                traits!(pirn::sync::$type $(<$($arg),*>)?),
                traits!(std::sync::$type $(<$($arg),*>)?),
                "{}", stringify!($type $(<$($arg),*>)?)
            );)*
        };
    }
    macro_rules! same_for {
        ($($arg:ident),* $(,)?) => {
            $(same!(
                Mutex<$arg>,
                MutexGuard<'static, $arg>,
                RwLock<$arg>,
                RwLockReadGuard<'static, $arg>,
                RwLockWriteGuard<'static, $arg>,
                OnceLock<$arg>,
                LazyLock<$arg>,
                LazyLock<$arg, Unsend>,
                LazyLock<$arg, Unsync>,
                LazyLock<$arg, Exclusive>,
                PoisonError<$arg>,
                TryLockError<$arg>,
            );)*
        };
    }
    // In the place of initialisers too: what those capture is what matters.
    type Unsend = Rc<u8>;
    type Unsync = Cell<u8>;
    type Exclusive = &'static mut u8;

    type Pointer = *const u8;
    type SharedCell = &'static Cell<u8>;
    type Guard = std::sync::MutexGuard<'static, u8>;
    type Pinned = std::marker::PhantomPinned;
    same_for!(u8, f64, Unsend, Unsync, Exclusive, Pointer, SharedCell, Guard, Pinned,);
    same!(Condvar, WaitTimeoutResult, Barrier, BarrierWaitResult, Once, OnceState);
}

#[test]
fn read_guards_are_covariant() {
    fn shorten<'a>(
        guard: pirn::sync::RwLockReadGuard<'a, &'static str>,
    ) -> pirn::sync::RwLockReadGuard<'a, &'a str> {
        guard
    }
    let lock = pirn::sync::RwLock::new("text");
    assert_eq!(*shorten(lock.read().unwrap()), "text");
}
