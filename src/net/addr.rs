//! Names to addresses.

use crate::blocking::blocking_for;
use crate::park::WaitReason;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6, TcpStream};
use std::{iter, option, slice, vec};

/// What can be turned into socket addresses: [`std::net::ToSocketAddrs`] for coroutines.
///
/// It has the same implementations. Addresses, also those written out in a string, are taken as
/// they are; a host name is looked up on the blocking pool, so that the system's resolver stops
/// the calling coroutine and not its thread.
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

/// Tries each address until one succeeds; gives the last error if none does.
pub(super) fn each_addr<A: ToSocketAddrs, T>(
    addr: A,
    mut attempt: impl FnMut(&SocketAddr) -> io::Result<T>,
) -> io::Result<T> {
    let mut last = None;
    for addr in addr.to_socket_addrs()? {
        match attempt(&addr) {
            Ok(value) => return Ok(value),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(no_addresses))
}

/// Std's own error for an empty list of addresses.
fn no_addresses() -> io::Error {
    let none: &[SocketAddr] = &[];
    TcpStream::connect(none).expect_err("there is nothing to connect to")
}

/// Std's look-up, here and now.
fn look_up<A: std::net::ToSocketAddrs + ?Sized>(addr: &A) -> io::Result<A::Iter> {
    addr.to_socket_addrs()
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
        if self.0.parse::<IpAddr>().is_ok() {
            return look_up(self);
        }
        let owned = (self.0.to_owned(), self.1);
        blocking_for(WaitReason::Lookup, move || look_up(&owned))
    }
}

impl ToSocketAddrs for (String, u16) {
    type Iter = vec::IntoIter<SocketAddr>;

    fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
        (self.0.as_str(), self.1).to_socket_addrs()
    }
}

impl ToSocketAddrs for str {
    type Iter = vec::IntoIter<SocketAddr>;

    fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
        let names_host =
            self.rsplit_once(':').is_some_and(|(_host, port)| port.parse::<u16>().is_ok());
        if !names_host || self.parse::<SocketAddr>().is_ok() {
            // Nothing to look up: an address, or an error.
            return look_up(self);
        }
        let owned = self.to_owned();
        blocking_for(WaitReason::Lookup, move || look_up(&owned))
    }
}

impl ToSocketAddrs for String {
    type Iter = vec::IntoIter<SocketAddr>;

    fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
        self.as_str().to_socket_addrs()
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
}
