//! Driving a future from where one may wait.

#![expect(unsafe_code, reason = "claims the ticket of whoever polls")]

use crate::coroutine::unwind_cancelled;
use crate::park::{self, Cancel, Claimed, Outcome, Ticket, WaitReason};
use crate::protocol::wakeup::Wakeup;
use crate::sched;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Instant;

/// What the wakers of one call share with it. They may outlive it.
struct Signal(Wakeup<Ticket>);

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        drop(self.0.wake(claim));
    }
}

/// For the ticket that was found with the lock held.
fn claim(ticket: Ticket) -> Option<Claimed> {
    // SAFETY: whoever polls takes its ticket back under that lock before its wait returns.
    unsafe { ticket.claim() }
}

/// Runs a future to its end, and parks the coroutine while it is pending; a plain thread blocks.
///
/// The future is polled here and nowhere else, so it need not be `Send`, and may borrow. It may be
/// of any library whose futures do not ask for a runtime of their own; for those that want tokio's,
/// the feature `tokio` has `pirn::tokio::run`.
///
/// This is a wait as any other: a cancellation or the end of a [`timeout`](crate::time::timeout)
/// unwinds from here, and drops the future where it is. A future that wakes itself lets others run
/// before it is polled again.
///
/// # Panics
///
/// A panic of the future comes out here.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// let (sender, receiver) = pirn::channel::bounded(0);
/// let worker = pirn::spawn(move || {
///     pirn::block_on(async {
///         let n: u32 = receiver.recv_async().await.unwrap();
///         n + 1
///     })
/// });
/// pirn::block_on(sender.send_async(41)).unwrap();
/// assert_eq!(worker.join().unwrap(), 42);
///
/// // The future is dropped when the time is over.
/// let never = std::future::pending::<()>();
/// assert!(pirn::time::timeout(Duration::from_millis(2), || pirn::block_on(never)).is_err());
/// ```
pub fn block_on<F: IntoFuture>(future: F) -> F::Output {
    let mut future = pin!(future.into_future());
    let signal = Arc::new(Signal(Wakeup::new()));
    let waker = Waker::from(signal.clone());
    let mut context = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
        signal.wait();
    }
}

impl Signal {
    /// Waits until somebody wakes, or has since the last time.
    fn wait(&self) {
        if self.0.take() {
            return give_way();
        }
        loop {
            let mut taken = false;
            let outcome = park::park(WaitReason::Future, None, Cancel::Deliver, |ticket| {
                let entered = self.0.enter(ticket);
                if !entered {
                    // Whoever has entered may run already, elsewhere: then this frame is not ours.
                    taken = true;
                }
                entered
            });
            if outcome == Outcome::Cancelled {
                self.0.leave();
                unwind_cancelled();
            }
            // Whatever else ended the wait: the wake was taken, and comes but once.
            if taken {
                return;
            }
            if outcome == Outcome::Woken {
                self.0.take();
                return;
            }
            self.0.leave();
        }
    }
}

/// Lets others run after a poll that was woken before it ended. A future that always is never
/// waits, so that nothing but this would ever end it.
fn give_way() {
    sched::yield_now();
    let passed = |deadline| deadline <= Instant::now();
    if park::is_over() || park::deadline().is_some_and(passed) {
        // Ends at once, for what is over.
        let outcome = park::park(WaitReason::Future, None, Cancel::Deliver, |_| true);
        if outcome == Outcome::Cancelled {
            unwind_cancelled();
        }
    }
}
