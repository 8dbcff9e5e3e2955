//! TCP, UDP and name resolution: `std::net`, with waits that park the coroutine.
//!
//! Everything has std's names, signatures and errors, and works the same on a plain OS thread,
//! which it blocks. Where that is not so, `docs/std-differences.md` says why.
//!
//! A socket is retried when its descriptor is ready: all waiting is in one place, the
//! crate's netpoller. What is here says *what* is tried.
//!
//! [`SocketBuilder`] makes sockets with options, and [`Server`] accepts connections, runs a handler
//! for each, and stops gracefully; std has neither.
//!
//! # Descriptor flags
//!
//! `O_NONBLOCK` belongs to the open file description, which other handles and other processes may
//! share. Sockets therefore do not rely on it: they receive and send with `MSG_DONTWAIT`. There is
//! no such flag for `accept`, so a listener sets `O_NONBLOCK`, on a foreign descriptor too.
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
mod builder;
mod connect;
mod fd;
mod kind;
mod limits;
mod listener;
mod listening;
mod lookup;
mod many;
mod polled;
mod server;
mod shared_error;
mod socket;
mod surface;
mod sys;
mod tcp;
mod udp;
pub(crate) mod unix;

pub use addr::{ToSocketAddrs, lookup_host, lookup_host_timeout};
pub use builder::SocketBuilder;
pub(crate) use limits::Limits;
pub use listener::{Incoming, TcpListener};
pub use many::{Datagram, Datagrams};
pub use server::{Listen, Server, ServerBuilder, ServerStats};
pub use std::net::{
    AddrParseError, IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, SocketAddrV4, SocketAddrV6,
};
pub use tcp::TcpStream;
pub use udp::UdpSocket;
