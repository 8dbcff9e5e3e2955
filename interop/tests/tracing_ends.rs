//! What a subscriber makes when a coroutine ends.

use pirn::channel::{Receiver, bounded};
use pirn::thread::{CancelHandle, spawn_local, yield_now};
use pirn::tracing::{Follow, with_default};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::{Mutex, mpsc};
use std::time::Duration;
use tracing::span::Id;
use tracing::{Dispatch, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

pirn::coroutine_local! {
    static LATE: RefCell<Option<WaitsOnDrop>> = const { RefCell::new(None) };
}

/// Waits at its end until nobody can send any more.
struct WaitsOnDrop(Receiver<()>);

impl Drop for WaitsOnDrop {
    fn drop(&mut self) {
        self.0.recv().unwrap_err();
    }
}

/// A layer that leaves that with the first coroutine whose span is closed.
struct MakesAtTheEnd(Mutex<Option<WaitsOnDrop>>);

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for MakesAtTheEnd {
    fn on_close(&self, id: Id, context: Context<'_, S>) {
        if context.span(&id).unwrap().name() == "coroutine" {
            LATE.set(self.0.lock().unwrap().take());
        }
    }
}

/// The joiner has been cancelled by the time that the end of what it joins shows, and that still waits for
/// the joiner at its end.
#[test]
fn a_cancelled_joiner_does_not_wait_for_what_comes_late() {
    let (done, is_done) = mpsc::channel();
    std::thread::spawn(move || {
        let runtime = pirn::Builder::new().workers(1).build().unwrap();
        let (sender, receiver) = bounded(0);
        let layer = MakesAtTheEnd(Mutex::new(Some(WaitsOnDrop(receiver))));
        let dispatch = Dispatch::new(Follow::new(tracing_subscriber::registry().with(layer)));
        let joined = runtime.run(|| {
            let (tell, told) = bounded::<CancelHandle>(1);
            let child = with_default(&dispatch, || {
                spawn_local(move || {
                    told.recv().unwrap().cancel();
                })
            });
            let joins = Rc::new(Cell::new(false));
            let about_to = joins.clone();
            let joiner = spawn_local(move || {
                let _open: pirn::channel::Sender<()> = sender;
                about_to.set(true);
                child.join()
            });
            while !joins.get() {
                yield_now();
            }
            // On one worker: it waits by now.
            tell.send(joiner.cancel_handle()).unwrap();
            joiner.join().map(|_| ())
        });
        done.send(joined.is_err_and(|payload| payload.is::<pirn::Cancelled>())).unwrap();
    });
    assert_eq!(is_done.recv_timeout(Duration::from_secs(60)), Ok(true));
}
