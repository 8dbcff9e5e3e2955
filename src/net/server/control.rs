//! What a server's acceptors, connections and handles share.
//!
//! ```text
//!   open --- stop, or a listener fails ---> stopping --- the time is up ---> cut
//!     |                                        |                              |
//!     +--- no acceptor and no connection is left: ended <---------------------+
//! ```
//!
//! - *open*: connections are accepted.
//! - *stopping*: acceptors end, connections go on. Set for good.
//! - *cut*: connections have been shut down, and one that was being accepted meanwhile is dropped.
//! - *ended* is said once, when the last acceptor or connection has gone, and never before anything
//!   was started or stopped.

use crate::net::server::ServerStats;
use crate::net::server::listen::{Bell, Tie};
use crate::net::shared_error::SharedError;
use crate::primitive::lock;
use crate::sync::{Event, OwnedSemaphorePermit, Semaphore};
use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

pub(super) struct Control {
    /// For connections, if their number is bounded. Closed by a stop.
    permits: Option<Arc<Semaphore>>,
    pub(super) stopping: Event,
    pub(super) ended: Event,
    state: Mutex<State>,
    panicked: AtomicU64,
    refused: AtomicU64,
}

#[derive(Default)]
struct State {
    acceptors: usize,
    bells: Vec<Bell>,
    /// By number, in the order in which they were accepted.
    connections: HashMap<u64, Tie>,
    accepted: u64,
    is_cut: bool,
    failure: Option<SharedError>,
}

/// A permit for one more connection, if permits are needed.
pub(super) type Permit = Option<OwnedSemaphorePermit>;

impl Control {
    pub(super) fn new(max_connections: Option<usize>) -> Control {
        let permits = max_connections.map(|most| most.min(Semaphore::MAX_PERMITS));
        Control {
            permits: permits.map(|permits| Arc::new(Semaphore::new(permits))),
            stopping: Event::new(),
            ended: Event::new(),
            state: Mutex::default(),
            panicked: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        }
    }

    /// Counts an acceptor in.
    ///
    /// # Errors
    ///
    /// If no more connections are to be accepted.
    pub(super) fn enlist(self: &Arc<Self>, bell: Bell) -> io::Result<Acceptor> {
        let mut state = lock(&self.state);
        if self.stopping.is_set() {
            return Err(io::Error::other("the server has been stopped"));
        }
        state.acceptors += 1;
        state.bells.push(bell);
        Ok(Acceptor { control: self.clone() })
    }

    /// Waits until there may be one more connection, after a call of `before_waiting`. `None`: there
    /// may be no more.
    pub(super) fn permit(&self, before_waiting: impl FnOnce()) -> Option<Permit> {
        let permit = self.permits.as_ref().map(|permits| {
            permits.clone().try_acquire_owned().or_else(|_none| {
                before_waiting();
                permits.clone().acquire_owned()
            })
        });
        if self.stopping.is_set() { None } else { permit.transpose().ok() }
    }

    /// Counts a connection in. `None`: those that there were have been cut off already.
    pub(super) fn admit(self: &Arc<Self>, tie: Tie, permit: Permit) -> Option<Connection> {
        let mut state = lock(&self.state);
        let number = state.accepted;
        state.accepted += 1;
        if state.is_cut {
            return None;
        }
        state.connections.insert(number, tie);
        Some(Connection { control: self.clone(), number, _permit: permit })
    }

    pub(super) fn refuse(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// No more connections.
    pub(super) fn stop(&self) {
        let bells = {
            // With the state locked, so that an acceptor is called, or not counted in.
            let mut state = lock(&self.state);
            self.stopping.set();
            self.say_if_ended(&state);
            std::mem::take(&mut state.bells)
        };
        if let Some(permits) = &self.permits {
            permits.close();
        }
        bells.iter().for_each(Bell::ring);
    }

    /// Stops because of that.
    pub(super) fn fail(&self, error: &io::Error) {
        lock(&self.state).failure.get_or_insert_with(|| SharedError::of(error));
        self.stop();
    }

    /// Cuts off what is left; how many it were.
    pub(super) fn cut(&self) -> usize {
        let ties: Vec<Tie> = {
            let mut state = lock(&self.state);
            state.is_cut = true;
            state.connections.values().cloned().collect()
        };
        ties.iter().for_each(Tie::cut);
        ties.len()
    }

    pub(super) fn failure(&self) -> Option<io::Error> {
        lock(&self.state).failure.as_ref().map(SharedError::to_error)
    }

    pub(super) fn stats(&self) -> ServerStats {
        let state = lock(&self.state);
        ServerStats {
            accepted: state.accepted,
            active: state.connections.len(),
            panicked: self.panicked.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
        }
    }

    fn say_if_ended(&self, state: &State) {
        if self.stopping.is_set() && state.acceptors == 0 && state.connections.is_empty() {
            self.ended.set();
        }
    }
}

/// Counts an acceptor out, however it ends.
pub(super) struct Acceptor {
    control: Arc<Control>,
}

impl Drop for Acceptor {
    fn drop(&mut self) {
        if !self.control.stopping.is_set() {
            self.control.fail(&io::Error::other("an acceptor was ended, as by its runtime's end"));
        }
        let mut state = lock(&self.control.state);
        state.acceptors -= 1;
        self.control.say_if_ended(&state);
    }
}

/// Counts a connection out, however it ends.
pub(super) struct Connection {
    control: Arc<Control>,
    number: u64,
    _permit: Permit,
}

impl Connection {
    /// To be told before the connection is counted out.
    pub(super) fn has_panicked(&self) {
        self.control.panicked.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let mut state = lock(&self.control.state);
        state.connections.remove(&self.number);
        self.control.say_if_ended(&state);
    }
}
