//! A TCP socket that takes connections.

use crate::net::addr::ToSocketAddrs;
use crate::net::builder::SocketBuilder;
use crate::net::kind::Kind;
use crate::net::listening::ListeningSocket;
use crate::net::surface::listener_surface;
use crate::net::sys::{self, internet_addr};
use crate::net::tcp::TcpStream;
use crate::netpoller::Source;
use socket2::SockRef;
use std::fmt;
use std::io;
use std::iter::FusedIterator;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

/// A TCP socket that takes connections: [`std::net::TcpListener`] whose waits park the coroutine.
///
/// Any number of coroutines and threads may accept at once, through `&TcpListener` or clones; each
/// connection goes to one of them.
///
/// # Examples
///
/// ```
/// use pirn::net::{TcpListener, TcpStream};
///
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// let client = TcpStream::connect(listener.local_addr()?)?;
/// let (_server, peer) = listener.accept()?;
/// assert_eq!(peer, client.local_addr()?);
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct TcpListener {
    socket: Arc<ListeningSocket>,
}

/// The endless iterator over a listener's connections, made by [`TcpListener::incoming`].
#[derive(Debug)]
#[must_use = "iterators are lazy and do nothing unless consumed"]
pub struct Incoming<'a> {
    listener: &'a TcpListener,
}

impl TcpListener {
    /// Listens on the first address that it can bind. Port 0 stands for a free one.
    ///
    /// # Errors
    ///
    /// - That of the last address, if none could be bound.
    /// - `InvalidInput` if there is no address.
    /// - What the look-up of a name says.
    pub fn bind<A: ToSocketAddrs>(addr: A) -> io::Result<TcpListener> {
        SocketBuilder::new().listen(addr)
    }

    /// A socket that we have made.
    pub(super) fn ours(fd: OwnedFd, kind: Kind) -> TcpListener {
        TcpListener { socket: Arc::new(ListeningSocket::new(fd, kind)) }
    }

    /// Takes a listener of std's over, with its nonblocking mode.
    ///
    /// The descriptor itself is made nonblocking, also for other handles that std has to it.
    ///
    /// # Examples
    ///
    /// ```
    /// let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// let listener = pirn::net::TcpListener::from_std(listener);
    /// let client = pirn::net::TcpStream::connect(listener.local_addr()?)?;
    /// assert_eq!(listener.accept()?.1, client.local_addr()?);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn from_std(listener: std::net::TcpListener) -> TcpListener {
        TcpListener::from(OwnedFd::from(listener))
    }

    /// Turns this into a listener of std's, which blocks unless
    /// [`set_nonblocking`](TcpListener::set_nonblocking) said otherwise. If there are clones, it is
    /// a duplicate of the descriptor, and stays nonblocking for their sake.
    ///
    /// # Errors
    ///
    /// That of duplicating the descriptor, or of setting its flags.
    ///
    /// # Examples
    ///
    /// ```
    /// let listener = pirn::net::TcpListener::bind("127.0.0.1:0")?;
    /// let listener: std::net::TcpListener = listener.into_std()?;
    /// let client = std::net::TcpStream::connect(listener.local_addr()?)?;
    /// assert_eq!(listener.accept()?.1, client.local_addr()?);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn into_std(self) -> io::Result<std::net::TcpListener> {
        self.socket.into_fd().map(Into::into)
    }

    fn option(&self) -> SockRef<'_> {
        SockRef::from(self)
    }

    /// The address that this listens on.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        internet_addr(&self.option().local_addr()?)
    }

    /// Waits for a connection, and gives it with the address of its other end.
    ///
    /// # Errors
    ///
    /// What the system says. If it has run out of descriptors or memory, a few milliseconds pass
    /// before that is said, so that a loop which tries again leaves others the time to free some.
    pub fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        self.socket.accept(|fd| self.take(fd))
    }

    /// Takes a connection that is there.
    pub(super) fn take(&self, fd: BorrowedFd<'_>) -> io::Result<(TcpStream, SocketAddr)> {
        let (fd, peer) = sys::accept(&SockRef::from(&fd))?;
        Ok((TcpStream::ours(Source::new(fd), self.socket.kind()), peer))
    }

    pub(super) fn socket(&self) -> &Arc<ListeningSocket> {
        &self.socket
    }

    /// The connections, without end: what [`accept`](TcpListener::accept) gives, time after time.
    ///
    /// # Examples
    ///
    /// ```
    /// use pirn::net::{TcpListener, TcpStream};
    ///
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let clients = [(); 3].map(|()| TcpStream::connect(listener.local_addr().unwrap()).unwrap());
    /// for (client, stream) in clients.iter().zip(listener.incoming()) {
    ///     assert_eq!(stream?.peer_addr()?, client.local_addr()?);
    /// }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn incoming(&self) -> Incoming<'_> {
        Incoming { listener: self }
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

    /// Sets `IPV6_V6ONLY`, which a bound socket refuses.
    ///
    /// # Errors
    ///
    /// What the system says.
    #[deprecated(since = "0.1.0", note = "this option can only be set before the socket is bound")]
    pub fn set_only_v6(&self, only_v6: bool) -> io::Result<()> {
        self.option().set_only_v6(only_v6)
    }

    /// The value of `IPV6_V6ONLY`.
    ///
    /// # Errors
    ///
    /// What the system says.
    #[deprecated(since = "0.1.0", note = "this option can only be set before the socket is bound")]
    pub fn only_v6(&self) -> io::Result<bool> {
        self.option().only_v6()
    }
}

listener_surface!(TcpListener);

impl Iterator for Incoming<'_> {
    type Item = io::Result<TcpStream>;

    fn next(&mut self) -> Option<io::Result<TcpStream>> {
        Some(self.listener.accept().map(|(stream, _peer)| stream))
    }
}

impl FusedIterator for Incoming<'_> {}

impl fmt::Debug for TcpListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut fields = f.debug_struct("TcpListener");
        if let Ok(addr) = self.local_addr() {
            fields.field("addr", &addr);
        }
        fields.field("fd", &self.as_raw_fd()).finish()
    }
}
