#![doc = include_str!("../../docs/observability.md")]

mod collect;
mod cycles;
mod deadlock;
mod json;
mod signal;
mod sockets;
#[cfg_attr(feature = "dump-stacks", path = "stacks/walked.rs")]
#[cfg_attr(not(feature = "dump-stacks"), path = "stacks/none.rs")]
mod stacks;
mod text;

#[cfg(test)]
pub(crate) use collect::{MORE_PATIENCE, hold_up};
pub(crate) use collect::{PATIENCE, dump, migrant, resident, running, since};
pub(crate) use deadlock::{COMMON_THREADS, check as check_for_deadlock};
pub(crate) use json::coroutine_fields;
pub(crate) use signal::dump_on_sigquit;
pub use stacks::StackTrace;
pub(crate) use stacks::Walked;

use crate::park::WaitReason;
use std::fmt;
use std::panic::Location;
use std::thread::ThreadId;
use std::time::Duration;

/// What all coroutines of some runtimes were doing, one moment.
///
/// [`pirn::dump`](crate::dump()) takes one of all runtimes of the process, and
/// [`Runtime::dump`](crate::Runtime::dump) of one. Its [`Display`](fmt::Display) form is for people:
/// coroutines that were spawned in the same place and wait for the same kind of thing are counted
/// instead of listed, unless the alternate form `{:#}` is asked for. [`to_json`](Dump::to_json) is for programs.
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
/// # let dump = loop {
/// let dump = runtime.dump();
/// #     if dump.coroutines().any(|one| one.waits_for.is_some()) { break dump }
/// # };
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
    /// Plain threads that wait in pirn: for a lock or a channel, in `join` and the like, but not for
    /// a descriptor.
    pub threads: Vec<ThreadDump>,
}

/// A plain thread that waits in pirn, in a [`Dump`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ThreadDump {
    /// Its identity.
    pub id: ThreadId,
    /// Its name, if it has one.
    pub name: Option<String>,
    /// What it waits for.
    pub waits_for: String,
    /// The address of the lock, channel or other object that it waits for.
    pub object: Option<usize>,
    /// Who holds the lock that it waits for, in a debug build or with the feature `holders`.
    pub held_by: Vec<Held>,
}

/// A guard of the lock that somebody waits for.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Held {
    /// Who has it.
    pub by: Party,
    /// Where the lock was locked.
    pub locked_at: &'static Location<'static>,
}

/// Whoever can hold a lock, and wait for one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Party {
    /// The coroutine of that number.
    Coroutine(u64),
    /// A plain thread, and its name.
    Thread(ThreadId, Option<String>),
}

/// One who waits in a ring of those who wait for each other's locks.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct LockWait {
    /// Who waits.
    pub party: Party,
    /// What for: the lock and its address.
    pub waits_for: String,
    /// Where the next in the ring has locked it.
    pub locked_at: &'static Location<'static>,
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
    /// Who holds the lock that it waits for, in a debug build or with the feature `holders`.
    pub held_by: Vec<Held>,
    /// How long it has waited, or has not been started: to some ten milliseconds. `None` if it is
    /// ready or runs.
    pub since: Option<Duration>,
    /// When its wait ends by itself.
    pub times_out_in: Option<Duration>,
    /// Where it is, with the feature `dump-stacks` and if it does not run.
    pub stack: Option<StackTrace>,
}

/// One call on a coroutine's stack, in a [`Dump`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct StackFrame {
    /// The function.
    pub function: String,
    /// The file and the line of what it was about to do.
    pub place: Option<(String, u32)>,
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
    /// forgotten is among them. Who waits for a dump, as of this one, is left out.
    #[must_use]
    pub fn parked_for(&self, least: Duration) -> Vec<&CoroutineDump> {
        let dump = WaitReason::Dump.to_string();
        let long = |one: &&CoroutineDump| {
            one.state == CoroutineState::Parked
                && one.since.is_some_and(|since| since >= least)
                && one.waits_for.as_ref() != Some(&dump)
        };
        let mut parked: Vec<_> = self.coroutines().filter(long).collect();
        parked.sort_by_key(|one| (std::cmp::Reverse(one.since), one.id));
        parked
    }

    /// The rings of those who wait for each other's locks, and so for ever: each waits for a lock that
    /// the next one holds, and the last for one of the first's.
    ///
    /// Empty in a release build without the feature `holders`, where nobody knows who holds a lock.
    #[must_use]
    pub fn lock_cycles(&self) -> Vec<Vec<LockWait>> {
        cycles::of(self)
    }

    /// The same as JSON: an object with the names of the fields that are documented here. Times are
    /// in seconds, places are strings as in `src/main.rs:10:5`, and addresses as in `0x7f00`.
    #[must_use]
    pub fn to_json(&self) -> String {
        json::of(self)
    }
}

impl fmt::Display for Party {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Party::Coroutine(id) => write!(f, "coroutine {id}"),
            Party::Thread(_, Some(name)) => write!(f, "thread \"{name}\""),
            Party::Thread(id, None) => write!(f, "{id:?}"),
        }
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
