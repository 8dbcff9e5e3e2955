//! Sending and receiving as futures, for any executor.

#![expect(unsafe_code, reason = "queues what is pinned")]

use super::clock::Clock;
use super::error::{RecvError, SendError};
use super::host::Parking;
use super::receiver::{Flavour, host};
use super::{Receiver, Sender};
use crate::coroutine::{contained, unwind_cancelled};
use crate::park::{Ticket, WakerCell};
use crate::primitive::lock;
use crate::protocol::channel::{Polled, ReceiveStop, ReceiverHalf, SendStop};
use crate::sched;
use crate::thread::{self, JoinHandle};
use std::cell::UnsafeCell;
use std::fmt;
use std::marker::PhantomPinned;
use std::ops::Deref;
use std::pin::Pin;
use std::ptr::NonNull;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

/// A handle that is a future's own or borrowed.
pub(super) enum Held<'a, H> {
    #[cfg_attr(not(feature = "futures"), expect(dead_code, reason = "streams own theirs"))]
    Own(H),
    Borrowed(&'a H),
}

impl<H> Deref for Held<'_, H> {
    type Target = H;

    fn deref(&self) -> &H {
        match self {
            Held::Own(handle) => handle,
            Held::Borrowed(handle) => handle,
        }
    }
}

/// Receives a message: see [`Receiver::recv_async`].
#[must_use = "a future does nothing unless it is polled"]
pub struct RecvFuture<'a, T> {
    receiver: Held<'a, Receiver<T>>,
    polled: Polled<Parking>,
    waker: WakerCell,
    /// For a receiver of instants: nothing queues there.
    alarm: Option<Alarm>,
    _pinned: PhantomPinned,
}

// SAFETY: what others reach of it they touch with the channel locked; the rest is its owner's alone.
unsafe impl<T: Send> Send for RecvFuture<'_, T> {}
// SAFETY: by reference there is nothing to be done with it.
unsafe impl<T: Send> Sync for RecvFuture<'_, T> {}

impl<T> Receiver<T> {
    /// Receives a message as a future, on any executor; [`block_on`](crate::block_on) is one.
    ///
    /// It waits in the same queue as [`recv`](Receiver::recv) does, and wakes cost the same.
    ///
    /// **Dropping it loses nothing.** If it was woken for a message and is dropped before it has
    /// taken that, another receiver is woken in its place. One that was woken, and is neither polled
    /// nor dropped, holds its message up for those who wait already.
    ///
    /// Without a buffer, a message that a sender has left for a future is taken by whoever receives
    /// next, if the future is dropped. At a receiver of [`after`](super::after), [`at`](super::at)
    /// and [`tick`](super::tick), the future waits by a coroutine, of the default runtime unless
    /// it is polled in another; each tick is counted from when the last one was taken.
    ///
    /// # Errors
    ///
    /// As [`recv`](Receiver::recv): there is no message, and all senders have gone.
    ///
    /// # Examples
    ///
    /// ```
    /// let (s, r) = pirn::channel::bounded(1);
    /// let sum = pirn::block_on(async {
    ///     s.send_async(1).await.unwrap();
    ///     let first = r.recv_async().await.unwrap();
    ///     s.send_async(2).await.unwrap();
    ///     drop(s);
    ///     let second = r.recv_async().await.unwrap();
    ///     assert!(r.recv_async().await.is_err());
    ///     first + second
    /// });
    /// assert_eq!(sum, 3);
    /// ```
    pub fn recv_async(&self) -> RecvFuture<'_, T> {
        RecvFuture::new(Held::Borrowed(self))
    }
}

impl<'a, T> RecvFuture<'a, T> {
    pub(super) fn new(receiver: Held<'a, Receiver<T>>) -> Self {
        RecvFuture {
            receiver,
            polled: Polled::new(),
            waker: WakerCell::default(),
            alarm: None,
            _pinned: PhantomPinned,
        }
    }

    #[cfg(feature = "futures")]
    pub(super) fn receiver(&self) -> &Receiver<T> {
        &self.receiver
    }
}

impl<T> Future for RecvFuture<'_, T> {
    type Output = Result<T, RecvError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        // SAFETY: nothing is moved out of it.
        let this = unsafe { self.get_unchecked_mut() };
        let received = match &this.receiver.0 {
            Flavour::Channel(half) => poll_half(half, &mut this.polled, &this.waker, context),
            Flavour::Clock(clock, make) => {
                poll_clock(clock, &mut this.alarm, context.waker()).map(|instant| Ok(make(instant)))
            }
            Flavour::Never => None,
        };
        match received {
            None => Poll::Pending,
            Some(Ok(message)) => {
                sched::cooperate();
                Poll::Ready(Ok(message))
            }
            Some(Err(ReceiveStop::Cancelled)) => unwind_cancelled(),
            Some(Err(_)) => {
                sched::cooperate();
                Poll::Ready(Err(RecvError))
            }
        }
    }
}

fn poll_half<T>(
    half: &ReceiverHalf<T, Parking>,
    polled: &mut Polled<Parking>,
    cell: &WakerCell,
    context: &mut Context<'_>,
) -> Option<Result<T, ReceiveStop>> {
    let ticket = Ticket::for_future(NonNull::from(cell));
    // Before there is a waker, which costs more than to try.
    if !polled.is_queued() {
        match half.try_receive(&host(half.address())) {
            Err(ReceiveStop::Timeout) => {}
            done => return Some(done),
        }
    }
    let mut waker = Some(Box::new(context.waker().clone()));
    // SAFETY:
    // - The future is pinned, and its drop forgets the operation.
    // - The cell is touched by a claim and below, and both hold the lock.
    unsafe { half.poll_receive(&host(half.address()), polled, ticket, || cell.swap(&mut waker)) }
}

impl<T> Drop for RecvFuture<'_, T> {
    fn drop(&mut self) {
        if let Flavour::Channel(half) = &self.receiver.0 {
            half.forget(&mut self.polled);
        }
    }
}

impl<T> fmt::Debug for RecvFuture<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("RecvFuture { .. }")
    }
}

/// A coroutine that wakes a future at an instant, or earlier if its runtime ends.
struct Alarm {
    when: Instant,
    bell: Arc<Mutex<Bell>>,
    sleeper: JoinHandle<()>,
}

#[derive(Default)]
struct Bell {
    waker: Option<Waker>,
    /// The sleeper has ended, and wakes nobody any more.
    has_rung: bool,
}

/// The sleeper's duty, however it ends.
struct Rings(Arc<Mutex<Bell>>);

impl Drop for Rings {
    fn drop(&mut self) {
        let mut bell = lock(&self.0);
        bell.has_rung = true;
        let waker = bell.waker.take();
        drop(bell);
        contained(|| waker.into_iter().for_each(Waker::wake));
    }
}

impl Alarm {
    fn at(when: Instant) -> Alarm {
        let bell = Arc::<Mutex<Bell>>::default();
        let rings = Rings(bell.clone());
        let sleeper = thread::spawn(move || {
            let _rings = rings;
            thread::sleep_until(when);
        });
        Alarm { when, bell, sleeper }
    }

    /// Wakes that one, and no other any more. `false`: it has rung.
    fn set(&self, waker: Waker) -> bool {
        let mut bell = lock(&self.bell);
        if bell.has_rung {
            return false;
        }
        let old = bell.waker.replace(waker);
        drop(bell);
        drop(old);
        true
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        let waker = lock(&self.bell).waker.take();
        self.sleeper.cancel();
        drop(waker);
    }
}

fn poll_clock(clock: &Clock, alarm: &mut Option<Alarm>, waker: &Waker) -> Option<Instant> {
    loop {
        if let Some(instant) = clock.try_receive() {
            *alarm = None;
            return Some(instant);
        }
        let when = clock.next()?;
        let set = match alarm {
            Some(alarm) if alarm.when == when => alarm,
            _ => alarm.insert(Alarm::at(when)),
        };
        if set.set(waker.clone()) {
            return None;
        }
        // It was time, or the runtime of the sleeper ends. Where that is the caller's own, another one
        // rings as soon as the caller waits, so that it looks at the clock until it is time.
        *alarm = None;
    }
}

/// Sends a message: see [`Sender::send_async`].
#[must_use = "a future does nothing unless it is polled"]
pub struct SendFuture<'a, T> {
    sender: &'a Sender<T>,
    polled: Polled<Parking>,
    message: UnsafeCell<Option<T>>,
    waker: WakerCell,
    _pinned: PhantomPinned,
}

// SAFETY: what others reach of it they touch with the channel locked; the rest is its owner's alone.
unsafe impl<T: Send> Send for SendFuture<'_, T> {}
// SAFETY: by reference there is nothing to be done with it.
unsafe impl<T: Send> Sync for SendFuture<'_, T> {}

impl<T> Sender<T> {
    /// Sends a message as a future, on any executor; [`block_on`](crate::block_on) is one.
    ///
    /// It waits in the same queue as [`send`](Sender::send) does. **If it is dropped** before it has
    /// come to its end, its message is dropped with it; unless there is no buffer and a receiver has
    /// taken it meanwhile. If it was woken for room in the buffer, another sender is woken in its
    /// place.
    ///
    /// # Errors
    ///
    /// As [`send`](Sender::send): all receivers have gone. The message comes back.
    ///
    /// # Panics
    ///
    /// If it is polled after it has come to its end.
    ///
    /// # Examples
    ///
    /// ```
    /// let (s, r) = pirn::channel::bounded(0);
    /// let receiver = pirn::spawn(move || r.recv());
    /// pirn::block_on(s.send_async("hello")).unwrap();
    /// assert_eq!(receiver.join().unwrap(), Ok("hello"));
    /// assert!(pirn::block_on(s.send_async("again")).is_err());
    /// ```
    pub fn send_async(&self, msg: T) -> SendFuture<'_, T> {
        SendFuture {
            sender: self,
            polled: Polled::new(),
            message: UnsafeCell::new(Some(msg)),
            waker: WakerCell::default(),
            _pinned: PhantomPinned,
        }
    }
}

impl<T> Future for SendFuture<'_, T> {
    type Output = Result<(), SendError<T>>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        // SAFETY: nothing is moved out of it but the message, by `poll_send`.
        let this = unsafe { self.get_unchecked_mut() };
        let cell = &this.waker;
        let mut waker = Some(Box::new(context.waker().clone()));
        let ticket = Ticket::for_future(NonNull::from(cell));
        // SAFETY:
        // - The future is pinned, and its drop forgets the operation before the message goes.
        // - The cell is touched by a claim and below, and both hold the lock.
        let sent = unsafe {
            this.sender
                .0
                .poll_send(&mut this.polled, &this.message, ticket, || cell.swap(&mut waker))
        };
        match sent {
            None => Poll::Pending,
            Some(Ok(())) => {
                sched::cooperate();
                Poll::Ready(Ok(()))
            }
            Some(Err(SendStop::Disconnected(message))) => {
                sched::cooperate();
                Poll::Ready(Err(SendError(message)))
            }
            Some(Err(SendStop::Timeout(_) | SendStop::Cancelled(_))) => {
                unreachable!("it waits in no other way")
            }
        }
    }
}

impl<T> Drop for SendFuture<'_, T> {
    fn drop(&mut self) {
        self.sender.0.forget(&mut self.polled);
    }
}

impl<T> fmt::Debug for SendFuture<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("SendFuture { .. }")
    }
}
