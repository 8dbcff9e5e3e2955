//! Asks the machines, and puts their answers together.

#![expect(unsafe_code, reason = "claims the ticket of whoever waits for the answers")]

use super::sockets;
use super::stacks::Walked;
use super::{
    CoroutineDump, CoroutineState, Dump, Held, Party, RuntimeDump, ThreadDump, WorkerDump,
};
use crate::coroutine::Header;
use crate::park::{self, Cancel, Outcome, Ticket, WaitReason, WaitingThread};
use crate::sched::{Processor, Residence, Shared, Sighting, Standing, Survey, Visit};
use std::mem;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a machine may take to begin its answer, if it is in a coroutine, which it may be for ever.
/// One that has begun is waited for.
pub(crate) const PATIENCE: Duration = Duration::from_millis(100);

/// How much longer, if it is in none. Then it will answer as soon as the system lets it run, which
/// takes its time where more threads than these want to.
pub(crate) const MORE_PATIENCE: Duration = Duration::from_secs(2);

/// What is asked of one runtime's machines.
struct Census {
    shared: Arc<Shared>,
    answers: Mutex<Answers>,
}

#[derive(Default)]
struct Answers {
    coroutines: Vec<CoroutineDump>,
    /// The numbers of the processors that have answered.
    answered: Vec<usize>,
    /// The numbers of those that have been asked and have not begun.
    silent: Vec<usize>,
    /// How many have begun, and are not done.
    busy: usize,
    /// Nobody waits for those that have not begun.
    closed: bool,
    /// Who is to be told.
    asker: Option<Ticket>,
}

impl Answers {
    /// Who is not to be waited for any more, as one that has not begun.
    fn begins(&mut self, number: usize) {
        self.silent.retain(|&silent| silent != number);
    }

    fn are_complete(&self) -> bool {
        self.silent.is_empty() && self.busy == 0
    }
}

/// Asks all machines of these runtimes, and waits for the answers.
pub(crate) fn dump(runtimes: Vec<Arc<Shared>>) -> Dump {
    dump_with(runtimes, PATIENCE)
}

/// [`dump`], with as much patience as that.
pub(super) fn dump_with(runtimes: Vec<Arc<Shared>>, patience: Duration) -> Dump {
    let asked: Vec<_> = runtimes.into_iter().map(Census::begin).collect();
    let deadline = Instant::now() + patience;
    let finish = |(census, all): (Arc<Census>, Arc<[_]>)| census.finish(&all, deadline);
    let runtimes = asked.into_iter().map(finish).collect();
    let threads = park::waiting_threads();
    let asks = |one: &WaitingThread| one.reason == WaitReason::Dump;
    let threads = threads.into_iter().filter(|one| !asks(one)).map(thread).collect();
    Dump { runtimes, threads }
}

impl Census {
    /// Asks everybody.
    fn begin(shared: Arc<Shared>) -> (Arc<Census>, Arc<[Arc<Processor>]>) {
        let processors = shared.processors();
        let silent = processors.iter().map(|processor| processor.number).collect();
        let answers = Mutex::new(Answers { silent, ..Answers::default() });
        let census = Arc::new(Census { shared, answers });
        for processor in processors.iter() {
            if !processor.ask(census.clone()) {
                census.lock().begins(processor.number);
            }
        }
        (census, processors)
    }

    fn lock(&self) -> MutexGuard<'_, Answers> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the answers that will come, and says what can be said of the rest.
    fn finish(&self, processors: &[Arc<Processor>], deadline: Instant) -> RuntimeDump {
        let (mut deadline, last) = (deadline, deadline + MORE_PATIENCE);
        self.wait(Some(deadline));
        while deadline < last && self.somebody_will_answer(processors) {
            deadline += PATIENCE;
            self.wait(Some(deadline));
        }
        {
            let mut answers = self.lock();
            answers.closed = true;
            answers.silent.clear();
        }
        self.wait(None);
        let (mut coroutines, answered) = {
            let mut answers = self.lock();
            (mem::take(&mut answers.coroutines), mem::take(&mut answers.answered))
        };
        let answered = |processor: &Processor| answered.contains(&processor.number);
        for processor in processors.iter().filter(|processor| !answered(processor)) {
            coroutines.extend(running(processor));
        }
        self.shared.migrants(|header| coroutines.push(migrant(&self.shared, header)));
        coroutines.sort_by_key(|one| one.id);
        // Who was on its way from one machine to another may have been seen at both.
        coroutines.dedup_by_key(|one| one.id);
        let workers = processors.iter().map(|processor| WorkerDump {
            number: processor.number,
            residents: processor.counters.residents.load(Ordering::Relaxed),
            answered: answered(processor),
        });
        RuntimeDump {
            name: self.shared.config.name.clone(),
            live: self.shared.live(),
            workers: workers.collect(),
            coroutines,
        }
    }

    /// Whether a machine that has not begun its answer is not in a coroutine either.
    fn somebody_will_answer(&self, processors: &[Arc<Processor>]) -> bool {
        let silent = self.lock().silent.clone();
        let mut silent = processors.iter().filter(|one| silent.contains(&one.number));
        silent.any(|one| one.watch.running().is_none())
    }

    /// Waits until nobody is asked or answers.
    fn wait(&self, deadline: Option<Instant>) {
        loop {
            if self.lock().are_complete() {
                return;
            }
            let outcome = park::park(WaitReason::Dump, deadline, Cancel::Defer, |ticket| {
                let mut answers = self.lock();
                if answers.are_complete() {
                    return false;
                }
                answers.asker = Some(ticket);
                true
            });
            // Before this wait's ticket goes stale.
            self.lock().asker = None;
            if outcome == Outcome::TimedOut {
                return;
            }
        }
    }
}

/// A migrating coroutine that has started, as far as anyone may look.
pub(crate) fn migrant(shared: &Shared, header: &Header) -> CoroutineDump {
    let mut one = describe(header);
    if header.park.is_waiting() {
        one.state = CoroutineState::Parked;
        one.since = Some(since(shared, header));
    }
    one
}

/// How long ago a coroutine was stamped.
pub(crate) fn since(shared: &Shared, header: &Header) -> Duration {
    let since = header.since.load(Ordering::Relaxed);
    Duration::from_millis(shared.clock().wrapping_sub(since).into())
}

/// A coroutine of the machine that looks; where it is, if there is room for that.
pub(crate) fn resident(
    shared: &Shared,
    sighting: &Sighting<'_>,
    number: usize,
    stacks: Option<&mut Walked>,
) -> CoroutineDump {
    let mut one = describe(sighting.header);
    one.stack = stacks.and_then(|stacks| stacks.walk(sighting));
    one.worker = Some(number);
    one.state = sighting.standing.into();
    if one.state != CoroutineState::Ready {
        one.since = Some(since(shared, sighting.header));
    }
    if let Standing::Parked { reason, deadline } = sighting.standing {
        // It lives here and does not run, so it has not closed what it waits for.
        one.waits_for = Some(sockets::describe(reason));
        one.object = reason.address();
        one.held_by = held_by(reason);
        let left = || Duration::from_nanos(deadline.saturating_sub(shared.now()));
        one.times_out_in = (deadline != u64::MAX).then(left);
    }
    one
}

impl From<Standing> for CoroutineState {
    fn from(standing: Standing) -> CoroutineState {
        match standing {
            Standing::Unstarted => CoroutineState::Unstarted,
            Standing::Ready => CoroutineState::Ready,
            Standing::Parked { .. } => CoroutineState::Parked,
        }
    }
}

impl Survey for Census {
    fn visit(&self, residence: &Residence<'_>) -> Visit {
        let number = residence.processor().number;
        {
            let mut answers = self.lock();
            if answers.closed {
                return Visit::Done;
            }
            answers.begins(number);
            answers.busy += 1;
        }
        let mut found = Vec::new();
        let mut stacks = Walked::default();
        residence.residents(|sighting| {
            found.push(resident(&self.shared, sighting, number, Some(&mut stacks)));
            true
        });
        residence.unstarted(|sighting| {
            found.push(resident(&self.shared, sighting, number, Some(&mut stacks)))
        });
        let mut answers = self.lock();
        answers.coroutines.append(&mut found);
        answers.answered.push(number);
        answers.busy -= 1;
        if answers.are_complete()
            && let Some(asker) = answers.asker.take()
        {
            // SAFETY: the asker takes its ticket out, under this lock, before it leaves.
            drop(unsafe { asker.claim() });
        }
        Visit::Done
    }
}

/// What anyone may know of a coroutine.
fn describe(header: &Header) -> CoroutineDump {
    CoroutineDump {
        id: header.id,
        name: header.name().map(str::to_owned),
        spawned_at: header.spawned_at,
        parent: header.parent(),
        worker: None,
        state: CoroutineState::Moving,
        waits_for: None,
        object: None,
        held_by: Vec::new(),
        since: None,
        times_out_in: None,
        stack: None,
    }
}

/// What runs on a machine that does not answer.
pub(crate) fn running(processor: &Processor) -> Option<CoroutineDump> {
    let running = processor.watch.running()?;
    Some(CoroutineDump {
        id: running.id,
        name: running.name,
        spawned_at: running.spawned_at,
        parent: None,
        worker: Some(processor.number),
        state: CoroutineState::Running,
        waits_for: None,
        object: None,
        held_by: Vec::new(),
        since: None,
        times_out_in: None,
        stack: None,
    })
}

fn thread(waiting: WaitingThread) -> ThreadDump {
    ThreadDump {
        id: waiting.thread.id(),
        name: waiting.thread.name().map(str::to_owned),
        waits_for: waiting.reason.to_string(),
        object: waiting.reason.address(),
        held_by: held_by(waiting.reason),
    }
}

/// Who holds the lock that is waited for, if it is one.
fn held_by(reason: WaitReason) -> Vec<Held> {
    let Some(lock) = reason.lock() else { return Vec::new() };
    let public = |held: park::Held| Held {
        by: match held.by {
            park::Party::Coroutine(id) => Party::Coroutine(id),
            park::Party::Thread(thread) => {
                Party::Thread(thread.id(), thread.name().map(str::to_owned))
            }
        },
        locked_at: held.locked_at,
    };
    park::holders_of(lock).into_iter().map(public).collect()
}

/// Has the machines of a runtime answer nothing for this long, though they are in no coroutine.
#[cfg(test)]
pub(crate) fn hold_up(shared: &Arc<Shared>, long: Duration) -> std::thread::JoinHandle<()> {
    let census = Census { shared: shared.clone(), answers: Mutex::default() };
    let census = Arc::new(census);
    let theirs = census.clone();
    let (locked, is_locked) = std::sync::mpsc::channel();
    let holder = std::thread::spawn(move || {
        let _answers = theirs.lock();
        locked.send(()).unwrap();
        std::thread::sleep(long);
    });
    is_locked.recv().unwrap();
    for processor in shared.processors().iter() {
        assert!(processor.ask(census.clone()));
    }
    holder
}
