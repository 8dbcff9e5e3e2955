//! A machine says who lives with it.

#![expect(unsafe_code, reason = "walks the residents")]

use super::Machine;
use super::finding::repeat;
use crate::coroutine::{Coroutine, Header};
use crate::sched::processor::Processor;
use crate::sched::survey::{Residence, Sighting, Standing};

impl Machine {
    /// Answers what was asked since the last time. On the machine's own stack.
    pub(super) fn answer_surveys(&self) {
        for survey in self.processor.watch.surveys.take() {
            survey.visit(&Residence { machine: self, retiring: false });
        }
    }

    /// Answers for the last time: nobody lives here any more.
    pub(super) fn close_surveys(&self) {
        for survey in self.processor.watch.surveys.close() {
            survey.visit(&Residence { machine: self, retiring: true });
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
        unsafe { resident.switch() }.as_mut()?.call_within(f);
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
        let mut next = self.machine.residents.get();
        // SAFETY: residents are alive while they are linked, and this is their home.
        while let Some(header) = unsafe { next.as_ref() } {
            // SAFETY: as above.
            let resident = unsafe { header.resident() };
            next = resident.next.get();
            let standing = if header.park.is_waiting() {
                Standing::Parked {
                    reason: resident.reason.get(),
                    deadline: resident.deadline.get(),
                }
            } else {
                Standing::Ready
            };
            if !look(&Sighting { header, standing }) {
                return;
            }
        }
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
