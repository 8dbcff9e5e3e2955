//! `Send`, `Sync`, `Unpin`, `UnwindSafe` and `RefUnwindSafe` of the types of `pirn::thread`
//! and `pirn::io`: a table against std's.

use std::cell::Cell;
use std::fmt::Debug;
use std::marker::PhantomData;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::rc::Rc;
use std::sync::MutexGuard;

struct Probe<T: ?Sized>(PhantomData<T>);

/// Says for a type whether it implements a trait: the method of the type itself comes before that
/// of its reference.
macro_rules! probe {
    ($($method:ident $no:ident $bound:path;)*) => {
        $(
            impl<T: ?Sized + $bound> Probe<T> {
                fn $method(&self) -> bool {
                    true
                }
            }

            trait $no {
                fn $method(&self) -> bool {
                    false
                }
            }

            impl<T: ?Sized> $no for &Probe<T> {}
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
    is_clone NoClone Clone;
}

#[derive(Debug, PartialEq, Eq)]
struct Traits {
    send: bool,
    sync: bool,
    unpin: bool,
    unwind_safe: bool,
    ref_unwind_safe: bool,
    debug: bool,
    clone: bool,
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
            clone: probe.is_clone(),
        }
    }};
}

#[test]
fn the_probe_tells_apart() {
    let plain = traits!(u8);
    assert!(plain.send && plain.sync && plain.unpin && plain.unwind_safe && plain.clone);
    let rc = traits!(Rc<u8>);
    assert!(!rc.send && !rc.sync && rc.debug);
    let cell = traits!(Cell<u8>);
    assert!(cell.send && !cell.sync && !cell.ref_unwind_safe);
    let guard = traits!(MutexGuard<'static, u8>);
    assert!(!guard.send && guard.sync && !guard.clone);
    let pinned = traits!(std::marker::PhantomPinned);
    assert!(!pinned.unpin);
    assert!(!traits!(&'static mut u8).unwind_safe);
}

#[test]
fn the_types_of_thread_are_as_stds() {
    macro_rules! same {
        ($($type:ident $(<$($arg:tt),*>)?),* $(,)?) => {
            $(assert_eq!(
                traits!(pirn::thread::$type $(<$($arg),*>)?),
                traits!(std::thread::$type $(<$($arg),*>)?),
                "{}", stringify!($type $(<$($arg),*>)?)
            );)*
        };
    }
    type Shared = Rc<u8>;
    type Celled = Cell<u8>;
    type Guard = MutexGuard<'static, u8>;
    type Pinned = std::marker::PhantomPinned;
    type Exclusive = &'static mut u8;
    same!(
        Thread,
        ThreadId,
        Builder,
        JoinHandle<u8>,
        JoinHandle<Shared>,
        JoinHandle<Celled>,
        JoinHandle<Guard>,
        JoinHandle<Pinned>,
        JoinHandle<Exclusive>,
        ScopedJoinHandle<'static, u8>,
        ScopedJoinHandle<'static, Shared>,
        ScopedJoinHandle<'static, Celled>,
        ScopedJoinHandle<'static, Guard>,
        ScopedJoinHandle<'static, Pinned>,
        Scope<'static, 'static>,
    );
}

#[test]
fn the_types_of_io_are_as_stds() {
    macro_rules! same {
        ($($type:ident $(<$lifetime:lifetime>)?),* $(,)?) => {
            $(assert_eq!(
                traits!(pirn::io::$type $(<$lifetime>)?),
                traits!(std::io::$type $(<$lifetime>)?),
                "{}", stringify!($type)
            );)*
        };
    }
    same!(PipeReader, PipeWriter, Stdin, StdinLock<'static>, Stdout, StdoutLock<'static>);
    same!(Stderr, StderrLock<'static>);
}

#[test]
fn what_std_does_not_have() {
    let local = traits!(pirn::thread::LocalJoinHandle<u8>);
    assert!(!local.send && !local.sync && local.debug);
    let runtime = traits!(pirn::Runtime);
    assert!(runtime.send && runtime.sync && runtime.unpin && runtime.debug && !runtime.clone);
    let builder = traits!(pirn::Builder);
    assert!(builder.send && builder.sync && builder.debug);
    for plain in [
        traits!(pirn::Metrics),
        traits!(pirn::Stall),
        traits!(pirn::Cancelled),
        traits!(pirn::thread::Exited),
        traits!(pirn::ShutdownTimeout),
    ] {
        assert!(plain.send && plain.sync && plain.unpin && plain.unwind_safe && plain.clone);
        assert!(plain.debug);
    }
}

#[test]
fn ids_are_hashed_and_compared() {
    fn is_key<T: Eq + std::hash::Hash + Copy>() {}
    is_key::<std::thread::ThreadId>();
    is_key::<pirn::thread::ThreadId>();
}

#[test]
fn the_probe_sees_what_has_no_debug() {
    struct Mute;

    assert!(!traits!(Mute).debug);
}
