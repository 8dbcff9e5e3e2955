//! poll(2), woken by a pipe: for the systems that have nothing better.
//!
//! The kernel remembers nothing between two calls, so the registrations are kept here, in a map
//! behind a mutex. One thread at a time copies those that are armed into a set, releases the
//! mutex, and waits in the system; others who poll wait for their turn, no longer than their
//! timeout. A change of the map while a thread waits in the system interrupts it through a second
//! pipe, and it goes back with a new set and what is left of its timeout.
//!
//! What the system reports is about the set, not about the map as it has become. The map has a
//! version, which every change but a rearming advances and which is stamped on the registration
//! concerned: a report about a registration younger than the set is dropped. Nothing is lost by
//! that, since the next call tells it again.
//!
//! # Edges
//!
//! An edge-triggered registration has a set of armed directions. A report disarms its directions,
//! [`rearm`](Backend::rearm) arms them again, and a registration with none is left out of the
//! set, since the system reports hang-ups even to those who ask for nothing.
//!
//! Rejected: comparing what two calls say about a direction and reporting the differences. It
//! needs no rearming, but a direction that is drained and filled between the calls shows no
//! difference, and its waiter sleeps for ever.

#![expect(unsafe_code, reason = "poll(2)")]

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::pipe::Waker;
use super::{Backend, Wake, files, syscall, timeout};
use crate::event::{Event, Readiness};
use crate::{Interest, Key, Trigger};

pub(crate) struct Selector {
    state: Mutex<State>,
    /// Tells those who wait for their turn that nobody is in the system any more.
    turn: Condvar,
    waker: Arc<Waker>,
    /// Interrupts the thread in the system. It holds a byte exactly while [`Turn::Interrupted`].
    changes: Waker,
}

struct State {
    /// By descriptor. The order lets an overflowing poll go on where the last one stopped.
    registrations: BTreeMap<RawFd, Registration>,
    /// How many changes there were.
    version: u64,
    turn: Turn,
    /// The first descriptor that did not fit into the last poll's events, or 0.
    resume_at: RawFd,
    /// Kept for its memory. The thread in the system has it.
    set: Vec<libc::pollfd>,
}

struct Registration {
    key: Key,
    interest: Interest,
    trigger: Trigger,
    /// The directions of interest whose report is due: with `Trigger::Level`, all of them.
    armed: Option<Interest>,
    /// The version of the map that this came with.
    stamp: u64,
}

/// Who is in the system.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// Nobody.
    Free,
    /// One thread, with a set made from the current version of the map.
    Taken,
    /// One thread, with a set that is out of date, and it has been told so.
    Interrupted,
}

/// The system's set belongs to the poller. The caller's buffer only has a size.
pub(crate) struct Buffer {
    capacity: usize,
}

/// The place of the waker in the set. The pipe for changes and the registrations come behind it.
const WAKER: usize = 0;
const PIPES: usize = 2;

impl Backend for Selector {
    const NAME: &'static str = "poll";

    type Waker = Waker;
    type Buffer = Buffer;

    fn new() -> io::Result<Selector> {
        Ok(Selector {
            state: Mutex::new(State {
                registrations: BTreeMap::new(),
                version: 0,
                turn: Turn::Free,
                resume_at: 0,
                set: Vec::new(),
            }),
            turn: Condvar::new(),
            waker: Arc::new(Waker::new()?),
            changes: Waker::new()?,
        })
    }

    fn waker(&self) -> &Arc<Waker> {
        &self.waker
    }

    fn add(
        &self,
        fd: BorrowedFd<'_>,
        key: Key,
        interest: Interest,
        trigger: Trigger,
    ) -> io::Result<()> {
        files::refuse_always_ready(fd)?;
        let mut state = self.state();
        let stamp = state.version + 1;
        match state.registrations.entry(fd.as_raw_fd()) {
            Entry::Occupied(_) => return Err(io::Error::from_raw_os_error(libc::EEXIST)),
            Entry::Vacant(place) => {
                place.insert(Registration::new(key, interest, trigger, stamp));
            }
        }
        state.version = stamp;
        self.interrupt(&mut state)
    }

    fn modify(
        &self,
        fd: BorrowedFd<'_>,
        key: Key,
        interest: Interest,
        trigger: Trigger,
    ) -> io::Result<()> {
        let mut state = self.state();
        let stamp = state.version + 1;
        *state.registration(fd)? = Registration::new(key, interest, trigger, stamp);
        state.version = stamp;
        self.interrupt(&mut state)
    }

    fn delete(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        let mut state = self.state();
        state.registration(fd)?;
        state.registrations.remove(&fd.as_raw_fd());
        state.version += 1;
        // The caller is about to close the descriptor, which the system should have let go then.
        self.interrupt(&mut state)
    }

    fn rearm(&self, fd: BorrowedFd<'_>, interest: Interest) -> io::Result<()> {
        let mut state = self.state();
        let registration = state.registration(fd)?;
        if !registration.arm(interest) {
            return Ok(());
        }
        self.interrupt(&mut state)
    }

    fn buffer(capacity: usize) -> Buffer {
        Buffer { capacity }
    }

    fn capacity(buffer: &Buffer) -> usize {
        buffer.capacity
    }

    fn poll(
        &self,
        buffer: &mut Buffer,
        events: &mut Vec<Event>,
        timeout: Option<Duration>,
    ) -> io::Result<()> {
        // A deadline beyond the end of the clock is none.
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let Some(mut state) = self.take_turn(deadline) else { return Ok(()) };
        let result = loop {
            state.turn = Turn::Taken;
            let version = state.version;
            let mut set = mem::take(&mut state.set);
            self.fill(&mut set, &state);
            drop(state);

            let waited = wait(&mut set, remaining(deadline));

            state = self.state();
            if state.turn == Turn::Interrupted {
                self.changes.drain();
            }
            let ready = waited.as_ref().is_ok_and(|&ready| ready > 0);
            let woken = ready && set[WAKER].revents != 0;
            if woken {
                self.waker.drain();
            }
            if ready {
                state.report(&set[PIPES..], version, buffer.capacity, events);
            }
            state.set = set;
            // A change, or a report about what the map no longer has, is no reason to return.
            if !ready || woken || !events.is_empty() {
                break waited;
            }
        };
        state.turn = Turn::Free;
        self.turn.notify_one();
        result.map(|_| ())
    }
}

impl Selector {
    /// Waits until nobody is in the system. `None` if the time is over first.
    fn take_turn(&self, deadline: Option<Instant>) -> Option<MutexGuard<'_, State>> {
        let mut state = self.state();
        while state.turn != Turn::Free {
            state = match remaining(deadline) {
                None => self.turn.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(Duration::ZERO) => return None,
                Some(left) => {
                    let waited = self.turn.wait_timeout(state, left);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
        Some(state)
    }

    /// Tells the thread in the system, if there is one, that the map has changed.
    fn interrupt(&self, state: &mut State) -> io::Result<()> {
        if state.turn == Turn::Taken {
            state.turn = Turn::Interrupted;
            self.changes.wake()?;
        }
        Ok(())
    }

    /// Writes the pipes and what is armed into the set.
    fn fill(&self, set: &mut Vec<libc::pollfd>, state: &State) {
        set.clear();
        for pipe in [&*self.waker, &self.changes] {
            set.push(pollfd(pipe.as_fd().as_raw_fd(), libc::POLLIN));
        }
        let resumed = state.registrations.range(state.resume_at..);
        let skipped = state.registrations.range(..state.resume_at);
        set.extend(resumed.chain(skipped).filter_map(|(&fd, registration)| {
            registration.armed.map(|armed| pollfd(fd, requested(armed)))
        }));
    }

    /// Nothing panics while it holds this mutex, and if it did, the map would still be one.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn registration(&mut self, fd: BorrowedFd<'_>) -> io::Result<&mut Registration> {
        let missing = || io::Error::from_raw_os_error(libc::ENOENT);
        self.registrations.get_mut(&fd.as_raw_fd()).ok_or_else(missing)
    }

    /// Turns what the system says about a set of this `version` into at most `capacity` events,
    /// and disarms edges.
    fn report(&mut self, set: &[libc::pollfd], version: u64, capacity: usize, events: &mut Vec<Event>) {
        self.resume_at = 0;
        for report in set.iter().filter(|report| report.revents != 0) {
            let Entry::Occupied(mut place) = self.registrations.entry(report.fd) else { continue };
            let registration = place.get_mut();
            if registration.stamp > version {
                continue;
            }
            if report.revents & libc::POLLNVAL != 0 {
                // Closed without being deleted. epoll forgets such a registration as well.
                place.remove();
                continue;
            }
            if events.len() == capacity {
                self.resume_at = report.fd;
                return;
            }
            let readiness = readiness(report.revents);
            events.push(Event::new(registration.key, readiness));
            registration.disarm(readiness);
        }
    }
}

impl Registration {
    fn new(key: Key, interest: Interest, trigger: Trigger, stamp: u64) -> Registration {
        Registration { key, interest, trigger, armed: Some(interest), stamp }
    }

    /// Makes the report of these directions due, so far as they are of interest. False if nothing
    /// changes.
    #[must_use]
    fn arm(&mut self, directions: Interest) -> bool {
        let armed = |direction: fn(Interest) -> bool| {
            direction(self.interest) && direction(directions) || self.armed.is_some_and(direction)
        };
        let armed = interest(armed(Interest::is_readable), armed(Interest::is_writable));
        mem::replace(&mut self.armed, armed) != armed
    }

    /// An edge is reported once.
    fn disarm(&mut self, reported: Readiness) {
        if let (Trigger::Edge, Some(armed)) = (self.trigger, self.armed) {
            self.armed = interest(
                armed.is_readable() && !reported.contains(Readiness::READABLE),
                armed.is_writable() && !reported.contains(Readiness::WRITABLE),
            );
        }
    }
}

fn interest(readable: bool, writable: bool) -> Option<Interest> {
    match (readable, writable) {
        (true, true) => Some(Interest::BOTH),
        (true, false) => Some(Interest::READABLE),
        (false, true) => Some(Interest::WRITABLE),
        (false, false) => None,
    }
}

fn remaining(deadline: Option<Instant>) -> Option<Duration> {
    deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()))
}

fn pollfd(fd: RawFd, events: libc::c_short) -> libc::pollfd {
    libc::pollfd { fd, events, revents: 0 }
}

/// The peer's end of stream, where the system tells it apart from something to read.
const POLLRDHUP: libc::c_short = cfg_select! {
    any(target_os = "linux", target_os = "android", target_os = "freebsd") => libc::POLLRDHUP,
    _ => 0,
};

fn requested(interest: Interest) -> libc::c_short {
    let mut events = 0;
    if interest.is_readable() {
        events |= libc::POLLIN | POLLRDHUP;
    }
    if interest.is_writable() {
        events |= libc::POLLOUT;
    }
    events
}

fn readiness(revents: libc::c_short) -> Readiness {
    let has = |flag: libc::c_short| revents & flag != 0;
    Readiness::READABLE.when(has(libc::POLLIN))
        | Readiness::WRITABLE.when(has(libc::POLLOUT))
        | Readiness::READ_CLOSED.when(has(POLLRDHUP))
        | Readiness::HANGUP.when(has(libc::POLLHUP))
        | Readiness::ERROR.when(has(libc::POLLERR))
}

/// Waits in the system, and returns how many places of the set have a report.
fn wait(set: &mut [libc::pollfd], timeout: Option<Duration>) -> io::Result<usize> {
    let length = set.len() as libc::nfds_t;
    cfg_select! {
        any(
            target_os = "linux",
            target_os = "android",
            target_os = "freebsd",
            target_os = "openbsd",
            target_os = "dragonfly",
        ) => {
            let timeout = timeout.map(|timeout| {
                let (tv_sec, tv_nsec) = timeout::parts(timeout);
                libc::timespec { tv_sec, tv_nsec }
            });
            let timeout = timeout.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
            // SAFETY:
            // - The set is alive and as long as told.
            // - `timeout` is null, for no limit, or points to a live timespec.
            // - A null signal mask leaves the thread's mask alone.
            unsafe { syscall!(wait ppoll(set.as_mut_ptr(), length, timeout, std::ptr::null())) }
        }
        _ => {
            // Rounded up: a poll that returns too early makes its caller spin until the deadline.
            let milliseconds = timeout.map_or(-1, |timeout| {
                let (seconds, nanoseconds): (i64, i64) = timeout::parts(timeout);
                let milliseconds = seconds * 1_000 + (nanoseconds + 999_999) / 1_000_000;
                milliseconds.try_into().unwrap_or(libc::c_int::MAX)
            });
            // SAFETY: the set is alive and as long as told.
            unsafe { syscall!(wait poll(set.as_mut_ptr(), length, milliseconds)) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEW: Key = Key::new(1, 2);

    /// Reports about descriptor 5, which became `NEW` with version 7 of the map.
    fn reported(version: u64, revents: libc::c_short) -> (Vec<Event>, bool) {
        let registration = Registration::new(NEW, Interest::BOTH, Trigger::Edge, 7);
        let mut state = State {
            registrations: BTreeMap::from([(5, registration)]),
            version: 8,
            turn: Turn::Taken,
            resume_at: 0,
            set: Vec::new(),
        };
        let mut events = Vec::new();
        let set = [libc::pollfd { fd: 5, events: libc::POLLIN, revents }];
        state.report(&set, version, 1, &mut events);
        (events, state.registrations.contains_key(&5))
    }

    #[test]
    fn a_report_about_an_older_registration_is_dropped() {
        assert_eq!(reported(6, libc::POLLIN), (vec![], true));
        assert_eq!(reported(6, libc::POLLNVAL), (vec![], true));
        assert_eq!(reported(7, libc::POLLIN), (vec![Event::new(NEW, Readiness::READABLE)], true));
        assert_eq!(reported(7, libc::POLLNVAL), (vec![], false));
    }
}
