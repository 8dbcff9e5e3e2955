//! TCP and name resolution: `std::net`, with waits that park the coroutine.
//!
//! Everything has std's names, signatures and errors, and works the same on a plain OS thread,
//! which it blocks. Where that is not so, `docs/std-differences.md` says why.
//!
//! A socket is retried when its descriptor is ready: all waiting is in one place, the
//! crate's netpoller. What is here says *what* is tried.
//!
//! # Descriptor flags
//!
//! `O_NONBLOCK` belongs to the open file description, which other handles and other processes may
//! share. Streams therefore do not rely on it: they read and write with `MSG_DONTWAIT`. There is no
//! such flag for `accept`, so a listener sets `O_NONBLOCK`, on a foreign descriptor too.
//! `set_nonblocking` is a matter of the handle and its clones; the descriptor's flag follows it
//! when the descriptor is given away (`into_std`, `into_raw_fd`, …).
//!
//! # Examples
//!
//! ```
//! use pirn::net::{TcpListener, TcpStream};
//! use std::io::{Read, Write};
//!
//! let listener = TcpListener::bind("127.0.0.1:0")?;
//! let address = listener.local_addr()?;
//! let client = std::thread::spawn(move || TcpStream::connect(address)?.write_all(b"hello"));
//!
//! let mut text = String::new();
//! listener.accept()?.0.read_to_string(&mut text)?;
//! assert_eq!(text, "hello");
//! client.join().unwrap()?;
//! # Ok::<(), std::io::Error>(())
//! ```

mod addr;
mod connect;
mod fd;
mod limits;
mod listener;
mod polled;
mod socket;
mod sys;
mod tcp;

pub use addr::{ToSocketAddrs, lookup_host};
pub use listener::{Incoming, TcpListener};
pub use std::net::{
    AddrParseError, IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, SocketAddrV4, SocketAddrV6,
};
pub use tcp::TcpStream;
