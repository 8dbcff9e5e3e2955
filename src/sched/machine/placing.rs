//! Where a start lives.

use super::Machine;
use crate::coroutine::Coroutine;
use crate::sched::processor::{Processor, bump};
use std::sync::Arc;
use std::sync::atomic::Ordering;

impl Machine {
    /// Decides where an unstarted coroutine lives. `None`: it was sent to another machine.
    ///
    /// A started coroutine stays, so a start is the only occasion to spread load: it goes to the
    /// machine with the fewest residents if this one has clearly more. What ends without parking
    /// adds nothing to that count, and one that waits in `join` does not count while it does: it
    /// is a stack frame of those it waits for, and a fork-join would otherwise send half of its
    /// tiny tasks across.
    #[inline]
    pub(super) fn place(&self, coroutine: Coroutine) -> Option<Coroutine> {
        let here = self.burden();
        let started = cfg!(feature = "migrating") && !coroutine.header().home().is_null();
        if here <= self.shared.config.slack || started {
            return Some(coroutine);
        }
        self.place_elsewhere(coroutine, here)
    }

    #[cold]
    pub(super) fn place_elsewhere(&self, coroutine: Coroutine, here: usize) -> Option<Coroutine> {
        let here = here.saturating_add(self.processor.starts.len());
        let below = here.saturating_sub(self.shared.config.slack);
        self.with_peers(|peers| match self.least_loaded(peers, below) {
            Some(target) => {
                bump(&self.processor.counters.pushed);
                send_start(target, coroutine);
                None
            }
            None => Some(coroutine),
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
