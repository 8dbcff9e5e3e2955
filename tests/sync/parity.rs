//! Texts, sizes and constructors: as std's.

use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What both libraries give for the same code.
macro_rules! same {
    ($($code:tt)*) => {{
        let ours = {
            use pirn::sync::*;
            $($code)*
        };
        let stds = {
            use std::sync::*;
            $($code)*
        };
        assert_eq!(ours, stds);
    }};
}

fn debug(value: &(impl Debug + ?Sized)) -> String {
    format!("{value:?} {value:#?}")
}

fn message(f: impl FnOnce()) -> String {
    let payload = catch_unwind(AssertUnwindSafe(f)).unwrap_err();
    match payload.downcast::<String>() {
        Ok(text) => *text,
        Err(payload) => (*payload.downcast::<&str>().unwrap()).to_owned(),
    }
}

#[test]
fn debug_texts() {
    same!(debug(&Mutex::new("data")));
    same!({
        let mutex = Mutex::new(1);
        let _guard = mutex.lock().unwrap();
        debug(&mutex)
    });
    same!({
        let mutex = Mutex::new(1);
        let poisoning = message(|| {
            let _guard = mutex.lock();
            panic!("on purpose");
        });
        poisoning + &debug(&mutex) + &debug(&mutex.lock()) + &debug(&mutex.try_lock())
    });
    same!(debug(&*Mutex::new(Some(1)).lock().unwrap()));
    same!(debug(&Mutex::new(Some(1)).lock().unwrap()));
    same!(format!("{}", Mutex::new(1).lock().unwrap()));
    same!(debug(&RwLock::new("data")));
    same!({
        let lock = RwLock::new(1);
        let _guard = lock.write().unwrap();
        debug(&lock)
    });
    same!({
        let lock = RwLock::new(1);
        let guard = lock.read().unwrap();
        debug(&lock) + &debug(&guard) + &format!("{guard}")
    });
    same!(debug(&RwLock::new(1).write().unwrap()));
    same!(format!("{}", RwLock::new(1).write().unwrap()));
    same!(debug(&Condvar::new()));
    same!(debug(&Barrier::new(1)) + &debug(&Barrier::new(1).wait()));
    same!(debug(&Once::new()));
    same!({
        let mut text = String::new();
        Once::new().call_once_force(|state| text = debug(state));
        text
    });
    same!(debug(&OnceLock::<u8>::new()) + &debug(&OnceLock::from(1)));
    same!({
        let lazy: LazyLock<u8> = LazyLock::new(|| 1);
        let before = debug(&lazy);
        before + &debug(LazyLock::force(&lazy)) + &debug(&lazy)
    });
}

#[test]
fn panic_messages() {
    same!({
        let once = Once::new();
        let first = message(|| once.call_once(|| panic!("on purpose")));
        first + &message(|| once.call_once(|| ())) + &message(|| once.wait())
    });
    same!({
        let lazy: LazyLock<String> = LazyLock::new(|| panic!("on purpose"));
        let (first, second) = (message(|| drop(lazy.clone())), message(|| drop(lazy.clone())));
        first + &second
    });
    same!({
        let mut lazy: LazyLock<String> = LazyLock::new(|| panic!("on purpose"));
        let first = message(|| drop(LazyLock::force_mut(&mut lazy).clone()));
        first + &message(|| drop(LazyLock::force_mut(&mut lazy).clone()))
    });
}

#[test]
fn made_from_values_and_by_default() {
    same!({
        (
            *Mutex::<u8>::default().lock().unwrap(),
            *RwLock::<u8>::default().read().unwrap(),
            OnceLock::<u8>::default().get().copied(),
            *LazyLock::<u8>::default(),
            *Mutex::from(3).lock().unwrap(),
            *RwLock::from(4).read().unwrap(),
            OnceLock::from(5).into_inner(),
        )
    });
    let _by_default = (pirn::sync::Condvar::default(), std::sync::Condvar::default());
    same!({
        let one = OnceLock::from(1);
        (one == one.clone(), one == OnceLock::new(), OnceLock::<u8>::new() == OnceLock::new())
    });
}

#[test]
fn all_are_const() {
    use pirn::sync::{Barrier, Condvar, LazyLock, Mutex, Once, OnceLock, RwLock};

    static MUTEX: Mutex<Vec<u8>> = Mutex::new(Vec::new());
    static RWLOCK: RwLock<Vec<u8>> = RwLock::new(Vec::new());
    static CONDVAR: Condvar = Condvar::new();
    static BARRIER: Barrier = Barrier::new(1);
    static ONCE: Once = Once::new();
    static CELL: OnceLock<Vec<u8>> = OnceLock::new();
    static LAZY: LazyLock<Vec<u8>> = LazyLock::new(Vec::new);

    MUTEX.lock().unwrap().push(1);
    RWLOCK.write().unwrap().push(1);
    CONDVAR.notify_all();
    assert!(BARRIER.wait().is_leader());
    ONCE.call_once(|| ());
    assert_eq!(CELL.get_or_init(Vec::new), &*LAZY);
}

#[test]
fn sizes() {
    assert_eq!(size_of::<pirn::sync::Mutex<()>>(), 8);
    assert_eq!(size_of::<pirn::sync::Mutex<u64>>(), size_of::<std::sync::Mutex<u64>>());
    assert_eq!(size_of::<pirn::sync::RwLock<u64>>(), size_of::<std::sync::RwLock<u64>>());
    assert_eq!(size_of::<pirn::sync::Condvar>(), 8);
    assert_eq!(size_of::<pirn::sync::Once>(), 8);
    assert!(size_of::<pirn::sync::Barrier>() <= size_of::<std::sync::Barrier>());
}

#[test]
fn unsized_contents_and_guards() {
    use pirn::sync::{Arc, Mutex, MutexGuard, RwLock};

    let mutex: Arc<Mutex<[u8]>> = Arc::new(Mutex::new([1, 2, 3]));
    mutex.lock().unwrap()[0] = 7;
    let lock: &RwLock<dyn Debug + Send> = &RwLock::new(5);
    assert_eq!(format!("{lock:?}"), "RwLock { data: 5, poisoned: false, .. }");
    assert_eq!(format!("{:?}", lock.read().unwrap()), "5");
    // Guards are covariant in nothing and shorten their lifetimes.
    fn shorter<'a>(guard: MutexGuard<'static, u8>, _: &'a u8) -> MutexGuard<'a, u8> {
        guard
    }
    static LONG: Mutex<u8> = Mutex::new(1);
    assert_eq!(*shorter(LONG.lock().unwrap(), &0), 1);
}
