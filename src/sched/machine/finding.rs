//! What a machine runs next, and its search for the work of others.

#![expect(unsafe_code, reason = "looks at residents")]

use super::Machine;
use super::placing::Whence;
use crate::coroutine::Coroutine;
use crate::primitive::prefetch;
use crate::sched::processor::{Processor, bump};
use crate::sched::shared::clock;
use crossbeam_deque::Steal;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Every so many schedules inbox and timers are looked at although there is work.
pub(super) const LOOK_EVERY: u64 = 16;
/// Every so many schedules the clock is looked at although there is work, to see whether to poll,
/// and what was spawned from outside or sent here comes first; as it does after each other nudge.
const OUTSIDE_EVERY: u64 = 64;
/// How old the last poll must be for another one while there is work, in nanoseconds. When
/// schedules are few and long, sysmon asks for one instead.
const POLL_AFTER: u64 = 20_000;
/// How many times in a row what was just made ready may run before the queue.
const STREAK: u32 = 8;
/// Rounds of looking at the others before a machine gives up.
const SEARCH_ROUNDS: usize = 4;
/// How many of the others each round but the last one looks at: with hundreds of workers, a search
/// would otherwise take longer than most of what it is for.
const SEARCH_SAMPLE: usize = 8;
/// How long a machine must have gone on with what it runs before its latest spawn is taken.
const LATEST_AFTER: Duration = Duration::from_micros(2);

/// So many residents must be left for the next one's stack to be asked for. Of fewer it is at hand.
const SEVERAL: usize = 4;
/// How much of it that is, in lines of 64 bytes, from so many bytes below the request on: the frames
/// from the switch to whoever reads from a socket.
const STACK_LINES: usize = 9;
const BELOW: usize = 64;
/// Of a header, what the machine touches until it has switched.
pub(super) const HEADER_LINES: usize = 3;

impl Machine {
    /// The next coroutine to run; sleeps until there is one. `None`: the machine is to end.
    #[inline]
    pub(super) fn find_runnable(&self) -> Option<Coroutine> {
        if let Some(coroutine) = self.next_local() {
            return Some(coroutine);
        }
        let found = self.look_everywhere();
        self.processor.set_vacant(false);
        if self.searching.get() {
            self.end_search();
        }
        found
    }

    /// [`Machine::find_runnable`], when nothing is at hand.
    #[cold]
    #[inline(never)]
    fn look_everywhere(&self) -> Option<Coroutine> {
        loop {
            if !(self.look_after_stop() || self.take_inbox() || self.fire_timers()) {
                if let Some(coroutine) = self.take_start().or_else(|| self.take_global()) {
                    return Some(coroutine);
                }
                self.processor.set_vacant(true);
                if let Some(coroutine) = self.search() {
                    if let Some(coroutine) = self.place(coroutine, Whence::Here) {
                        return Some(coroutine);
                    }
                } else if self.shared.is_finished() || self.is_superfluous() {
                    return None;
                } else if !self.linger() && !self.walk_at_rest() {
                    self.sleep();
                }
            }
            if let Some(coroutine) = self.next_local_again() {
                return Some(coroutine);
            }
        }
    }

    /// By itself, so that the other use of it is inlined.
    #[inline(never)]
    fn next_local_again(&self) -> Option<Coroutine> {
        self.next_local()
    }

    /// From this machine's own queues.
    #[inline(always)]
    fn next_local(&self) -> Option<Coroutine> {
        // By one reference throughout: the compiler takes the `Arc` for changed by each store.
        let processor = &*self.processor;
        // Those that this machine has run, and what it has sent elsewhere meanwhile.
        let mut schedules = processor.watch.schedules.load(Ordering::Relaxed);
        loop {
            schedules = schedules.wrapping_add(1);
            if (schedules.is_multiple_of(LOOK_EVERY)
                || processor.watch.nudge.load(Ordering::Relaxed))
                && let Some(coroutine) = self.look_around(schedules)
            {
                return Some(coroutine);
            }
            if self.streak.get() < STREAK {
                if self.has_next_ready() {
                    self.streak.set(self.streak.get() + 1);
                    return self.next_ready.take();
                }
                if let Some(coroutine) = processor.take_next_start() {
                    self.streak.set(self.streak.get() + 1);
                    match self.place(coroutine, Whence::Here) {
                        Some(coroutine) => return Some(coroutine),
                        None => continue,
                    }
                }
            } else {
                self.end_streak();
            }
            self.streak.set(0);
            if self.runq.is_drained() {
                return self.next_resident();
            }
            // Residents and starts take turns, so that neither can starve the other. Those that run
            // in between, for having just been woken or spawned, are nobody's turn: each of the
            // others might have one of them, always.
            if self.residents_turn.get()
                && let Some(coroutine) = self.next_resident()
            {
                self.residents_turn.set(false);
                return Some(coroutine);
            }
            self.residents_turn.set(true);
            match self.runq.pop() {
                Some(coroutine) => match self.place(coroutine, Whence::Here) {
                    Some(coroutine) => return Some(coroutine),
                    None => continue,
                },
                None if self.processor.backlog.is_empty() => {
                    self.runq.set_drained(true);
                    return self.next_resident();
                }
                None => self.processor.backlog.take_newest(|start| self.runq.push(start)),
            }
        }
    }

    /// Whether the running coroutine has woken another one, which comes first.
    #[inline]
    pub(super) fn has_next_ready(&self) -> bool {
        // SAFETY: only this thread changes it, and not in this line.
        unsafe { &*self.next_ready.as_ptr() }.is_some()
    }

    /// The first of the residents that are ready. Where several are, the stack of the one behind it is
    /// asked for, and the header of the one behind that, which says where its stack is: they may not have
    /// run for long.
    #[inline(always)]
    fn next_resident(&self) -> Option<Coroutine> {
        let coroutine = self.ready.pop();
        if self.ready.len() >= SEVERAL {
            // SAFETY: so there is one, which is alive as it is in the queue; and this is its home.
            let resident = unsafe { self.ready.first().unwrap_unchecked().as_ref().resident() };
            prefetch(resident.place_of_started(), 1);
            prefetch(resident.parked_at().wrapping_byte_sub(BELOW), STACK_LINES);
            prefetch(self.ready.second(), HEADER_LINES);
        }
        coroutine
    }

    /// Whether what was just spawned may run before what stands in the queues, and then who joins it; then
    /// both count in the streak, which starts anew if nothing stands there.
    #[inline]
    pub(super) fn count_in_streak(&self) -> bool {
        let streak = self.streak.get();
        if streak >= STREAK && !(self.ready.len() == 0 && self.finds_drained()) {
            return false;
        }
        self.streak.set(if streak >= STREAK { 2 } else { streak + 2 });
        true
    }

    /// Whether there is nothing to start, here or in the backlog. Looks, if that is not known.
    #[inline]
    fn finds_drained(&self) -> bool {
        if !self.runq.is_drained() && self.runq.is_empty() && self.processor.backlog.is_empty() {
            self.runq.set_drained(true);
        }
        self.runq.is_drained()
    }

    /// What wakes and spawns each other has had its turn: to the end of the queue.
    #[cold]
    fn end_streak(&self) {
        if let Some(coroutine) = self.next_ready.take() {
            self.ready.push(coroutine);
        }
        if let Some(coroutine) = self.processor.take_next_start() {
            self.runq.push(coroutine);
        }
    }

    /// What a machine looks at now and then although it has work. Returns what was sent here or
    /// spawned from outside, each fourth time, and when schedules are few and long.
    #[cold]
    pub(super) fn look_around(&self, schedules: u64) -> Option<Coroutine> {
        self.take_inbox();
        let nudged = self.processor.watch.nudge.load(Ordering::Relaxed);
        let mut look_outside = schedules.is_multiple_of(OUTSIDE_EVERY);
        if nudged || look_outside {
            let now = self.shared.now();
            self.processor.watch.set_clock(clock(now));
            if nudged || now.saturating_sub(self.polled_at.get()) >= POLL_AFTER {
                self.processor.watch.nudge.store(false, Ordering::Relaxed);
                let walks = self.answer_surveys(now);
                if walks {
                    // To be back here at the next schedule.
                    self.processor.watch.nudge.store(true, Ordering::Relaxed);
                }
                // Each other time at most: all schedules may be long, and the residents have a turn, too.
                look_outside |= !walks && self.nudged_outside.replace(!self.nudged_outside.get());
                if !walks || now.saturating_sub(self.polled_at.get()) >= POLL_AFTER {
                    self.polled_at.set(now);
                    self.poll(Some(Duration::ZERO));
                }
            }
            self.look_after_stop();
        }
        self.fire_timers();
        if !look_outside {
            return None;
        }
        // The oldest of the backlog and those from outside take turns to come first.
        match self.outside_first.replace(!self.outside_first.get()) {
            true => self.take_start().or_else(|| self.take_global()).or_else(|| self.take_oldest()),
            false => {
                self.take_oldest().or_else(|| self.take_start()).or_else(|| self.take_global())
            }
        }
    }

    /// The one that has stood in the backlog for longest.
    fn take_oldest(&self) -> Option<Coroutine> {
        self.processor
            .backlog
            .take_oldest()
            .and_then(|coroutine| self.place(coroutine, Whence::Here))
    }

    pub(super) fn take_inbox(&self) -> bool {
        if self.processor.inbox.is_empty() {
            return false;
        }
        self.linger.note_arrival();
        for coroutine in self.processor.inbox.take_all() {
            self.ready.push(coroutine);
            bump(&self.processor.counters.wakes_received);
        }
        true
    }

    /// Something that was sent here to start. It counts as this machine's already.
    pub(super) fn take_start(&self) -> Option<Coroutine> {
        if self.processor.starts.is_empty() {
            return None;
        }
        // What was right when it was sent may be wrong by now, if others sent as much.
        // It counts here before it leaves the queue, so that no sender sees it in neither place.
        self.processor.counters.burden.store(self.burden() + 1, Ordering::Release);
        let start = repeat(|| self.processor.starts.steal());
        let start = start.and_then(|coroutine| self.place(coroutine, Whence::Sent));
        if start.is_none() {
            self.publish_residents();
        }
        start
    }

    pub(super) fn take_global(&self) -> Option<Coroutine> {
        if self.is_leaving() || self.shared.global.is_empty() {
            return None;
        }
        let coroutine = repeat(|| self.shared.global.steal())?;
        if !self.shared.global.is_empty() {
            // One taker at a time is woken; each wakes the next.
            self.shared.wake_searcher();
        }
        self.place(coroutine, Whence::Here)
    }

    /// Looks for unstarted work of other machines.
    pub(super) fn search(&self) -> Option<Coroutine> {
        if self.is_leaving() {
            // It may have been woken for something: that is for another to find.
            self.end_search();
            return None;
        }
        if !self.searching.get() {
            // By its own copy of the list: the list itself is a line that all machines would write.
            let machines = self.with_peers(<[_]>::len);
            if machines == 1 {
                return None;
            }
            // Mostly there is nothing, and to see that takes neither the line that all share nor the time
            // of a search. What comes after this look is for the second one, before the sleep.
            if !self.with_peers(|peers| peers.iter().any(|peer| self.could_find(peer))) {
                self.note_futile();
                return None;
            }
            if !self.shared.idle.try_search(machines) {
                return None;
            }
            self.searching.set(true);
        }
        let found = self.with_peers(|peers| {
            let in_any_order = || {
                let first = self.random.below(peers.len().max(1));
                let (wrapped, order) = peers.split_at(first);
                order.iter().chain(wrapped)
            };
            (0..SEARCH_ROUNDS)
                .find_map(|round| {
                    let last_round = round + 1 == SEARCH_ROUNDS;
                    let looks = if last_round { peers.len() } else { SEARCH_SAMPLE };
                    in_any_order().take(looks).find_map(|peer| self.steal_from(peer))
                })
                .or_else(|| {
                    in_any_order().take(SEARCH_SAMPLE).find_map(|peer| self.take_latest_of(peer))
                })
        });
        if found.is_some() {
            bump(&self.processor.counters.steals);
            if self.shared.futile.load(Ordering::Relaxed) > 0 {
                self.shared.futile.store(0, Ordering::Relaxed);
            }
        }
        found
    }

    fn steal_from(&self, victim: &Arc<Processor>) -> Option<Coroutine> {
        if Arc::ptr_eq(victim, &self.processor) {
            return None;
        }
        // Most have nothing, and to see that takes a tenth of an attempt to steal it.
        let steal = || match victim.stealer.is_empty() {
            true => None,
            false => repeat(|| self.runq.steal_from(&victim.stealer)),
        };
        let stolen = victim
            .backlog
            .steal(|start| self.runq.push(start))
            .or_else(steal)
            // What was sent there is to live there, unless its machine cannot take it.
            .or_else(|| {
                victim.is_stuck().then(|| {
                    repeat(|| victim.starts.steal()).or_else(|| victim.take_next_start())
                })?
            });
        self.note_stolen(stolen.as_ref(), victim);
        stolen
    }

    /// Takes the latest spawn of a machine that goes on with something else.
    ///
    /// One that spawns and then waits runs its latest spawn itself, sooner and with a warm cache; if
    /// it were taken away each time, two machines would send a spawn there and its end back. So it
    /// is given [`LATEST_AFTER`] (Go sleeps for 3 us).
    fn take_latest_of(&self, victim: &Arc<Processor>) -> Option<Coroutine> {
        if Arc::ptr_eq(victim, &self.processor) || !victim.has_next_start() {
            return None;
        }
        let schedules = victim.watch.schedules.load(Ordering::Relaxed);
        let end = Instant::now() + LATEST_AFTER;
        while victim.has_next_start() {
            if victim.watch.schedules.load(Ordering::Relaxed) != schedules {
                return None;
            }
            if Instant::now() >= end {
                let stolen = victim.take_next_start();
                self.note_stolen(stolen.as_ref(), victim);
                return stolen;
            }
            std::hint::spin_loop();
        }
        None
    }

    fn note_stolen(&self, stolen: Option<&Coroutine>, victim: &Processor) {
        if stolen.is_some() && victim.is_stuck() {
            bump(&self.processor.counters.taken_over);
        }
        self.record(|pen| stolen.iter().for_each(|one| pen.steal(one.header(), victim)));
    }

    /// A searcher has found something, wherever, or leaves. If it was the last to search, there may
    /// be more where that came from, so it wakes the next.
    #[cold]
    pub(super) fn end_search(&self) {
        if self.stop_searching() {
            self.shared.wake_searcher();
        }
    }

    /// Whether this machine was the last to search.
    pub(super) fn stop_searching(&self) -> bool {
        self.searching.replace(false) && self.shared.idle.stop_searching()
    }

    /// A surplus machine whose time is over takes nothing new.
    pub(super) fn is_leaving(&self) -> bool {
        self.processor.surplus && self.shared.sysmon.stuck_workers() == 0
    }

    pub(super) fn is_superfluous(&self) -> bool {
        self.is_leaving() && self.residents.count() == 0
    }
}

/// Tries until the queue answers.
pub(super) fn repeat<T>(mut steal: impl FnMut() -> Steal<T>) -> Option<T> {
    loop {
        match steal() {
            Steal::Success(value) => return Some(value),
            Steal::Empty => return None,
            Steal::Retry => std::hint::spin_loop(),
        }
    }
}
