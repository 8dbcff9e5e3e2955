//! What a program is told that is built with `panic = "abort"`, where nothing can be cancelled: an
//! error each time, and no abort.
//!
//! ```sh
//! cargo run --profile abort --example panic_abort
//! ```

use pirn::thread::{self, CancelOutcome};
use pirn::time::timeout;
use pirn::{CancelCause, CancelToken};
use std::time::Duration;

pub(crate) fn main() {
    let aborts = cfg!(panic = "abort");
    let elapsed = timeout(Duration::from_millis(1), thread::park).unwrap_err();
    println!("timeout: {elapsed}");
    assert_eq!(elapsed.is_unsupported(), aborts);

    let token = CancelToken::with_timeout(Duration::from_millis(1));
    let cause = token.run(thread::park).unwrap_err();
    println!("token: {cause}");
    assert_eq!(matches!(cause, CancelCause::Unsupported), aborts);

    let runtime = pirn::Builder::new().workers(1).build().expect("a runtime");
    let (begins, begun) = std::sync::mpsc::channel();
    let parked = runtime.spawn(move || {
        begins.send(()).expect("main waits");
        thread::park();
    });
    begun.recv().expect("it begins");
    let outcome = parked.cancel();
    println!("cancel: {outcome:?}");
    assert_eq!(outcome == CancelOutcome::Unsupported, aborts);

    // One that is parked when its runtime ends is waited for, with a limit. Where it can be cancelled
    // it is gone long before.
    let limit = Duration::from_secs(if aborts { 2 } else { 60 });
    let ended = runtime.shutdown(limit);
    println!("shutdown: {ended:?}");
    assert_eq!(ended.is_err(), aborts);
    if aborts {
        parked.thread().unpark();
    }
    let joined = parked.join();
    println!("join: {}", if joined.is_ok() { "it came to its end" } else { "it was cancelled" });
    assert_eq!(joined.is_ok(), aborts);
}
