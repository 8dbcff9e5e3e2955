//! Asks the machines of all runtimes, and counts or picks where the coroutines live.
//!
//! A dump copies all that is to be said of each coroutine, with system calls for each socket. With a
//! hundred thousand of them that is long for the workers, and for whoever looks each second. So
//! machines count, or pick those that match with sixteen bytes for each; and only those that
//! somebody is to see are asked for in full, by their numbers.
//!
//! And they do it in steps, with their own work in between: what is looked at each second must not
//! stand still each second. So an answer is not of one moment, but of the milliseconds that it took.

use crate::coroutine::Header;
use crate::dump::{self, CoroutineDump, CoroutineState, Walked};
use crate::sched::{Processor, Residence, Shared, Sighting, Standing, Survey, Visit};
use std::collections::{HashMap, HashSet};
use std::panic::Location;
use std::ptr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Which coroutines are meant: those for which all of this holds that is there.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Filter {
    /// In small letters: part of the name, of where it was spawned, of what it waits for, or its
    /// number.
    pub(super) text: Option<String>,
    pub(super) state: Option<CoroutineState>,
    pub(super) reason: Option<String>,
    pub(super) runtime: Option<String>,
    pub(super) worker: Option<u64>,
    pub(super) parent: Option<u64>,
}

/// What is cheap to know of a coroutine.
pub(super) struct Glimpse<'a> {
    pub(super) id: u64,
    pub(super) name: Option<&'a str>,
    pub(super) spawned_at: &'static Location<'static>,
    pub(super) parent: Option<u64>,
    pub(super) worker: Option<usize>,
    pub(super) state: CoroutineState,
    pub(super) reason: Option<&'static str>,
    pub(super) since: Option<Duration>,
}

/// What one runtime has said.
pub(super) struct Said<T> {
    pub(super) shared: Arc<Shared>,
    /// Each machine, and what it has said, if it has.
    pub(super) workers: Vec<(Arc<Processor>, Option<T>)>,
}

struct Question<T, F> {
    shared: Arc<Shared>,
    look: Arc<F>,
    state: Mutex<State<T>>,
    changed: Condvar,
}

struct State<T> {
    /// Of machines that have begun and are not done. What is not there is being added to.
    parts: HashMap<usize, T>,
    answers: HashMap<usize, T>,
    /// Machines that are not done.
    waiting: usize,
    /// When one of them last did something.
    moved: Instant,
    /// Nobody waits any more.
    closed: bool,
}

/// Has each machine of these runtimes call `look` for each of its own coroutines, with what is its
/// answer in the end. A machine that does not go on with that for a tenth of a second is given up.
///
/// `look` is called as [`Survey::visit`] is.
pub(super) fn ask<T, F>(runtimes: Vec<Arc<Shared>>, look: F) -> Vec<Said<T>>
where
    T: Default + Send + 'static,
    F: Fn(&mut T, &Shared, &Sighting<'_>, usize) + Send + Sync + 'static,
{
    let look = Arc::new(look);
    let asked: Vec<_> =
        runtimes.into_iter().map(|shared| Question::post(shared, look.clone())).collect();
    asked.into_iter().map(|(question, processors)| question.wait(processors)).collect()
}

impl<T, F> Question<T, F>
where
    T: Default + Send + 'static,
    F: Fn(&mut T, &Shared, &Sighting<'_>, usize) + Send + Sync + 'static,
{
    fn post(shared: Arc<Shared>, look: Arc<F>) -> (Arc<Self>, Arc<[Arc<Processor>]>) {
        let processors = shared.processors();
        let state = Mutex::new(State {
            parts: HashMap::new(),
            answers: HashMap::new(),
            waiting: processors.len(),
            moved: Instant::now(),
            closed: false,
        });
        let question = Arc::new(Question { shared, look, state, changed: Condvar::new() });
        for processor in processors.iter() {
            if !processor.ask(question.clone()) {
                question.lock().waiting -= 1;
            }
        }
        (question, processors)
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait(&self, processors: Arc<[Arc<Processor>]>) -> Said<T> {
        let mut state = self.lock();
        while state.waiting > 0 {
            let left = dump::PATIENCE.saturating_sub(state.moved.elapsed());
            if left.is_zero() {
                break;
            }
            let waited = self.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        state.closed = true;
        let said = |one: &Arc<Processor>| (one.clone(), state.answers.remove(&one.number));
        let workers = processors.iter().map(said).collect();
        Said { shared: self.shared.clone(), workers }
    }
}

impl<T, F> Survey for Question<T, F>
where
    T: Default + Send + 'static,
    F: Fn(&mut T, &Shared, &Sighting<'_>, usize) + Send + Sync + 'static,
{
    fn visit(&self, residence: &Residence<'_>) -> Visit {
        let number = residence.processor().number;
        let part = {
            let mut state = self.lock();
            if state.closed {
                return Visit::Done;
            }
            state.parts.remove(&number)
        };
        let begins = part.is_none();
        let mut part = part.unwrap_or_default();
        let mut look =
            |sighting: &Sighting<'_>| (self.look)(&mut part, &self.shared, sighting, number);
        if begins {
            // First: whoever starts from now on comes before those that the walk begins with.
            residence.unstarted(&mut look);
        }
        let done = residence.next_residents(look);
        let mut state = self.lock();
        state.moved = Instant::now();
        if !done {
            state.parts.insert(number, part);
            return Visit::Unfinished;
        }
        state.answers.insert(number, part);
        state.waiting -= 1;
        if state.waiting == 0 {
            self.changed.notify_all();
        }
        Visit::Done
    }

    fn walks(&self) -> bool {
        true
    }
}

impl<'a> Glimpse<'a> {
    /// Of a coroutine of the machine that looks.
    pub(super) fn at_home(shared: &Shared, sighting: &Sighting<'a>, worker: usize) -> Glimpse<'a> {
        let header = sighting.header;
        let (reason, since) = match sighting.standing {
            Standing::Ready => (None, None),
            Standing::Unstarted => (None, Some(dump::since(shared, header))),
            Standing::Parked { reason, .. } => {
                (Some(reason.kind()), Some(dump::since(shared, header)))
            }
        };
        let (worker, state) = (Some(worker), sighting.standing.into());
        Glimpse { worker, state, reason, since, ..Glimpse::of_any(header) }
    }

    fn of_any(header: &'a Header) -> Glimpse<'a> {
        Glimpse {
            id: header.id,
            name: header.name(),
            spawned_at: header.spawned_at,
            parent: header.parent(),
            worker: None,
            state: CoroutineState::Moving,
            reason: None,
            since: None,
        }
    }

    /// Of what has been described.
    pub(super) fn of(one: &'a CoroutineDump) -> Glimpse<'a> {
        Glimpse {
            id: one.id,
            name: one.name.as_deref(),
            spawned_at: one.spawned_at,
            parent: one.parent,
            worker: one.worker,
            state: one.state,
            reason: None,
            since: one.since,
        }
    }
}

/// Those that no machine has named: what runs on machines that have not answered, and migrating ones.
pub(super) fn elsewhere<T>(said: &Said<T>) -> Vec<CoroutineDump> {
    let silent = said.workers.iter().filter(|(_, answer)| answer.is_none());
    let mut found: Vec<_> = silent.filter_map(|(processor, _)| dump::running(processor)).collect();
    said.shared.migrants(|header| found.push(dump::migrant(&said.shared, header)));
    found
}

/// What a filter has found of places, which are few.
#[derive(Default)]
pub(super) struct Places(HashMap<usize, bool>);

impl Filter {
    /// The runtimes of the process that are meant.
    pub(super) fn runtimes(&self) -> Vec<Arc<Shared>> {
        let mut all = Shared::all();
        all.retain(|shared| self.runtime.as_ref().is_none_or(|name| *name == shared.config.name));
        all
    }

    pub(super) fn lets(&self, one: &Glimpse<'_>, places: &mut Places) -> bool {
        self.state.is_none_or(|state| state == one.state)
            && self.reason.as_deref().is_none_or(|reason| one.reason == Some(reason))
            && self.worker.is_none_or(|worker| one.worker.is_some_and(|at| at as u64 == worker))
            && self.parent.is_none_or(|parent| one.parent == Some(parent))
            && self.text.as_deref().is_none_or(|text| places.has(text, one))
    }
}

impl Places {
    fn has(&mut self, text: &str, one: &Glimpse<'_>) -> bool {
        let place = self.0.entry(ptr::from_ref(one.spawned_at).addr());
        *place.or_insert_with(|| one.spawned_at.to_string().to_lowercase().contains(text))
            || one.reason.is_some_and(|reason| reason.contains(text))
            || one.name.is_some_and(|name| name.to_lowercase().contains(text))
            || one.id.to_string() == text
    }
}

/// These coroutines in full, those of them that are still there, with their runtimes' names.
pub(super) fn in_full(ids: &[u64], with_stacks: bool) -> Vec<(CoroutineDump, String)> {
    let (Some(&first), Some(&last)) = (ids.iter().min(), ids.iter().max()) else {
        return Vec::new();
    };
    let wanted: HashSet<u64> = ids.iter().copied().collect();
    // Those of a page are often neighbours.
    let is_wanted = move |id: u64| (first..=last).contains(&id) && wanted.contains(&id);
    let said = {
        let is_wanted = is_wanted.clone();
        ask(Shared::all(), move |found: &mut Vec<CoroutineDump>, shared, sighting, number| {
            if is_wanted(sighting.header.id) {
                let mut stacks = Walked::default();
                let stacks = with_stacks.then_some(&mut stacks);
                found.push(dump::resident(shared, sighting, number, stacks));
            }
        })
    };
    let mut found = HashMap::new();
    for mut said in said {
        let here = said.workers.iter_mut().filter_map(|(_, answer)| answer.as_mut());
        let mut here: Vec<_> = here.flat_map(std::mem::take).collect();
        here.extend(elsewhere(&said).into_iter().filter(|one| is_wanted(one.id)));
        let name = &said.shared.config.name;
        found.extend(here.into_iter().map(|one| (one.id, (one, name.clone()))));
    }
    ids.iter().filter_map(|id| found.remove(id)).collect()
}
