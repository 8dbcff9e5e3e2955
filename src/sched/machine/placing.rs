//! Where a start waits, and where it lives.

use super::{Machine, ROOM};
use crate::coroutine::Coroutine;
use crate::sched::processor::{Processor, bump};
use std::cell::Cell;
use std::panic::Location;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// What may be added to the slack, beside half of what is here, for coroutines that are not expected
/// to stay.
const BRIEF_SLACK: usize = 64;

/// What coroutines of one spawn site are like, as this machine has seen them of late: do they stay,
/// or do they end without ever having parked?
///
/// A start that is sent to another machine relieves this one only if it stays. In a tree nine of ten
/// are leaves, which do not; to send each of them across for the sake of the tenth costs more than it
/// saves, and the machines would send them back and forth.
pub(super) struct Habits([Cell<u8>; Habits::SITES]);

impl Habits {
    /// Sites that share an entry share a reputation, which costs little.
    const SITES: usize = 64;
    const MOST: u8 = u8::MAX;
    /// One that parks weighs as much as so many that do not.
    const WEIGHT: u8 = 4;

    pub(super) fn new() -> Habits {
        Habits([const { Cell::new(0) }; Habits::SITES])
    }

    #[inline]
    fn of(&self, site: &'static Location<'static>) -> &Cell<u8> {
        // Locations are 24 bytes long and stand in a row.
        &self.0[ptr::from_ref(site).addr() / size_of::<Location<'_>>() % Habits::SITES]
    }

    /// One of that site has ended and had never parked.
    #[inline]
    pub(super) fn note_brief(&self, site: &'static Location<'static>) {
        let entry = self.of(site);
        entry.set(entry.get().saturating_add(1));
    }

    /// One of that site has parked for the first time.
    #[cold]
    pub(super) fn note_stay(&self, site: &'static Location<'static>) {
        let entry = self.of(site);
        entry.set(entry.get().saturating_sub(Habits::WEIGHT));
    }

    fn are_brief(&self, site: &'static Location<'static>) -> bool {
        self.of(site).get() > Habits::MOST / 2
    }
}

/// Where a machine sends its starts at the moment, if it sends them away.
///
/// Those that are spawned one after the other often talk to each other, as the stages of a pipeline do. If
/// each one went to whoever has the fewest, they would live here and there in turns, and each message
/// would cross. So a target is kept until it has as many as the sender.
pub(super) struct Course(Cell<*const Processor>);

impl Course {
    pub(super) fn new() -> Course {
        Course(Cell::new(ptr::null()))
    }

    fn set(&self, target: Option<&Arc<Processor>>) {
        self.0.set(target.map_or(ptr::null(), Arc::as_ptr));
    }

    /// The target, if it is to have more: as many as are `here`.
    fn followed<'a>(&self, peers: &'a [Arc<Processor>], here: usize) -> Option<&'a Arc<Processor>> {
        let target = self.0.get();
        if target.is_null() {
            return None;
        }
        let target = peers.iter().find(|peer| ptr::eq(Arc::as_ptr(peer), target))?;
        (!target.surplus && !target.is_stuck() && target.load() < here).then_some(target)
    }
}

/// How a start has come to the machine that takes it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Whence {
    /// Spawned here, or taken from where anyone may take it.
    Here,
    /// Sent by another machine. It follows no course, or two machines could send it back and forth.
    Sent,
}

impl Machine {
    /// Queues a new coroutine that may only start here.
    pub(in crate::sched) fn spawn_local(&self, coroutine: Coroutine) {
        self.note_spawn(&coroutine);
        self.ready.push(coroutine);
    }

    #[inline]
    fn note_spawn(&self, coroutine: &Coroutine) {
        bump(&self.processor.counters.spawned);
        self.record(|pen| pen.spawn(coroutine.header()));
    }

    /// Queues a new coroutine.
    #[inline]
    pub(in crate::sched) fn spawn(&self, coroutine: Coroutine, spread: bool) {
        self.note_spawn(&coroutine);
        // With nobody to spread over it is a spawn as any other: who stands in `starts` comes last, so
        // that a tree would be walked in breadth, and have all of its leaves at the same time.
        if spread && self.with_peers(<[_]>::len) > 1 {
            self.spread(coroutine);
            return;
        }
        match self.processor.put_next_start(coroutine) {
            Some(before) => {
                self.enqueue_start(before);
                self.patience.set(0);
            }
            None if self.patience.get() > 0 => {
                // Nothing but this spawn could be taken, and of late nobody came in time for one.
                self.patience.set(self.patience.get() - 1);
                return;
            }
            None => {}
        }
        if self.shared.idle.sleepers() > 0 && self.shared.idle.searching() == 0 {
            let futile = self.shared.futile.load(Ordering::Relaxed);
            self.patience.set((1 << futile) - 1);
            self.shared.wake_searcher();
        }
    }

    /// Puts one that has not started where anyone may take it.
    #[inline]
    fn enqueue_start(&self, coroutine: Coroutine) {
        match self.runq.len() < ROOM {
            true => self.runq.push(coroutine),
            false => {
                self.runq.set_drained(false);
                self.processor.backlog.push(coroutine);
            }
        }
    }

    /// Decides where an unstarted coroutine lives. `None`: it was sent to another machine.
    ///
    /// A started coroutine stays, so a start is the only occasion to spread load: it goes to the
    /// machine with the fewest residents if this one has clearly more. What ends without parking
    /// adds nothing to that count, and one that waits in `join` does not count while it does: it
    /// is a stack frame of those it waits for, and a fork-join would otherwise send half of its
    /// tiny tasks across.
    #[inline]
    pub(super) fn place(&self, coroutine: Coroutine, whence: Whence) -> Option<Coroutine> {
        self.place_beside(coroutine, self.burden(), whence)
    }

    /// [`Machine::place`], if that is the burden here.
    #[inline]
    pub(super) fn place_beside(
        &self,
        coroutine: Coroutine,
        here: usize,
        whence: Whence,
    ) -> Option<Coroutine> {
        let started = cfg!(feature = "migrating") && !coroutine.header().home().is_null();
        if here <= self.shared.config.slack || started {
            return Some(coroutine);
        }
        self.place_elsewhere(coroutine, here, whence)
    }

    #[cold]
    pub(super) fn place_elsewhere(
        &self,
        coroutine: Coroutine,
        here: usize,
        whence: Whence,
    ) -> Option<Coroutine> {
        let here = here.saturating_add(self.processor.starts.len());
        let brief = self.habits.are_brief(coroutine.header().spawned_at);
        let slack = match brief {
            true => self.shared.config.slack.saturating_add(BRIEF_SLACK + here / 2),
            false => self.shared.config.slack,
        };
        let below = here.saturating_sub(slack);
        self.with_peers(|peers| {
            let followed = match whence {
                Whence::Here if !brief => self.course.followed(peers, here),
                Whence::Here | Whence::Sent => None,
            };
            let target = followed.or_else(|| self.least_loaded(peers, below));
            if whence == Whence::Here {
                self.course.set(target);
            }
            let Some(target) = target else { return Some(coroutine) };
            bump(&self.processor.counters.pushed);
            send_start(target, coroutine);
            None
        })
    }

    /// The other machine with the fewest residents, if it has fewer than `below`.
    pub(super) fn least_loaded<'a>(
        &self,
        peers: &'a [Arc<Processor>],
        below: usize,
    ) -> Option<&'a Arc<Processor>> {
        /// Beyond this many, a sample decides (Mitzenmacher, *The Power of Two Choices*, 2001).
        const SCAN: usize = 8;
        let sampled = peers.len() > SCAN;
        let mut best: Option<(usize, &Arc<Processor>)> = None;
        for index in 0..peers.len().min(SCAN) {
            let peer = &peers[if sampled { self.random.below(peers.len()) } else { index }];
            if peer.surplus || Arc::ptr_eq(peer, &self.processor) || peer.is_stuck() {
                continue;
            }
            let load = peer.load();
            if load < best.map_or(below, |best| best.0) {
                best = Some((load, peer));
            }
        }
        best.map(|(_, peer)| peer)
    }

    pub(super) fn with_peers<R>(&self, look: impl FnOnce(&[Arc<Processor>]) -> R) -> R {
        let generation = self.shared.generation.load(Ordering::Acquire);
        if self.peers.borrow().0 != generation {
            *self.peers.borrow_mut() = (generation, self.shared.processors());
        }
        look(&self.peers.borrow().1)
    }

    /// Sends a new coroutine to the least loaded worker, which may be this one, where it counts
    /// at once.
    pub(super) fn spread(&self, coroutine: Coroutine) {
        let load = self.processor.load();
        self.with_peers(|peers| {
            let target = self.least_loaded(peers, load).unwrap_or(&self.processor);
            send_start(target, coroutine);
        });
    }
}

/// Sends a coroutine to a machine where it is to start.
pub(super) fn send_start(target: &Processor, coroutine: Coroutine) {
    target.starts.push(coroutine);
    if target.sleep.wake() {
        target.driver.interrupt();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nine_of_ten_are_brief_and_three_of_four_are_not() {
        let habits = Habits::new();
        let site = Location::caller();
        let see = |brief: usize, times: usize| {
            for _ in 0..times {
                (0..brief).for_each(|_| habits.note_brief(site));
                habits.note_stay(site);
            }
        };
        assert!(!habits.are_brief(site), "nothing is known");
        see(9, 20);
        assert!(!habits.are_brief(site), "not much is known");
        see(9, 40);
        assert!(habits.are_brief(site));
        // A few that stay, one after the other, change nothing; many do.
        see(0, 20);
        assert!(habits.are_brief(site));
        see(0, 20);
        assert!(!habits.are_brief(site));
        see(3, 1_000);
        assert!(!habits.are_brief(site));
    }
}
