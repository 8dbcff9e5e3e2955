//! Asks the machines of all runtimes, and counts or picks where the coroutines live.
//!
//! A dump copies all that is to be said of each coroutine, with system calls for each socket. With a
//! hundred thousand of them that is long for the workers, and for whoever looks each second. So
//! machines count, or pick those that match with sixteen bytes for each; and only those that
//! somebody is to see are asked for in full, by their numbers.

use crate::coroutine::Header;
use crate::dump::{self, CoroutineDump, CoroutineState, Walked};
use crate::sched::{Processor, Residence, Shared, Sighting, Standing, Survey};
use std::collections::{HashMap, HashSet};
use std::panic::Location;
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
    answers: HashMap<usize, T>,
    /// Machines that have not begun.
    waiting: usize,
    /// Those that have, and are not done.
    busy: usize,
    /// Nobody waits for those that have not begun.
    closed: bool,
}

/// Has each machine of all runtimes look at its own coroutines. One that does not come to it in a
/// tenth of a second is given up.
///
/// `look` is called as [`Survey::visit`] is.
pub(super) fn ask<T, F>(look: F) -> Vec<Said<T>>
where
    T: Send + 'static,
    F: Fn(&Shared, &Residence<'_>) -> T + Send + Sync + 'static,
{
    let look = Arc::new(look);
    let asked: Vec<_> =
        Shared::all().into_iter().map(|shared| Question::post(shared, look.clone())).collect();
    let deadline = Instant::now() + dump::PATIENCE;
    asked.into_iter().map(|(question, processors)| question.wait(processors, deadline)).collect()
}

impl<T, F> Question<T, F>
where
    T: Send + 'static,
    F: Fn(&Shared, &Residence<'_>) -> T + Send + Sync + 'static,
{
    fn post(shared: Arc<Shared>, look: Arc<F>) -> (Arc<Self>, Arc<[Arc<Processor>]>) {
        let processors = shared.processors();
        let (answers, waiting) = (HashMap::new(), processors.len());
        let state = Mutex::new(State { answers, waiting, busy: 0, closed: false });
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

    fn wait(&self, processors: Arc<[Arc<Processor>]>, deadline: Instant) -> Said<T> {
        let mut state = self.lock();
        while state.waiting + state.busy > 0 {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() && !state.closed {
                (state.closed, state.waiting) = (true, 0);
            } else if state.closed {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            } else {
                let waited = self.changed.wait_timeout(state, left);
                state = waited.unwrap_or_else(PoisonError::into_inner).0;
            }
        }
        let said = |one: &Arc<Processor>| (one.clone(), state.answers.remove(&one.number));
        let workers = processors.iter().map(said).collect();
        Said { shared: self.shared.clone(), workers }
    }
}

impl<T, F> Survey for Question<T, F>
where
    T: Send + 'static,
    F: Fn(&Shared, &Residence<'_>) -> T + Send + Sync + 'static,
{
    fn visit(&self, residence: &Residence<'_>) {
        {
            let mut state = self.lock();
            if state.closed {
                return;
            }
            state.waiting -= 1;
            state.busy += 1;
        }
        let answer = (self.look)(&self.shared, residence);
        let mut state = self.lock();
        state.answers.insert(residence.processor().number, answer);
        state.busy -= 1;
        self.changed.notify_all();
    }
}

/// Has a machine look at all its coroutines.
pub(super) fn each(residence: &Residence<'_>, mut look: impl FnMut(&Sighting<'_>)) {
    residence.residents(|sighting| {
        look(sighting);
        true
    });
    residence.unstarted(look);
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

/// A filter that remembers what it has found of places and reasons, which are few.
pub(super) struct Sieve<'a> {
    filter: &'a Filter,
    places: HashMap<*const Location<'static>, bool>,
}

impl<'a> Sieve<'a> {
    pub(super) fn new(filter: &'a Filter) -> Sieve<'a> {
        Sieve { filter, places: HashMap::new() }
    }

    pub(super) fn runtime(&self, shared: &Shared) -> bool {
        self.filter.runtime.as_ref().is_none_or(|name| *name == shared.config.name)
    }

    pub(super) fn lets(&mut self, one: &Glimpse<'_>) -> bool {
        let filter = self.filter;
        filter.state.is_none_or(|state| state == one.state)
            && filter.reason.as_deref().is_none_or(|reason| one.reason == Some(reason))
            && filter.worker.is_none_or(|worker| one.worker.is_some_and(|at| at as u64 == worker))
            && filter.parent.is_none_or(|parent| one.parent == Some(parent))
            && filter.text.as_deref().is_none_or(|text| self.has(text, one))
    }

    fn has(&mut self, text: &str, one: &Glimpse<'_>) -> bool {
        let place = self.places.entry(one.spawned_at);
        *place.or_insert_with(|| one.spawned_at.to_string().to_lowercase().contains(text))
            || one.reason.is_some_and(|reason| reason.contains(text))
            || one.name.is_some_and(|name| name.to_lowercase().contains(text))
            || one.id.to_string() == text
    }
}

/// These coroutines in full, those of them that are still there, with their runtimes' names.
pub(super) fn in_full(ids: &[u64], with_stacks: bool) -> Vec<(CoroutineDump, String)> {
    let wanted: HashSet<u64> = ids.iter().copied().collect();
    let said = {
        let wanted = wanted.clone();
        ask(move |shared, residence| {
            let number = residence.processor().number;
            let mut stacks = Walked::default();
            let mut found = Vec::new();
            each(residence, |sighting| {
                if wanted.contains(&sighting.header.id) {
                    let stacks = with_stacks.then_some(&mut stacks);
                    found.push(dump::resident(shared, sighting, number, stacks));
                }
            });
            found
        })
    };
    let mut found = HashMap::new();
    for mut said in said {
        let here = said.workers.iter_mut().filter_map(|(_, answer)| answer.as_mut());
        let mut here: Vec<_> = here.flat_map(std::mem::take).collect();
        here.extend(elsewhere(&said).into_iter().filter(|one| wanted.contains(&one.id)));
        let name = &said.shared.config.name;
        found.extend(here.into_iter().map(|one| (one.id, (one, name.clone()))));
    }
    ids.iter().filter_map(|id| found.remove(id)).collect()
}
