//! What the tests of this folder share.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

/// Calls `test` on a plain thread, and in coroutines of runtimes of several sizes.
pub(crate) fn everywhere(test: impl Fn() + Send + Sync) {
    test();
    for workers in [1, 2] {
        pirn::Builder::new().workers(workers).build().unwrap().run(&test);
    }
}

/// Counts how often it is woken.
#[derive(Default)]
pub(crate) struct Count(AtomicUsize);

impl Count {
    pub(crate) fn new() -> (Arc<Count>, Waker) {
        let count = Arc::new(Count::default());
        (count.clone(), count.into())
    }

    pub(crate) fn get(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// Polls once.
pub(crate) fn poll<F: Future>(future: Pin<&mut F>, waker: &Waker) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(waker))
}

/// Ready once it was told, by however many.
#[derive(Clone, Default)]
pub(crate) struct Flag(Arc<Mutex<(bool, Vec<Waker>)>>);

impl Flag {
    pub(crate) fn set(&self) {
        let mut inner = self.0.lock().unwrap();
        inner.0 = true;
        let wakers = std::mem::take(&mut inner.1);
        drop(inner);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Wakes without a reason.
    pub(crate) fn poke(&self) {
        let wakers = self.0.lock().unwrap().1.clone();
        wakers.into_iter().for_each(Waker::wake);
    }

    pub(crate) fn is_polled(&self) -> bool {
        !self.0.lock().unwrap().1.is_empty()
    }
}

impl Future for Flag {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut inner = self.0.lock().unwrap();
        if inner.0 {
            return Poll::Ready(());
        }
        inner.1.push(context.waker().clone());
        Poll::Pending
    }
}

/// Waits for a condition that others bring about.
pub(crate) fn until(mut holds: impl FnMut() -> bool) {
    while !holds() {
        pirn::thread::yield_now();
    }
}
