//! A dump for people.

use super::{CoroutineDump, CoroutineState, Dump, Held, LockWait, Party, RuntimeDump, WorkerDump};
use std::collections::HashMap;
use std::fmt::{self, Display};
use std::time::Duration;

/// How many of those that are counted are named.
const NAMED: usize = 8;

impl Display for Dump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for runtime in &self.runtimes {
            write_runtime(runtime, f)?;
        }
        for thread in &self.threads {
            let party = Party::Thread(thread.id, thread.name.clone());
            write!(f, "\n{party} [{}", thread.waits_for)?;
            write_holders(&thread.held_by, f)?;
            writeln!(f, "]")?;
        }
        for cycle in self.lock_cycles() {
            write_cycle(&cycle, f)?;
        }
        Ok(())
    }
}

fn write_runtime(runtime: &RuntimeDump, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let workers = runtime.workers.len();
    let unanswered = || runtime.workers.iter().filter(|worker| !worker.answered);
    let missing = |worker: &WorkerDump| {
        let listed = |one: &&CoroutineDump| one.worker == Some(worker.number);
        worker.residents.saturating_sub(runtime.coroutines.iter().filter(listed).count())
    };
    let count = runtime.coroutines.len() + unanswered().map(missing).sum::<usize>();
    write!(f, "runtime \"{}\": {count} coroutine{}", runtime.name, plural(count))?;
    writeln!(f, ", {workers} worker{}", plural(workers))?;
    for worker in unanswered() {
        let (number, residents) = (worker.number, worker.residents);
        write!(f, "worker {number} is busy")?;
        match missing(worker) {
            0 => writeln!(f)?,
            missing => writeln!(
                f,
                ": {missing} of its {residents} coroutine{} cannot be listed",
                plural(residents)
            )?,
        }
    }
    for group in groups(&runtime.coroutines, f.alternate()) {
        writeln!(f)?;
        write_group(&group, f)?;
    }
    Ok(())
}

/// Those that say the same but for the address of what they wait for, in the order of the first of
/// each.
fn groups(coroutines: &[CoroutineDump], alone: bool) -> Vec<Vec<&CoroutineDump>> {
    let mut groups: Vec<Vec<&CoroutineDump>> = Vec::new();
    let mut places = HashMap::new();
    for one in coroutines {
        let key = (one.spawned_at, one.parent, one.state, kind(one), &one.stack);
        if one.name.is_some() || alone {
            groups.push(vec![one]);
        } else if let Some(&place) = places.get(&key) {
            let group: &mut Vec<_> = &mut groups[place];
            group.push(one);
        } else {
            places.insert(key, groups.len());
            groups.push(vec![one]);
        }
    }
    groups
}

/// What it waits for, of whatever object, unless somebody holds that.
fn kind(one: &CoroutineDump) -> Option<&str> {
    let waits_for = one.waits_for.as_deref()?;
    let object = if one.held_by.is_empty() { one.object } else { None };
    let kind = object.and_then(|_| waits_for.rsplit_once(" at 0x"));
    Some(kind.map_or(waits_for, |(kind, _address)| kind))
}

fn write_group(group: &[&CoroutineDump], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let first = group[0];
    if let [_] = group {
        write!(f, "coroutine {}", first.id)?;
        if let Some(name) = &first.name {
            write!(f, " \"{name}\"")?;
        }
    } else {
        write!(f, "{} coroutines", group.len())?;
    }
    let same_object = group.iter().all(|one| one.object == first.object);
    match (kind(first), first.state) {
        (Some(kind), CoroutineState::Parked) if !same_object => write!(f, " [{kind}")?,
        _ => write!(f, " [{}", What(first))?,
    }
    write_holders(&first.held_by, f)?;
    let since = || group.iter().filter_map(|one| one.since);
    if let (Some(least), Some(most)) = (since().min(), since().max()) {
        write!(f, ", {}", Span(least))?;
        if Span(least).to_string() != Span(most).to_string() {
            write!(f, " to {}", Span(most))?;
        }
    }
    if let Some(left) = group.iter().filter_map(|one| one.times_out_in).min() {
        write!(f, ", times out in {}", Span(left))?;
    }
    let worker = first.worker.filter(|_| group.iter().all(|one| one.worker == first.worker));
    if let Some(worker) = worker {
        write!(f, ", worker {worker}")?;
    }
    write!(f, "] spawned at {}", first.spawned_at)?;
    if let Some(parent) = first.parent {
        write!(f, " by coroutine {parent}")?;
    }
    writeln!(f)?;
    if group.len() > 1 {
        let named: Vec<_> = group.iter().take(NAMED).map(|one| one.id.to_string()).collect();
        let more = if group.len() > NAMED { ", ..." } else { "" };
        writeln!(f, "    coroutines {}{more}", named.join(", "))?;
    }
    first.stack.as_ref().map_or(Ok(()), |stack| write!(f, "{stack}"))
}

fn write_holders(held_by: &[Held], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for (at, held) in held_by.iter().take(NAMED).enumerate() {
        let words = if at == 0 { ", held by" } else { " and" };
        write!(f, "{words} {} since {}", held.by, held.locked_at)?;
    }
    let more = held_by.len().saturating_sub(NAMED);
    if more > 0 { write!(f, " and {more} more") } else { Ok(()) }
}

fn write_cycle(cycle: &[LockWait], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    writeln!(f, "\nwaiting for each other's locks:")?;
    for (at, wait) in cycle.iter().enumerate() {
        let next = &cycle[(at + 1) % cycle.len()].party;
        let (party, waits_for, locked_at) = (&wait.party, &wait.waits_for, wait.locked_at);
        writeln!(
            f,
            "    {party} waits for the {waits_for}, which {next} has locked at {locked_at}"
        )?;
    }
    Ok(())
}

fn plural(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}

/// What a coroutine does.
struct What<'a>(&'a CoroutineDump);

impl Display for What<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.0.waits_for, self.0.state) {
            (Some(what), CoroutineState::Parked) => f.write_str(what),
            (_, state) => state.fmt(f),
        }
    }
}

/// A time in two units at most.
pub(super) struct Span(pub(super) Duration);

impl Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        match seconds {
            0 => write!(f, "{}ms", self.0.as_millis()),
            1..60 => write!(f, "{seconds}.{}s", self.0.subsec_millis() / 100),
            60..3600 => write!(f, "{}m{}s", seconds / 60, seconds % 60),
            3600..86_400 => write!(f, "{}h{}m", seconds / 3600, seconds % 3600 / 60),
            _ => write!(f, "{}d{}h", seconds / 86_400, seconds % 86_400 / 3600),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_two_units() {
        let text = |millis| Span(Duration::from_millis(millis)).to_string();
        assert_eq!(text(999), "999ms");
        assert_eq!(text(59_950), "59.9s");
        assert_eq!(text(182_000), "3m2s");
        assert_eq!(text(7_500_000), "2h5m");
        assert_eq!(text(90_000_000), "1d1h");
    }
}
