#![doc = include_str!("../../docs/observability.md")]

mod collect;
mod json;
mod sockets;
mod text;

pub(crate) use collect::dump;

use std::fmt;
use std::panic::Location;
use std::time::Duration;

/// What all coroutines of some runtimes were doing, one moment.
///
/// [`pirn::dump`](crate::dump()) takes one of all runtimes of the process, and
/// [`Runtime::dump`](crate::Runtime::dump) of one. Its [`Display`](fmt::Display) form is for people:
/// coroutines that were spawned in the same place and wait for the same are counted instead of
/// listed, unless the alternate form `{:#}` is asked for. [`to_json`](Dump::to_json) is for programs.
///
/// Each worker lists its own coroutines when it comes to it, so the parts are of slightly different
/// moments.
///
/// # Examples
///
/// ```
/// let runtime = pirn::Builder::new().workers(1).build()?;
/// let (sender, receiver) = pirn::channel::bounded::<()>(0);
/// runtime.spawn(move || receiver.recv());
/// # while !runtime.dump().coroutines().any(|one| one.waits_for.is_some()) {}
/// let dump = runtime.dump();
/// let parked = dump.coroutines().next().unwrap();
/// assert!(parked.waits_for.as_ref().unwrap().starts_with("channel receive"));
/// # drop(sender);
/// # std::io::Result::Ok(())
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Dump {
    /// The runtimes, in the order in which they were built.
    pub runtimes: Vec<RuntimeDump>,
}

/// One runtime in a [`Dump`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RuntimeDump {
    /// Its [name](crate::Builder::name).
    pub name: String,
    /// Coroutines spawned and not yet ended.
    pub live: u64,
    /// Its workers.
    pub workers: Vec<WorkerDump>,
    /// What the workers said of their coroutines, by number.
    pub coroutines: Vec<CoroutineDump>,
}

/// One worker in a [`Dump`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct WorkerDump {
    /// Its number.
    pub number: usize,
    /// How many coroutines live on it.
    pub residents: usize,
    /// Whether it has listed them. One that is in a coroutine which neither parks nor yields does
    /// not come to it: of its coroutines, only the one that runs is in the dump.
    pub answered: bool,
}

/// One coroutine in a [`Dump`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct CoroutineDump {
    /// Its number.
    pub id: u64,
    /// Its name, if it has one.
    pub name: Option<String>,
    /// Where it was spawned.
    pub spawned_at: &'static Location<'static>,
    /// The coroutine that has spawned it; `None` for one that a thread has spawned, or if it is not
    /// known any more.
    pub parent: Option<u64>,
    /// The worker on which it lives, or which has it at hand to start.
    pub worker: Option<usize>,
    /// What it does.
    pub state: CoroutineState,
    /// What it waits for, if it is parked.
    pub waits_for: Option<String>,
    /// The address of the lock, channel or other object that it waits for.
    pub object: Option<usize>,
    /// How long it has waited, or has not been started: to some ten milliseconds. `None` if it is
    /// ready or runs.
    pub since: Option<Duration>,
    /// When its wait ends by itself.
    pub times_out_in: Option<Duration>,
}

/// What a coroutine does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CoroutineState {
    /// It was spawned, and no worker has come to it.
    Unstarted,
    /// It runs when its worker comes to it.
    Ready,
    /// It runs.
    Running,
    /// It waits.
    Parked,
    /// It may move between workers, so none can say what it does, but that it is not parked.
    Moving,
}

impl Dump {
    /// All coroutines.
    pub fn coroutines(&self) -> impl Iterator<Item = &CoroutineDump> {
        self.runtimes.iter().flat_map(|runtime| &runtime.coroutines)
    }

    /// Those that have been parked for at least that long, the longest first: whoever has been
    /// forgotten is among them.
    #[must_use]
    pub fn parked_for(&self, least: Duration) -> Vec<&CoroutineDump> {
        let long = |one: &&CoroutineDump| {
            one.state == CoroutineState::Parked && one.since.is_some_and(|since| since >= least)
        };
        let mut parked: Vec<_> = self.coroutines().filter(long).collect();
        parked.sort_by_key(|one| (std::cmp::Reverse(one.since), one.id));
        parked
    }

    /// The same as JSON: an object with the names of the fields that are documented here. Times are
    /// in seconds, places are strings as in `src/main.rs:10:5`, and addresses as in `0x7f00`.
    #[must_use]
    pub fn to_json(&self) -> String {
        json::of(self)
    }
}

impl fmt::Display for CoroutineState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            CoroutineState::Unstarted => "unstarted",
            CoroutineState::Ready => "ready",
            CoroutineState::Running => "running",
            CoroutineState::Parked => "parked",
            CoroutineState::Moving => "moving",
        })
    }
}
