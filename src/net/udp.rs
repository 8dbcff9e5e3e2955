//! A UDP socket.

use crate::net::addr::{ToSocketAddrs, each_addr};
use crate::net::fd::Std;
use crate::net::kind::Kind;
use crate::net::socket::Socket;
use crate::net::surface::socket_surface;
use crate::net::sys::{self, Keep, internet_addr};
use crate::netpoller::Source;
use std::fmt;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

/// A UDP socket: [`std::net::UdpSocket`] whose waits park the coroutine.
///
/// Any number of coroutines and threads may send and receive at once, through `&UdpSocket` or
/// clones; each datagram goes to one of them.
///
/// # Examples
///
/// ```
/// use pirn::net::UdpSocket;
///
/// let server = UdpSocket::bind("127.0.0.1:0")?;
/// let address = server.local_addr()?;
/// let client = pirn::spawn(move || {
///     let socket = UdpSocket::bind("127.0.0.1:0")?;
///     socket.send_to(b"ping", address)?;
///     socket.local_addr()
/// });
///
/// let mut buf = [0; 16];
/// let (len, from) = server.recv_from(&mut buf)?;
/// assert_eq!(&buf[..len], b"ping");
/// assert_eq!(from, client.join().unwrap()?);
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct UdpSocket {
    pub(super) socket: Arc<Socket>,
}

impl UdpSocket {
    /// Binds a socket to the first address that can be bound. Port 0 stands for a free one.
    ///
    /// # Errors
    ///
    /// - That of the last address, if none could be bound.
    /// - `InvalidInput` if there is no address.
    /// - What the look-up of a name says.
    pub fn bind<A: ToSocketAddrs>(addr: A) -> io::Result<UdpSocket> {
        each_addr(addr, |_addr| true, |addr| std::net::UdpSocket::bind(addr)).map(UdpSocket::ours)
    }

    fn ours(socket: std::net::UdpSocket) -> UdpSocket {
        UdpSocket { socket: Arc::new(Socket::new(Source::new(socket.into()), Kind::OTHER)) }
    }

    /// Takes a socket of std's over, with its timeouts and nonblocking mode. The flags of its
    /// descriptor stay as they are.
    ///
    /// # Examples
    ///
    /// ```
    /// let socket = std::net::UdpSocket::bind("127.0.0.1:0")?;
    /// let address = socket.local_addr()?;
    /// let socket = pirn::net::UdpSocket::from_std(socket);
    /// assert_eq!(socket.local_addr()?, address);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn from_std(socket: std::net::UdpSocket) -> UdpSocket {
        UdpSocket::from(OwnedFd::from(socket))
    }

    /// Turns this into a socket of std's, which blocks unless
    /// [`set_nonblocking`](UdpSocket::set_nonblocking) said otherwise. If there are clones, it is a
    /// duplicate of the descriptor.
    ///
    /// # Errors
    ///
    /// That of duplicating the descriptor, or of setting its flags.
    ///
    /// # Examples
    ///
    /// ```
    /// let socket = pirn::net::UdpSocket::bind("127.0.0.1:0")?;
    /// let address = socket.local_addr()?;
    /// let socket: std::net::UdpSocket = socket.into_std()?;
    /// assert_eq!(socket.local_addr()?, address);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn into_std(self) -> io::Result<std::net::UdpSocket> {
        self.socket.into_fd().map(Into::into)
    }

    /// For what does not wait.
    fn std(&self) -> Std<'_, std::net::UdpSocket> {
        Std::of(self.as_fd())
    }

    /// Receives a datagram, and says where it came from. What has no room in `buf` is lost.
    ///
    /// # Errors
    ///
    /// What the system says, which may be of something that was sent before.
    pub fn recv_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.recv_from_or_peek(buf, Keep::No)
    }

    /// Receives a datagram without taking it away: the next call will give it again.
    ///
    /// # Errors
    ///
    /// Those of [`recv_from`](UdpSocket::recv_from).
    pub fn peek_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.recv_from_or_peek(buf, Keep::Yes)
    }

    fn recv_from_or_peek(&self, buf: &mut [u8], keep: Keep) -> io::Result<(usize, SocketAddr)> {
        let (len, from) = self.socket.recv_from(buf, keep)?;
        Ok((len, internet_addr(&from)?))
    }

    /// Sends a datagram to the first address that `addr` gives.
    ///
    /// # Errors
    ///
    /// - `InvalidInput` if there is no address.
    /// - What the look-up of a name says.
    /// - What the system says, such as that the datagram is too long.
    pub fn send_to<A: ToSocketAddrs>(&self, buf: &[u8], addr: A) -> io::Result<usize> {
        let Some(to) = addr.to_socket_addrs()?.next() else {
            let error = "no addresses to send data to";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, error));
        };
        let to = to.into();
        self.socket.transmit(|fd| sys::send_to(fd, buf, &to))
    }

    /// The address that this is [connected](UdpSocket::connect) to.
    ///
    /// # Errors
    ///
    /// What the system says, such as `NotConnected`.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.std().peer_addr()
    }

    /// The address that this is bound to.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.std().local_addr()
    }

    /// Connects the socket to the first address that takes it: from then on
    /// [`send`](UdpSocket::send) sends there, and nothing is received from elsewhere.
    ///
    /// # Errors
    ///
    /// - That of the last address, if none could be connected to.
    /// - `InvalidInput` if there is no address.
    /// - What the look-up of a name says.
    pub fn connect<A: ToSocketAddrs>(&self, addr: A) -> io::Result<()> {
        each_addr(addr, |_addr| true, |addr| self.std().connect(addr))
    }

    /// Sends a datagram to the address that this is [connected](UdpSocket::connect) to.
    ///
    /// # Errors
    ///
    /// What the system says. `ConnectionRefused` is about an earlier datagram: nobody was there.
    pub fn send(&self, buf: &[u8]) -> io::Result<usize> {
        self.socket.write(buf)
    }

    /// Receives a datagram from the address that this is [connected](UdpSocket::connect) to. What
    /// has no room in `buf` is lost.
    ///
    /// # Errors
    ///
    /// What the system says. `ConnectionRefused` is about an earlier datagram: nobody was there.
    pub fn recv(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.socket.recv(buf)
    }

    /// As [`recv`](UdpSocket::recv), without taking the datagram away.
    ///
    /// # Errors
    ///
    /// Those of [`recv`](UdpSocket::recv).
    pub fn peek(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.socket.peek(buf)
    }

    /// Sets `SO_BROADCAST`: whether it may send to broadcast addresses.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn set_broadcast(&self, broadcast: bool) -> io::Result<()> {
        self.std().set_broadcast(broadcast)
    }

    /// The value of `SO_BROADCAST`.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn broadcast(&self) -> io::Result<bool> {
        self.std().broadcast()
    }

    /// Sets `IP_MULTICAST_LOOP`: whether multicast packets come back to this system's sockets. It
    /// may have no effect on IPv6 sockets.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn set_multicast_loop_v4(&self, multicast_loop_v4: bool) -> io::Result<()> {
        self.std().set_multicast_loop_v4(multicast_loop_v4)
    }

    /// The value of `IP_MULTICAST_LOOP`.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn multicast_loop_v4(&self) -> io::Result<bool> {
        self.std().multicast_loop_v4()
    }

    /// Sets `IP_MULTICAST_TTL`, the hops that a multicast packet may take: 1, which is the local
    /// network, unless this says otherwise. It may have no effect on IPv6 sockets.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn set_multicast_ttl_v4(&self, multicast_ttl_v4: u32) -> io::Result<()> {
        self.std().set_multicast_ttl_v4(multicast_ttl_v4)
    }

    /// The value of `IP_MULTICAST_TTL`.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn multicast_ttl_v4(&self) -> io::Result<u32> {
        self.std().multicast_ttl_v4()
    }

    /// Sets `IPV6_MULTICAST_LOOP`: whether this socket sees the multicast packets that it sends. It
    /// may have no effect on IPv4 sockets.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn set_multicast_loop_v6(&self, multicast_loop_v6: bool) -> io::Result<()> {
        self.std().set_multicast_loop_v6(multicast_loop_v6)
    }

    /// The value of `IPV6_MULTICAST_LOOP`.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn multicast_loop_v6(&self) -> io::Result<bool> {
        self.std().multicast_loop_v6()
    }

    /// Joins a multicast group, on the interface with that address; `0.0.0.0` leaves the choice to
    /// the system.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn join_multicast_v4(&self, multiaddr: &Ipv4Addr, interface: &Ipv4Addr) -> io::Result<()> {
        self.std().join_multicast_v4(multiaddr, interface)
    }

    /// Joins a multicast group, on the interface with that index; 0 leaves the choice to the system.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn join_multicast_v6(&self, multiaddr: &Ipv6Addr, interface: u32) -> io::Result<()> {
        self.std().join_multicast_v6(multiaddr, interface)
    }

    /// Leaves a group that was [joined](UdpSocket::join_multicast_v4).
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn leave_multicast_v4(&self, multiaddr: &Ipv4Addr, interface: &Ipv4Addr) -> io::Result<()> {
        self.std().leave_multicast_v4(multiaddr, interface)
    }

    /// Leaves a group that was [joined](UdpSocket::join_multicast_v6).
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn leave_multicast_v6(&self, multiaddr: &Ipv6Addr, interface: u32) -> io::Result<()> {
        self.std().leave_multicast_v6(multiaddr, interface)
    }

    /// Sets `IP_TTL`, the hops that a packet may take.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
        self.std().set_ttl(ttl)
    }

    /// The value of `IP_TTL`.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn ttl(&self) -> io::Result<u32> {
        self.std().ttl()
    }
}

socket_surface! {
    UdpSocket, reading: "receive", writing: "send",
    example: "let socket = pirn::net::UdpSocket::bind(\"127.0.0.1:0\")?;"
}

impl fmt::Debug for UdpSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.std().fmt(f)
    }
}
