//! Sockets with options.

use crate::net::addr::{ToSocketAddrs, each_addr};
use crate::net::connect::connect;
use crate::net::kind::Kind;
use crate::net::limits::zero_timeout;
use crate::net::listener::TcpListener;
use crate::net::sys;
use crate::net::tcp::TcpStream;
use crate::park;
use socket2::{Domain, Socket, TcpKeepalive};
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Connections that have not been accepted yet; the rest is turned away. Std's number.
const BACKLOG: u32 = 128;

/// RFC 8305's Connection Attempt Delay, and the least that it allows.
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);
const LEAST_ATTEMPT_DELAY: Duration = Duration::from_millis(10);

/// Makes TCP sockets with options that have to be set before they listen or connect.
///
/// What is not set is as [`TcpListener::bind`] and [`TcpStream::connect`] leave it, which are the
/// two of its methods for a builder without options. A builder can be used any number of times.
///
/// An option that the system refuses is an error of the method that makes the socket. Options that
/// only some systems have are there on those alone. On Linux, what is set on a listener counts for
/// the streams that it accepts, too: buffer sizes, keep-alive, `nodelay`, `linger`, `mark`, hop limit
/// and type of service.
///
/// # Examples
///
/// ```
/// use pirn::net::SocketBuilder;
/// use std::time::Duration;
///
/// let listener = SocketBuilder::new().backlog(4096).nodelay(true).listen("127.0.0.1:0")?;
/// let client = SocketBuilder::new()
///     .keepalive(Duration::from_secs(60))
///     .connect_timeout(listener.local_addr()?, Duration::from_secs(5))?;
/// assert_eq!(listener.accept()?.1, client.local_addr()?);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until it listens or connects"]
pub struct SocketBuilder {
    family: Option<Family>,
    local: Option<SocketAddr>,
    reuse_addr: Option<bool>,
    reuse_port: bool,
    backlog: u32,
    keepalive: Option<TcpKeepalive>,
    recv_buffer: Option<usize>,
    send_buffer: Option<usize>,
    only_v6: Option<bool>,
    nodelay: Option<bool>,
    linger: Option<Duration>,
    ttl: Option<u32>,
    tos: Option<u32>,
    pub(super) attempt_delay: Duration,
    #[cfg(any(target_os = "linux", target_os = "android"))]
    linux: Linux,
}

/// What other systems do not have.
#[cfg(any(target_os = "linux", target_os = "android"))]
#[derive(Clone, Debug, Default)]
struct Linux {
    fastopen: Option<u32>,
    fastopen_connect: bool,
    device: Option<String>,
    mark: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    V4,
    V6,
}

impl Default for SocketBuilder {
    fn default() -> SocketBuilder {
        SocketBuilder::new()
    }
}

impl SocketBuilder {
    /// Without options.
    pub fn new() -> SocketBuilder {
        SocketBuilder {
            family: None,
            local: None,
            reuse_addr: None,
            reuse_port: false,
            backlog: BACKLOG,
            keepalive: None,
            recv_buffer: None,
            send_buffer: None,
            only_v6: None,
            nodelay: None,
            linger: None,
            ttl: None,
            tos: None,
            attempt_delay: ATTEMPT_DELAY,
            #[cfg(any(target_os = "linux", target_os = "android"))]
            linux: Linux::default(),
        }
    }

    /// Uses IPv4 addresses alone, where a name has others too.
    pub fn v4(mut self) -> SocketBuilder {
        self.family = Some(Family::V4);
        self
    }

    /// Uses IPv6 addresses alone, where a name has others too.
    pub fn v6(mut self) -> SocketBuilder {
        self.family = Some(Family::V6);
        self
    }

    /// Connects from this address; port 0 stands for a free one. Addresses of the other family are
    /// left out.
    pub fn local(mut self, addr: SocketAddr) -> SocketBuilder {
        self.local = Some(addr);
        self
    }

    /// `SO_REUSEADDR`: takes a local address although old connections linger there. Listeners have
    /// it set unless told otherwise, as std's; sockets that connect do not.
    pub fn reuse_addr(mut self, on: bool) -> SocketBuilder {
        self.reuse_addr = Some(on);
        self
    }

    /// `SO_REUSEPORT`: shares a local address with other sockets of the same user that have it set.
    /// Linux hands each new connection to one of the listeners there, by a hash of its addresses.
    pub fn reuse_port(mut self, on: bool) -> SocketBuilder {
        self.reuse_port = on;
        self
    }

    /// How many connections may wait to be accepted; 128 unless set, as in std. The system has a
    /// limit of its own (on Linux `net.core.somaxconn`), which silently counts if it is lower.
    pub fn backlog(mut self, connections: u32) -> SocketBuilder {
        self.backlog = connections;
        self
    }

    /// Turns keep-alive on: a connection on which nothing has come for so long is probed. Whole
    /// seconds; less counts as nothing, which systems refuse.
    pub fn keepalive(self, idle: Duration) -> SocketBuilder {
        self.with_keepalive(|keepalive| keepalive.with_time(idle))
    }

    /// Turns keep-alive on, with this time between probes that are not answered. Whole seconds.
    pub fn keepalive_interval(self, interval: Duration) -> SocketBuilder {
        self.with_keepalive(|keepalive| keepalive.with_interval(interval))
    }

    /// Turns keep-alive on: after so many probes without an answer the connection is given up.
    pub fn keepalive_count(self, probes: u32) -> SocketBuilder {
        self.with_keepalive(|keepalive| keepalive.with_retries(probes))
    }

    fn with_keepalive(mut self, set: impl FnOnce(TcpKeepalive) -> TcpKeepalive) -> SocketBuilder {
        self.keepalive = Some(set(self.keepalive.unwrap_or_else(TcpKeepalive::new)));
        self
    }

    /// `SO_RCVBUF` in bytes. Linux doubles it, to have room for its own, and has a limit
    /// (`net.core.rmem_max`), which silently counts if it is lower.
    pub fn recv_buffer_size(mut self, bytes: usize) -> SocketBuilder {
        self.recv_buffer = Some(bytes);
        self
    }

    /// `SO_SNDBUF` in bytes, as [`recv_buffer_size`](SocketBuilder::recv_buffer_size).
    pub fn send_buffer_size(mut self, bytes: usize) -> SocketBuilder {
        self.send_buffer = Some(bytes);
        self
    }

    /// `IPV6_V6ONLY`: whether a listener on `[::]` leaves IPv4 alone. Sockets for IPv4 do not look
    /// at it.
    pub fn only_v6(mut self, on: bool) -> SocketBuilder {
        self.only_v6 = Some(on);
        self
    }

    /// `TCP_NODELAY`: small writes are not held back to be sent together.
    pub fn nodelay(mut self, on: bool) -> SocketBuilder {
        self.nodelay = Some(on);
        self
    }

    /// `SO_LINGER` in whole seconds. With zero, closing a stream resets the connection and throws
    /// away what has not been sent. With more, whoever drops it waits until all is sent, or for so
    /// long, and a cancellation does not end that. A coroutine's wait takes a thread of the
    /// [blocking](crate::blocking()) pool: [`Shutdown`](crate::net::Shutdown) and a read do without.
    ///
    /// A socket that is taken over from elsewhere is asked for this option. What is set on the
    /// descriptor of one of pirn's, as by `socket2`, is not known: then a drop *blocks its thread*.
    pub fn linger(mut self, linger: Duration) -> SocketBuilder {
        self.linger = Some(linger);
        self
    }

    /// `IP_TTL`, or `IPV6_UNICAST_HOPS`: the hops that a packet may take.
    pub fn ttl(mut self, hops: u32) -> SocketBuilder {
        self.ttl = Some(hops);
        self
    }

    /// `IP_TOS`, or `IPV6_TCLASS`: the type of service in each packet's header.
    pub fn tos(mut self, tos: u32) -> SocketBuilder {
        self.tos = Some(tos);
        self
    }

    /// How long an attempt to connect is given before the next address is tried beside it; 250 ms
    /// unless set, and at least 10 ms. See [`connect`](SocketBuilder::connect).
    pub fn attempt_delay(mut self, delay: Duration) -> SocketBuilder {
        self.attempt_delay = delay.max(LEAST_ATTEMPT_DELAY);
        self
    }

    /// `TCP_FASTOPEN`: accepts data that comes with the first packet of up to so many connections
    /// that are being made. The system must allow it (`net.ipv4.tcp_fastopen`, bit 2).
    #[cfg(any(target_os = "linux", target_os = "android"))]
    pub fn fastopen(mut self, connections: u32) -> SocketBuilder {
        self.linux.fastopen = Some(connections);
        self
    }

    /// `TCP_FASTOPEN_CONNECT`: where the other end has allowed that before, connecting succeeds at
    /// once, and the first write makes the connection. So that write is what fails if it cannot be
    /// made, and of several addresses the first wins. The system must allow it
    /// (`net.ipv4.tcp_fastopen`, bit 1).
    #[cfg(any(target_os = "linux", target_os = "android"))]
    pub fn fastopen_connect(mut self, on: bool) -> SocketBuilder {
        self.linux.fastopen_connect = on;
        self
    }

    /// `SO_BINDTODEVICE`: uses that network interface alone, such as `"eth0"`.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    pub fn bind_device(mut self, interface: impl Into<String>) -> SocketBuilder {
        self.linux.device = Some(interface.into());
        self
    }

    /// `SO_MARK`: marks each packet, for the system's routing and filters. Needs `CAP_NET_ADMIN`.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    pub fn mark(mut self, mark: u32) -> SocketBuilder {
        self.linux.mark = Some(mark);
        self
    }

    /// Listens on the first address that can be bound. Port 0 stands for a free one.
    ///
    /// # Errors
    ///
    /// - What the system says of an option, or of the last address, if none could be bound.
    /// - `InvalidInput` if there is no address, or none of the family asked for.
    /// - What the look-up of a name says.
    pub fn listen<A: ToSocketAddrs>(&self, addr: A) -> io::Result<TcpListener> {
        each_addr(addr, |addr| self.has_family_of(addr), |addr| self.listen_on(addr))
    }

    /// Listens on one address with `count` listeners, all with
    /// [`reuse_port`](SocketBuilder::reuse_port).
    ///
    /// On Linux each of them gets its share of the connections, by chance: docs/servers.md says when
    /// that is better than one listener for all. [`Server::start_group`] serves a group.
    ///
    /// [`Server::start_group`]: crate::net::Server::start_group
    ///
    /// # Errors
    ///
    /// `InvalidInput` for no listeners, and those of [`listen`](SocketBuilder::listen).
    ///
    /// # Examples
    ///
    /// ```
    /// let group = pirn::net::SocketBuilder::new().listen_group("127.0.0.1:0", 2)?;
    /// assert_eq!(group.len(), 2);
    /// assert_eq!(group[0].local_addr()?, group[1].local_addr()?);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn listen_group<A: ToSocketAddrs>(
        &self,
        addr: A,
        count: usize,
    ) -> io::Result<Vec<TcpListener>> {
        if count == 0 {
            let message = "a group has at least one listener";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        let options = self.clone().reuse_port(true);
        let first = options.listen(addr)?;
        let addr = first.local_addr()?;
        let others = (1..count).map(|_| options.listen_on(&addr));
        std::iter::once(Ok(first)).chain(others).collect()
    }

    /// Connects to a remote host.
    ///
    /// Of several addresses, such as those of a name, each is tried a quarter of a second after the
    /// one before, or as soon as one has failed, the families in turns, and the first to answer wins
    /// (*Happy Eyeballs*, RFC 8305). The others' attempts are given up: a host with several
    /// addresses may see connections that are closed at once.
    ///
    /// # Errors
    ///
    /// - What the system says of an option, or of the last address, if none could be connected to.
    /// - `InvalidInput` if there is no address, or none of the family asked for.
    /// - What the look-up of a name says.
    pub fn connect<A: ToSocketAddrs>(&self, addr: A) -> io::Result<TcpStream> {
        self.connect_to(addr.to_socket_addrs()?, None)
    }

    /// [Connects](SocketBuilder::connect) to a remote host, the look-up of its name included, within
    /// `timeout`.
    ///
    /// # Errors
    ///
    /// - `TimedOut` if it takes longer.
    /// - `InvalidInput` for a timeout of zero.
    /// - Those of [`connect`](SocketBuilder::connect).
    pub fn connect_timeout<A: ToSocketAddrs>(
        &self,
        addr: A,
        timeout: Duration,
    ) -> io::Result<TcpStream> {
        if timeout.is_zero() {
            return Err(zero_timeout());
        }
        let Some(deadline) = park::deadline_after(timeout) else { return self.connect(addr) };
        self.connect_to(addr.to_socket_addrs_until(deadline)?, Some(deadline))
    }

    fn connect_to(
        &self,
        addrs: impl Iterator<Item = SocketAddr>,
        deadline: Option<Instant>,
    ) -> io::Result<TcpStream> {
        let local = self.local.map(|local| local.is_ipv6());
        let wanted = |addr: &SocketAddr| {
            self.has_family_of(addr) && local.is_none_or(|local| local == addr.is_ipv6())
        };
        let source = connect(addrs.filter(wanted), self, deadline)?;
        Ok(TcpStream::ours(source, self.kind()))
    }

    fn kind(&self) -> Kind {
        let lingers = self.linger.is_some_and(|time| time.as_secs() > 0);
        Kind { lingers, ..Kind::TCP }
    }

    fn has_family_of(&self, addr: &SocketAddr) -> bool {
        match self.family {
            None => true,
            Some(family) => (family == Family::V6) == addr.is_ipv6(),
        }
    }

    fn listen_on(&self, addr: &SocketAddr) -> io::Result<TcpListener> {
        let socket = self.socket(addr)?;
        // Or an address could not be bound again while old connections linger.
        socket.set_reuse_address(self.reuse_addr.unwrap_or(true))?;
        socket.bind(&(*addr).into())?;
        #[cfg(any(target_os = "linux", target_os = "android"))]
        if let Some(connections) = self.linux.fastopen {
            sys::set_fastopen(&socket, connections)?;
        }
        socket.listen(i32::try_from(self.backlog).unwrap_or(i32::MAX))?;
        Ok(TcpListener::ours(socket.into(), self.kind()))
    }

    /// A socket that is about to connect to `addr`.
    pub(super) fn socket_to_connect(&self, addr: &SocketAddr) -> io::Result<Socket> {
        let socket = self.socket(addr)?;
        if let Some(on) = self.reuse_addr {
            socket.set_reuse_address(on)?;
        }
        if let Some(local) = self.local {
            socket.bind(&local.into())?;
        }
        #[cfg(any(target_os = "linux", target_os = "android"))]
        if self.linux.fastopen_connect {
            sys::set_fastopen_connect(&socket)?;
        }
        Ok(socket)
    }

    /// A socket with the options that each kind has.
    fn socket(&self, addr: &SocketAddr) -> io::Result<Socket> {
        let socket = sys::stream_socket(Domain::for_address(*addr))?;
        if self.reuse_port {
            socket.set_reuse_port(true)?;
        }
        if let Some(keepalive) = &self.keepalive {
            socket.set_tcp_keepalive(keepalive)?;
        }
        if let Some(bytes) = self.recv_buffer {
            socket.set_recv_buffer_size(bytes)?;
        }
        if let Some(bytes) = self.send_buffer {
            socket.set_send_buffer_size(bytes)?;
        }
        if let Some(on) = self.nodelay {
            socket.set_tcp_nodelay(on)?;
        }
        if let Some(linger) = self.linger {
            socket.set_linger(Some(linger))?;
        }
        match addr {
            SocketAddr::V4(_) => self.set_for_v4(&socket)?,
            SocketAddr::V6(_) => self.set_for_v6(&socket)?,
        }
        #[cfg(any(target_os = "linux", target_os = "android"))]
        {
            if let Some(device) = &self.linux.device {
                socket.bind_device(Some(device.as_bytes()))?;
            }
            if let Some(mark) = self.linux.mark {
                socket.set_mark(mark)?;
            }
        }
        Ok(socket)
    }

    fn set_for_v4(&self, socket: &Socket) -> io::Result<()> {
        if let Some(hops) = self.ttl {
            socket.set_ttl_v4(hops)?;
        }
        if let Some(tos) = self.tos {
            socket.set_tos_v4(tos)?;
        }
        Ok(())
    }

    fn set_for_v6(&self, socket: &Socket) -> io::Result<()> {
        if let Some(on) = self.only_v6 {
            socket.set_only_v6(on)?;
        }
        if let Some(hops) = self.ttl {
            socket.set_unicast_hops_v6(hops)?;
        }
        if let Some(tos) = self.tos {
            socket.set_tclass_v6(tos)?;
        }
        Ok(())
    }
}
