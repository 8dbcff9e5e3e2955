//! A TCP connection.

use crate::net::addr::ToSocketAddrs;
use crate::net::builder::SocketBuilder;
use crate::net::connect;
use crate::net::kind::Kind;
use crate::net::socket::Socket;
use crate::net::surface::{socket_surface, stream_surface};
use crate::net::sys::internet_addr;
use crate::netpoller::Source;
use socket2::SockRef;
use std::fmt;
use std::io;
use std::net::{Shutdown, SocketAddr};
#[cfg(target_os = "linux")]
use std::os::fd::BorrowedFd;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

/// A TCP connection: [`std::net::TcpStream`] whose waits park the coroutine.
///
/// Any number of coroutines and threads may read and write at once, through `&TcpStream` or
/// clones. Dropping the last clone closes the connection.
///
/// # Examples
///
/// ```
/// use pirn::net::{TcpListener, TcpStream};
/// use std::io::{Read, Write};
///
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// let mut client = TcpStream::connect(listener.local_addr()?)?;
/// let (mut server, _) = listener.accept()?;
///
/// client.write_all(b"ping")?;
/// let mut buf = [0; 4];
/// server.read_exact(&mut buf)?;
/// assert_eq!(&buf, b"ping");
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct TcpStream {
    pub(super) socket: Arc<Socket>,
}

impl TcpStream {
    /// Connects to a remote host.
    ///
    /// Of several addresses, the first to answer wins: each is tried a quarter of a second after the
    /// one before, or as soon as one has failed; see [`SocketBuilder::connect`].
    ///
    /// # Errors
    ///
    /// - That of the last address, if none could be connected to.
    /// - `InvalidInput` if there is no address.
    /// - What the look-up of a name says.
    pub fn connect<A: ToSocketAddrs>(addr: A) -> io::Result<TcpStream> {
        SocketBuilder::new().connect(addr)
    }

    /// Connects to one address within `timeout`.
    ///
    /// # Errors
    ///
    /// - `TimedOut` if it takes longer.
    /// - `InvalidInput` for a timeout of zero.
    /// - What the system says of the attempt.
    pub fn connect_timeout(addr: &SocketAddr, timeout: Duration) -> io::Result<TcpStream> {
        connect::connect_timeout(addr, timeout).map(|source| TcpStream::ours(source, Kind::TCP))
    }

    /// A socket that we have made.
    pub(super) fn ours(source: Source, kind: Kind) -> TcpStream {
        TcpStream { socket: Arc::new(Socket::new(source, kind)) }
    }

    pub(super) fn socket(&self) -> &Arc<Socket> {
        &self.socket
    }

    /// For copies within the kernel; see [`Socket::io_by_flag`].
    #[cfg(target_os = "linux")]
    pub(crate) fn io_by_flag(
        &self,
        side: crate::netpoller::Side,
        op: impl FnMut(BorrowedFd<'_>) -> io::Result<usize>,
    ) -> io::Result<usize> {
        self.socket.io_by_flag(side, op)
    }

    /// Whether a poller has told of an end, an error or urgent data.
    #[cfg(target_os = "linux")]
    pub(crate) fn end_was_reported(&self) -> bool {
        self.socket.source().end_was_reported()
    }

    /// Takes a stream of std's over, with its timeouts and nonblocking mode.
    ///
    /// # Examples
    ///
    /// ```
    /// let listener = pirn::net::TcpListener::bind("127.0.0.1:0")?;
    /// let stream = std::net::TcpStream::connect(listener.local_addr()?)?;
    /// let stream = pirn::net::TcpStream::from_std(stream);
    /// assert_eq!(stream.peer_addr()?, listener.local_addr()?);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn from_std(stream: std::net::TcpStream) -> TcpStream {
        TcpStream::from(OwnedFd::from(stream))
    }

    /// Turns this into a stream of std's, which blocks unless
    /// [`set_nonblocking`](TcpStream::set_nonblocking) said otherwise. If there are clones, it is a
    /// duplicate of the descriptor.
    ///
    /// # Errors
    ///
    /// That of duplicating the descriptor, or of setting its flags.
    ///
    /// # Examples
    ///
    /// ```
    /// let listener = pirn::net::TcpListener::bind("127.0.0.1:0")?;
    /// let stream = pirn::net::TcpStream::connect(listener.local_addr()?)?;
    /// let stream: std::net::TcpStream = stream.into_std()?;
    /// assert_eq!(stream.peer_addr()?, listener.local_addr()?);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn into_std(self) -> io::Result<std::net::TcpStream> {
        self.socket.into_fd().map(Into::into)
    }

    fn option(&self) -> SockRef<'_> {
        SockRef::from(self)
    }

    /// The address of the other end.
    ///
    /// # Errors
    ///
    /// What the system says, such as `NotConnected`.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        internet_addr(&self.option().peer_addr()?)
    }

    /// The address of this end.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        internet_addr(&self.option().local_addr()?)
    }

    /// Ends one direction, or both, for every clone. Whoever is waiting in it wakes up.
    ///
    /// # Errors
    ///
    /// What the system says, such as `NotConnected`.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.option().shutdown(how)
    }

    /// Reads without taking what is read off the stream.
    ///
    /// # Errors
    ///
    /// Those of reading.
    pub fn peek(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.socket.peek(buf)
    }

    /// Sets `TCP_NODELAY`: small writes are not held back to be sent together.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        self.option().set_tcp_nodelay(nodelay)
    }

    /// The value of `TCP_NODELAY`.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn nodelay(&self) -> io::Result<bool> {
        self.option().tcp_nodelay()
    }

    /// Sets `IP_TTL`, the hops that a packet may take.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
        self.option().set_ttl_v4(ttl)
    }

    /// The value of `IP_TTL`.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn ttl(&self) -> io::Result<u32> {
        self.option().ttl_v4()
    }
}

socket_surface! {
    TcpStream, reading: "read", writing: "write",
    example: "let listener = pirn::net::TcpListener::bind(\"127.0.0.1:0\")?;
let socket = pirn::net::TcpStream::connect(listener.local_addr()?)?;"
}
stream_surface!(TcpStream);

impl fmt::Debug for TcpStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut fields = f.debug_struct("TcpStream");
        if let Ok(addr) = self.local_addr() {
            fields.field("addr", &addr);
        }
        if let Ok(peer) = self.peer_addr() {
            fields.field("peer", &peer);
        }
        fields.field("fd", &self.as_raw_fd()).finish()
    }
}
