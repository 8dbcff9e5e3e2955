//! What has to be known of a stream socket beforehand, since to ask each time would be a call more.

use crate::net::sys;
use socket2::SockRef;

/// Of a stream, or of those that a listener accepts, which have it from there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kind {
    /// It is TCP, and nothing stands between that and its reads: one that leaves room has emptied it.
    /// Of other protocols, and of records within TCP, that is not known.
    pub(super) is_plain_tcp: bool,
    /// A close waits until all is sent, for some time (`SO_LINGER`).
    pub(super) lingers: bool,
}

impl Kind {
    /// Of a TCP socket that we have made ourselves.
    pub(super) const TCP: Kind = Kind { is_plain_tcp: true, lingers: false };
    /// Of any other socket that we have made ourselves.
    pub(super) const OTHER: Kind = Kind { is_plain_tcp: false, lingers: false };

    /// Of a socket that comes from elsewhere.
    pub(super) fn of(socket: &SockRef<'_>) -> Kind {
        let linger = socket.linger().ok().flatten();
        Kind {
            is_plain_tcp: sys::is_plain_tcp(socket),
            lingers: linger.is_some_and(|time| !time.is_zero()),
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use socket2::{Domain, Protocol, Socket, Type};

    fn is_plain_tcp(domain: Domain, kind: Type, protocol: Option<Protocol>) -> Option<bool> {
        // What this system does not have cannot be handed over.
        let socket = Socket::new(domain, kind, protocol).ok()?;
        Some(Kind::of(&SockRef::from(&socket)).is_plain_tcp)
    }

    #[test]
    fn nothing_but_tcp_is_taken_for_it() {
        for domain in [Domain::IPV4, Domain::IPV6] {
            assert_ne!(is_plain_tcp(domain, Type::STREAM, None), Some(false));
            assert_ne!(is_plain_tcp(domain, Type::STREAM, Some(Protocol::TCP)), Some(false));
            assert_ne!(is_plain_tcp(domain, Type::STREAM, Some(Protocol::MPTCP)), Some(true));
            assert_ne!(is_plain_tcp(domain, Type::STREAM, Some(Protocol::SCTP)), Some(true));
            assert_eq!(is_plain_tcp(domain, Type::DGRAM, None), Some(false));
        }
        assert_eq!(is_plain_tcp(Domain::UNIX, Type::STREAM, None), Some(false));
    }

    /// As TLS in the kernel: it gives one record at a time.
    #[test]
    fn tcp_with_another_protocol_on_top_is_not_plain() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        assert!(Kind::of(&SockRef::from(&stream)).is_plain_tcp);
        // Few systems have it at hand.
        if sys::set_upper_layer(&SockRef::from(&stream), "tls").is_ok() {
            assert!(!Kind::of(&SockRef::from(&stream)).is_plain_tcp);
        }
    }
}
