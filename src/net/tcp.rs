//! A TCP connection.

use crate::net::addr::{ToSocketAddrs, each_addr};
use crate::net::connect::connect;
use crate::net::socket::StreamSocket;
use crate::net::sys::internet_addr;
use crate::netpoller::{Side, Source};
use socket2::SockRef;
use std::fmt;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

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
    pub(super) socket: Arc<StreamSocket>,
}

impl TcpStream {
    /// Connects to a remote host, trying each of its addresses in turn.
    ///
    /// # Errors
    ///
    /// - That of the last address, if none could be connected to.
    /// - `InvalidInput` if there is no address.
    /// - What the look-up of a name says.
    pub fn connect<A: ToSocketAddrs>(addr: A) -> io::Result<TcpStream> {
        each_addr(addr, |addr| connect(addr, None)).map(TcpStream::ours)
    }

    /// Connects to one address within `timeout`.
    ///
    /// # Errors
    ///
    /// - `TimedOut` if it takes longer.
    /// - `InvalidInput` for a timeout of zero.
    /// - What the system says of the attempt.
    pub fn connect_timeout(addr: &SocketAddr, timeout: Duration) -> io::Result<TcpStream> {
        connect(addr, Some(timeout)).map(TcpStream::ours)
    }

    /// A socket that we have made.
    pub(super) fn ours(source: Source) -> TcpStream {
        TcpStream { socket: Arc::new(StreamSocket::new(source)) }
    }

    pub(super) fn foreign(fd: OwnedFd) -> TcpStream {
        TcpStream { socket: Arc::new(StreamSocket::foreign(fd)) }
    }

    pub(super) fn into_fd(self) -> io::Result<OwnedFd> {
        self.socket.into_fd()
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
        TcpStream::foreign(stream.into())
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
        self.into_fd().map(Into::into)
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

    /// Another handle to this stream. Both share the descriptor, and with it every option.
    ///
    /// # Errors
    ///
    /// None; the `Result` is std's.
    pub fn try_clone(&self) -> io::Result<TcpStream> {
        Ok(TcpStream { socket: Arc::clone(&self.socket) })
    }

    /// Limits the wait of each read that starts from now on; `None` lifts the limit.
    ///
    /// A read that takes longer fails with `WouldBlock`.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for a duration of zero.
    pub fn set_read_timeout(&self, dur: Option<Duration>) -> io::Result<()> {
        self.socket.set_timeout(Side::Read, dur)
    }

    /// Limits the wait of each write that starts from now on; `None` lifts the limit.
    ///
    /// A write that takes longer fails with `WouldBlock`.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for a duration of zero.
    pub fn set_write_timeout(&self, dur: Option<Duration>) -> io::Result<()> {
        self.socket.set_timeout(Side::Write, dur)
    }

    /// What [`set_read_timeout`](TcpStream::set_read_timeout) has set.
    ///
    /// # Errors
    ///
    /// None; the `Result` is std's.
    pub fn read_timeout(&self) -> io::Result<Option<Duration>> {
        Ok(self.socket.timeout(Side::Read))
    }

    /// What [`set_write_timeout`](TcpStream::set_write_timeout) has set.
    ///
    /// # Errors
    ///
    /// None; the `Result` is std's.
    pub fn write_timeout(&self) -> io::Result<Option<Duration>> {
        Ok(self.socket.timeout(Side::Write))
    }

    /// Sets the instant from which on reads fail with `WouldBlock`; `None` lifts it.
    ///
    /// It is shared by the clones, and counts for reads that start from now on: those that do so
    /// after the deadline fail at once, even if there is something to read. If there is a
    /// [timeout](TcpStream::set_read_timeout) too, whichever ends first counts.
    ///
    /// # Examples
    ///
    /// ```
    /// use pirn::net::{TcpListener, TcpStream};
    /// use std::io::{ErrorKind, Read};
    /// use std::time::{Duration, Instant};
    ///
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let mut stream = TcpStream::connect(listener.local_addr()?)?;
    /// // For the whole message, however many reads it takes.
    /// stream.set_read_deadline(Some(Instant::now() + Duration::from_millis(10)));
    /// let error = stream.read_to_end(&mut Vec::new()).unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::WouldBlock);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn set_read_deadline(&self, deadline: Option<Instant>) {
        self.socket.set_deadline(Side::Read, deadline);
    }

    /// Sets the instant from which on writes fail with `WouldBlock`; `None` lifts it.
    ///
    /// The rules are those of [`set_read_deadline`](TcpStream::set_read_deadline).
    pub fn set_write_deadline(&self, deadline: Option<Instant>) {
        self.socket.set_deadline(Side::Write, deadline);
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

    /// Takes the socket's pending error, `SO_ERROR`.
    ///
    /// # Errors
    ///
    /// What the system says of the question.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.option().take_error()
    }

    /// Whether operations fail with `WouldBlock` instead of waiting, for every clone.
    ///
    /// # Errors
    ///
    /// None; the `Result` is std's.
    pub fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        self.socket.set_nonblocking(nonblocking);
        Ok(())
    }
}

impl AsFd for TcpStream {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Read for &TcpStream {
    #[inline]
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.socket.read(buf)
    }

    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.socket.read_vectored(bufs)
    }
}

impl Write for &TcpStream {
    #[inline]
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.socket.write(buf)
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        self.socket.write_vectored(bufs)
    }

    /// Does nothing: what is written is on its way.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for TcpStream {
    #[inline]
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        (&*self).read(buf)
    }

    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        (&*self).read_vectored(bufs)
    }
}

impl Write for TcpStream {
    #[inline]
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        (&*self).write(buf)
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        (&*self).write_vectored(bufs)
    }

    /// Does nothing: what is written is on its way.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl fmt::Debug for TcpStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut fields = f.debug_struct("TcpStream");
        if let Ok(addr) = self.local_addr() {
            fields.field("addr", &addr);
        }
        if let Ok(peer) = self.peer_addr() {
            fields.field("peer", &peer);
        }
        fields.field("fd", &self.as_fd().as_raw_fd()).finish()
    }
}
