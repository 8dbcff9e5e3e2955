//! Unix sockets: `std::os::unix::net`, with waits that park the coroutine.
//!
//! # Where nothing tells that it is time
//!
//! Two calls can be told to come again later although the descriptor they are made on is ready, so
//! that no poller would ever report it: a [connect](UnixStream::connect) to a listener whose queue
//! is full, and, on Linux, a datagram [to an address](UnixDatagram::send_to) whose queue is full.
//! What they wait for is another process's doing, on a socket that the caller does not have.
//!
//! They are tried again after 64 microseconds, and then after twice as long each time, up to 16
//! milliseconds. It was not done
//!
//! - on the blocking pool: each such wait would hold one of its threads for as long as the other end
//!   pleases, and could not be cancelled. With all of them held, whoever is to make room may be
//!   waiting for a thread itself.
//! - by waiting until the descriptor is writable, as for all other sockets. A connect would wait
//!   without end on an edge-triggered poller. A datagram would be tried without rest: the memory of
//!   each attempt that fails is given back, which Linux reports as room to write. On poll(2) neither
//!   would rest.
//!
//! A datagram socket that is *connected* is reported when its peer has room again, so
//! [`send`](UnixDatagram::send) waits as everything else does.

mod addr;
mod datagram;
mod listener;
mod stream;

pub use datagram::UnixDatagram;
pub use listener::{Incoming, UnixListener};
pub use std::os::unix::net::SocketAddr;
pub use stream::UnixStream;
