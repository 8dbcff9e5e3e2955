//! From a request to its answer.

use super::request::{Order, Page, Request, What};
use super::survey::{self, Filter, Glimpse, Places};
use super::{MetricsToJson, STATES};
use crate::dump::{self, CoroutineDump, CoroutineState};
use crate::sched::Shared;
use crate::util::json::{Object, Seconds};
use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::panic::Location;
use std::ptr;
use std::time::Duration;

/// Places that a summary names; the rest is counted.
const PLACES: usize = 50;

/// Coroutines in a dump. With stacks, each is some kilobytes.
const DUMPED: u64 = if cfg!(feature = "dump-stacks") { 20_000 } else { 250_000 };

/// The answer to a line, without its end.
pub(super) fn to(line: &[u8], metrics: MetricsToJson) -> Vec<u8> {
    let request = Request::parse(line);
    let answered = request.what.and_then(|what| answer(what, metrics));
    match answered {
        Err(message) => super::server::failure(request.id, &message),
        Ok(answer) => {
            let mut object = Object::new();
            object.value("v", Some(super::VERSION));
            object.value("id", request.id);
            object.value("ok", Some(answer));
            object.end().into_bytes()
        }
    }
}

fn answer(what: What, metrics: MetricsToJson) -> Result<String, String> {
    Ok(match what {
        What::Hello => hello(),
        What::Metrics => runtimes(metrics),
        What::Summary => summary(),
        What::Coroutines { filter, order, page } => coroutines(filter, order, page),
        What::Coroutine(id) => {
            let (one, runtime) = survey::in_full(&[id], true)
                .pop()
                .ok_or("it has ended, or its worker is busy and cannot say")?;
            let mut object = Object::new();
            object.text("runtime", Some(runtime));
            dump::coroutine_fields(&one, &mut object);
            object.end()
        }
        What::Tree { parent, page } => tree(parent, page),
        What::Dump => whole()?.to_json(),
        What::Text => {
            let mut object = Object::new();
            object.text("text", Some(whole()?));
            object.end()
        }
    })
}

fn hello() -> String {
    let mut object = Object::new();
    object.text("pirn", Some(env!("CARGO_PKG_VERSION")));
    object.value("process", Some(std::process::id()));
    let program = std::env::current_exe().ok();
    object.text("program", program.as_ref().map(|path| path.display()));
    object.value("stacks", Some(cfg!(feature = "dump-stacks")));
    object.end()
}

fn runtimes(metrics: MetricsToJson) -> String {
    let mut object = Object::new();
    object.list("runtimes", &Shared::all(), |shared| metrics(shared));
    object.end()
}

fn whole() -> Result<dump::Dump, String> {
    let runtimes = Shared::all();
    let live: u64 = runtimes.iter().map(|shared| shared.live()).sum();
    if live > DUMPED {
        return Err(format!(
            "{live} coroutines are too many for a dump, of {DUMPED} at most: ask for \"coroutines\""
        ));
    }
    Ok(dump::dump(runtimes))
}

// Counts.

#[derive(PartialEq, Eq, Hash, Clone, Copy)]
struct Kind {
    /// The address of where it was spawned, which is quick to compare.
    place: usize,
    state: CoroutineState,
    reason: Option<&'static str>,
}

#[derive(Default, Clone, Copy)]
struct Count {
    count: u64,
    longest: Duration,
}

/// Coroutines by what is the same about many of them.
#[derive(Default)]
struct Tally {
    sorts: Vec<(Kind, &'static Location<'static>, Count)>,
    /// Where a kind is among them.
    places: HashMap<Kind, usize>,
    /// The one that was counted last: the next is often of its kind.
    latest: usize,
}

impl Tally {
    fn add(&mut self, one: &Glimpse<'_>) {
        let kind = Kind {
            place: ptr::from_ref(one.spawned_at).addr(),
            state: one.state,
            reason: one.reason,
        };
        self.sort(kind, one.spawned_at).add(one.since);
    }

    fn join(&mut self, other: Tally) {
        for (kind, place, count) in other.sorts {
            self.sort(kind, place).join(count);
        }
    }

    fn sort(&mut self, kind: Kind, place: &'static Location<'static>) -> &mut Count {
        if self.sorts.get(self.latest).is_none_or(|latest| latest.0 != kind) {
            let next = self.sorts.len();
            self.latest = *self.places.entry(kind).or_insert(next);
            if self.latest == next {
                self.sorts.push((kind, place, Count::default()));
            }
        }
        &mut self.sorts[self.latest].2
    }

    /// The sums of those that are the same to `key`, the largest first.
    fn by<K: Eq + std::hash::Hash + Ord + Copy>(
        &self,
        key: impl Fn(&Kind, &'static Location<'static>) -> Option<K>,
    ) -> Vec<(K, Count)> {
        let mut sums: HashMap<K, Count> = HashMap::new();
        for (kind, place, count) in &self.sorts {
            if let Some(key) = key(kind, place) {
                sums.entry(key).or_default().join(*count);
            }
        }
        let mut sums: Vec<_> = sums.into_iter().collect();
        sums.sort_by_key(|(key, sum)| (Reverse(sum.count), *key));
        sums
    }

    fn states(&self) -> String {
        let mut object = Object::new();
        for state in STATES {
            let all = self.sorts.iter().filter(|sort| sort.0.state == state);
            let count: u64 = all.map(|sort| sort.2.count).sum();
            object.value(&state.to_string(), Some(count));
        }
        object.end()
    }
}

impl Count {
    fn add(&mut self, since: Option<Duration>) {
        self.count += 1;
        self.longest = self.longest.max(since.unwrap_or_default());
    }

    fn join(&mut self, other: Count) {
        self.count += other.count;
        self.longest = self.longest.max(other.longest);
    }

    fn fields(self, object: &mut Object) {
        object.value("count", Some(self.count));
        object.value("longest", Some(Seconds(self.longest)));
    }
}

fn summary() -> String {
    let said = survey::ask(Shared::all(), |tally: &mut Tally, shared, sighting, number| {
        tally.add(&Glimpse::at_home(shared, sighting, number));
    });
    let mut runtimes = Vec::new();
    for mut said in said {
        let mut all = Tally::default();
        let elsewhere = survey::elsewhere(&said);
        elsewhere.iter().for_each(|one| all.add(&Glimpse::of(one)));
        let mut workers = Vec::new();
        for (processor, answer) in &mut said.workers {
            let mut object = Object::new();
            object.value("number", Some(processor.number));
            object.value("surplus", Some(processor.surplus));
            object.value("answered", Some(answer.is_some()));
            let runs = elsewhere.iter().find(|one| one.worker == Some(processor.number));
            object.value("runs", runs.map(coroutine));
            let tally = answer.take();
            object.value("states", tally.as_ref().map(Tally::states));
            workers.push(object.end());
            all.join(tally.unwrap_or_default());
        }
        runtimes.push(summary_of(&said.shared, &workers, &all));
    }
    let mut object = Object::new();
    object.list("runtimes", &runtimes, String::clone);
    object.end()
}

fn summary_of(shared: &Shared, workers: &[String], all: &Tally) -> String {
    let mut object = Object::new();
    object.text("name", Some(&shared.config.name));
    object.value("live", Some(shared.live()));
    object.list("workers", workers, String::clone);
    object.value("states", Some(all.states()));
    object.list("reasons", &all.by(|kind, _| kind.reason), |(reason, sum)| {
        let mut object = Object::new();
        object.text("reason", Some(reason));
        sum.fields(&mut object);
        object.end()
    });
    let places = all.by(|_, place| Some(place));
    let shown = &places[..places.len().min(PLACES)];
    object.list("places", shown, |(place, sum)| {
        let mut object = Object::new();
        object.text("spawned_at", Some(place));
        sum.fields(&mut object);
        object.end()
    });
    object.value("more_places", Some(places.len() - shown.len()));
    object.end()
}

// Lists.

fn coroutine(one: &CoroutineDump) -> String {
    let mut object = Object::new();
    dump::coroutine_fields(one, &mut object);
    object.end()
}

fn coroutines(filter: Filter, order: Order, page: Page) -> String {
    let rank = move |one: &Glimpse<'_>| {
        let rank = match order.by_age {
            true => u64::MAX - one.since.map_or(0, |since| since.as_millis() as u64),
            false => 0,
        };
        let rank = (rank, one.id);
        if order.reverse { (u64::MAX - rank.0, u64::MAX - rank.1) } else { rank }
    };
    type Part = (Vec<(u64, u64)>, Places);
    let said = {
        let filter = filter.clone();
        survey::ask(filter.runtimes(), move |part: &mut Part, shared, sighting, number| {
            let one = Glimpse::at_home(shared, sighting, number);
            if filter.lets(&one, &mut part.1) {
                part.0.push(rank(&one));
            }
        })
    };
    let (mut found, mut silent) = (Vec::new(), 0);
    let mut places = Places::default();
    for mut said in said {
        silent += said.workers.iter().filter(|(_, answer)| answer.is_none()).count();
        for one in survey::elsewhere(&said) {
            let one = Glimpse::of(&one);
            if filter.lets(&one, &mut places) {
                found.push(rank(&one));
            }
        }
        let answers = said.workers.iter_mut().filter_map(|(_, answer)| answer.take());
        found.extend(answers.flat_map(|part| part.0));
    }
    arrange(&mut found);
    let id = |&(_, id): &(u64, u64)| if order.reverse { u64::MAX - id } else { id };
    let ids: Vec<u64> = found.iter().skip(page.offset).take(page.limit).map(id).collect();
    let mut object = Object::new();
    object.value("total", Some(found.len()));
    object.value("offset", Some(page.offset));
    object.value("silent_workers", Some(silent));
    object.list("coroutines", &survey::in_full(&ids, false), |(one, runtime)| {
        let mut object = Object::new();
        object.text("runtime", Some(runtime));
        dump::coroutine_fields(one, &mut object);
        object.end()
    });
    object.end()
}

/// Sorts by rank, in which the second part names a coroutine. Who was on its way from one machine to
/// another may have been seen at both, and was older by then: one rank is enough.
fn arrange(found: &mut Vec<(u64, u64)>) {
    found.sort_unstable_by_key(|&(rank, id)| (id, rank));
    found.dedup_by_key(|rank| rank.1);
    found.sort_unstable();
}

/// Those that one has spawned, or whose spawners have ended, and how many each has spawned.
fn tree(parent: Option<u64>, page: Page) -> String {
    type Pair = (u64, Option<u64>);
    let said = survey::ask(Shared::all(), |found: &mut Vec<Pair>, _, sighting, _| {
        found.push((sighting.header.id, sighting.header.parent()));
    });
    let mut all: Vec<Pair> = Vec::new();
    for mut said in said {
        all.extend(survey::elsewhere(&said).iter().map(|one| (one.id, one.parent)));
        all.extend(said.workers.iter_mut().filter_map(|(_, answer)| answer.take()).flatten());
    }
    all.sort_unstable();
    all.dedup_by_key(|one| one.0);
    let live: HashSet<u64> = all.iter().map(|one| one.0).collect();
    let mut children: HashMap<u64, u64> = HashMap::new();
    for parent in all.iter().filter_map(|one| one.1) {
        *children.entry(parent).or_default() += 1;
    }
    let wanted = |one: &&(u64, Option<u64>)| match parent {
        Some(_) => one.1 == parent,
        None => one.1.is_none_or(|parent| !live.contains(&parent)),
    };
    let found: Vec<u64> = all.iter().filter(wanted).map(|one| one.0).collect();
    let ids: Vec<u64> = found.iter().copied().skip(page.offset).take(page.limit).collect();
    let mut object = Object::new();
    object.value("total", Some(found.len()));
    object.value("offset", Some(page.offset));
    object.list("coroutines", &survey::in_full(&ids, false), |(one, runtime)| {
        let mut object = Object::new();
        object.text("runtime", Some(runtime));
        dump::coroutine_fields(one, &mut object);
        object.value("children", Some(children.get(&one.id).copied().unwrap_or(0)));
        object.end()
    });
    object.end()
}

#[cfg(test)]
mod tests {
    use super::arrange;

    #[test]
    fn who_is_seen_at_two_ages_counts_once() {
        let mut found = vec![(30, 1), (25, 4), (20, 1), (10, 3), (10, 2)];
        arrange(&mut found);
        assert_eq!(found, [(10, 2), (10, 3), (20, 1), (25, 4)]);
    }
}
