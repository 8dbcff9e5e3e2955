#![doc = include_str!("../../docs/channel.md")]

mod clock;
mod error;
mod future;
mod host;
mod iter;
#[macro_use]
mod macros;
mod receiver;
mod select;
mod sender;
#[cfg(feature = "futures")]
mod stream;

pub use error::{
    ReadyTimeoutError, RecvError, RecvTimeoutError, SelectTimeoutError, SendError,
    SendTimeoutError, TryReadyError, TryRecvError, TrySelectError, TrySendError,
};
pub use future::{RecvFuture, SendFuture};
pub use iter::{IntoIter, Iter, TryIter};
pub use receiver::Receiver;
pub use select::{Select, SelectedOperation};
pub use sender::Sender;
#[cfg(feature = "futures")]
pub use stream::RecvStream;
#[doc(inline)]
pub use {__channel_select as select, __channel_select_biased as select_biased};

use crate::park;
use crate::protocol::channel::{new_bounded, new_unbounded};
use clock::Clock;
use std::time::{Duration, Instant};

/// What the macros expand to.
#[doc(hidden)]
pub mod __private {
    pub use super::select::{Handle, select_now, select_one, select_within};
}

/// A channel with room for any number of messages: sending never waits.
///
/// # Examples
///
/// ```
/// let (s, r) = pirn::channel::unbounded();
/// pirn::spawn(move || (0..100).for_each(|i| s.send(i).unwrap()));
/// assert_eq!(r.iter().sum::<i32>(), 4950);
/// ```
pub fn unbounded<T>() -> (Sender<T>, Receiver<T>) {
    let (sender, receiver) = new_unbounded();
    (Sender(sender), Receiver::of_channel(receiver))
}

/// A channel with room for `cap` messages. With room for none, a send and a receive have to meet.
///
/// # Panics
///
/// If a buffer of that size cannot be addressed. It is allocated here.
///
/// # Examples
///
/// ```
/// use pirn::channel::bounded;
///
/// let (s, r) = bounded(0);
/// let sender = pirn::spawn(move || s.send("hi").unwrap()); // waits for the receive
/// assert_eq!(r.recv(), Ok("hi"));
/// sender.join().unwrap();
/// ```
pub fn bounded<T>(cap: usize) -> (Sender<T>, Receiver<T>) {
    let (sender, receiver) = new_bounded(cap);
    (Sender(sender), Receiver::of_channel(receiver))
}

/// A receiver that gets one message, the instant that is `duration` from now, at that instant.
///
/// Needs neither a thread nor a runtime. A duration beyond what the clock can show is as
/// [`never()`].
///
/// # Examples
///
/// ```
/// use pirn::channel::{after, select, unbounded};
/// use std::time::Duration;
///
/// let (_s, r) = unbounded::<i32>();
/// select! {
///     recv(r) -> message => println!("got {message:?}"),
///     recv(after(Duration::from_millis(1))) -> _ => println!("timed out"),
/// }
/// ```
pub fn after(duration: Duration) -> Receiver<Instant> {
    park::deadline_after(duration).map_or_else(never, at)
}

/// A receiver that gets one message: `when`, at that instant.
///
/// # Examples
///
/// ```
/// use std::time::{Duration, Instant};
///
/// let when = Instant::now() + Duration::from_millis(1);
/// assert_eq!(pirn::channel::at(when).recv(), Ok(when));
/// ```
pub fn at(when: Instant) -> Receiver<Instant> {
    Receiver::of_clock(Clock::at(when))
}

/// A receiver that never gets a message, and is never disconnected.
///
/// # Examples
///
/// ```
/// use pirn::channel::{never, select, unbounded};
///
/// let (s, r) = unbounded();
/// s.send(1).unwrap();
/// let maybe = None;
/// select! {
///     recv(r) -> message => assert_eq!(message, Ok(1)),
///     recv(maybe.unwrap_or(&never::<i32>())) -> _ => unreachable!(),
/// }
/// ```
pub const fn never<T>() -> Receiver<T> {
    Receiver::never()
}

/// A receiver that gets the current instant every `duration`, at first after that time.
///
/// One message is kept. If it is received late, or without waiting, the next one comes `duration`
/// after that; whoever waits for each keeps the beat.
///
/// # Examples
///
/// ```
/// use std::time::{Duration, Instant};
///
/// let start = Instant::now();
/// let ticker = pirn::channel::tick(Duration::from_millis(2));
/// ticker.recv().unwrap();
/// ticker.recv().unwrap();
/// assert!(start.elapsed() >= Duration::from_millis(4));
/// ```
pub fn tick(duration: Duration) -> Receiver<Instant> {
    match park::deadline_after(duration) {
        Some(first) => Receiver::of_clock(Clock::tick(first, duration)),
        None => never(),
    }
}
