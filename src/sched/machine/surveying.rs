//! A machine says who lives with it.

#![expect(unsafe_code, reason = "walks the residents")]

use super::Machine;
use super::finding::repeat;
use crate::coroutine::{Coroutine, Header};
use crate::sched::processor::Processor;
use crate::sched::survey::{Residence, Sighting, Standing, Survey, Visit};
use std::cell::{Cell, RefCell};
use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

/// Residents that a walk sees at a time: some 50 us of work when none of them is in a cache.
const STEP: usize = 256;
/// Places that it passes at a time at most: few of them may be taken.
const PLACES: usize = 64 * STEP;

/// The surveys that walk, and how far the first of them has come.
pub(super) struct Walks {
    surveys: RefCell<VecDeque<Arc<dyn Survey>>>,
    /// The first has begun.
    begun: Cell<bool>,
    /// The places below this one are those that it has not come to. 0 if there is none.
    left: Cell<usize>,
    /// Those of them that were given since it began. Whoever has one has come since.
    given: RefCell<HashSet<u32>>,
    /// When the next step is due while there is work: what runs here has as long as a step takes.
    due: Cell<u64>,
}

impl Walks {
    pub(super) fn new() -> Walks {
        Walks {
            surveys: RefCell::new(VecDeque::new()),
            begun: Cell::new(false),
            left: Cell::new(0),
            given: RefCell::default(),
            due: Cell::new(0),
        }
    }

    /// Somebody has got this place.
    #[inline]
    pub(super) fn note_given(&self, place: u32) {
        if (place as usize) < self.left.get() {
            self.note_given_ahead(place);
        }
    }

    #[cold]
    #[inline(never)]
    fn note_given_ahead(&self, place: u32) {
        self.given.borrow_mut().insert(place);
    }

    /// The first has ended.
    fn end(&self) {
        self.begun.set(false);
        self.left.set(0);
        self.given.take();
        self.due.set(0);
        drop(self.surveys.borrow_mut().pop_front());
    }

    fn first(&self) -> Option<Arc<dyn Survey>> {
        self.surveys.borrow().front().cloned()
    }
}

impl Machine {
    /// Answers what was asked since the last time, and goes on with what is answered in steps if its
    /// time has come. Whether there is more of that. On the machine's own stack.
    pub(super) fn answer_surveys(&self, now: u64) -> bool {
        for survey in self.processor.watch.surveys.take() {
            if survey.walks() {
                self.walks.surveys.borrow_mut().push_back(survey);
            } else {
                let _done = survey.visit(&Residence { machine: self, retiring: false });
            }
        }
        let Some(survey) = self.walks.first() else { return false };
        if self.walks.due.get() <= now {
            self.step(&*survey, false);
            let after = self.shared.now();
            self.walks.due.set(after + after.saturating_sub(now));
        }
        true
    }

    /// Goes on with a walk at once, since there is nothing else to do. `false`: there is none.
    pub(super) fn walk_at_rest(&self) -> bool {
        match self.walks.first() {
            Some(survey) => self.step(&*survey, false),
            None => return false,
        }
        true
    }

    fn step(&self, survey: &dyn Survey, retiring: bool) {
        let walks = &self.walks;
        if !walks.begun.replace(true) {
            walks.left.set(self.residents.end());
        }
        if survey.visit(&Residence { machine: self, retiring }) == Visit::Done {
            walks.end();
        }
    }

    /// Answers for the last time: nobody lives here any more.
    pub(super) fn close_surveys(&self) {
        for survey in self.processor.watch.surveys.close() {
            self.walks.surveys.borrow_mut().push_back(survey);
        }
        while let Some(survey) = self.walks.first() {
            self.step(&*survey, true);
        }
    }
}

#[cfg(feature = "dump-stacks")]
impl Sighting<'_> {
    /// Calls `f` from the frame in which the coroutine is suspended, on the machine's own stack: a
    /// walk from there sees the coroutine's frames. Where the coroutine's stack lies, if it has one.
    ///
    /// `f` must not park or panic.
    pub(crate) fn call_within(&self, f: &mut dyn FnMut()) -> Option<std::ops::Range<usize>> {
        if self.standing == Standing::Unstarted {
            return None;
        }
        // SAFETY: it lives here, and this is its home.
        let resident = unsafe { self.header.resident() };
        let within = resident.suspender.get()?.address();
        // SAFETY: it does not run, and only its machine uses its switch.
        unsafe { resident.started().switch() }.call_within(f);
        let start = resident.class.slot_start(within);
        Some(start..start + resident.class.size())
    }
}

impl Residence<'_> {
    pub(crate) fn processor(&self) -> &Processor {
        &self.machine.processor
    }

    /// Looks at all who live here until `look` returns `false`.
    ///
    /// What they have lent out for their waits, descriptors included, stays as it is meanwhile.
    pub(crate) fn residents(&self, mut look: impl FnMut(&Sighting<'_>) -> bool) {
        let places = (0..self.machine.residents.end()).rev();
        let _stopped = places.filter_map(|place| self.resident(place)).all(|one| look(&one));
    }

    /// Looks at some of those who live here, from where this walk's last call has ended. `true`: those
    /// were the last. Who has come since the walk began is not seen.
    ///
    /// What they have lent out for their waits, descriptors included, stays as it is meanwhile.
    pub(crate) fn next_residents(&self, mut look: impl FnMut(&Sighting<'_>)) -> bool {
        let walks = &self.machine.walks;
        let left = walks.left.get();
        let given = walks.given.borrow();
        let mut seen = 0;
        for place in (left.saturating_sub(PLACES)..left).rev() {
            if seen == STEP {
                break;
            }
            walks.left.set(place);
            let old = given.is_empty() || !given.contains(&(place as u32));
            if let Some(one) = self.resident(place).filter(|_| old) {
                look(&one);
                seen += 1;
            }
        }
        walks.left.get() == 0
    }

    /// Who has this place.
    fn resident(&self, place: usize) -> Option<Sighting<'_>> {
        let place = self.machine.residents.get(place)?;
        // SAFETY: residents are alive, and this is their home, where nobody runs now.
        let (header, request) = unsafe {
            let header = place.as_ref();
            (header, header.resident().request())
        };
        let standing = match request.filter(|_| header.park.is_waiting()) {
            Some(request) => {
                Standing::Parked { reason: request.reason, deadline: request.due.get() }
            }
            None => Standing::Ready,
        };
        Some(Sighting { header, standing })
    }

    /// Looks at those at hand here that have not started.
    ///
    /// Each queue is turned round once. What others take meanwhile they start; what is at hand again
    /// is looked for by this machine before it sleeps.
    pub(crate) fn unstarted(&self, mut look: impl FnMut(&Sighting<'_>)) {
        let machine = self.machine;
        let mut look_at = |header: &Header| {
            // Migrating coroutines use these queues for more than their start.
            if header.home().is_null() {
                look(&Sighting { header, standing: Standing::Unstarted });
            }
        };
        // SAFETY: what is queued is alive.
        machine.ready.for_each(|header| look_at(unsafe { header.as_ref() }));
        self.processor().backlog.for_each(|coroutine| look_at(coroutine.header()));
        if let Some(latest) = self.processor().take_next_start() {
            look_at(latest.header());
            let before = self.processor().put_next_start(latest);
            debug_assert!(before.is_none(), "nobody else fills the slot");
        }
        let mut turn =
            |count: usize, pop: &dyn Fn() -> Option<Coroutine>, push: &dyn Fn(Coroutine)| {
                for _ in 0..count {
                    let Some(coroutine) = pop() else { break };
                    look_at(coroutine.header());
                    push(coroutine);
                }
            };
        turn(machine.runq.len(), &|| machine.runq.pop(), &|c| machine.runq.push(c));
        let starts = &self.processor().starts;
        turn(starts.len(), &|| repeat(|| starts.steal()), &|c| starts.push(c));
        if !self.retiring && !machine.is_leaving() {
            let global = &machine.shared.global;
            turn(global.len(), &|| repeat(|| global.steal()), &|c| global.push(c));
        }
    }
}
