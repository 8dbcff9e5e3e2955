//! The poller of one processor, as the scheduler's [`Driver`].

#![expect(unsafe_code, reason = "claims the tickets that its slots hold")]

use crate::coroutine::contained;
use crate::netpoller::slot::{self, Slot};
use crate::netpoller::source::Side;
use crate::park::{Claimed, Ticket};
use crate::primitive::lock;
use crate::protocol::readiness::Edges;
use crate::sched::{Driver, Processor};
use netpoll::{Event, Events, Poller};
use std::any::Any;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, TryLockError};
use std::task::Waker;
use std::time::Duration;

/// Events taken from the system at a time.
const BATCH: usize = 256;
/// For so many of them, the memory is asked for at a time: as much as the first cache has room for.
const AHEAD: usize = 32;
/// So few are dispatched sooner than their memory would come.
const FEW: usize = 4;

/// See the module's description. A handle: clones are the same poller.
#[derive(Clone)]
pub(crate) struct PollDriver(Arc<Inner>);

struct Inner {
    /// Unique in the process and never 0, so that a slot can say where it is registered.
    number: u32,
    poller: Poller,
    waker: netpoll::Waker,
    /// Set by an interrupt, and taken back by the next poll that would wait. The waker alone is not
    /// enough: what it leaves is one event, and whoever polls on another's behalf takes that.
    interrupted: AtomicBool,
    events: Mutex<Events>,
}

impl PollDriver {
    pub(crate) fn new() -> io::Result<PollDriver> {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let poller = Poller::new()?;
        // No number is given twice.
        let number = NEXT
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |number| number.checked_add(1))
            .map_err(|_| io::Error::other("this process has made four billion pollers"))?;
        Ok(PollDriver(Arc::new(Inner {
            number,
            waker: poller.waker(),
            poller,
            interrupted: AtomicBool::new(false),
            events: Mutex::new(Events::with_capacity(BATCH)),
        })))
    }

    /// That of a processor.
    pub(crate) fn of(processor: &Processor) -> Option<&PollDriver> {
        processor.driver.as_any().downcast_ref()
    }

    pub(crate) fn poller(&self) -> &Poller {
        &self.0.poller
    }
}

impl Inner {
    /// Takes an interrupt back, for a poll that waits. `false`: there was none. One that comes after
    /// this look writes to the waker after it, which ends the poll.
    #[inline]
    fn take_interrupt(&self) -> bool {
        // Seldom is there one, and a look costs less than an exchange.
        self.interrupted.load(Ordering::Acquire) && self.interrupted.swap(false, Ordering::AcqRel)
    }
}

impl Driver for PollDriver {
    fn poll(&self, timeout: Option<Duration>) -> usize {
        let mut events = match self.0.events.try_lock() {
            Ok(events) => events,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            // Its machine is polling: what there is to see, it sees.
            Err(TryLockError::WouldBlock) => return 0,
        };
        // With the events locked: from here to the end of the poll nobody else takes the waker's.
        let waits = timeout != Some(Duration::ZERO);
        let timeout = if waits && self.0.take_interrupt() { Some(Duration::ZERO) } else { timeout };
        let polled = self.0.poller.poll(&mut events, timeout);
        if waits {
            // Whoever has interrupted until now has ended this poll: its caller looks around next.
            self.0.take_interrupt();
        }
        match polled {
            Ok(count) => {
                let mut tasks = Vec::new();
                dispatch_all(&events, &mut tasks);
                // A waker may block, on sysmon's thread: the machine is to wait for its events meanwhile.
                drop(events);
                if !tasks.is_empty() {
                    wake_tasks(tasks);
                }
                count
            }
            Err(_) => {
                // Out of memory in the kernel: the next poll tries again. Not to spin meanwhile.
                std::thread::yield_now();
                0
            }
        }
    }

    fn interrupt(&self) {
        self.0.interrupted.store(true, Ordering::Release);
        // An eventfd or pipe that is there can be written to.
        let _written = self.0.waker.wake();
    }

    fn close(&self) {
        slot::for_each(|slot| {
            if slot.registered_with() == self.0.number && slot.forget(self.0.number) {
                for side in [Side::Read, Side::Write] {
                    wake_all(slot, side);
                }
            }
        });
    }

    fn number(&self) -> u32 {
        self.0.number
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// Tells waiters of what a poll has reported. Tasks are left to the caller.
fn dispatch_all(events: &Events, tasks: &mut Vec<Waker>) {
    let mut left = events.iter();
    if left.len() < FEW {
        return left.for_each(|event| dispatch(event, slot::get(event.key()), tasks));
    }
    while left.len() > 0 {
        let mut slots = [None; AHEAD];
        // All at a time, so that one does not wait for the other, which the locked instructions of a
        // dispatch would make it do.
        for (slot, event) in slots.iter_mut().zip(left.clone()) {
            *slot = slot::get(event.key());
            slot.inspect(|slot| slot.prefetch());
        }
        let chunk = slots.iter().zip(left.by_ref());
        slots.iter().flatten().for_each(|slot| slot.prefetch_waiter());
        chunk.for_each(|(slot, event)| dispatch(event, *slot, tasks));
    }
}

/// Tells a slot's waiters of an event.
#[inline]
fn dispatch(event: Event, slot: Option<&'static Slot>, tasks: &mut Vec<Waker>) {
    let Some(slot) = slot.filter(|slot| slot.is_named_by(event.key())) else { return };
    if event.is_read_closed() || event.is_write_closed() || event.is_priority() {
        return dispatch_end(slot, event, tasks);
    }
    tell(slot, event.is_readable(), event.is_writable(), tasks);
}

/// Tells one waiter of each side.
#[inline]
fn tell(slot: &Slot, read: bool, write: bool, tasks: &mut Vec<Waker>) {
    if let Some(Edges { read, write }) = slot.readiness.edge(read, write, claim) {
        drop((read.claimed, write.claimed));
        note(tasks, read.polled);
        note(tasks, write.polled);
    }
}

#[inline]
fn note(tasks: &mut Vec<Waker>, waker: Option<Waker>) {
    if let Some(waker) = waker {
        note_one(tasks, waker);
    }
}

/// By itself: most of those who wait are coroutines.
#[cold]
fn note_one(tasks: &mut Vec<Waker>, waker: Waker) {
    tasks.push(waker);
}

#[cold]
fn wake_tasks(tasks: Vec<Waker>) {
    tasks.into_iter().for_each(wake);
}

/// Of the end of a stream, of an error, or of urgent data.
#[cold]
fn dispatch_end(slot: &Slot, event: Event, tasks: &mut Vec<Waker>) {
    // Before the edge: whoever has seen its epoch has seen this. A slot that has been freed meanwhile
    // is or will be another's, for whom nothing has ended.
    if !slot.readiness.end_draining(|| slot.is_named_by(event.key())) {
        return;
    }
    let (all_read, all_write) =
        (event.is_read_closed() || event.is_error(), event.is_write_closed());
    if all_read {
        tell_all(slot, Side::Read, tasks);
    }
    if all_write {
        tell_all(slot, Side::Write, tasks);
    }
    let (read, write) = (event.is_readable() && !all_read, event.is_writable() && !all_write);
    if read || write {
        tell(slot, read, write, tasks);
    }
}

/// Tells all waiters of a side.
fn tell_all(slot: &Slot, side: Side, tasks: &mut Vec<Waker>) {
    let mut claimed = Vec::new();
    let edge = slot.readiness.edge_all(side, |ticket| claimed.extend(claim(ticket)));
    drop(claimed);
    note(tasks, edge.polled);
}

pub(super) fn wake_all(slot: &Slot, side: Side) {
    let mut tasks = Vec::new();
    tell_all(slot, side, &mut tasks);
    wake_tasks(tasks);
}

/// A waker may be of any executor, and is called on a machine's own stack.
#[inline]
pub(super) fn wake(waker: Waker) {
    contained(|| waker.wake());
}

/// For tickets found in a slot's queue, whose lock is held.
#[inline]
pub(super) fn claim(ticket: Ticket) -> Option<Claimed> {
    // SAFETY: a waiter leaves the queue, for which it needs the lock, before its wait returns.
    unsafe { ticket.claim() }
}

/// Locks the registration of a slot.
pub(super) fn lock_registration<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    lock(mutex)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;
    use std::sync::mpsc;
    use std::task::Wake;
    use std::thread;
    use std::time::Instant;

    const LONG: Duration = Duration::from_secs(240);

    /// A machine is interrupted on its way to sleep, and sysmon, for which it was stuck a moment
    /// ago, polls in between.
    #[test]
    fn an_interrupt_is_the_waiting_polls() {
        let driver = PollDriver::new().unwrap();
        driver.interrupt();
        driver.poll(Some(Duration::ZERO));
        let begun = Instant::now();
        driver.poll(Some(LONG));
        assert!(begun.elapsed() < LONG / 2, "the interrupt is lost");
    }

    /// As sysmon polls for a machine that was stuck a moment ago, and calls what is a user's.
    #[test]
    fn a_waker_that_blocks_keeps_nobody_from_polling() {
        struct Blocks {
            called: mpsc::Sender<()>,
            held: Mutex<()>,
        }

        impl Wake for Blocks {
            fn wake(self: Arc<Self>) {
                self.called.send(()).unwrap();
                drop(lock(&self.held));
            }
        }

        let driver = PollDriver::new().unwrap();
        let (called, is_called) = mpsc::channel();
        let blocks = Arc::new(Blocks { called, held: Mutex::new(()) });
        let held = lock(&blocks.held);
        let (polled, mut peer) = UnixStream::pair().unwrap();
        let slot = slot::allocate();
        slot.register_with(polled.as_fd(), driver.clone()).unwrap();
        slot.rearm(polled.as_fd(), Side::Read).unwrap();
        let seen = slot.readiness.seen(Side::Read);
        let queue = slot.readiness.lock_if_current(Side::Read, seen).unwrap();
        assert!(queue.leave_waker(blocks.clone().into()).is_none());
        peer.write_all(b"one").unwrap();
        thread::scope(|scope| {
            scope.spawn(|| driver.poll(Some(Duration::ZERO)));
            is_called.recv().unwrap();
            let (other, mut its_peer) = UnixStream::pair().unwrap();
            let another = slot::allocate();
            another.register_with(other.as_fd(), driver.clone()).unwrap();
            another.rearm(other.as_fd(), Side::Read).unwrap();
            its_peer.write_all(b"two").unwrap();
            let events = driver.poll(Some(Duration::ZERO));
            drop(held);
            assert_eq!(events, 1);
            another.deregister(other.as_fd());
            another.free();
        });
        slot.deregister(polled.as_fd());
        slot.free();
    }

    #[test]
    fn an_interrupt_is_used_up() {
        let driver = PollDriver::new().unwrap();
        driver.interrupt();
        driver.poll(Some(LONG));
        let begun = Instant::now();
        driver.poll(Some(Duration::from_millis(20)));
        assert!(begun.elapsed() >= Duration::from_millis(20), "polls spin");
    }
}
