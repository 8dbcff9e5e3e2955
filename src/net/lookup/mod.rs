//! Name lookups that coroutines share.
//!
//! The system's resolver blocks its thread, for many seconds if it must, and cannot be stopped. So
//! a lookup is a *flight* of its own: it is started once for a name, by the first who asks, on the
//! blocking pool, where flights take half of the threads at most. Whoever asks for that name until
//! it has landed waits for it, as long as he likes. A waiter that gives up or is cancelled takes
//! nothing from the others. Failures are shared as successes are, and nothing is kept: this is no
//! cache.
//!
//! [`SingleFlight`](crate::sync::SingleFlight) is not used: there the work belongs to one of the
//! callers and ends with him, which a deadline would make a failure of all the others.
//!
//! A flight that does not land, since its runtime has ended before its turn, is *abandoned*; those
//! who wait for it in other runtimes start another.

#[cfg(test)]
mod tests;

use crate::blocking::{begin_lookup, wait_for_lookup};
use crate::net::shared_error::SharedError;
use crate::park::{self, WaitReason};
use crate::primitive::lock;
use crate::sched;
use crate::sync::Event;
use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::{Arc, LazyLock, Mutex, OnceLock};
use std::time::Instant;
use std::vec;

/// Asks for the addresses of a name. The ports do not matter.
type Ask = dyn Fn(&str) -> io::Result<Vec<SocketAddr>> + Send + Sync;

/// The names that are being looked up.
pub(super) struct Lookups {
    flights: Mutex<HashMap<Box<str>, Arc<Flight>>>,
    ask: Box<Ask>,
}

#[derive(Default)]
struct Flight {
    /// Not there once it has landed: it was abandoned.
    answer: OnceLock<Result<Vec<SocketAddr>, SharedError>>,
    landed: Event,
}

/// Lookups by the system's resolver.
pub(super) fn system() -> &'static Arc<Lookups> {
    static SYSTEM: LazyLock<Arc<Lookups>> =
        LazyLock::new(|| Arc::new(Lookups::new(|host| Ok((host, 0).to_socket_addrs()?.collect()))));
    &SYSTEM
}

impl Lookups {
    fn new(ask: impl Fn(&str) -> io::Result<Vec<SocketAddr>> + Send + Sync + 'static) -> Lookups {
        Lookups { flights: Mutex::default(), ask: Box::new(ask) }
    }

    /// The addresses of `host`, with that port. A plain thread asks for itself, unless something may end
    /// its wait: a deadline, or a scope.
    ///
    /// # Errors
    ///
    /// - `TimedOut` if the deadline comes first.
    /// - What the resolver says.
    /// - What the system says if it refuses a thread to a plain thread with a deadline.
    pub(super) fn look_up(
        self: &Arc<Self>,
        host: &str,
        port: u16,
        deadline: Option<Instant>,
    ) -> io::Result<vec::IntoIter<SocketAddr>> {
        if deadline.is_none() && !sched::in_coroutine() && !park::is_in_scope() {
            return Ok(with_port((self.ask)(host)?, port));
        }
        loop {
            let flight = match self.board(host) {
                // Better a wait that nothing ends than none.
                Err(_no_thread) if deadline.is_none() => {
                    return Ok(with_port((self.ask)(host)?, port));
                }
                flight => flight?,
            };
            let lands = |until| flight.landed.wait_until(WaitReason::Lookup, until);
            if !wait_for_lookup(deadline, lands) {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "name lookup timed out"));
            }
            match flight.answer.get() {
                Some(Ok(addrs)) => return Ok(with_port(addrs.clone(), port)),
                Some(Err(failure)) => return Err(failure.to_error()),
                None => {}
            }
        }
    }

    /// The flight for `host`, which is started if there is none.
    fn board(self: &Arc<Self>, host: &str) -> io::Result<Arc<Flight>> {
        let mut flights = lock(&self.flights);
        if let Some(flight) = flights.get(host) {
            return Ok(flight.clone());
        }
        let flight = Arc::<Flight>::default();
        flights.insert(host.into(), flight.clone());
        drop(flights);
        let landing = Landing { lookups: self.clone(), host: host.into(), flight: flight.clone() };
        begin_lookup(move || {
            let answer = (landing.lookups.ask)(&landing.host);
            let set = landing.flight.answer.set(answer.map_err(|error| SharedError::of(&error)));
            debug_assert!(set.is_ok(), "a flight lands once");
        })?;
        Ok(flight)
    }
}

/// Ends a flight, also one that never began.
struct Landing {
    lookups: Arc<Lookups>,
    host: Box<str>,
    flight: Arc<Flight>,
}

impl Drop for Landing {
    fn drop(&mut self) {
        // First: whoever comes from now on is to have an answer of his own time.
        let removed = lock(&self.lookups.flights).remove(&self.host);
        self.flight.landed.set();
        drop(removed);
    }
}

fn with_port(mut addrs: Vec<SocketAddr>, port: u16) -> vec::IntoIter<SocketAddr> {
    addrs.iter_mut().for_each(|addr| addr.set_port(port));
    addrs.into_iter()
}
