//! A Unix socket for datagrams.

use crate::net::fd::Std;
use crate::net::kind::Kind;
use crate::net::socket::Socket;
use crate::net::surface::socket_surface;
use crate::net::sys::{self, Keep};
use crate::net::unix::SocketAddr;
use crate::net::unix::addr::{from_system, to_system};
use crate::netpoller::Source;
use std::fmt;
use std::io;
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixDatagram as StdDatagram;
use std::path::Path;
use std::sync::Arc;

/// A Unix socket for datagrams: [`std::os::unix::net::UnixDatagram`] whose waits park the
/// coroutine.
///
/// Any number of coroutines and threads may send and receive at once, through `&UnixDatagram` or
/// clones; each datagram goes to one of them. None is lost: if the receiver's queue is full, its
/// sender waits.
///
/// # Examples
///
/// ```
/// use pirn::os::unix::net::UnixDatagram;
///
/// let (one, two) = UnixDatagram::pair()?;
/// one.send(b"hello")?;
/// let mut buf = [0; 16];
/// let len = two.recv(&mut buf)?;
/// assert_eq!(&buf[..len], b"hello");
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct UnixDatagram {
    socket: Arc<Socket>,
}

impl UnixDatagram {
    /// A socket that this makes at that path. It stays there when the socket is dropped.
    ///
    /// # Errors
    ///
    /// - `InvalidInput` for a path that is too long or contains a NUL.
    /// - `AddrInUse` if there is something at the path.
    /// - What else the system says.
    pub fn bind<P: AsRef<Path>>(path: P) -> io::Result<UnixDatagram> {
        StdDatagram::bind(path).map(UnixDatagram::ours)
    }

    /// A socket with that address.
    ///
    /// # Errors
    ///
    /// What the system says, such as `AddrInUse`.
    pub fn bind_addr(socket_addr: &SocketAddr) -> io::Result<UnixDatagram> {
        StdDatagram::bind_addr(socket_addr).map(UnixDatagram::ours)
    }

    /// A socket without an address: it can send, and nobody can send to it.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn unbound() -> io::Result<UnixDatagram> {
        StdDatagram::unbound().map(UnixDatagram::ours)
    }

    /// Two sockets that are connected to each other.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn pair() -> io::Result<(UnixDatagram, UnixDatagram)> {
        let (one, two) = StdDatagram::pair()?;
        Ok((UnixDatagram::ours(one), UnixDatagram::ours(two)))
    }

    fn ours(socket: StdDatagram) -> UnixDatagram {
        UnixDatagram { socket: Arc::new(Socket::new(Source::new(socket.into()), Kind::OTHER)) }
    }

    /// Takes a socket of std's over, with its timeouts and nonblocking mode. The flags of its
    /// descriptor stay as they are.
    ///
    /// # Examples
    ///
    /// ```
    /// let (one, two) = std::os::unix::net::UnixDatagram::pair()?;
    /// let one = pirn::os::unix::net::UnixDatagram::from_std(one);
    /// two.send(b"hello")?;
    /// assert_eq!(one.recv(&mut [0; 16])?, 5);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn from_std(socket: StdDatagram) -> UnixDatagram {
        UnixDatagram::from(OwnedFd::from(socket))
    }

    /// Turns this into a socket of std's, which blocks unless
    /// [`set_nonblocking`](UnixDatagram::set_nonblocking) said otherwise. If there are clones, it is
    /// a duplicate of the descriptor.
    ///
    /// # Errors
    ///
    /// That of duplicating the descriptor, or of setting its flags.
    ///
    /// # Examples
    ///
    /// ```
    /// let (one, two) = pirn::os::unix::net::UnixDatagram::pair()?;
    /// let one: std::os::unix::net::UnixDatagram = one.into_std()?;
    /// two.send(b"hello")?;
    /// assert_eq!(one.recv(&mut [0; 16])?, 5);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn into_std(self) -> io::Result<StdDatagram> {
        self.socket.into_fd().map(Into::into)
    }

    /// For what does not wait.
    fn std(&self) -> Std<'_, StdDatagram> {
        Std::of(self.as_fd())
    }

    /// Connects this to the socket at that path: from then on [`send`](UnixDatagram::send) sends
    /// there, and nothing is received from elsewhere.
    ///
    /// # Errors
    ///
    /// - `InvalidInput` for a path that is too long or contains a NUL.
    /// - What the system says, such as that nobody is there.
    pub fn connect<P: AsRef<Path>>(&self, path: P) -> io::Result<()> {
        self.std().connect(path)
    }

    /// Connects this to the socket with that address, as [`connect`](UnixDatagram::connect) does.
    ///
    /// # Errors
    ///
    /// What the system says, such as that nobody is there.
    pub fn connect_addr(&self, socket_addr: &SocketAddr) -> io::Result<()> {
        self.std().connect_addr(socket_addr)
    }

    /// The address of this socket.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.std().local_addr()
    }

    /// The address that this is connected to.
    ///
    /// # Errors
    ///
    /// What the system says, such as `NotConnected`.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.std().peer_addr()
    }

    /// Receives a datagram, and says where it came from. What has no room in `buf` is lost.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn recv_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.recv_from_or_peek(buf, Keep::No)
    }

    /// Receives a datagram without taking it away: the next call will give it again. Std has this
    /// on nightly only.
    ///
    /// # Errors
    ///
    /// Those of [`recv_from`](UnixDatagram::recv_from).
    pub fn peek_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.recv_from_or_peek(buf, Keep::Yes)
    }

    fn recv_from_or_peek(&self, buf: &mut [u8], keep: Keep) -> io::Result<(usize, SocketAddr)> {
        let (len, from) = self.socket.recv_from(buf, keep)?;
        Ok((len, from_system(&from)?))
    }

    /// Receives a datagram. What has no room in `buf` is lost.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn recv(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.socket.recv(buf)
    }

    /// As [`recv`](UnixDatagram::recv), without taking the datagram away. Std has this on nightly
    /// only.
    ///
    /// # Errors
    ///
    /// Those of [`recv`](UnixDatagram::recv).
    pub fn peek(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.socket.peek(buf)
    }

    /// Sends a datagram to the socket at that path. If its queue is full, this waits until it is
    /// not.
    ///
    /// # Errors
    ///
    /// - `InvalidInput` for a path that is too long or contains a NUL.
    /// - What the system says, such as that nobody is there.
    pub fn send_to<P: AsRef<Path>>(&self, buf: &[u8], path: P) -> io::Result<usize> {
        self.send_to_addr(buf, &SocketAddr::from_pathname(path)?)
    }

    /// Sends a datagram to the socket with that address. If its queue is full, this waits until it
    /// is not.
    ///
    /// # Errors
    ///
    /// What the system says, such as that nobody is there.
    pub fn send_to_addr(&self, buf: &[u8], socket_addr: &SocketAddr) -> io::Result<usize> {
        let to = to_system(socket_addr)?;
        self.socket.transmit_unannounced(|fd| sys::send_to(fd, buf, &to))
    }

    /// Sends a datagram to the socket that this is connected to. If its queue is full, this waits
    /// until it is not.
    ///
    /// # Errors
    ///
    /// What the system says, such as `NotConnected`, or that nobody is there any more.
    pub fn send(&self, buf: &[u8]) -> io::Result<usize> {
        self.socket.write(buf)
    }

    /// Ends one direction, or both, for every clone. Whoever is waiting in it wakes up: to receive
    /// gives zero bytes from then on, and to send fails.
    ///
    /// # Errors
    ///
    /// What the system says, such as `NotConnected`.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.std().shutdown(how)
    }

    /// Sends a datagram with duplicates of descriptors to the socket that this is connected to.
    ///
    /// # Errors
    ///
    /// What the system says, such as that there are too many; Linux sends up to 253 at once.
    ///
    /// # Examples
    ///
    /// ```
    /// use pirn::os::unix::net::UnixDatagram;
    /// use std::os::fd::AsFd;
    ///
    /// let (one, two) = UnixDatagram::pair()?;
    /// one.send_fds(b"for you", &[std::io::stdin().as_fd()])?;
    /// let mut buf = [0; 16];
    /// let (len, fds) = two.recv_fds(&mut buf, 1)?;
    /// assert_eq!((&buf[..len], fds.len()), (&b"for you"[..], 1));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn send_fds(&self, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<usize> {
        self.socket.transmit(|fd| sys::send_fds(fd, bytes, fds))
    }

    /// Receives a datagram, and takes up to `max` descriptors that were sent with it. They are
    /// close-on-exec. What has no room in `buf` is lost.
    ///
    /// The other ways to receive take the bytes and close the descriptors.
    ///
    /// # Errors
    ///
    /// - `InvalidData` if descriptors were lost: more than `max` were sent, or this process cannot
    ///   have more. Those that came are closed, and the datagram is gone.
    /// - What the system says.
    ///
    /// # Examples
    ///
    /// See [`send_fds`](UnixDatagram::send_fds).
    pub fn recv_fds(&self, buf: &mut [u8], max: usize) -> io::Result<(usize, Vec<OwnedFd>)> {
        self.socket.receive_datagrams(|| (0, Vec::new()), |fd| sys::recv_fds(fd, buf, max))
    }
}

socket_surface! {
    UnixDatagram, reading: "receive", writing: "send",
    example: "let (socket, _peer) = pirn::os::unix::net::UnixDatagram::pair()?;"
}

impl fmt::Debug for UnixDatagram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.std().fmt(f)
    }
}
