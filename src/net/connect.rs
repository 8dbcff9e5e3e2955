//! Opening a connection: to one address, or to the first of several that answers.
//!
//! A connection is made in the background; the socket is writable once that has ended, well or not.
//! Several are made by *Happy Eyeballs* (RFC 8305): one attempt is begun after another, a quarter of
//! a second apart or as soon as one has failed, and the first to succeed wins.
//!
//! One wait is for all attempts at once, so a race takes no coroutine but the caller's, and works on
//! a plain thread as it is. Whoever is cancelled, or wins, drops the other attempts' sockets, and so
//! closes them.

use crate::net::addr::no_addresses;
use crate::net::builder::SocketBuilder;
use crate::net::limits::zero_timeout;
use crate::netpoller::{Done, Seen, Side, Source, wait_any};
use crate::park::{self, WaitReason};
use socket2::{SockAddr, SockRef};
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// An attempt that has begun.
enum Begun {
    Connected(Source),
    UnderWay(Source),
}

/// Connects to one address, as std's `connect_timeout` does.
pub(super) fn connect_timeout(addr: &SocketAddr, timeout: Duration) -> io::Result<Source> {
    let deadline = park::deadline_after(timeout);
    match begin(addr, &SocketBuilder::new())? {
        Begun::Connected(source) => Ok(source),
        Begun::UnderWay(_source) if timeout.is_zero() => Err(zero_timeout()),
        Begun::UnderWay(source) => end(source, deadline),
    }
}

/// Connects to one of `addrs`.
///
/// # Errors
///
/// - `TimedOut` if the deadline comes first.
/// - What the system says of the last of `addrs`, if none can be connected to; std's choice, also
///   if that one was tried before another.
pub(super) fn connect(
    mut addrs: impl Iterator<Item = SocketAddr>,
    options: &SocketBuilder,
    deadline: Option<Instant>,
) -> io::Result<Source> {
    let first = addrs.next().ok_or_else(no_addresses)?;
    let Some(second) = addrs.next() else {
        return match begin(&first, options)? {
            Begun::Connected(source) => Ok(source),
            Begun::UnderWay(source) => end(source, deadline),
        };
    };
    let addrs: Vec<_> = [first, second].into_iter().chain(addrs).collect();
    Race::new(&addrs, options).run(deadline)
}

fn begin(addr: &SocketAddr, options: &SocketBuilder) -> io::Result<Begun> {
    let socket = options.socket_to_connect(addr)?;
    let begun = socket.connect(&SockAddr::from(*addr));
    let source = Source::new(socket.into());
    match begun {
        Ok(()) => Ok(Begun::Connected(source)),
        // A signal does not stop what has begun.
        Err(error) if is_under_way(&error) => Ok(Begun::UnderWay(source)),
        Err(error) => Err(error),
    }
}

/// Waits for the end of an attempt.
fn end(source: Source, deadline: Option<Instant>) -> io::Result<Source> {
    let ended = source.io(Side::Write, WaitReason::Connect, deadline, |fd| {
        outcome(&SockRef::from(&fd)).map(|()| Done { value: (), drained: false })
    });
    match ended {
        Ok(()) => Ok(source),
        Err(error) if deadline.is_some() && is_would_block(&error) => Err(timed_out()),
        Err(error) => Err(error),
    }
}

/// How an attempt has ended; `WouldBlock` if it has not.
fn outcome(socket: &SockRef<'_>) -> io::Result<()> {
    if let Some(error) = socket.take_error()? {
        return Err(error);
    }
    match socket.peer_addr() {
        Ok(_connected) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotConnected => {
            Err(io::ErrorKind::WouldBlock.into())
        }
        Err(error) => Err(error),
    }
}

fn is_under_way(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EINPROGRESS | libc::EINTR))
}

fn is_would_block(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock
}

/// Std's own.
fn timed_out() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "connection timed out")
}

/// Attempts to connect to several addresses, of which one is wanted.
struct Race<'a> {
    addrs: &'a [SocketAddr],
    options: &'a SocketBuilder,
    /// Places in `addrs` at which none has begun, the next one last.
    to_come: Vec<usize>,
    under_way: Vec<Attempt>,
    /// Of the last of `addrs` that has failed.
    failure: Option<(usize, io::Error)>,
}

struct Attempt {
    /// In `addrs`.
    place: usize,
    source: Source,
}

/// What is seen of the attempts that are under way.
enum Look {
    /// The one at that place has succeeded.
    Connected(usize),
    /// Some have failed, and are gone.
    Failed,
    /// All are; what was seen of each before its look.
    UnderWay(Vec<Seen>),
}

impl<'a> Race<'a> {
    fn new(addrs: &'a [SocketAddr], options: &'a SocketBuilder) -> Race<'a> {
        let mut to_come = interleaved(addrs);
        to_come.reverse();
        Race { addrs, options, to_come, under_way: Vec::new(), failure: None }
    }

    fn run(mut self, deadline: Option<Instant>) -> io::Result<Source> {
        loop {
            if let Some(connected) = self.begin_next() {
                return Ok(connected);
            }
            if self.under_way.is_empty() {
                let failure = self.failure.map(|(_place, error)| error);
                return Err(failure.unwrap_or_else(no_addresses));
            }
            let next_at = Instant::now().checked_add(self.options.attempt_delay);
            let next_at = next_at.filter(|_| !self.to_come.is_empty());
            let until = [next_at, deadline].into_iter().flatten().min();
            // Until the next one is to begin.
            loop {
                let seen = match self.look() {
                    Look::Connected(at) => return Ok(self.under_way.swap_remove(at).source),
                    Look::Failed => break,
                    Look::UnderWay(seen) => seen,
                };
                let attempts = self.under_way.iter().zip(seen);
                let awaited: Vec<_> =
                    attempts.map(|(attempt, seen)| attempt.source.after(seen)).collect();
                if !wait_any(&awaited, Side::Write, WaitReason::Connect, until)? {
                    if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                        return Err(timed_out());
                    }
                    break;
                }
            }
        }
    }

    /// Begins attempts until one is under way; gives one that has succeeded at once.
    fn begin_next(&mut self) -> Option<Source> {
        while let Some(place) = self.to_come.pop() {
            match begin(&self.addrs[place], self.options) {
                Ok(Begun::Connected(source)) => return Some(source),
                Ok(Begun::UnderWay(source)) => {
                    self.under_way.push(Attempt { place, source });
                    return None;
                }
                Err(error) => self.fail(place, error),
            }
        }
        None
    }

    /// Looks at all that are under way.
    fn look(&mut self) -> Look {
        let mut failed = Vec::new();
        let mut seen = Vec::with_capacity(self.under_way.len());
        for (at, attempt) in self.under_way.iter().enumerate() {
            seen.push(attempt.source.seen(Side::Write));
            match outcome(&SockRef::from(&attempt.source.as_fd())) {
                Ok(()) => return Look::Connected(at),
                Err(error) if is_would_block(&error) => {}
                Err(error) => failed.push((at, error)),
            }
        }
        if failed.is_empty() {
            return Look::UnderWay(seen);
        }
        for (at, error) in failed.into_iter().rev() {
            let attempt = self.under_way.swap_remove(at);
            self.fail(attempt.place, error);
        }
        Look::Failed
    }

    fn fail(&mut self, place: usize, error: io::Error) {
        if self.failure.as_ref().is_none_or(|(last, _)| *last < place) {
            self.failure = Some((place, error));
        }
    }
}

/// The places of `addrs` in the order in which they are tried: as given, but the families take
/// turns (RFC 8305, section 4).
fn interleaved(addrs: &[SocketAddr]) -> Vec<usize> {
    let first = addrs.first().is_some_and(SocketAddr::is_ipv6);
    let of_family = |family| {
        let places = addrs.iter().enumerate();
        places.filter(move |(_, addr)| addr.is_ipv6() == family).map(|(place, _)| place)
    };
    let (mut these, mut those) = (of_family(first), of_family(!first));
    let mut order = Vec::with_capacity(addrs.len());
    while order.len() < addrs.len() {
        order.extend(these.next());
        order.extend(those.next());
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, Ipv6Addr};

    fn order(families: &str) -> String {
        let addr = |(place, family)| match family {
            '4' => SocketAddr::from((Ipv4Addr::LOCALHOST, place as u16)),
            _ => SocketAddr::from((Ipv6Addr::LOCALHOST, place as u16)),
        };
        let addrs: Vec<_> = families.chars().enumerate().map(addr).collect();
        interleaved(&addrs).into_iter().map(|place| place.to_string()).collect()
    }

    #[test]
    fn families_take_turns() {
        assert_eq!(order(""), "");
        assert_eq!(order("4"), "0");
        assert_eq!(order("444"), "012");
        assert_eq!(order("6644"), "0213");
        assert_eq!(order("4466"), "0213");
        assert_eq!(order("66664"), "04123");
        assert_eq!(order("46666"), "01234");
        assert_eq!(order("4646"), "0123");
    }
}
