//! Tokens that outlive the runtime in which they were used.

use crate::support::runtime;
use pirn::{CancelToken, thread};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};

/// Whoever cancels may do so because its runtime ends, where no coroutine begins any more.
#[test]
fn a_callback_is_called_when_the_runtime_of_whoever_cancels_ends() {
    for workers in [1, 2] {
        let runtime = runtime(workers);
        let token = CancelToken::new();
        let calls = Arc::new(AtomicUsize::new(0));
        for _ in 0..10 {
            let calls = calls.clone();
            let callback = token.on_cancel(move |cause| {
                assert_eq!(cause.to_string(), "cancelled");
                thread::yield_now();
                calls.fetch_add(1, Ordering::SeqCst);
            });
            callback.detach();
        }
        let (begun, begins) = mpsc::channel();
        let guard = token.drop_guard();
        runtime.spawn(move || {
            let _guard = guard;
            begun.send(()).unwrap();
            thread::park();
        });
        begins.recv().unwrap();
        drop(runtime);
        assert!(token.is_cancelled());
        // The runtime has waited for them.
        assert_eq!(calls.load(Ordering::SeqCst), 10);
    }
}
