//! A subscriber that spawns when it is told of a switch.

use pirn::tracing::{Follow, with_default};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{self, Wake};
use tracing::span::Id;
use tracing::{Dispatch, Subscriber, info_span};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

/// A layer that spawns when it is first told of an exit, and then wants to be woken at the end of that.
#[derive(Default)]
struct Spawns {
    handle: Arc<Mutex<Option<pirn::thread::JoinHandle<()>>>>,
    woken: Arc<Woken>,
}

#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl<S: Subscriber> Layer<S> for Spawns {
    fn on_exit(&self, _: &Id, _: Context<'_, S>) {
        let mut handle = self.handle.lock().unwrap();
        if handle.is_none() {
            let spawned = handle.insert(pirn::spawn(|| ()));
            let waker = self.woken.clone().into();
            assert!(Pin::new(spawned).poll(&mut task::Context::from_waker(&waker)).is_pending());
        }
    }
}

/// A joiner that would run what it joins is told of another spawn as it leaves its spans.
#[test]
fn a_subscriber_spawns_at_a_join() {
    let spawns = Spawns::default();
    let (handle, woken) = (spawns.handle.clone(), spawns.woken.clone());
    let dispatch = Dispatch::new(Follow::new(tracing_subscriber::registry().with(spawns)));
    let runtime = pirn::Builder::new().workers(1).build().unwrap();
    runtime.run(move || {
        with_default(&dispatch, || {
            let _span = info_span!("joiner").entered();
            assert_eq!(pirn::spawn(|| 5).join().unwrap(), 5);
        });
    });
    let spawned = handle.lock().unwrap().take().expect("the span was left");
    spawned.join().unwrap();
    assert_eq!(woken.0.load(Ordering::SeqCst), 1);
}
