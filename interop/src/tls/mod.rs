//! TLS over pirn's streams: rustls, with nothing special.
//!
//! [`rustls::StreamOwned`] reads from and writes to whatever has `Read` and `Write`. Over a
//! [`TcpStream`](pirn::net::TcpStream) of pirn's its waits park the coroutine, timeouts are those of
//! the socket or of [`pirn::time::timeout`], and that is all.
//!
//! | what happens | what a reader gets |
//! |---|---|
//! | the peer says that it has ended (`close_notify`) | `Ok(0)` |
//! | the connection ends without that: somebody may have cut it | [`UnexpectedEof`] |
//! | the peer sends what is not TLS, or has no certificate that is trusted | [`InvalidData`] |
//!
//! rustls does not say the end for its user: call `conn.send_close_notify()` and flush.
//!
//! # Reading and writing at once
//!
//! A request and its response take turns, and one `StreamOwned` in one coroutine is enough. Where
//! both sides may write at any time, turns are a deadlock: each waits for room in a socket that the
//! other one does not empty. And a `StreamOwned` cannot be shared, since reading and writing need
//! `&mut`: a lock around it would be held by a reader that waits. [`split`] is the way out:
//! its halves share the session alone, behind a lock that nobody holds while waiting, and each uses
//! the socket by itself, as `&TcpStream` lets them.
//!
//! [`UnexpectedEof`]: std::io::ErrorKind::UnexpectedEof
//! [`InvalidData`]: std::io::ErrorKind::InvalidData

mod halves;
mod identity;

pub use halves::{ReadHalf, WriteHalf, split};
pub use identity::{Identity, client_config, trusted};
