//! What the tests of this folder share.

use pirn::{Builder, Runtime};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// A wait that is not to come to its end.
pub(crate) const LONG: Duration = Duration::from_secs(600);
/// A limit that is to pass.
pub(crate) const SHORT: Duration = Duration::from_millis(2);

pub(crate) fn runtime(workers: usize) -> Runtime {
    Builder::new().workers(workers).build().expect("a runtime")
}

/// Counts its drops.
#[derive(Clone, Default)]
pub(crate) struct Drops(pub(crate) Arc<AtomicUsize>);

impl Drops {
    pub(crate) fn get(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }

    pub(crate) fn guard(&self) -> DropGuard {
        DropGuard(self.0.clone())
    }
}

pub(crate) struct DropGuard(Arc<AtomicUsize>);

impl Drop for DropGuard {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// Waits until a condition that others bring about holds.
pub(crate) fn until(mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(240), "it never came");
        pirn::thread::sleep(Duration::from_micros(100));
    }
}
