//! Names to addresses.

use crate::net::lookup;
use crate::park;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6, TcpStream};
use std::time::{Duration, Instant};
use std::{iter, option, slice, vec};

/// What can be turned into socket addresses: [`std::net::ToSocketAddrs`] for coroutines.
///
/// It has the same implementations. Addresses, also those written out in a string, are taken as
/// they are; a host name is looked up on the blocking pool, so that the system's resolver stops
/// the calling coroutine and not its thread. Look-ups take at most half of the pool's threads.
/// Those who ask for the same name at the same time share one look-up; nothing is kept after that.
///
/// # Examples
///
/// ```
/// use pirn::net::ToSocketAddrs;
///
/// let mut addresses = ("127.0.0.1", 80).to_socket_addrs()?;
/// assert_eq!(addresses.next(), Some(([127, 0, 0, 1], 80).into()));
/// assert_eq!(addresses.next(), None);
/// # Ok::<(), std::io::Error>(())
/// ```
pub trait ToSocketAddrs {
    /// The addresses, in the order in which they are to be tried.
    type Iter: Iterator<Item = SocketAddr>;

    /// Looks the addresses up.
    ///
    /// # Errors
    ///
    /// - `InvalidInput` for a string that is not `host:port`.
    /// - What the system's resolver says of the name.
    fn to_socket_addrs(&self) -> io::Result<Self::Iter>;

    /// Looks the addresses up, but waits for no longer than until `deadline`.
    ///
    /// What has nothing to look up need not implement this.
    ///
    /// # Errors
    ///
    /// - `TimedOut` if the deadline comes first.
    /// - Those of [`to_socket_addrs`](ToSocketAddrs::to_socket_addrs).
    fn to_socket_addrs_until(&self, deadline: Instant) -> io::Result<Self::Iter> {
        let _nothing_to_wait_for = deadline;
        self.to_socket_addrs()
    }
}

/// Looks the addresses of `host` up.
///
/// # Errors
///
/// Those of [`ToSocketAddrs::to_socket_addrs`].
///
/// # Examples
///
/// ```
/// let addresses: Vec<_> = pirn::net::lookup_host("localhost:80")?.collect();
/// assert!(addresses.iter().all(|address| address.ip().is_loopback() && address.port() == 80));
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn lookup_host<A: ToSocketAddrs>(host: A) -> io::Result<A::Iter> {
    host.to_socket_addrs()
}

/// Looks the addresses of `host` up, but waits for no longer than `timeout`.
///
/// A look-up that takes longer goes on in the background, and whoever asks for that name meanwhile
/// gets its answer. Only look-ups of a name take time at all.
///
/// # Errors
///
/// - `TimedOut` if it takes longer.
/// - Those of [`ToSocketAddrs::to_socket_addrs`].
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// let five_seconds = Duration::from_secs(5);
/// let mut addresses = pirn::net::lookup_host_timeout(("localhost", 80), five_seconds)?;
/// assert!(addresses.all(|address| address.ip().is_loopback()));
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn lookup_host_timeout<A: ToSocketAddrs>(host: A, timeout: Duration) -> io::Result<A::Iter> {
    match park::deadline_after(timeout) {
        Some(deadline) => host.to_socket_addrs_until(deadline),
        None => host.to_socket_addrs(),
    }
}

/// Tries each address that is wanted until one succeeds; gives the last error if none does.
pub(super) fn each_addr<A: ToSocketAddrs, T>(
    addr: A,
    wanted: impl FnMut(&SocketAddr) -> bool,
    mut attempt: impl FnMut(&SocketAddr) -> io::Result<T>,
) -> io::Result<T> {
    let mut last = None;
    for addr in addr.to_socket_addrs()?.filter(wanted) {
        match attempt(&addr) {
            Ok(value) => return Ok(value),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(no_addresses))
}

/// Std's own error for an empty list of addresses.
pub(super) fn no_addresses() -> io::Error {
    let none: &[SocketAddr] = &[];
    TcpStream::connect(none).expect_err("there is nothing to connect to")
}

/// Std's look-up, here and now.
fn look_up<A: std::net::ToSocketAddrs + ?Sized>(addr: &A) -> io::Result<A::Iter> {
    addr.to_socket_addrs()
}

fn look_name_up(
    host: &str,
    port: u16,
    deadline: Option<Instant>,
) -> io::Result<vec::IntoIter<SocketAddr>> {
    if host.parse::<IpAddr>().is_ok() {
        return look_up(&(host, port));
    }
    lookup::system().look_up(host, port, deadline)
}

/// Of `host:port`.
fn look_text_up(text: &str, deadline: Option<Instant>) -> io::Result<vec::IntoIter<SocketAddr>> {
    let name_and_port = text.rsplit_once(':');
    let name_and_port = name_and_port.and_then(|(name, port)| Some((name, port.parse().ok()?)));
    match name_and_port {
        Some((name, port)) if text.parse::<SocketAddr>().is_err() => {
            lookup::system().look_up(name, port, deadline)
        }
        // Nothing to look up: an address, or an error.
        _ => look_up(text),
    }
}

impl ToSocketAddrs for SocketAddr {
    type Iter = option::IntoIter<SocketAddr>;

    fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
        look_up(self)
    }
}

impl ToSocketAddrs for SocketAddrV4 {
    type Iter = option::IntoIter<SocketAddr>;

    fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
        look_up(self)
    }
}

impl ToSocketAddrs for SocketAddrV6 {
    type Iter = option::IntoIter<SocketAddr>;

    fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
        look_up(self)
    }
}

impl ToSocketAddrs for (IpAddr, u16) {
    type Iter = option::IntoIter<SocketAddr>;

    fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
        look_up(self)
    }
}

impl ToSocketAddrs for (Ipv4Addr, u16) {
    type Iter = option::IntoIter<SocketAddr>;

    fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
        look_up(self)
    }
}

impl ToSocketAddrs for (Ipv6Addr, u16) {
    type Iter = option::IntoIter<SocketAddr>;

    fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
        look_up(self)
    }
}

impl ToSocketAddrs for (&str, u16) {
    type Iter = vec::IntoIter<SocketAddr>;

    fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
        look_name_up(self.0, self.1, None)
    }

    fn to_socket_addrs_until(&self, deadline: Instant) -> io::Result<Self::Iter> {
        look_name_up(self.0, self.1, Some(deadline))
    }
}

impl ToSocketAddrs for (String, u16) {
    type Iter = vec::IntoIter<SocketAddr>;

    fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
        look_name_up(&self.0, self.1, None)
    }

    fn to_socket_addrs_until(&self, deadline: Instant) -> io::Result<Self::Iter> {
        look_name_up(&self.0, self.1, Some(deadline))
    }
}

impl ToSocketAddrs for str {
    type Iter = vec::IntoIter<SocketAddr>;

    fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
        look_text_up(self, None)
    }

    fn to_socket_addrs_until(&self, deadline: Instant) -> io::Result<Self::Iter> {
        look_text_up(self, Some(deadline))
    }
}

impl ToSocketAddrs for String {
    type Iter = vec::IntoIter<SocketAddr>;

    fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
        look_text_up(self, None)
    }

    fn to_socket_addrs_until(&self, deadline: Instant) -> io::Result<Self::Iter> {
        look_text_up(self, Some(deadline))
    }
}

impl<'a> ToSocketAddrs for &'a [SocketAddr] {
    type Iter = iter::Cloned<slice::Iter<'a, SocketAddr>>;

    fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
        look_up(self)
    }
}

impl<T: ToSocketAddrs + ?Sized> ToSocketAddrs for &T {
    type Iter = T::Iter;

    fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
        (**self).to_socket_addrs()
    }

    fn to_socket_addrs_until(&self, deadline: Instant) -> io::Result<Self::Iter> {
        (**self).to_socket_addrs_until(deadline)
    }
}
