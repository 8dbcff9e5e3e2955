//! Trying for a future, which goes away with "pending" where a coroutine would park.

use crate::netpoller::driver::{PollDriver, claim, wake};
use crate::netpoller::source::SHORT_READ_DRAINS;
use crate::netpoller::{Done, Side, Source};
use crate::sched;
use std::io;
use std::os::fd::BorrowedFd;
use std::task::{Context, Poll};

impl Source {
    /// Calls `op` until it does not block any more, or sees to it that the task is woken when it
    /// will not. The last task that polls a side is the one that is woken.
    ///
    /// `elsewhere` gives a driver to whoever is no worker of a runtime.
    ///
    /// # Errors
    ///
    /// - What `op` says, but for `Interrupted`, which is tried again.
    /// - What `elsewhere` and the poller say if the descriptor cannot be registered.
    pub(crate) fn poll_io<T>(
        &self,
        side: Side,
        context: &mut Context<'_>,
        elsewhere: impl Fn() -> io::Result<PollDriver>,
        mut op: impl FnMut(BorrowedFd<'_>) -> io::Result<Done<T>>,
    ) -> Poll<io::Result<T>> {
        let readiness = &self.slot.readiness;
        loop {
            let seen = readiness.seen(side);
            if !seen.is_drained() {
                match op(self.as_fd()) {
                    Ok(done) => {
                        if done.drained && SHORT_READ_DRAINS {
                            self.slot.note_short_read(seen);
                        }
                        drop(readiness.pass(side, claim));
                        sched::cooperate();
                        return Poll::Ready(Ok(done.value));
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    Err(error) if error.kind() != io::ErrorKind::WouldBlock => {
                        drop(readiness.pass(side, claim));
                        return Poll::Ready(Err(error));
                    }
                    Err(_) => {}
                }
            }
            if let Err(error) = self.await_edges(side, &elsewhere) {
                return Poll::Ready(Err(error));
            }
            let waker = context.waker().clone();
            let Some(queue) = readiness.lock_if_current(side, seen) else { continue };
            let old = queue.leave_waker(waker);
            old.filter(|old| !old.will_wake(context.waker())).into_iter().for_each(wake);
            return Poll::Pending;
        }
    }

    fn await_edges(
        &self,
        side: Side,
        elsewhere: &impl Fn() -> io::Result<PollDriver>,
    ) -> io::Result<()> {
        if sched::in_coroutine() {
            self.slot.register(self.as_fd())?;
        } else if self.slot.registered_with() == 0 {
            self.slot.register_with(self.as_fd(), elsewhere()?)?;
        }
        self.slot.rearm(self.as_fd(), side)
    }
}
