//! The readiness poller under [pirn](https://docs.rs/pirn): epoll, kqueue and poll(2) behind one
//! interface.
//!
//! A [`Poller`] holds registrations. Each is a descriptor, a [`Key`] that its events carry, an
//! [`Interest`] and a [`Trigger`]. [`Poller::poll`] waits until some are ready and puts
//! [`Event`]s into an [`Events`] buffer. A [`Waker`] ends the wait from another thread or from a
//! signal handler.
//!
//! ```
//! use std::io::Write;
//! use std::os::fd::AsFd;
//! use std::os::unix::net::UnixStream;
//!
//! use netpoll::{Events, Interest, Key, Poller, Trigger};
//!
//! # fn main() -> std::io::Result<()> {
//! let (mut here, there) = UnixStream::pair()?;
//!
//! let poller = Poller::new()?;
//! poller.add(there.as_fd(), Key::new(7, 0), Interest::READABLE, Trigger::Level)?;
//!
//! here.write_all(b"x")?;
//! let mut events = Events::with_capacity(64);
//! poller.poll(&mut events, None)?;
//!
//! let event = events.iter().next().unwrap();
//! assert_eq!(event.key(), Key::new(7, 0));
//! assert!(event.is_readable());
//!
//! // Always before the descriptor is closed.
//! poller.delete(there.as_fd())?;
//! # Ok(())
//! # }
//! ```
//!
//! # The contract
//!
//! What holds on every system:
//!
//! - **A poll may return early and empty-handed.** It does so when woken and when a signal came. It
//!   never returns early because its clock is coarse. Whoever has a deadline recomputes it.
//! - **An event is a hint.** Descriptors may be switched to `O_NONBLOCK`, or be used with
//!   `MSG_DONTWAIT`, and every operation may fail with `WouldBlock`.
//! - **Hang-up and error wake both directions**, whatever the interest, as far as the system tells
//!   of them: see [`Event`].
//! - **[`Trigger::Edge`] is a protocol with two halves.** The poller reports when a direction
//!   becomes ready; the caller tries until `WouldBlock` and then calls [`Poller::rearm`]. epoll
//!   and kqueue remember edges by themselves, and there `rearm` is an empty inline function.
//!   poll(2) remembers nothing: an edge made of comparing two looks at a descriptor misses the one
//!   that drained and filled in between, and a waiter would sleep for ever. So there an edge is a
//!   report that is given once and then needs arming, and the look that follows the arming sees
//!   whatever came since.
//! - **Delete before closing.** What a registration becomes when its descriptor is closed differs:
//!   epoll keeps it as long as a duplicate is open, kqueue and poll(2) know the number alone, which
//!   may already belong to another file. No memory is at risk, but events with the old key may
//!   come, and [`add`](Poller::add) may find the number taken.
//! - **Events already taken are not taken back.** [`delete`](Poller::delete) and
//!   [`modify`](Poller::modify) hold for a poll that waits, but a poll that is about to return, or
//!   an [`Events`] that is being worked through, may name a registration that is gone.
//!   [`Key::generation`] tells.
//! - **Several threads may poll.** Each edge goes to one of them. On poll(2), one waits in the
//!   system and the others for their turn.
//! - **Every descriptor made here is close-on-exec.** A poller does not survive a fork: the child
//!   shares its registrations with the parent.
//!
//! Timeouts are honoured to the nanosecond where the system's call takes nanoseconds
//! (`epoll_pwait2` from Linux 5.11, `kevent`, `ppoll`), and rounded up to milliseconds elsewhere.

mod event;
mod interest;
mod key;
mod poller;
mod sys;
mod waker;

pub use event::{Event, Events};
pub use interest::{Interest, Trigger};
pub use key::Key;
pub use poller::Poller;
pub use waker::Waker;
